"""Paired comparisons of a run: sentences for the verdict, and their table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from skyduel.evaluation.comparison.headline import sentence
from skyduel.evaluation.number_text import format_number
from skyduel.evaluation.scoring.metrics import quantities
from skyduel.reports.figures.differences import ALPHA, overall_rows, pairs_shown
from skyduel.reports.style import point_name, shorten
from skyduel.reports.tables.run_tables import Cell, Table, text
from skyduel.reports.tables.slivers import differences_told, sliver
from skyduel.reports.text.headline import pair_statement
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, EQUAL_PURITY_POINT

__all__ = ["PAIRED_RULE", "differences_table", "paired_sentences"]

#: Rule of the sentences about pairs.
PAIRED_RULE: Final = (
    "“Finds more” and “scores higher” rest on paired differences: both detectors on the same "
    "truths and the same frames, resampled together. In a group a difference is called shown where "
    f"p after Holm’s correction over the groups is below {ALPHA:g}; square brackets hold its "
    "interval. No difference shown is not equality."
)


def paired_sentences(run: Run, point: str, leaders: Sequence[str] = ()) -> tuple[str, ...]:
    """Return one sentence a pair: the better detector, the differences and their evidence.

    Parameters
    ----------
    run : Run
        The run.
    point : str
        The operating point.
    leaders : sequence of str
        If there are more than three pairs, only those with one of these get a
        sentence; the table holds all.

    Returns
    -------
    tuple of str
        Empty where the run has no comparisons at that point.
    """
    table = run.comparisons
    if not len(table):
        return ()
    table = table[table["point"] == point]
    if not (table["group"] == ALL_GROUPS).any():
        return ()
    pairs = pairs_shown(table)
    if len(pairs) > 3 and leaders:
        every = table[["detector_a", "detector_b"]].astype(str).drop_duplicates()
        pairs = [(a, b) for a, b in every.itertuples(index=False) if a in leaders or b in leaders]
    confidence = run.record.confidence
    sentences = []
    for a, b in pairs:
        rows = table[(table["detector_a"] == a) & (table["detector_b"] == b)]
        if ((rows["bin"] == ALL_BINS) & (rows["group"] == ALL_GROUPS)).any():
            named = rows.assign(detector_a=shorten(a), detector_b=shorten(b))
            if point == EQUAL_PURITY_POINT and sliver(run, point, ALL_GROUPS, (a, b)):
                # The limit of a few bright sources is no statement on the frames together.
                sentences.append(pair_statement(run, a, b, point, "m50"))
                continue
            words = sentence(named, point, confidence=confidence)
            # A name that comes first is left as it is.
            starts = words.startswith(("no ", "undecided "))
            sentences.append(f"{words[0].upper() if starts else words[0]}{words[1:]}.")
    return tuple(sentences)


def differences_table(run: Run, point: str) -> Table:
    """Return paired differences over all magnitudes: one row a group and pair."""
    rows = overall_rows(differences_told(run), point)
    of = {
        (str(r["group"]), str(r["detector_a"]), str(r["detector_b"]), str(r["quantity"])): r
        for r in rows.to_dict("records")
    }
    pairs = list(dict.fromkeys((a, b) for _, a, b, _ in of))
    there = {q for *_, q in of}
    shown = [q for q in quantities("compared") if q.name in there]
    cells = []
    for group in [ALL_GROUPS, *run.groups] if len(run.groups) > 1 else [ALL_GROUPS]:
        for a, b in pairs:
            found = [of.get((group, a, b, q.name)) for q in shown]
            if any(found):
                cells.append(
                    (
                        text(group),
                        text(f"{a} − {b}"),
                        *(_difference(r, q.digits) for r, q in zip(found, shown, strict=True)),
                    )
                )
    return Table(
        f"Paired differences over all magnitudes, operating point: {point_name(point)}",
        ("Group", "A − B", *(f"Δ {q.label}" for q in shown)),
        tuple(cells),
        n_heads=2,
        note="A’s value minus B’s (interval), and p: after Holm’s correction over groups, or plain "
        "over all frames. Fainter m50 and lower S/N50 are better. A dash is undefined. By "
        "magnitude: comparisons.csv in the run folder.",
    )


def _difference(row: Any, digits: int) -> Cell:
    if row is None:
        return Cell(((format_number(math.nan, digits), math.nan),), is_number=True)
    delta, lo, hi = (float(row[c]) for c in ("delta", "lo", "hi"))
    parts: list[tuple[str, float | None]] = [(format_number(delta, digits), delta)]
    if math.isfinite(delta) and math.isfinite(lo) and math.isfinite(hi):
        parts += [(" (", None), (format_number(lo, digits), lo), (" to ", None)]
        parts += [(format_number(hi, digits), hi), (")", None)]
    p = float(row["p_holm"])
    if math.isfinite(p):
        parts += [(", p ", None), ("< 0.001" if p < 0.0005 else format_number(p, 3), p)]
    return Cell(tuple(parts), is_number=True)
