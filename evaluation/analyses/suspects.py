"""Suspects in the truth: what all detectors are sure of and it lacks, and what none finds.

Labels are often a detector's own output or a shallower catalogue's, so that some errors are the
truth's. A suspect is for people to look at; none is ignored unless the user says so
(`skyduel.evaluation.suspect_list`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.evaluation.analyses.error_kinds import classified
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.table_columns import (
    FALSE_KINDS,
    MISSED_KINDS,
    NEVER_FOUND,
    NOT_IN_TRUTH,
    SUSPECT_COLUMNS,
)

__all__ = ["SuspectCollector"]

Floats = npt.NDArray[np.float64]


#: A detector is sure of what scores as high as this share of its right detections.
_SURE: Final = 0.5
#: S/N from which an isolated truth is found by whoever looks.
_BRIGHT_SNR: Final = 10.0
#: Errors that pixels and neighbours do not explain; the others are the detectors' own.
_UNEXPLAINED: Final = ("wrong_place", "other")
#: Scores of right detections that are kept of all frames together.
_MOST_SCORES: Final = 1_000_000


@dataclass(frozen=True, eq=False)
class _Candidates:
    """What one detector says of one frame: sure false detections, and bright misses."""

    x: Floats
    y: Floats
    sky: Floats
    mag: Floats
    snr: Floats
    rank: Floats
    missed: pd.DataFrame
    fwhm: float | None


class SuspectCollector:
    """Collects the suspects of a run while its detectors are evaluated (`evaluation.Sink`).

    Parameters
    ----------
    sink : Sink
        Takes everything as well.
    rules : ScoringRules
        Their radius tells which detections of two detectors are one source.
    point : str
        The operating point that counts.
    """

    def __init__(self, sink: Any, rules: ScoringRules, point: str) -> None:
        self._sink, self._rules, self._point = sink, rules, point
        self._of: dict[str, Mapping[str, _Candidates]] = {}

    @property
    def candidates(self) -> Mapping[str, Mapping[str, Any]]:
        """What each detector said of every frame; another collector can `take` it."""
        return self._of

    def counts(self, table: pd.DataFrame) -> None:
        """Pass on rows of the table ``counts``."""
        self._sink.counts(table)

    def frames(self, detector: str, point: str, frames: Sequence[FrameScore]) -> None:
        """Take what a detector made of every frame, and pass it on."""
        self._sink.frames(detector, point, frames)
        if point == self._point:
            self._of[detector] = _candidates(frames, self._rules)

    def take(self, detector: str, candidates: Mapping[str, Any]) -> None:
        """Take what another collector's `candidates` have of a detector."""
        self._of[detector] = candidates

    def table(self) -> pd.DataFrame:
        """Return the suspects, with `SUSPECT_COLUMNS`.

        Sources that the truth lacks come first, then truths that none finds, each by S/N. Empty
        with fewer than two detectors.

        Notes
        -----
        *Not in truth*: every detector has a false detection there, one to one within the radius,
        whose score is at least the median of its right detections, and whose kind is neither
        noise nor an artefact nor at a neighbour (`error_kinds`: ``wrong_place`` or ``other``).
        *Never found*: a truth that counts, of an S/N of 10 or more, that every detector misses
        for no reason that the pixels or neighbours give.
        """
        rows: list[dict[str, Any]] = []
        if len(self._of) > 1:
            first = next(iter(self._of.values()))
            for name in first:
                on = [of[name] for of in self._of.values() if name in of]
                if len(on) == len(self._of):
                    rows += _not_in_truth(name, on, self._rules) + _never_found(name, on)
        table = pd.DataFrame(rows, columns=list(SUSPECT_COLUMNS))
        kinds: dict[str, Any] = dict.fromkeys(SUSPECT_COLUMNS[:2], object)
        kinds |= dict.fromkeys(SUSPECT_COLUMNS[3:-1], np.float64)
        kinds |= {"truth_index": np.int64, "detectors": np.int64}
        table = table.astype(kinds)
        table["_last"] = table["side"] == NEVER_FOUND
        ordered = table.sort_values(["_last", "snr"], ascending=[True, False], kind="stable")
        return ordered[list(SUSPECT_COLUMNS)].reset_index(drop=True)


