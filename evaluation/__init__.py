"""Pairing, counts, scores and limits: catalogues in, tables out.

A run gives this room, for every detector and frame, the truth after the rules
and everything the detector returned::

    truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), rules)
    found = mark_ignored_regions(found, frame.shape, frame.bad, rules)
    source = FrameInput(
        frame=frame.name, truth=truth, found=found, mpix=usable_pixels / 1e6,
        group="field", split="test", fwhm=frame.fwhm,
    )
    result = evaluate({"sep": [source, ...]}, rules, default_thresholds={"sep": 4.5})

``result.counts``, ``.scores``, ``.sweep`` and ``.limits`` are the tables of a run
folder, ``result.calibrated["sep"]`` is the threshold chosen on the calibration
split, and ``result.frames["sep", "default"]`` holds a `FrameScore` per frame of
the test split, whose ``pairing.to_table()`` is its pairs table. Detectors can be
evaluated one by one, in other processes: `choose_edges`, `evaluate_detector`,
`merge`.

Two catalogues alone: `score_catalogs`. Positions alone: `pair`.
"""

from evaluation.average_precision import average_precision_of, precision_recall
from evaluation.blind import (
    FlipEstimate,
    RepeatEstimate,
    flip_estimate,
    repeat_estimate,
    times_seen,
)
from evaluation.blocks import Units, resampling_units, split_blocks
from evaluation.candidates import Candidates, find_candidates
from evaluation.coco import CocoPrecision, coco_precision
from evaluation.comparison import Standing, compare, compare_all, standing
from evaluation.counts import (
    Counts,
    ZeroPoint,
    bin_index,
    bin_table,
    count,
    measured_mag,
    total,
    zero_point_offset,
)
from evaluation.curves import Curve, best_f1_threshold, curve, purity_threshold, sweep
from evaluation.frames import FrameInput, FrameScore, choose_edges, score_frame
from evaluation.gate import Allowance, GateReport, Speed, judge, judge_speed, parse_allowances
from evaluation.intervals import jeffreys, poisson, proportion, wilson
from evaluation.limits import (
    CurveFit,
    Limit,
    Limits,
    completeness_limits,
    fit_curve,
    fit_half,
    fit_limits,
)
from evaluation.objective import (
    OBJECTIVES,
    Goal,
    Objective,
    TrialFrame,
    achieve,
    best_goal,
    trial_frame,
)
from evaluation.pairing import (
    Pairing,
    Pairs,
    pair,
    pair_candidates,
    pair_catalogs,
)
from evaluation.rules import (
    ScoringRules,
    apply_ignore,
    auto_bins,
    mark_ignored_regions,
    parse_bins,
)
from evaluation.scorer import ScoreReport, score_catalogs
from evaluation.scores import f_beta, f_from_counts, score_table
from evaluation.segments import angle_difference, point_segment_distance, segment_distance
from evaluation.sky import pair_sky, sky_candidates
from evaluation.tables import POINTS, Evaluation, Sink, evaluate, evaluate_detector, merge

__all__ = [
    "OBJECTIVES",
    "POINTS",
    "Allowance",
    "Candidates",
    "CocoPrecision",
    "Counts",
    "Curve",
    "CurveFit",
    "Evaluation",
    "FlipEstimate",
    "FrameInput",
    "FrameScore",
    "GateReport",
    "Goal",
    "Limit",
    "Limits",
    "Objective",
    "Pairing",
    "Pairs",
    "RepeatEstimate",
    "ScoreReport",
    "ScoringRules",
    "Sink",
    "Speed",
    "Standing",
    "TrialFrame",
    "Units",
    "ZeroPoint",
    "achieve",
    "angle_difference",
    "apply_ignore",
    "auto_bins",
    "average_precision_of",
    "best_f1_threshold",
    "best_goal",
    "bin_index",
    "bin_table",
    "choose_edges",
    "coco_precision",
    "compare",
    "compare_all",
    "completeness_limits",
    "count",
    "curve",
    "evaluate",
    "evaluate_detector",
    "f_beta",
    "f_from_counts",
    "find_candidates",
    "fit_curve",
    "fit_half",
    "fit_limits",
    "flip_estimate",
    "jeffreys",
    "judge",
    "judge_speed",
    "mark_ignored_regions",
    "measured_mag",
    "merge",
    "pair",
    "pair_candidates",
    "pair_catalogs",
    "pair_sky",
    "parse_allowances",
    "parse_bins",
    "point_segment_distance",
    "poisson",
    "precision_recall",
    "proportion",
    "purity_threshold",
    "repeat_estimate",
    "resampling_units",
    "score_catalogs",
    "score_frame",
    "score_table",
    "segment_distance",
    "sky_candidates",
    "split_blocks",
    "standing",
    "sweep",
    "times_seen",
    "total",
    "trial_frame",
    "wilson",
    "zero_point_offset",
]
