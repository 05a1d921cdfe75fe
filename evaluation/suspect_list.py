"""A list of suspects in the truth that a user reviewed, and the scores with and without them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from astropy.table import Table, vstack

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.io.tables import read_catalog
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameInput, score_frame
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.table_columns import (
    COUNT_COLUMNS,
    NEVER_FOUND,
    NOT_IN_TRUTH,
    SUSPECTS_IGNORED_COLUMNS,
)

__all__ = [
    "SuspectList",
    "counted_scores",
    "counting_suspects",
    "ignored_lines",
    "mark_suspects",
    "n_suspects",
    "read_suspects",
]

#: Values of the truth's column ``suspect``: a row of the truth, and a row that was added.
_TRUTH, _ADDED = 1, 2


@dataclass(frozen=True, eq=False)
class SuspectList:
    """Suspects that are to be ignored.

    Parameters
    ----------
    source : str
        The file.
    rows : mapping of str to Catalog
        By the name of the frame: positions, and ``side`` as in ``analyses/suspects``.
    sha256 : str
        Of the file's content.
    """

    source: str
    rows: Mapping[str, Catalog]
    sha256: str

    def __len__(self) -> int:
        return sum(len(rows) for rows in self.rows.values())

    def of(self, frame: str) -> Catalog | None:
        """Return the suspects of a frame, None without any."""
        return self.rows.get(frame)


def read_suspects(path: str | os.PathLike[str]) -> SuspectList:
    """Read a list of suspects, ``analyses/suspects.csv`` of a run after a review.

    Parameters
    ----------
    path : path
        A table with the columns ``frame``, ``side``, ``x`` and ``y``. Of a column ``ignore``, if
        there is one, rows without it are left out.

    Raises
    ------
    BadInputError
        If the file cannot be read, lacks a column, or names another side.
    """
    catalog = read_catalog(path)
    for name in ("frame", "side"):
        if name not in catalog:
            raise BadInputError(
                str(path), f"a column {name!r}, as analyses/suspects.csv of a run has it",
                f"columns {', '.join(catalog.table.colnames)}",
            )  # fmt: skip
    frames, sides = (np.asarray(catalog[name]).astype(str) for name in ("frame", "side"))
    unknown = sorted(set(sides) - {NOT_IN_TRUTH, NEVER_FOUND})
    if unknown:
        raise BadInputError(
            str(path), f"side {NOT_IN_TRUTH!r} or {NEVER_FOUND!r}", repr(unknown[0])
        )
    wanted = catalog["ignore"] if "ignore" in catalog else np.ones(len(catalog), dtype=bool)
    rows = {
        name: catalog.select(np.flatnonzero((frames == name) & wanted))
        for name in dict.fromkeys(frames[wanted].tolist())
    }
    return SuspectList(str(path), rows, hashlib.sha256(Path(path).read_bytes()).hexdigest())


def mark_suspects(truth: Catalog, suspects: Catalog | None, radius_px: float) -> Catalog:
    """Return a truth in which listed suspects are marked, for `apply_ignore`.

    Parameters
    ----------
    truth : Catalog
        Of one frame, before any rule was applied.
    suspects : Catalog or None
        Of the same frame.
    radius_px : float
        A truth that was never found lies within this distance of its row in the list [px].

    Returns
    -------
    Catalog
        With a column ``suspect``: 1 for truths that were never found, 2 for rows added at the
        places that the truth lacks, which excuse the detections there; 0 elsewhere.

    Raises
    ------
    BadInputError
        If no truth lies at a row that says so: the list is of another truth.
    """
    if suspects is None or not len(suspects):
        return truth
    side = np.asarray(suspects["side"]).astype(str)
    lost, lacking = np.flatnonzero(side == NEVER_FOUND), np.flatnonzero(side == NOT_IN_TRUTH)
    marked = np.zeros(len(truth), dtype=np.int64)
    pairs = pair(truth.xy, suspects.xy[lost], radius_px)
    if len(pairs) < len(lost):
        raise BadInputError(
            suspects.source, f"a truth within {radius_px:g} px of every row {NEVER_FOUND!r}",
            f"none at {len(lost) - len(pairs)} of {len(lost)} ({truth.source})",
        )  # fmt: skip
    marked[pairs.truth_index] = _TRUTH
    whole = truth.with_columns(suspect=marked)
    if not lacking.size:
        return whole
    more = Table({name: suspects[name][lacking] for name in ("x", "y", "mag")})
    more["suspect"] = np.full(lacking.size, _ADDED)
    for name in ("ra", "dec", "snr"):
        if name in truth:
            known = suspects[name] if name in suspects and name != "snr" else None
            more[name] = np.full(lacking.size, np.nan) if known is None else known[lacking]
    plain = Table(whole.table, copy=False)
    for name in plain.colnames:
        plain[name].description = None
    joined = vstack([plain, more], metadata_conflicts="silent")
    joined.meta.update(truth.table.meta)
    return Catalog(joined, truth.source)


def n_suspects(truth: Catalog) -> tuple[int, int]:
    """Return how many truths are ignored as suspects alone, and how many places were added."""
    if "suspect" not in truth:
        return 0, 0
    reason = np.asarray(truth["ignore_reason"]).astype(str) == "suspect"
    kind = np.asarray(truth["suspect"])
    return int((reason & (kind == _TRUTH)).sum()), int((reason & (kind == _ADDED)).sum())


def counting_suspects(truth: Catalog) -> Catalog:
    """Return a truth as it would be without the list: suspects count, added rows are gone.

    Parameters
    ----------
    truth : Catalog
        As `mark_suspects` and then `apply_ignore` made it.
    """
    if "suspect" not in truth:
        return truth
    reason = np.asarray(truth["ignore_reason"]).astype(str)
    ignore = np.asarray(truth["ignore"]) & (reason != "suspect")
    whole = truth.with_columns(ignore=ignore, ignore_reason=np.where(ignore, reason, ""))
    return whole.select(np.asarray(truth["suspect"]) != _ADDED)


def counted_scores(
    detector: str,
    frames: Sequence[FrameInput],
    thresholds: Mapping[str, float | None],
    rules: ScoringRules,
    edges: Sequence[float],
) -> pd.DataFrame:
    """Return a detector's scores with suspects ignored and with them counted.

    Parameters
    ----------
    detector : str
        Its name.
    frames : sequence of FrameInput
        The test frames, suspects marked and ignored.
    thresholds : mapping of str to float or None
        By operating point; a frame's own cuts stand above them.
    rules, edges
        As for `score_frame`.

    Returns
    -------
    DataFrame
        With `SUSPECTS_IGNORED_COLUMNS`, over all frames and magnitudes.
    """
    rows: list[dict[str, Any]] = []
    n = np.sum([n_suspects(frame.truth) for frame in frames], axis=0, initial=0)
    for point, threshold in thresholds.items():
        with_list, without = (
            _scores(frames, point, threshold, rules, edges, counted=counted)
            for counted in (False, True)
        )
        rows += [
            {
                "detector": detector, "point": point, "quantity": name, "ignored": with_list[name],
                "counted": without[name], "truths": int(n[0]), "detections": int(n[1]),
            }
            for name in with_list
        ]  # fmt: skip
    return pd.DataFrame(rows, columns=list(SUSPECTS_IGNORED_COLUMNS))


def ignored_lines(suspects: SuspectList | None, table: pd.DataFrame) -> list[str]:
    """Return one line on the suspects that are ignored, and what the scores are with them.

    Parameters
    ----------
    suspects : SuspectList or None
        None: nothing is ignored, and nothing said.
    table : DataFrame
        Of `counted_scores`, of all detectors.
    """
    if suspects is None or not len(table):
        return []
    n_truths, n_places = (int(table[name].iloc[0]) for name in ("truths", "detections"))
    f1 = table[table["quantity"] == "f1"]
    each = [
        f"{row.detector} ({row.point}) {row.ignored:.3f}, counted {row.counted:.3f}"
        for row in f1.itertuples()
    ]
    places = "place" if n_places == 1 else "places"
    truths = "truth" if n_truths == 1 else "truths"
    return [
        f"suspects of {suspects.source} are ignored as asked for: {n_truths} {truths} that no "
        f"detector found, {n_places} {places} that the truth lacks; F1 of {'; of '.join(each)}"
    ]


def _scores(
    frames: Sequence[FrameInput],
    point: str,
    threshold: float | None,
    rules: ScoringRules,
    edges: Sequence[float],
    *,
    counted: bool,
) -> dict[str, float]:
    sums = dict.fromkeys(COUNT_COLUMNS, 0)
    for frame in frames:
        truth = counting_suspects(frame.truth) if counted else frame.truth
        cut = frame.cuts.get(point, threshold)
        made = score_frame(replace(frame, truth=truth), rules, edges, threshold=cut)
        for name, value in made.counts.sums().items():
            sums[name] += value
    completeness = float(ratio(sums["truths_found"], sums["truths"]))
    purity = float(ratio(sums["detections_right"], sums["detections"]))
    whole: npt.ArrayLike = sums["truths"] + sums["detections"]
    f1 = float(ratio(sums["truths_found"] + sums["detections_right"], whole))
    return {"completeness": completeness, "purity": purity, "f1": f1}