def _candidates(frames: Sequence[FrameScore], rules: ScoringRules) -> dict[str, _Candidates]:
    """Return the sure false detections and the bright misses of a detector by frame."""
    right = _right_scores(frames)
    sure = float(np.quantile(right, _SURE)) if right.size else -np.inf
    false_codes = [FALSE_KINDS.index(kind) for kind in _UNEXPLAINED]
    missed_codes = [MISSED_KINDS.index(kind) for kind in _UNEXPLAINED]
    made = {}
    for score, parts in zip(frames, classified(frames, rules), strict=True):
        missed, missed_code, missed_mag, missed_snr, false, false_code, mag, snr = parts
        found, truth = score.source.found, score.source.truth
        value = found["score"][false]
        # Without scores every detection is as sure as any.
        keep = np.isin(false_code, false_codes) & ~(value < sure)
        rows = false[keep]
        bright = np.isin(missed_code, missed_codes) & (missed_snr >= _BRIGHT_SNR)
        lost = missed[bright]
        made[score.source.frame] = _Candidates(
            x=found["x"][rows],
            y=found["y"][rows],
            sky=np.column_stack([_known(found, name, rows) for name in ("ra", "dec")]),
            mag=mag[keep],
            snr=snr[keep],
            rank=np.searchsorted(right, value[keep]) / max(right.size, 1),
            missed=pd.DataFrame(
                {
                    "truth_index": lost,
                    "x": truth["x"][lost],
                    "y": truth["y"][lost],
                    "ra": _known(truth, "ra", lost),
                    "dec": _known(truth, "dec", lost),
                    "mag": missed_mag[bright],
                    "snr": missed_snr[bright],
                }
            ),
            fwhm=score.source.fwhm,
        )
    return made


def _right_scores(frames: Sequence[FrameScore]) -> Floats:
    """Return scores of right detections of all frames, sorted; of very many frames a sample."""
    each = max(4, _MOST_SCORES // max(len(frames), 1))
    parts = [np.zeros(0)]
    for score in frames:
        values = np.sort(score.source.found["score"][score.pairing.right])
        values = values[np.isfinite(values)]
        if values.size > each:
            values = values[np.linspace(0, values.size - 1, each).astype(np.int64)]
        parts.append(values)
    return np.sort(np.concatenate(parts))


def _known(catalog: Any, name: str, rows: npt.NDArray[np.int64]) -> Floats:
    if name not in catalog:
        return np.full(len(rows), np.nan)
    return np.asarray(catalog[name][rows], dtype=np.float64)


def _not_in_truth(
    frame: str, on: Sequence[_Candidates], rules: ScoringRules
) -> list[dict[str, Any]]:
    """Return the sources of a frame that all detectors are sure of."""
    base = min(on, key=lambda one: one.x.size)
    if not base.x.size:
        return []
    radius = rules.radius_for(base.fwhm)
    xy = np.column_stack([base.x, base.y])
    at = np.full((len(on), base.x.size), -1, dtype=np.int64)
    for k, one in enumerate(on):
        if one is base:
            at[k] = np.arange(base.x.size)
            continue
        pairs = pair(xy, np.column_stack([one.x, one.y]), radius)
        at[k, pairs.truth_index] = pairs.found_index
    rows = []
    for column in np.flatnonzero((at >= 0).all(axis=0)):
        of = [(one, int(at[k, column])) for k, one in enumerate(on)]
        mag, snr = (
            np.array([getattr(one, name)[row] for one, row in of]) for name in ("mag", "snr")
        )
        rows.append(
            {
                "frame": frame,
                "side": NOT_IN_TRUTH,
                "truth_index": -1,
                "x": float(np.mean([one.x[row] for one, row in of])),
                "y": float(np.mean([one.y[row] for one, row in of])),
                "ra": float(base.sky[column, 0]),
                "dec": float(base.sky[column, 1]),
                "mag": _median(mag),
                "snr": _median(snr),
                "rank": float(min(one.rank[row] for one, row in of)),
                "detectors": len(on),
            }
        )
    return rows


def _never_found(frame: str, on: Sequence[_Candidates]) -> list[dict[str, Any]]:
    """Return the bright truths of a frame that every detector misses."""
    everywhere = set.intersection(*(set(one.missed["truth_index"]) for one in on))
    mine = on[0].missed[on[0].missed["truth_index"].isin(everywhere)]
    return [
        {str(k): v for k, v in row.items()}
        | {"frame": frame, "side": NEVER_FOUND, "rank": np.nan, "detectors": len(on)}
        for row in mine.to_dict("records")
    ]


def _median(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")
