"""List of the analyses. Each is one table per operating point and group.

An analysis is a pure function of scored frames. To add one, add it to `ANALYSES`:
`evaluate_detector` calls it for every operating point and group, the
runner writes ``analyses/NAME.parquet`` and ``.csv``, and a report reads it back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from skyduel.evaluation.analyses.astrometry import ASTROMETRY_COLUMNS, astrometry_table
from skyduel.evaluation.analyses.average_precision import AP_COLUMNS, average_precision_table
from skyduel.evaluation.analyses.bin_migration import MIGRATION_COLUMNS, migration_table
from skyduel.evaluation.analyses.binned_scores import BINNED_SCORE_COLUMNS, binned_score_table
from skyduel.evaluation.analyses.chance_matches import CHANCE_COLUMNS, chance_table
from skyduel.evaluation.analyses.error_kinds import (
    ERROR_KIND_COLUMNS,
    ERROR_SOURCE_COLUMNS,
    error_kind_table,
    error_source_table,
)
from skyduel.evaluation.analyses.ideal_observer_table import IDEAL_COLUMNS, ideal_table
from skyduel.evaluation.analyses.jia2020 import JIA2020_COLUMNS, jia2020_table
from skyduel.evaluation.analyses.score_calibration import (
    CALIBRATION_ERROR_COLUMNS,
    PURITY_CHOICE_COLUMNS,
    RELIABILITY_COLUMNS,
    calibration_error_table,
    purity_choice_table,
    reliability_table,
)
from skyduel.evaluation.analyses.snr_limit import IGNORE_LIMIT_COLUMNS, ignore_limit_table
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.galaxies import GALAXY_COLUMNS, galaxy_table

__all__ = ["ANALYSES", "KEYS", "STUDIES", "STUDY_KEYS", "Analysis", "Study"]

#: Key columns before those of an analysis.
KEYS: Final = ("detector", "point", "group")
#: Key columns before those of a study.
STUDY_KEYS: Final = ("detector", "group")


@dataclass(frozen=True)
class Analysis:
    """A table of one detector at one operating point.

    Parameters
    ----------
    name : str
        Name of the table and its file.
    columns : tuple of str
        Columns of the table, without `KEYS`.
    compute : callable
        Function of the scored frames of one operating point and group (possibly
        none), the rules and the bin edges [mag]; returns the rows.
    """

    name: str
    columns: tuple[str, ...]
    compute: Callable[[Sequence[FrameScore], ScoringRules, Sequence[float]], pd.DataFrame]


ANALYSES: Final[tuple[Analysis, ...]] = (
    Analysis("chance", CHANCE_COLUMNS, chance_table),
    Analysis("jia2020", JIA2020_COLUMNS, jia2020_table),
    Analysis("ideal", IDEAL_COLUMNS, ideal_table),
    Analysis("facets", BINNED_SCORE_COLUMNS, binned_score_table),
    Analysis("galaxies", GALAXY_COLUMNS, galaxy_table),
    Analysis("migration", MIGRATION_COLUMNS, migration_table),
    Analysis("astrometry", ASTROMETRY_COLUMNS, astrometry_table),
    Analysis("mistakes", ERROR_KIND_COLUMNS, error_kind_table),
    Analysis("mistake_sources", ERROR_SOURCE_COLUMNS, error_source_table),
    Analysis("ignore_limit", IGNORE_LIMIT_COLUMNS, ignore_limit_table),
)


@dataclass(frozen=True)
class Study:
    """A table of the scores of one detector, from frames of both splits.

    Parameters
    ----------
    name : str
        Name of the table and its file.
    columns : tuple of str
        Columns of the table, without `STUDY_KEYS`.
    compute : callable
        Function of the calibration and the test frames of one group (possibly
        none) with every row of the detector's catalogues, the
        rules and the bin edges [mag]; returns the rows.
    """

    name: str
    columns: tuple[str, ...]
    compute: Callable[
        [Sequence[CandidateFrame], Sequence[CandidateFrame], ScoringRules, Sequence[float]],
        pd.DataFrame,
    ]


STUDIES: Final[tuple[Study, ...]] = (
    Study("average_precision", AP_COLUMNS, average_precision_table),
    Study("reliability", RELIABILITY_COLUMNS, reliability_table),
    Study("calibration_error", CALIBRATION_ERROR_COLUMNS, calibration_error_table),
    Study("purity_choice", PURITY_CHOICE_COLUMNS, purity_choice_table),
)
