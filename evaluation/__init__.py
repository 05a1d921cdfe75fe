"""Scores of detections against a truth: matching, counts, scores, limits and comparisons.

The runner calls this package once for every detector. For every frame it passes the truth,
with ignored sources marked, and all detections that the detector returned::

    truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), rules)
    found = mark_ignored_regions(found, frame.shape, frame.bad, rules)
    source = FrameInput(
        frame=frame.name, truth=truth, found=found, mpix=usable_pixels / 1e6,
        group="field", split="test", fwhm=frame.fwhm,
    )
    result = evaluate({"sep": [source, ...]}, rules, default_thresholds={"sep": 4.5})

``result.counts``, ``.scores``, ``.sweep`` and ``.limits`` are the tables of a run folder.
``result.calibrated["sep"]`` is the threshold chosen on the calibration split.
``result.frames["sep", "default"]`` holds a `FrameScore` for each frame of the test split, and
its ``pairing.to_table()`` is the table of pairs. Detectors can also be evaluated one by one,
in separate processes, with `choose_edges`, `evaluate_detector` and `merge`.

`score_catalogs` scores two catalogues without a run. `pair` matches two sets of positions.
The scores themselves are the rows of `METRICS`. Everything else is imported from its module.
"""

from skyduel.evaluation.comparison.compare import compare_all
from skyduel.evaluation.comparison.gate import Allowance, GateReport, decide, parse_allowances
from skyduel.evaluation.evaluate_detectors import Evaluation, evaluate, evaluate_detector, merge
from skyduel.evaluation.matching.matching import Pairing, Pairs, pair, pair_catalogs
from skyduel.evaluation.matching.on_sky import pair_sky
from skyduel.evaluation.rules import ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.evaluation.score_two_catalogs import ScoreReport, score_catalogs
from skyduel.evaluation.scoring.frame_score import FrameInput, FrameScore, choose_edges, score_frame
from skyduel.evaluation.scoring.metrics import METRICS, Metric
from skyduel.evaluation.scoring.scores import score_table
from skyduel.evaluation.statistics.intervals import wilson
from skyduel.evaluation.table_keys import POINTS
from skyduel.evaluation.truth_free import (
    FlipEstimate,
    RepeatEstimate,
    flip_estimate,
    repeat_estimate,
)

__all__ = [
    "METRICS",
    "POINTS",
    "Allowance",
    "Evaluation",
    "FlipEstimate",
    "FrameInput",
    "FrameScore",
    "GateReport",
    "Metric",
    "Pairing",
    "Pairs",
    "RepeatEstimate",
    "ScoreReport",
    "ScoringRules",
    "apply_ignore",
    "choose_edges",
    "compare_all",
    "decide",
    "evaluate",
    "evaluate_detector",
    "flip_estimate",
    "mark_ignored_regions",
    "merge",
    "pair",
    "pair_catalogs",
    "pair_sky",
    "parse_allowances",
    "repeat_estimate",
    "score_catalogs",
    "score_frame",
    "score_table",
    "wilson",
]
