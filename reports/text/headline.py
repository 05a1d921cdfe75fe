"""The one sentence that answers a run: the page, the Markdown and the terminal open with it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.comparison.headline import rests_on
from skyduel.evaluation.number_text import format_number
from skyduel.evaluation.scoring.metrics import HEADLINE, quantity_named
from skyduel.reports.figures.differences import ALPHA, overall_rows
from skyduel.reports.style import shorten
from skyduel.reports.tables.run_tables import and_list
from skyduel.reports.tables.slivers import Sliver, limits_told, sliver
from skyduel.reports.text.pitfalls import repeats
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = ["headline", "pair_statement"]

_PURITY: Final = f"{100 * NOMINAL_PURITY:g} % purity"
_WHERE: Final = {
    DEFAULT_POINT: "at their own thresholds",
    CALIBRATED_POINT: "at their calibrated thresholds",
    EQUAL_PURITY_POINT: f"at {_PURITY}",
}


@lru_cache(maxsize=4)
def headline(run: Run) -> str:
    """Return the answer of a run in one sentence.

    Compared are the two detectors of highest overall F1. The sentence states the difference of
    their limits m50 at equal purity where that operating point keeps more than a sliver of
    both catalogues in at least half of the groups; else the difference of F1 at the headline
    point. Where false detections repeat at the same pixels of frames of different pointings,
    it states that instead: no score of such frames compares detectors.
    """
    leaders = _two_best(run)
    if not leaders:
        return "No score is defined in this run."
    hot = [r for r in repeats(run) if not r.same_pointing]
    if hot:
        worst = max(hot, key=lambda r: r.share)
        return (
            f"The frames look uncalibrated: {100 * worst.share:.0f} % of the false detections of "
            f"{shorten(worst.detector)} stand at the same pixels from frame to frame, so no "
            "difference between detectors is stated before the dark is subtracted, as by "
            "`skyduel calibrate`."
        )
    if len(leaders) == 1:
        return _alone(run, leaders[0])
    a, b = leaders
    if _tells(run, a, b, EQUAL_PURITY_POINT, "m50"):
        return pair_statement(run, a, b, EQUAL_PURITY_POINT, "m50")
    cut = sliver(run, EQUAL_PURITY_POINT, ALL_GROUPS, (a, b))
    why = f" ({_keeps(cut)})" if cut else ""
    if _tells(run, a, b, run.headline_point, HEADLINE):
        return pair_statement(run, a, b, run.headline_point, HEADLINE, note=why)
    where = _WHERE.get(run.headline_point, f"at {run.headline_point}")
    scores = [f"{shorten(d)} {format_number(_f1(run)[d], 3)}" for d in leaders]
    return (
        f"F1 {where} over {_n_frames(run)}: {' and '.join(scores)}; the run has no interval for "
        f"the difference{why}."
    )


def pair_statement(run: Run, a: str, b: str, point: str, quantity: str, *, note: str = "") -> str:
    """Return a sentence on the difference between two detectors, by groups.

    A difference in a group is stated where it is shown after Holm's correction, with the number
    of frames that it rests on; one frame alone tells of itself only. A group where
    the operating point keeps a sliver of a catalogue has no number.
    """
    rows = _rows(run, a, b, point, quantity)
    overall = rows.get(ALL_GROUPS)
    groups = [g for g in run.groups if g in rows] if len(run.groups) > 1 else []
    cut = {g: s for g in groups if (s := sliver(run, point, g, (a, b)))}
    told = {g: rows[g] for g in groups if g not in cut and _decided(rows[g])}
    shown = {g: r for g, r in told.items() if r["p_holm"] < ALPHA}
    where = _WHERE.get(point, f"at {point}")
    clauses = []
    for better, worse, sign in ((a, b, 1), (b, a, -1)):
        mine = {g: r for g, r in shown.items() if sign * r["delta"] > 0}
        if mine:
            in_groups = [f"{_amount(r, sign)} on {_named(g, r)}" for g, r in mine.items()]
            clauses.append(_claim(better, worse, quantity, and_list(in_groups), f" {where}"))
    whole_cut = sliver(run, point, ALL_GROUPS, (a, b))
    sure = overall is not None and _decided(overall) and whole_cut is None
    if shown and len(shown) + len(cut) < len(groups):
        clauses.append(f"elsewhere no difference is shown ({_n_frames(run)} in all)")
    elif not shown and overall is not None and sure and overall["p"] < ALPHA:
        sign = 1 if overall["delta"] > 0 else -1
        better, worse = (a, b) if sign > 0 else (b, a)
        rests = rests_on(int(overall["n_frames"]), str(overall["interval"]))
        amount = f"{_amount(overall, sign)} {rests}"
        clauses.append(_claim(better, worse, quantity, amount, f" {where}"))
    elif not shown:
        seen = f" ({_signed(overall, quantity)})" if overall is not None and sure else ""
        seen = seen or f" over {_n_frames(run)}"
        clauses.append(
            f"No difference between {shorten(a)} and {shorten(b)} is shown {where}{seen}"
        )
    for g, s in cut.items():
        clauses.append(f"on {shorten(g)} frames {_keeps(s)}")
    said = "; ".join(clauses) + note
    return f"{said[0].upper() if said.startswith('no ') else said[0]}{said[1:]}."


def _claim(better: str, worse: str, quantity: str, amount: str, where: str) -> str:
    if quantity == "m50":
        # "0.35 mag [0.15, 0.56] on dirty frames": the comparison stands after the first number.
        first, closed, rest = amount.partition("]")
        return (
            f"{shorten(better)} finds sources {first}{closed} fainter than {shorten(worse)}"
            f"{where}{rest}"
        )
    first, closed, rest = amount.partition("]")
    name = quantity_named(quantity).short
    return (
        f"{shorten(better)} has a higher {name} than {shorten(worse)} by {first}{closed}"
        f"{where}{rest}"
    )


def _amount(row: dict[Any, Any], sign: int) -> str:
    of = quantity_named(str(row["quantity"]))
    lo, hi = of.within(*sorted((sign * float(row["lo"]), sign * float(row["hi"]))))
    ends = f"[{format_number(lo, of.digits)}, {format_number(hi, of.digits)}]"
    return f"{format_number(abs(float(row['delta'])), of.digits)}{of.unit} {ends}"


def _signed(row: dict[Any, Any], quantity: str) -> str:
    of = quantity_named(quantity)
    ends = of.within(float(row["lo"]), float(row["hi"]))
    values = [format_number(v, of.digits) for v in (float(row["delta"]), *ends)]
    rests = rests_on(int(row["n_frames"]), str(row["interval"]))
    return f"Δ{of.short} = {values[0]}{of.unit} [{values[1]}, {values[2]}] {rests}"


def _named(group: str, row: dict[Any, Any]) -> str:
    """Return the frames of a group in words: ``4 dirty frames``."""
    n = int(row["n_frames"])
    if n == 1:  # resampled in parts, see `rests_on`
        return f"the one {shorten(group)} frame"
    return f"{n} {shorten(group)} frames"


def _n_frames(run: Run) -> str:
    n = len(run.scored_frames)
    return f"{n} frame{'' if n == 1 else 's'}"


def _keeps(cut: Sliver) -> str:
    if cut.point == EQUAL_PURITY_POINT and not cut.found:
        return f"{shorten(cut.detector)} never reaches {_PURITY}"
    what = f"{_PURITY} leaves" if cut.point == EQUAL_PURITY_POINT else "the threshold leaves"
    return f"{what} {shorten(cut.detector)} only {cut.found} of {cut.truths} sources"


def _rows(run: Run, a: str, b: str, point: str, quantity: str) -> dict[str, dict[Any, Any]]:
    """Return the differences A − B of a pair by group, whatever its order in the table."""
    if not len(run.comparisons):
        return {}
    rows: pd.DataFrame = overall_rows(run.comparisons, point)
    rows = rows[rows["quantity"] == quantity]
    out = {}
    for row in rows.to_dict("records"):
        if (row["detector_a"], row["detector_b"]) == (b, a):
            row = {**row, "delta": -row["delta"], "lo": -row["hi"], "hi": -row["lo"]}
        elif (row["detector_a"], row["detector_b"]) != (a, b):
            continue
        out[str(row["group"])] = row
    return out


def _decided(row: dict[Any, Any]) -> bool:
    """Return whether a difference has an interval that is more than one value."""
    ends = np.asarray([row["delta"], row["lo"], row["hi"], row["p"]], dtype=float)
    return bool(np.isfinite(ends).all() and row["hi"] > row["lo"])


def _tells(run: Run, a: str, b: str, point: str, quantity: str) -> bool:
    """Return whether a point compares two detectors over all frames or in half of the groups."""
    rows = _rows(run, a, b, point, quantity)
    there = {g for g, r in rows.items() if _decided(r) and not sliver(run, point, g, (a, b))}
    if len(run.groups) < 2:
        return ALL_GROUPS in there
    return 2 * len(there - {ALL_GROUPS}) >= len(run.groups)


def _f1(run: Run) -> dict[str, float]:
    s = run.scores
    rows = s[
        (s["quantity"] == HEADLINE)
        & (s["group"] == ALL_GROUPS)
        & (s["bin"] == ALL_BINS)
        & (s["point"] == run.headline_point)
    ]
    return {str(d): float(v) for d, v in zip(rows["detector"], rows["value"], strict=True)}


def _two_best(run: Run) -> tuple[str, ...]:
    value = {d: v for d, v in _f1(run).items() if np.isfinite(v)}
    order = sorted((d for d in run.detectors if d in value), key=lambda d: -value[d])
    return tuple(order[:2])


def _alone(run: Run, detector: str) -> str:
    limits = limits_told(run)
    rows = limits[
        (limits["detector"] == detector)
        & (limits["group"] == ALL_GROUPS)
        & (limits["point"] == EQUAL_PURITY_POINT)
    ]
    f1 = format_number(_f1(run)[detector], 3)
    said = f"{shorten(detector)} has an F1 of {f1} over {_n_frames(run)}"
    if len(rows) and np.isfinite(rows["m50"].iloc[0]):
        m50 = format_number(float(rows["m50"].iloc[0]), 2)
        said += f" and finds half of the sources down to magnitude {m50} at {_PURITY}"
    return f"{said}; there is no other detector to compare."
