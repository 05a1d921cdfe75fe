"""One sentence that sums up a paired comparison."""

from __future__ import annotations

from typing import Any, Final

import pandas as pd

from skyduel.core.errors import BadInputError
from skyduel.evaluation.comparison.sources_found import Found, without_limits_of_slivers
from skyduel.evaluation.number_text import format_number
from skyduel.evaluation.scoring.metrics import HEADLINE, quantity_named
from skyduel.evaluation.table_keys import (
    ALL_BINS,
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    FEW_FRAMES,
    NOMINAL_PURITY,
)

__all__ = ["BLOCKS", "headline", "rests_on", "sentence"]

_POINT: Final = {
    DEFAULT_POINT: "at each one's own threshold",
    CALIBRATED_POINT: "at each one's best threshold of the calibration frames",
    EQUAL_PURITY_POINT: f"at {100 * NOMINAL_PURITY:g} % purity",
}


#: Interval of comparisons whose units are parts of frames.
BLOCKS: Final = "block bootstrap"


def rests_on(n_frames: int, interval: str) -> str:
    """Return what a difference rests on, and how far it reaches: ``over 20 frames``.

    Parameters
    ----------
    n_frames : int
        Frames that tell.
    interval : str
        How they were resampled, as in the column of this name. Parts of a frame share its
        seeing and sky, so what is resampled in parts holds for these frames, not for others
        like them.
    """
    said = f"over {n_frames} frame{'' if n_frames == 1 else 's'}"
    if interval == BLOCKS and n_frames:
        tells = "tells of this frame" if n_frames == 1 else "tell of these frames"
        return f"{said}, which {tells} only"
    if 0 < n_frames < FEW_FRAMES:
        said += f"; with fewer than {FEW_FRAMES}, intervals are rough"
    return said


def headline(table: pd.DataFrame, point: str) -> pd.DataFrame:
    """Return the rows that a sentence rests on, one a group, the group ``all`` last.

    The difference in m50 at equal purity, where it is defined in any group and is not that of a
    sliver over all frames; else in F1, for at other points more finds may be bought with less
    purity.

    Parameters
    ----------
    table : DataFrame
        A comparison of one pair of detectors, as `compare_all` returns it.
    point : str
        The operating point.

    Raises
    ------
    BadInputError
        If the table has no row of that point, or more than one pair.
    """
    rows = table[(table["point"] == point) & (table["bin"] == ALL_BINS)]
    n_pairs = len(rows[["detector_a", "detector_b"]].drop_duplicates())
    if n_pairs != 1:
        raise BadInputError("comparison", f"one pair of detectors at {point!r}", f"{n_pairs}")
    kept = without_limits_of_slivers(table).loc[rows.index]
    m50 = kept[kept["quantity"] == "m50"]
    untold = m50["delta"].isna()
    cut = untold & rows.loc[m50.index, "delta"].notna() & (m50["group"] == ALL_GROUPS)
    if point != EQUAL_PURITY_POINT or untold.all() or cut.any():
        m50 = rows[rows["quantity"] == HEADLINE]
    return m50.assign(_last=m50["group"] == ALL_GROUPS).sort_values(
        ["_last", "group"], kind="stable"
    ).drop(columns="_last")  # fmt: skip


def sentence(table: pd.DataFrame, point: str, *, confidence: float = 0.95) -> str:
    """Return one sentence that states the better detector, the difference and its significance.

    Parameters
    ----------
    table, point
        As `headline` takes them.
    confidence : float
        Of the table's intervals; a difference in a group is said to be shown
        if its p-value after Holm's correction over groups is below 1 - this.

    Notes
    -----
    The difference over all frames is not corrected: it is one statement.
    """
    rows = headline(table, point)
    name_a, name_b = str(rows["detector_a"].iloc[0]), str(rows["detector_b"].iloc[0])
    quantity = str(rows["quantity"].iloc[0])
    verb = "finds more than" if quantity == "m50" else "scores higher than"
    overall = rows[rows["group"] == ALL_GROUPS].iloc[-1]
    groups = rows[rows["group"] != ALL_GROUPS]
    many = groups if len(groups) > 1 else rows[rows["group"] == ALL_GROUPS]
    shown = many[many["p_holm"] < 1 - confidence]
    untold = [str(g) for g in many.loc[many["p"].isna(), "group"]]
    found = Found.at(table, point, ALL_GROUPS)
    clauses: list[str] = []
    for better, worse, sign in ((name_a, name_b, 1.0), (name_b, name_a, -1.0)):
        mine = shown[shown["delta"] * sign > 0]
        if len(mine) == 0:
            continue
        if len(groups) <= 1:
            clauses.append(f"{better} {verb} {worse}: {_amount(overall, sign)}")
        elif len(mine) == len(many):
            clauses.append(
                f"{better} {verb} {worse} in all {len(many)} groups: "
                f"{_amount(overall, sign)} over all frames"
            )
        else:
            told = ", ".join(
                f"{row['group']} ({_amount(row, sign, name=k == 0)})"
                for k, (_, row) in enumerate(mine.iterrows())
            )
            clauses.append(f"{better} {verb} {worse} in {told}")
    if not clauses and len(groups) > 1 and overall["p"] < 1 - confidence:
        sign = 1.0 if overall["delta"] > 0 else -1.0
        better, worse = (name_a, name_b) if sign > 0 else (name_b, name_a)
        clauses.append(
            f"{better} {verb} {worse} over all frames: {_amount(overall, sign)}, "
            "but in no single group is it shown"
        )
    elif not clauses:
        clauses.append(_nothing(name_a, name_b, overall, found))
    elif len(groups) > 1 and len(shown) + len(untold) < len(many):
        clauses.append("no difference shown elsewhere")
    if untold and len(untold) < len(many):
        clauses.append(f"not to be told in {', '.join(untold)}")
    at = _POINT.get(point, f"at {point}")
    clauses.append(f"{at} {rests_on(int(overall['n_frames']), str(overall['interval']))}")
    for name, few, kept in zip((name_a, name_b), found.slivers(), found.kept, strict=True):
        if few and not clauses[0].startswith("undecided"):
            clauses.append(f"{name} has only {kept:,} of {found.n_truths:,} sources left there")
    return "; ".join(clauses)


def _amount(row: Any, sign: float, *, name: bool = True) -> str:
    of = quantity_named(str(row["quantity"]))
    lo, hi = sorted((sign * float(row["lo"]), sign * float(row["hi"])))
    label = f"Δ{of.short} = " if name else ""
    text = f"{label}{format_number(sign * float(row['delta']), of.digits)}{of.unit}"
    if lo == lo:
        lo, hi = of.within(lo, hi)
        text += f" [{format_number(lo, of.digits)}, {format_number(hi, of.digits)}]"
    alone = row["group"] != ALL_GROUPS and row["interval"] == BLOCKS and row["n_frames"] == 1
    return f"{text}, its one frame only" if alone else text


def _nothing(name_a: str, name_b: str, overall: Any, found: Found) -> str:
    between = f"between {name_a} and {name_b}"
    if overall["delta"] != overall["delta"]:
        return f"no comparison {between}: {overall['quantity']} is undefined for one of them"
    if overall["p"] != overall["p"]:
        return f"no telling {between}: {_amount(overall, 1.0)} without an interval"
    if overall["lo"] == overall["hi"] or found.sliver:
        hint = found.hint.replace(f"@{DEFAULT_POINT}", f"--point {DEFAULT_POINT}")
        return f"undecided {between}: {found.words}{hint}"
    return f"no difference shown {between}: {_amount(overall, 1.0)}"
