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

from skyduel.evaluation.analyses.average_precision import average_precision_of, precision_recall
from skyduel.evaluation.analyses.coco_ap import CocoPrecision, coco_precision
from skyduel.evaluation.comparison.compare import (
    ComparisonSample,
    compare,
    compare_all,
    comparison_sample,
)
from skyduel.evaluation.comparison.gate import (
    Allowance,
    GateReport,
    Speed,
    decide,
    decide_speed,
    parse_allowances,
)
from skyduel.evaluation.evaluate_detectors import (
    Evaluation,
    Sink,
    evaluate,
    evaluate_detector,
    merge,
)
from skyduel.evaluation.matching.candidates import Candidates, find_candidates
from skyduel.evaluation.matching.matching import (
    Pairing,
    Pairs,
    pair,
    pair_candidates,
    pair_catalogs,
)
from skyduel.evaluation.matching.on_sky import pair_sky, sky_candidates
from skyduel.evaluation.matching.segments import (
    angle_difference,
    point_segment_distance,
    segment_distance,
)
from skyduel.evaluation.rules import (
    ScoringRules,
    apply_ignore,
    auto_bins,
    mark_ignored_regions,
    parse_bins,
)
from skyduel.evaluation.score_two_catalogs import ScoreReport, score_catalogs
from skyduel.evaluation.scoring.counts import (
    Counts,
    ZeroPoint,
    bin_index,
    bin_table,
    count,
    measured_mag,
    total,
    zero_point_offset,
)
from skyduel.evaluation.scoring.depth import (
    CurveFit,
    Limit,
    Limits,
    completeness_limits,
    fit_curve,
    fit_half,
    fit_limits,
)
from skyduel.evaluation.scoring.frame_score import FrameInput, FrameScore, choose_edges, score_frame
from skyduel.evaluation.scoring.metrics import f_beta, f_from_counts
from skyduel.evaluation.scoring.resampling_units import (
    ResamplingUnits,
    resampling_units,
    split_blocks,
)
from skyduel.evaluation.scoring.scores import score_table
from skyduel.evaluation.scoring.threshold_sweep import (
    Curve,
    best_f1_threshold,
    curve,
    purity_threshold,
    sweep,
)
from skyduel.evaluation.scoring.tuning_objective import (
    OBJECTIVES,
    Objective,
    ObjectiveValue,
    TrialCounts,
    best_value,
    evaluate_objective,
    trial_counts,
)
from skyduel.evaluation.statistics.intervals import jeffreys, poisson, proportion, wilson
from skyduel.evaluation.table_keys import POINTS
from skyduel.evaluation.truth_free import (
    FlipEstimate,
    RepeatEstimate,
    flip_estimate,
    repeat_estimate,
    times_seen,
)

__all__ = [
    "OBJECTIVES",
    "POINTS",
    "Allowance",
    "Candidates",
    "CocoPrecision",
    "ComparisonSample",
    "Counts",
    "Curve",
    "CurveFit",
    "Evaluation",
    "FlipEstimate",
    "FrameInput",
    "FrameScore",
    "GateReport",
    "Limit",
    "Limits",
    "Objective",
    "ObjectiveValue",
    "Pairing",
    "Pairs",
    "RepeatEstimate",
    "ResamplingUnits",
    "ScoreReport",
    "ScoringRules",
    "Sink",
    "Speed",
    "TrialCounts",
    "ZeroPoint",
    "angle_difference",
    "apply_ignore",
    "auto_bins",
    "average_precision_of",
    "best_f1_threshold",
    "best_value",
    "bin_index",
    "bin_table",
    "choose_edges",
    "coco_precision",
    "compare",
    "compare_all",
    "comparison_sample",
    "completeness_limits",
    "count",
    "curve",
    "decide",
    "decide_speed",
    "evaluate",
    "evaluate_detector",
    "evaluate_objective",
    "f_beta",
    "f_from_counts",
    "find_candidates",
    "fit_curve",
    "fit_half",
    "fit_limits",
    "flip_estimate",
    "jeffreys",
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
    "sweep",
    "times_seen",
    "total",
    "trial_counts",
    "wilson",
    "zero_point_offset",
]
