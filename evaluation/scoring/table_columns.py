"""Columns of every result table, and the kinds of error and of suspect in them.

What reads finished tables needs these names and none of the code that computes the tables, which
takes seconds to load. So they are here, and the modules that compute a table import its columns.
Type, unit and meaning of a column are in `skyduel.run_folder.columns`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from skyduel.evaluation.scoring.metrics import listed

__all__ = [
    "ANALYSIS_COLUMNS",
    "ANALYSIS_KEYS",
    "AP_COLUMNS",
    "ASTROMETRY_COLUMNS",
    "BINNED_SCORE_COLUMNS",
    "CALIBRATION_ERROR_COLUMNS",
    "CHANCE_COLUMNS",
    "COMPARISON_COLUMNS",
    "COUNTS_COLUMNS",
    "COUNT_COLUMNS",
    "ERROR_KIND_COLUMNS",
    "ERROR_SOURCE_COLUMNS",
    "FALSE_KINDS",
    "GALAXY_COLUMNS",
    "IDEAL_COLUMNS",
    "IGNORE_LIMIT_COLUMNS",
    "JIA2020_COLUMNS",
    "LIMITS_COLUMNS",
    "MIGRATION_COLUMNS",
    "MISSED_KINDS",
    "NEVER_FOUND",
    "NOT_IN_TRUTH",
    "PURITY_CHOICE_COLUMNS",
    "RELIABILITY_COLUMNS",
    "SCORES_COLUMNS",
    "SUSPECTS_IGNORED_COLUMNS",
    "SUSPECT_COLUMNS",
    "sweep_columns",
]

#: The integers of the ``counts`` table, in its order.
COUNT_COLUMNS: Final = (
    "truths", "truths_found", "detections", "detections_right", "truths_ignored",
    "detections_ignored", "duplicates",
)  # fmt: skip
COUNTS_COLUMNS: Final = (
    "detector", "point", "frame", "group", "bin", "bin_lo", "bin_hi", *COUNT_COLUMNS,
)  # fmt: skip
SCORES_COLUMNS: Final = (
    "detector", "point", "group", "bin", "bin_lo", "bin_hi", "quantity",
    "value", "lo", "hi", "n", "k", "interval", "n_frames",
)  # fmt: skip
LIMITS_COLUMNS: Final = (
    "detector", "point", "group", "threshold", "purity", "completeness", "false_per_mpix",
    "snr50", "snr50_lo", "snr50_hi", "m50", "m50_lo", "m50_hi", "n_truths", "n_frames",
    "snr90", "snr90_lo", "snr90_hi", "m90", "m90_lo", "m90_hi",
    "width_mag", "width_mag_lo", "width_mag_hi", "floor", "ceiling",
)  # fmt: skip
COMPARISON_COLUMNS: Final = (
    "detector_a", "detector_b", "point", "group", "bin", "bin_lo", "bin_hi", "quantity",
    "value_a", "value_b", "delta", "lo", "hi", "n_both", "n_a_only", "n_b_only", "n_neither",
    "p", "p_holm", "interval", "n_frames",
)  # fmt: skip

SUSPECT_COLUMNS: Final = (
    "frame", "side", "truth_index", "x", "y", "ra", "dec", "mag", "snr", "rank", "detectors",
)  # fmt: skip
#: Sides of a suspect: a detection, and a truth.
NOT_IN_TRUTH: Final = "not in truth"
NEVER_FOUND: Final = "never found"
SUSPECTS_IGNORED_COLUMNS: Final = (
    "detector", "point", "quantity", "ignored", "counted", "truths", "detections",
)  # fmt: skip

#: Kinds of a missed truth, in the order in which their rules are applied.
MISSED_KINDS: Final = (
    "faint", "blended", "halo", "edge", "artefact", "wrong_place", "wrong_kind", "other",
)  # fmt: skip
#: Kinds of a false detection, in the order in which their rules are applied.
FALSE_KINDS: Final = (
    "streak_fragment", "split", "bad_line", "cosmic_ray", "wrong_kind", "wrong_place",
    "spike", "halo", "edge", "noise", "other",
)  # fmt: skip

CHANCE_COLUMNS: Final = (
    "shifts", "n_frames", "truths", "pairs", "chance_pairs", "chance_lo", "chance_hi",
    "chance_share", "share_lo", "share_hi",
)  # fmt: skip
JIA2020_COLUMNS: Final = (
    "bin", "bin_lo", "bin_hi", "mag_plotted", "quantity", "value", "network", "sextractor",
    "truths", "n_frames",
)  # fmt: skip
IDEAL_COLUMNS: Final = (
    "match", "bin", "bin_lo", "bin_hi", "threshold", "false_per_mpix", "purity", "n", "ideal",
    "tail", "found", "found_lo", "found_hi", "snr50_ideal", "m50_ideal", "snr50",
    "distance_mag", "distance_lo", "distance_hi", "beats", "n_frames",
)  # fmt: skip
BINNED_SCORE_COLUMNS: Final = (
    "facet", "bin", "bin_lo", "bin_hi", "label", "unit", "quantity", "value", "lo", "hi",
    "n", "k", "n_frames",
)  # fmt: skip
GALAXY_COLUMNS: Final = (
    "kind", "size_bin", "size_lo", "size_hi", "bin", "bin_lo", "bin_hi", "value", "lo", "hi", "n",
    "k", "told", "told_right", "told_share", "told_lo", "told_hi", "n_frames",
)  # fmt: skip
MIGRATION_COLUMNS: Final = (
    "true_bin", "true_lo", "true_hi", "measured_bin", "measured_lo", "measured_hi", "n",
)  # fmt: skip
ASTROMETRY_COLUMNS: Final = (
    "quantity", "unit", "by", "bin", "bin_lo", "bin_hi", "n", "bias", "scatter", "rms",
)  # fmt: skip
ERROR_KIND_COLUMNS: Final = ("side", "kind", "bin", "bin_lo", "bin_hi", "n", "share", "lo", "hi")
ERROR_SOURCE_COLUMNS: Final = (
    "frame", "side", "kind", "truth_index", "found_index", "x", "y", "mag", "snr", "score",
)  # fmt: skip
IGNORE_LIMIT_COLUMNS: Final = (
    "min_snr", "truths", "truths_found", "truths_ignored", "detections", "detections_right",
    "detections_ignored", *(m.name for m in listed("brief")),
)  # fmt: skip
AP_COLUMNS: Final = ("method", "kind", "value", "truths", "detections", "n_frames")
RELIABILITY_COLUMNS: Final = (
    "score_is", "binning", "bin", "bin_lo", "bin_hi", "score_bin", "score_lo", "score_hi",
    "predicted", "right", "lo", "hi", "n", "k",
)  # fmt: skip
CALIBRATION_ERROR_COLUMNS: Final = (
    "score_is", "bin", "bin_lo", "bin_hi", "n", "k", "predicted", "right", "ece", "ece_chance",
    "ece_equal_count", "ece_equal_count_chance", "brier", "n_unscored",
)  # fmt: skip
PURITY_CHOICE_COLUMNS: Final = (
    "wanted", "chosen_by", "threshold", "purity_chosen", "n_chosen", "purity", "lo", "hi", "n", "k",
    "completeness", "completeness_lo", "completeness_hi", "truths", "truths_found",
)  # fmt: skip

#: Key columns before those of an analysis, and before those of a study of all points together.
ANALYSIS_KEYS: Final = ("detector", "point", "group")
_STUDY_KEYS: Final = ("detector", "group")

#: Columns of the analyses' tables by name, their keys first, in the order of
#: `skyduel.evaluation.analyses.all_analyses`.
ANALYSIS_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "chance": (*ANALYSIS_KEYS, *CHANCE_COLUMNS),
        "jia2020": (*ANALYSIS_KEYS, *JIA2020_COLUMNS),
        "ideal": (*ANALYSIS_KEYS, *IDEAL_COLUMNS),
        "facets": (*ANALYSIS_KEYS, *BINNED_SCORE_COLUMNS),
        "galaxies": (*ANALYSIS_KEYS, *GALAXY_COLUMNS),
        "migration": (*ANALYSIS_KEYS, *MIGRATION_COLUMNS),
        "astrometry": (*ANALYSIS_KEYS, *ASTROMETRY_COLUMNS),
        "mistakes": (*ANALYSIS_KEYS, *ERROR_KIND_COLUMNS),
        "mistake_sources": (*ANALYSIS_KEYS, *ERROR_SOURCE_COLUMNS),
        "ignore_limit": (*ANALYSIS_KEYS, *IGNORE_LIMIT_COLUMNS),
        "average_precision": (*_STUDY_KEYS, *AP_COLUMNS),
        "reliability": (*_STUDY_KEYS, *RELIABILITY_COLUMNS),
        "calibration_error": (*_STUDY_KEYS, *CALIBRATION_ERROR_COLUMNS),
        "purity_choice": (*_STUDY_KEYS, *PURITY_CHOICE_COLUMNS),
    }
)


def sweep_columns() -> tuple[str, ...]:
    """Return the columns of the table ``sweep``, the metrics that are swept last."""
    return (
        "detector", "group", "threshold", "truths", "truths_found", "detections",
        "detections_right", *(m.name for m in listed("swept")),
    )  # fmt: skip
