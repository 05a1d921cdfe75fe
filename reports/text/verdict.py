"""The verdict on a run in sentences, by rules that the page states.

The rules favour no detector: detectors are ranked by value, and a difference
is called clear only if the two intervals do not overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pandas as pd

from skyduel.core.errors import takes
from skyduel.evaluation.number_text import format_number
from skyduel.evaluation.scoring.metrics import HEADLINE, Metric, listed
from skyduel.evaluation.table_keys import FEW_FRAMES, FEWEST_FOR_PERCENTILES, range_label
from skyduel.reports.style import point_name, shorten
from skyduel.reports.tables.run_tables import Cell, Table, text
from skyduel.reports.tables.slivers import limits_told
from skyduel.reports.text.paired_sentences import PAIRED_RULE, paired_sentences
from skyduel.reports.text.pitfalls import pitfall_sentences
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    COMPLETE,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = [
    "RULES",
    "RankedDetector",
    "Ranking",
    "VerdictPart",
    "cautions",
    "confidence",
    "leaders_table",
    "rank",
    "ranking_sentence",
    "rules",
    "verdict",
]

#: Rules by which the verdict follows from the tables.
RULES: Final = (
    "Detectors are ranked by the value in the table of scores, or of limits; equal values share "
    "the first place.",
    "“Intervals apart” means that the intervals of the first and of the other detector have no "
    "value in common. Otherwise they “overlap”, and this run does not settle which is better.",
    "All detectors saw the same frames, so paired differences can settle what separate intervals "
    "cannot. Overlapping intervals do not show equality.",
    "An undefined value (NaN, nothing to divide by) has no rank.",
)


def _main_scores() -> list[Metric]:
    """Return the main scores, the headline first."""
    return sorted(listed("brief"), key=lambda m: m.name != HEADLINE)


@dataclass(frozen=True)
class RankedDetector:
    """One detector in a ranking; `apart`: its interval does not overlap the first one's."""

    detector: str
    value: float
    lo: float
    hi: float
    apart: bool | None


@dataclass(frozen=True)
class Ranking:
    """Detectors from best to worst by one value, and those where it is undefined."""

    ranked: tuple[RankedDetector, ...]
    undefined: tuple[str, ...]

    @property
    def leaders(self) -> tuple[str, ...]:
        """The detectors with the best value; none if the value is undefined for all."""
        return tuple(s.detector for s in self.ranked if s.value == self.ranked[0].value)

    @property
    def clear(self) -> bool:
        """True if one detector is first and no other interval overlaps its own."""
        rest = self.ranked[1:]
        return len(self.leaders) == 1 and bool(rest) and all(s.apart for s in rest)


@dataclass(frozen=True)
class VerdictPart:
    """A heading of the verdict and its sentences."""

    title: str
    sentences: tuple[str, ...]


def rank(table: pd.DataFrame, value: str = "value", *, higher: bool = True) -> Ranking:
    """Return the ranking of a table's detectors.

    Parameters
    ----------
    table : DataFrame
        One row a detector: `detector`, `value` and its interval. The interval
        of ``value`` is `lo` and `hi`; that of another column ``c`` is `c_lo`
        and `c_hi`.
    value : str
        The column to rank by.
    higher : bool
        Whether a larger value is better.

    Returns
    -------
    Ranking
        Ties stay in the table's order. `apart` is None for the first, and
        where either interval is undefined.
    """
    lo, hi = ("lo", "hi") if value == "value" else (f"{value}_lo", f"{value}_hi")
    rows = [
        (str(r["detector"]), float(r[value]), float(r[lo]), float(r[hi]))
        for r in table.to_dict("records")
    ]
    defined = sorted(
        (r for r in rows if np.isfinite(r[1])), key=lambda r: -r[1] if higher else r[1]
    )
    undefined = tuple(r[0] for r in rows if not np.isfinite(r[1]))
    if not defined:
        return Ranking((), undefined)
    _, _, first_lo, first_hi = defined[0]
    ranked = []
    for i, (detector, v, low, high) in enumerate(defined):
        known = np.isfinite([low, high, first_lo, first_hi]).all()
        apart = bool(high < first_lo or low > first_hi) if i and known else None
        ranked.append(RankedDetector(detector, v, low, high, apart))
    return Ranking(tuple(ranked), undefined)


def ranking_sentence(ranking: Ranking, what: str, digits: int = 3) -> str:
    """Return a ranking as a sentence; `what` is for instance ``Highest F1``."""
    if not ranking.ranked:
        return f"{what}: undefined for every detector."
    n_first = len(ranking.leaders)
    first = [_worded(s, digits) for s in ranking.ranked[:n_first]]
    text = f"{what}: {' and '.join(first)}" + (" (equal)" if n_first > 1 else "") + "."
    rest = [f"{_worded(s, digits)} ({_apart(s.apart)})" for s in ranking.ranked[n_first:]]
    if rest:
        text += f" Then {'; '.join(rest)}."
    if ranking.undefined:
        text += f" Undefined: {', '.join(map(shorten, ranking.undefined))}."
    return text


