"""List of the analyses. Each is one table per operating point and group.

An analysis is a pure function of scored frames. To add one, add it to `ANALYSES` and its columns
to `skyduel.evaluation.scoring.table_columns`: `evaluate_detector` calls it for every operating
point and group, the runner writes ``analyses/NAME.parquet`` and ``.csv``, and a report reads it
back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pandas as pd

from skyduel.evaluation.analyses.astrometry import astrometry_table
from skyduel.evaluation.analyses.average_precision import average_precision_table
from skyduel.evaluation.analyses.bin_migration import migration_table
from skyduel.evaluation.analyses.binned_scores import binned_score_table
from skyduel.evaluation.analyses.chance_matches import chance_table
from skyduel.evaluation.analyses.error_kinds import (
    error_kind_table,
    error_source_table,
)
from skyduel.evaluation.analyses.ideal_observer_table import ideal_table
from skyduel.evaluation.analyses.jia2020 import jia2020_table
from skyduel.evaluation.analyses.score_calibration import (
    calibration_error_table,
    purity_choice_table,
    reliability_table,
)
from skyduel.evaluation.analyses.snr_limit import ignore_limit_table
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.candidate_store import CandidateFrame
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.galaxies import galaxy_table

__all__ = ["ANALYSES", "STUDIES", "Analysis", "Study"]


@dataclass(frozen=True)
class Analysis:
    """A table of one detector at one operating point.

    Parameters
    ----------
    name : str
        Name of the table and its file, as in the columns of all tables.
    compute : callable
        Function of the scored frames of one operating point and group (possibly
        none), the rules and the bin edges [mag]; returns the rows.
    """

    name: str
    compute: Callable[[Sequence[FrameScore], ScoringRules, Sequence[float]], pd.DataFrame]


ANALYSES: Final[tuple[Analysis, ...]] = (
    Analysis("chance", chance_table),
    Analysis("jia2020", jia2020_table),
    Analysis("ideal", ideal_table),
    Analysis("facets", binned_score_table),
    Analysis("galaxies", galaxy_table),
    Analysis("migration", migration_table),
    Analysis("astrometry", astrometry_table),
    Analysis("mistakes", error_kind_table),
    Analysis("mistake_sources", error_source_table),
    Analysis("ignore_limit", ignore_limit_table),
)


@dataclass(frozen=True)
class Study:
    """A table of the scores of one detector, from frames of both splits.

    Parameters
    ----------
    name : str
        Name of the table and its file, as in the columns of all tables.
    compute : callable
        Function of the calibration and the test frames of one group (possibly
        none) with every row of the detector's catalogues, the
        rules and the bin edges [mag]; returns the rows.
    """

    name: str
    compute: Callable[
        [Sequence[CandidateFrame], Sequence[CandidateFrame], ScoringRules, Sequence[float]],
        pd.DataFrame,
    ]


STUDIES: Final[tuple[Study, ...]] = (
    Study("average_precision", average_precision_table),
    Study("reliability", reliability_table),
    Study("calibration_error", calibration_error_table),
    Study("purity_choice", purity_choice_table),
)
