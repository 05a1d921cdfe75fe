"""Regression gate: a test that a new version is not worse than the old one by too much.

A test of non-inferiority. A criterion passes only if the paired interval of the
loss lies within the allowance; it is *worse* if the interval lies beyond it; in between the
frames are too few for a decision. All criteria must pass: an intersection-union
test, whose error is no larger than that of each criterion, so nothing is corrected
for their number (Berger 1982, Technometrics 24, 295).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from skyduel.core.errors import BadInputError, require_each, require_kind, takes
from skyduel.core.settings import nearest
from skyduel.evaluation.comparison.sources_found import Found
from skyduel.evaluation.scoring.metrics import LIMITS, quantities, quantity_named
from skyduel.evaluation.statistics.anytime import anytime_radius, widening
from skyduel.evaluation.table_keys import ALL_BINS, ALL_GROUPS, DEFAULT_POINT, EQUAL_PURITY_POINT

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "SPEED",
    "Allowance",
    "CriterionDecision",
    "GateReport",
    "Speed",
    "decide",
    "decide_speed",
    "gated",
    "parse_allowances",
]

Verdict = Literal["pass", "worse", "undecided", "not comparable"]

#: With fewer frames that tell nothing passes: two agree too easily by chance.
_FEWEST_FRAMES: Final = 3
_MOST_FRAMES: Final = 10**7
#: Columns of a comparison that a decision rests on.
_COLUMNS: Final = (
    "detector_a", "detector_b", "point", "group", "bin", "quantity", "value_a", "value_b",
    "delta", "lo", "hi", "interval", "n_frames",
)  # fmt: skip
#: Gated by itself, by the ratio of two speeds.
SPEED: Final = "speed"


def gated() -> dict[str, int]:
    """Return the quantities that can be gated: +1 where larger is better, else -1."""
    return {q.name: 1 if q.higher_is_better else -1 for q in quantities("gated")}


def _is_limit(quantity: str) -> bool:
    return quantity in {q.name for q in LIMITS}


@dataclass(frozen=True)
class Allowance:
    """Largest loss that is allowed.

    Parameters
    ----------
    quantity : str
        One of `gated`, or ``speed``.
    point : str
        Operating point; empty for the speed.
    margin : float
        In the quantity's own unit (``m50``: mag), of the speed a fraction; >= 0.
    """

    quantity: str
    point: str
    margin: float


@takes(text=str, point=str)
def parse_allowances(text: str, point: str | None = None) -> tuple[Allowance, ...]:
    """Return the allowances of ``f1=0.01,m50@purity95=0.05,speed=0.2``.

    Parameters
    ----------
    text : str
        ``QUANTITY[@POINT]=MARGIN``, separated by commas.
    point : str, optional
        Where none is named. Else ``purity95`` for m50 and snr50, ``default``
        for the others.

    Raises
    ------
    BadInputError
        For an unknown quantity (the nearest one is suggested), a margin that is
        not a number >= 0, a criterion named twice, or none at all.
    """
    out: list[Allowance] = []
    for part in (p.strip() for p in text.split(",")):
        if not part:
            continue
        name, equals, value = (s.strip() for s in part.partition("="))
        quantity, _, where = (s.strip() for s in name.partition("@"))
        known = (*gated(), SPEED)
        if quantity not in known:
            close = nearest(quantity, known)
            hint = f"; did you mean {close}?" if close else ""
            raise BadInputError("allowance", f"one of {', '.join(known)}", f"{quantity!r}{hint}")
        try:
            margin = float(value)
        except ValueError:
            margin = math.nan
        if not equals or not 0 <= margin < math.inf:
            raise BadInputError(f"allowance {name!r}", "a number >= 0, as in f1=0.01", repr(value))
        if quantity == SPEED:
            if where:
                raise BadInputError("allowance", "speed without a point", repr(name))
            if margin >= 1:
                raise BadInputError("allowance of speed", "a fraction below 1", repr(value))
            where = ""
        elif not where:
            where = point or (EQUAL_PURITY_POINT if _is_limit(quantity) else DEFAULT_POINT)
        if any((a.quantity, a.point) == (quantity, where) for a in out):
            raise BadInputError("allowances", "each criterion once", f"{name!r} twice")
        out.append(Allowance(quantity, where, margin))
    if not out:
        raise BadInputError("allowances", "at least one, as in f1=0.01,m50=0.05", repr(text))
    return tuple(out)


@dataclass(frozen=True)
class CriterionDecision:
    """Decision on one criterion.

    Parameters
    ----------
    allowance : Allowance
        What was asked.
    group : str
        Of which frames; ``all`` for all.
    reference, candidate : float
        The two values.
    loss, lo, hi : float
        By how much the candidate is worse, and the interval of that; negative
        is better.
    verdict : str
        ``pass``, ``worse``, ``undecided`` or ``not comparable``.
    reason : str
        Why, in words.
    n_frames : int
        Frames that tell; 0 for the speed.
    n_needed : int or None
        About how many frames would decide, where undecided and it can be told.
    """

    allowance: Allowance
    group: str
    reference: float
    candidate: float
    loss: float
    lo: float
    hi: float
    verdict: Verdict
    reason: str
    n_frames: int
    n_needed: int | None = None

    @property
    def name(self) -> str:
        """The criterion, as in ``f1@default``; with its group unless that is ``all``."""
        at = f"@{self.allowance.point}" if self.allowance.point else ""
        group = "" if self.group == ALL_GROUPS else f"[{self.group}]"
        return f"{self.allowance.quantity}{at}{group}"


@dataclass(frozen=True)
class GateReport:
    """What the gate decided.

    Parameters
    ----------
    reference, candidate : str
        Names of the two versions.
    criteria : tuple of CriterionDecision
        All of them, in the order asked.
    confidence : float
        Of the intervals.
    more : bool
        Whether the intervals hold however often the gate is asked.
    """

    reference: str
    candidate: str
    criteria: tuple[CriterionDecision, ...]
    confidence: float
    more: bool = False

    @property
    def verdict(self) -> Verdict:
        """``pass`` if every criterion that could be compared passed, and one at least did."""
        seen = {j.verdict for j in self.criteria}
        if "worse" in seen:
            return "worse"
        return "pass" if "pass" in seen and "undecided" not in seen else "undecided"

    @property
    def passed(self) -> bool:
        """True if the candidate may replace the reference."""
        return self.verdict == "pass"


def decide(
    table: pd.DataFrame,
    allowances: Sequence[Allowance],
    *,
    per_group: bool = False,
    identical: bool = False,
    more: bool = False,
    confidence: float = 0.95,
) -> tuple[CriterionDecision, ...]:
    """Return the verdict on each criterion, except on the speed.

    Parameters
    ----------
    table : DataFrame
        A comparison of the reference (A) with the candidate (B), as
        `compare_all` returns it.
    allowances : sequence of Allowance
        What to decide; ``speed`` is left out.
    per_group : bool
        Decide for every group too, each by the same allowance.
    identical : bool
        Whether both versions made the very same catalogues: then there is no loss. Otherwise an
        interval without a width tells nothing, and is undecided.
    more : bool
        Widen the intervals so that the gate may be asked again after more frames were added
        (`skyduel.evaluation.statistics.anytime`).
    confidence : float
        Level of the table's intervals.

    Raises
    ------
    BadInputError
        If an argument is of another type, or the table is not one of two versions or lacks a
        criterion.

    Notes
    -----
    A criterion never passes with fewer than three frames that tell, at a point that keeps a
    sliver of what the default point finds (`skyduel.evaluation.comparison.sources_found`; for
    a score of what either version finds, for a limit of what each finds), or by an interval of
    no width, unless the catalogues are identical. Where the table has the default point, too, the
    reason names it.

    All intervals are over frames, so that completeness too speaks of other
    frames than these. Of an undecided criterion ``n_needed`` follows from the
    width of its interval, which falls as one over the square root of the
    number of frames, if the loss stays what it is.
    """
    import pandas as pd  # not needed to parse allowances

    from skyduel.evaluation.statistics.intervals import check_confidence

    check_confidence(confidence)
    require_kind("decide: table", table, pd.DataFrame)
    missing = [name for name in _COLUMNS if name not in table]
    if missing:
        raise BadInputError(
            "decide: table", "the columns of compare_all", f"a table without {', '.join(missing)}"
        )
    require_each("decide: allowances", allowances, Allowance)
    out = []
    rows = table[(table["bin"] == ALL_BINS) & (table["interval"] != "newcombe")]
    n_pairs = len(rows[["detector_a", "detector_b"]].drop_duplicates())
    if n_pairs != 1:
        raise BadInputError("gate", "one reference and one candidate", f"{n_pairs} pairs")
    groups = [g for g in dict.fromkeys(rows["group"]) if g == ALL_GROUPS or per_group]
    groups.sort(key=lambda g: g != ALL_GROUPS)
    for allowance in allowances:
        if allowance.quantity == SPEED:
            continue
        at = (rows["point"] == allowance.point) & (rows["quantity"] == allowance.quantity)
        for group in groups:
            here = rows[at & (rows["group"] == group)]
            if len(here) != 1:
                raise BadInputError(
                    "gate", f"{allowance.quantity} at {allowance.point} in {group}", "no such row"
                )
            row = here.iloc[0].to_dict()
            if more:
                row = _widened(row, confidence)
            level = confidence if more else None
            found = Found.at(table, allowance.point, str(group))
            decided = _decide_row(row, allowance, str(group), found, level)
            out.append(_identical(decided) if identical else decided)
    return tuple(out)


def _identical(decision: CriterionDecision) -> CriterionDecision:
    """Return the decision on two versions with the same catalogues."""
    if decision.loss != 0 or decision.n_frames < 2:
        return decision
    return replace(decision, verdict="pass", reason="both made the very same catalogues")


def _widened(row: dict[Any, Any], confidence: float) -> dict[Any, Any]:
    """Return a row whose interval holds at every number of frames at once."""
    n, delta = int(row["n_frames"]), float(row["delta"])
    known = row["interval"] == "bootstrap" and n >= 2
    times = widening(n, confidence) if known else math.inf
    if not math.isfinite(times):
        return row | {"lo": math.nan, "hi": math.nan}
    return row | {key: delta + times * (float(row[key]) - delta) for key in ("lo", "hi")}


def _decide_row(
    row: dict[Any, Any], allowance: Allowance, group: str, found: Found, level: float | None
) -> CriterionDecision:
    """Return the verdict of a row; ``level`` is that of a widened interval."""
    sign, margin = gated()[allowance.quantity], allowance.margin
    ends = (sign * float(row["lo"]), sign * float(row["hi"]))
    lo, hi = min(ends), max(ends)
    loss = sign * float(row["delta"])
    reference, candidate = float(row["value_a"]), float(row["value_b"])
    n, needed = int(row["n_frames"]), None
    one = "" if row["interval"] == "bootstrap" else "this frame" if n == 1 else "these frames"
    scope = f", for {one} only" if one else ""
    verdict: Verdict = "undecided"
    if math.isnan(loss):
        reason = _undefined(allowance, reference, candidate, n)
        if group != ALL_GROUPS and math.isnan(reference) and math.isnan(candidate):
            verdict = "not comparable"
    elif math.isnan(lo):
        few = "one frame" if n == 1 else f"{n} frames"
        reason = f"no interval from {few} that tell; at least two are needed"
        if n >= 2:
            reason = "no interval: too few sources in too few frames"
    elif hi <= margin and found.sliver:
        reason = f"{found.words}: too few to tell{found.hint}"
    elif hi <= margin and _is_limit(allowance.quantity) and any(found.slivers()):
        reason = found.of_a_sliver(("reference", "candidate"))
    elif lo == hi:
        reason = f"the interval has no width, for every resample gives the same: {found.words}"
        reason += f", which tells nothing of other frames{found.hint}"
    elif hi <= margin and n < _FEWEST_FRAMES and row["interval"] == "bootstrap":
        reason = f"{n} frames that tell are too few to pass; {_FEWEST_FRAMES} at least"
    elif hi <= margin:
        verdict, reason = "pass", f"a loss of more than {margin:g} is excluded{scope}"
    elif lo > margin:
        verdict, reason = "worse", f"a loss of more than {margin:g} is shown{scope}"
    else:
        needed = _frames_needed(loss, lo, hi, margin, n, level)
        reason = f"not enough frames to tell: the interval reaches both sides of {margin:g}"
        if lo > 0:
            reason += "; some loss is shown"
        if needed is not None:
            end = "pass" if loss < margin else "be shown worse"
            reason += f"; about {needed} frames would do to {end}, if the loss stays as it is"
    lo, hi = quantity_named(allowance.quantity).within(lo, hi)
    return CriterionDecision(
        allowance, group, reference, candidate, loss, lo, hi, verdict, reason, n, needed
    )


def _undefined(allowance: Allowance, reference: float, candidate: float, n: int) -> str:
    who = [w for w, v in (("reference", reference), ("candidate", candidate)) if math.isnan(v)]
    if not who:
        return f"nothing to compare at {allowance.point}"
    named = " and ".join(who)
    why = f" (never so pure: no threshold at {allowance.point})" if n == 0 else ""
    return f"{allowance.quantity} of the {named} is undefined{why}"


def _frames_needed(
    loss: float, lo: float, hi: float, margin: float, n: int, level: float | None
) -> int | None:
    """Return about how many frames would take the margin out of the interval, None if none."""
    half, room = (hi - loss, margin - loss) if loss < margin else (loss - lo, loss - margin)
    if half >= 1e3 * room:  # as good as at the margin: no number of frames will do
        return None
    enough = max(n + 1, math.ceil(n * (half / room) ** 2))
    if level is None:
        return enough
    # A widened interval shrinks more slowly than one over the root of the number.
    scale = half * math.sqrt(n) / float(anytime_radius(n, level))
    while enough < _MOST_FRAMES and scale * float(anytime_radius(enough, level)) > room * math.sqrt(
        enough
    ):
        enough = math.ceil(1.02 * enough)
    return enough


@dataclass(frozen=True)
class Speed:
    """How fast a detector was, end to end, and where.

    Parameters
    ----------
    mpix_per_s : float
        NaN if unknown.
    where : mapping
        The machine, the device and the number of workers. Speeds of different
        ones are not compared.
    """

    mpix_per_s: float
    where: Mapping[str, Any]


def decide_speed(reference: Speed, candidate: Speed, allowance: Allowance) -> CriterionDecision:
    """Return the verdict on the speed: the loss is 1 - candidate / reference.

    A ratio of two runs has no interval: machines differ from hour to hour, not
    from frame to frame, so the allowance has to be generous.
    """
    a, b = reference.mpix_per_s, candidate.mpix_per_s
    verdict: Verdict = "not comparable"
    loss = math.nan
    keys = sorted(set(reference.where) | set(candidate.where))
    other = [k for k in keys if reference.where.get(k) != candidate.where.get(k)]
    if other:
        reason = f"another {', '.join(other)}"
    elif not (a > 0 and b > 0):
        reason = "a speed is not known"
    else:
        loss = 1 - b / a
        verdict = "pass" if loss <= allowance.margin else "worse"
        word = "slower" if loss > 0 else "faster"
        reason = (
            f"{100 * abs(loss):.0f} % {word} on the same machine; "
            f"{100 * allowance.margin:.0f} % is allowed"
        )
    return CriterionDecision(
        allowance, ALL_GROUPS, a, b, loss, math.nan, math.nan, verdict, reason, 0
    )