@takes(run=Run)
@lru_cache(maxsize=4)
def verdict(run: Run) -> tuple[VerdictPart, ...]:
    """Return the verdict on a run, the headline first.

    The headline is the overall F1 at the calibrated operating point, or at
    the default one where the set had no calibration split; then the limits at
    equal purity, and every score overall. Who leads where is `leaders_table`.
    """
    if len(run.detectors) < 2:
        only = ", ".join(map(shorten, run.detectors)) or "none"
        return (VerdictPart("Verdict", (f"Detectors in this run: {only}. Nothing to compare.",)),)
    points = [p for p in run.points if p in {CALIBRATED_POINT, DEFAULT_POINT}] or list(
        run.points[:1]
    )
    points.sort(key=lambda p: p != CALIBRATED_POINT)
    sections: list[VerdictPart] = []
    leaders: tuple[str, ...] = ()
    if points:
        leaders = rank(_overall(run, HEADLINE, ALL_GROUPS, points[0])).leaders
        on_pairs = paired_sentences(run, points[0], leaders)
        first, *others = _headline(run, points[0])
        sections.append(VerdictPart("The answer", (first, *(on_pairs or others))))
    if len(run.limits):
        sections.append(
            VerdictPart(
                f"Faint limit at equal purity {NOMINAL_PURITY:g}: S/N at which half is found",
                _limit_sentences(
                    run, EQUAL_PURITY_POINT, paired_sentences(run, EQUAL_PURITY_POINT, leaders)
                ),
            )
        )
    for point in points:
        sections.append(
            VerdictPart(
                f"All groups together, operating point: {point_name(point)}",
                tuple(
                    ranking_sentence(
                        rank(_overall(run, name, ALL_GROUPS, point)), f"Highest {short}"
                    )
                    for name, short in ((m.name, m.short) for m in _main_scores())
                ),
            )
        )
    return tuple(sections)


def rules(run: Run) -> tuple[str, ...]:
    """Return the rules of the verdict for the tables that the run has."""
    return (PAIRED_RULE, *RULES) if len(run.comparisons) else RULES


@lru_cache(maxsize=4)
def leaders_table(run: Run) -> Table:
    """Return the leader in every group, by every measure and at every operating point."""
    rows = []
    for group in run.groups:
        for m in _main_scores():
            ranks = [rank(_overall(run, m.name, group, p)) for p in run.points]
            rows.append((text(group), text(m.short), *(_leader(r, m.digits) for r in ranks)))
        if len(run.limits):
            ranks = [rank(_limits(run, group, p), "snr50", higher=False) for p in run.points]
            rows.append((text(group), text("S/N limit"), *(_leader(r, 2) for r in ranks)))
    return Table(
        "Who leads in each group",
        ("Group", "Measure", *map(point_name, run.points)),
        tuple(rows),
        n_heads=2,
        note="The leader and its value. S/N limit: S/N at which half of the sources are found; the "
        "lowest leads. It compares like with like only at equal purity.",
    )


@takes(run=Run)
def cautions(run: Run) -> tuple[str, ...]:
    """Return the cautions of a run: failures, few frames, no calibration, missing files."""
    sentences: list[str] = []
    status = run.record.status or "unknown"
    if status != COMPLETE:
        sentences.append(f"The run's status is “{status}”.")
    if run.failures:
        n = len(run.failures)
        sentences.append(
            f"{n} failure{'' if n == 1 else 's'} happened (listed below). A detector that failed "
            "on a frame was scored without that frame."
        )
    sentences += pitfall_sentences(run)
    sentences += [f"{line}." for line in run.record.warnings]
    overall = run.scores[(run.scores["bin"] == ALL_BINS) & (run.scores["group"] == ALL_GROUPS)]
    overall = overall[
        overall["point"] == DEFAULT_POINT
    ]  # a point that is never reached has no frames
    if len(overall) and overall["n_frames"].min() != overall["n_frames"].max():
        per = overall.groupby("detector", sort=False)["n_frames"].max()
        sentences.append(
            "The detectors were scored on different numbers of frames: "
            + ", ".join(f"{shorten(str(d))} {int(n)}" for d, n in per.items())
            + "."
        )
    n_frames = len(run.scored_frames)
    if n_frames == 1:
        sentences.append(
            "Only 1 frame was scored: intervals over parts of it tell of this frame only, not of "
            "other frames with other seeing and background."
        )
    elif n_frames < FEW_FRAMES:
        sentences.append(
            f"Only {n_frames} frames were scored, fewer than {FEW_FRAMES}: sources of one frame "
            "share its seeing and background, so the intervals are rough."
            + (
                " Intervals over so few frames are wide as well: one from 0 to 1 tells nothing."
                if n_frames < FEWEST_FOR_PERCENTILES
                else ""
            )
        )
    if CALIBRATED_POINT not in run.points:
        sentences.append(
            "There is no calibrated operating point (the set had no calibration split): each "
            "detector is scored at its own default threshold, which may not be its best."
        )
    for name in run.missing:
        sentences.append(
            f"{name} is not in the run folder. The parts of the report that need it are left out."
        )
    if run.record.git_dirty:
        sentences.append("The code had changes beyond its git revision.")
    return tuple(sentences)


def confidence(run: Run) -> str:
    """Return the sentence on the intervals in brackets."""
    level = run.record.rules.get("confidence")
    percent = f"{100 * level:g} % " if isinstance(level, int | float) else ""
    return f"Brackets hold the {percent}interval of a value."


def _headline(run: Run, point: str) -> tuple[str, ...]:
    overall = rank(_overall(run, HEADLINE, ALL_GROUPS, point))
    if not overall.ranked:
        return (f"F1 is undefined for every detector (operating point: {point_name(point)}).",)
    first = " and ".join(map(shorten, overall.leaders))
    have = "have" if len(overall.leaders) > 1 else "has"
    ground = (
        "and its interval is apart from every other’s"
        if overall.clear
        else "but not clearly: the interval of at least one other overlaps or is undefined"
    )
    if len(overall.leaders) > 1:
        ground = "and are equal"
    elif len(overall.ranked) == 1:
        ground = "because it is undefined for all others"
    lines = [
        f"{first} {have} the highest overall F1 (operating point: {point_name(point)}), {ground}."
    ]
    if len(run.groups) > 1:
        by_group = {g: rank(_overall(run, HEADLINE, g, point)) for g in run.groups}
        lines += _led(run, by_group, "the highest F1")
    return tuple(lines)


def _limit_sentences(run: Run, point: str, on_pairs: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the sentences on depth: `on_pairs` if there are any, else the leaders by group."""
    limits = limits_told(run)
    limits = limits[limits["point"] == point]
    if not len(limits):
        return ("The run has no limits at equal purity.",)
    ranking = rank(_limits(run, ALL_GROUPS, point), "snr50", higher=False)
    first = ranking_sentence(
        ranking, "All groups together, lowest S/N at which half of the sources are found", digits=2
    )
    if len(run.groups) < 2:
        return (*on_pairs, first)
    by_group = {g: rank(_limits(run, g, point), "snr50", higher=False) for g in run.groups}
    return (
        *(on_pairs or _led(run, by_group, "the lowest such S/N")),
        f"{first} Here one threshold is used for all groups, and a group with many false "
        "detections can determine it. The lines above use a threshold for each group.",
    )


def _led(run: Run, by_group: dict[str, Ranking], what: str) -> list[str]:
    """Return one sentence a detector: the groups in which it leads alone."""
    lines = []
    for detector in run.detectors:
        led = [g for g, r in by_group.items() if r.leaders == (detector,)]
        sure = [g for g in led if by_group[g].clear]
        lines.append(
            f"{shorten(detector)} has {what} in {len(led)} of {len(by_group)} groups"
            + (f" ({_listed(led)}), with intervals apart in {len(sure)}." if led else ".")
        )
    return lines


def _limits(run: Run, group: str, point: str) -> pd.DataFrame:
    limits = limits_told(run)
    return _everyone(run, limits[(limits["group"] == group) & (limits["point"] == point)])


def _overall(run: Run, quantity: str, group: str, point: str) -> pd.DataFrame:
    s = _of_all_magnitudes(run)
    rows = s[(s["quantity"] == quantity) & (s["group"] == group) & (s["point"] == point)]
    return _everyone(run, rows)


@lru_cache(maxsize=4)
def _of_all_magnitudes(run: Run) -> pd.DataFrame:
    """Return the scores of all magnitudes together, asked for a hundred times."""
    return run.scores[run.scores["bin"] == ALL_BINS]


def _everyone(run: Run, rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each detector of the run; one without a row is undefined, not left out."""
    return rows.set_index("detector").reindex(list(run.detectors)).reset_index()


def _leader(ranking: Ranking, digits: int) -> Cell:
    """Return a cell with the leader and the detectors whose intervals overlap its own."""
    if not ranking.ranked:
        return text("undefined for all")
    best = ranking.ranked[0].value
    rest = ranking.ranked[len(ranking.leaders) :]
    near = [s.detector for s in rest if not s.apart]
    if len(ranking.leaders) > 1:
        ground = ", equal"
    elif near:
        ground = f"; not clear of {_listed(near)}"
    else:
        ground = ", clear of all others" if rest else ""
    if ranking.undefined:
        ground += f"; undefined: {_listed(ranking.undefined)}"
    who = " and ".join(map(shorten, ranking.leaders))
    return Cell(((f"{who} ", None), (format_number(best, digits), best), (ground, None)))


def _worded(s: RankedDetector, digits: int) -> str:
    if np.isfinite([s.lo, s.hi]).all():
        ends = range_label(s.lo, s.hi, f".{digits}f")
        return f"{shorten(s.detector)} {s.value:.{digits}f} ({ends})"
    return f"{shorten(s.detector)} {s.value:.{digits}f} (no interval)"


def _apart(apart: bool | None) -> str:
    if apart is None:
        return "no interval to compare"
    return "intervals apart" if apart else "intervals overlap"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shorten, names))
