"""Table of the scores: formula, magnitude axis, interval, uses and words of each.

To add a score, add a row to `METRICS`. The tables of a run, comparisons, the gate, the
terminal, the page and its glossary all read the rows; none of them has a list of its own.

The counts behind every score are the truths T, the truths found F, the detections D and the
right detections R, each by magnitude bin. Truths are binned by true magnitude, detections by
measured magnitude. So F and R of a bin may differ, and only their sums over all bins are
equal: they count the same pairs, TP. A *joined* score such as F1 needs both sides. Over all
bins it is computed from counts. In one bin it is computed from the two ratios of the bin,
completeness F/T and purity R/D, and it is undefined (NaN) where either ratio is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError
from skyduel.core.settings import nearest

__all__ = [
    "HEADLINE",
    "LIMITS",
    "METRICS",
    "CountSums",
    "Metric",
    "Quantity",
    "Use",
    "f_beta",
    "f_from_counts",
    "jaccard",
    "jaccard_from_counts",
    "listed",
    "metric",
    "quantities",
    "quantity_named",
    "ratio",
]

Floats = npt.NDArray[np.float64]

#: The metric that a comparison is summed up by where no limit is.
HEADLINE: Final = "f1"

#: Where a quantity is listed.
#:
#: ``swept``: a column of the sweep. ``compared``: a row of paired comparisons. ``gated``: a
#: criterion of the gate. ``overall``: tables over all magnitudes. ``by_magnitude``: tables by
#: magnitude bin, also that of ``skyduel score``. ``terminal``: what a run and a comparison
#: print. ``overview``: a panel of the figure of scores by magnitude. ``brief``: where only the
#: main scores are listed (verdict, differences by magnitude, the ignore limit).
Use = Literal[
    "swept", "compared", "gated", "overall", "by_magnitude", "terminal", "overview", "brief"
]


def ratio(k: npt.ArrayLike, n: npt.ArrayLike) -> Floats:
    """Return k / n, NaN where n is 0."""
    k, n = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    shape = np.broadcast_shapes(k.shape, n.shape)
    return np.asarray(np.divide(k, n, out=np.full(shape, np.nan), where=n > 0))


def f_beta(purity: npt.ArrayLike, completeness: npt.ArrayLike, beta: float) -> Floats:
    """Return F-beta = (1 + b^2) P R / (b^2 P + R) of purity P and completeness R, broadcast.

    NaN where either is NaN; 0 where both are 0, because F never exceeds the larger of the two.
    Van Rijsbergen (1979).
    """
    p, r = np.asarray(purity, dtype=np.float64), np.asarray(completeness, dtype=np.float64)
    b2 = beta * beta
    below = b2 * p + r
    out = np.divide((1 + b2) * p * r, below, out=np.full(below.shape, np.nan), where=below > 0)
    return np.where(below == 0, 0.0, out)


def f_from_counts(
    right: npt.ArrayLike, truths: npt.ArrayLike, detections: npt.ArrayLike, beta: float
) -> Floats:
    """Return F-beta = (1 + b^2) TP / (b^2 truths + detections) of counts, broadcast.

    NaN with neither truths nor detections. It equals `f_beta` of the two ratios where both are
    defined. It is also defined, and 0, for a detector that reports nothing although there are
    truths.
    """
    b2 = beta * beta
    return ratio((1 + b2) * np.asarray(right), b2 * np.asarray(truths) + np.asarray(detections))


def jaccard(purity: npt.ArrayLike, completeness: npt.ArrayLike) -> Floats:
    """Return the Jaccard index J = P R / (P + R - P R) of purity and completeness, broadcast.

    From 1/J = 1/P + 1/R - 1. NaN where either is NaN; 0 where either is 0. J = F1 / (2 - F1),
    so it orders detectors as F1 does.
    """
    p, r = np.asarray(purity, dtype=np.float64), np.asarray(completeness, dtype=np.float64)
    below = p + r - p * r
    out = np.divide(p * r, below, out=np.full(below.shape, np.nan), where=below > 0)
    return np.where(below == 0, 0.0, out)


def jaccard_from_counts(
    right: npt.ArrayLike, truths: npt.ArrayLike, detections: npt.ArrayLike
) -> Floats:
    """Return the Jaccard index J = TP / (TP + FP + FN) of counts, broadcast.

    TP + FN are the truths and TP + FP the detections, so J = TP / (truths + detections - TP):
    the pairs over everything that is a truth, a detection or both. NaN with neither truths nor
    detections. It is known as the critical success index (threat score) of forecasts.
    Jaccard (1912), New Phytologist 11, 37; Schaefer (1990), Weather and Forecasting 5, 570.
    """
    tp = np.asarray(right)
    return ratio(tp, np.asarray(truths) + np.asarray(detections) - tp)


@dataclass(frozen=True, eq=False)
class CountSums:
    """The counts that scores are computed from, summed over frames.

    Parameters
    ----------
    truths, found : ndarray, shape (..., n)
        Truths that count and truths found, by true magnitude.
    detections, right : ndarray, shape (..., n)
        Detections that count and right detections, by measured magnitude.
    mpix : float
        Usable area [Mpix]; NaN if unknown.
    """

    truths: npt.NDArray[Any]
    found: npt.NDArray[Any]
    detections: npt.NDArray[Any]
    right: npt.NDArray[Any]
    mpix: float = float("nan")

    @classmethod
    def from_stack(cls, counts: npt.NDArray[Any], mpix: float = float("nan")) -> CountSums:
        """Return the counts of an array of shape (..., 4, n), in the order of the fields."""
        truths, found, detections, right = (counts[..., k, :] for k in range(4))
        return cls(truths, found, detections, right, mpix)

    def stack(self) -> npt.NDArray[Any]:
        """Return the counts as one array, shape (..., 4, n)."""
        return np.stack([self.truths, self.found, self.detections, self.right], axis=-2)

    def total(self) -> CountSums:
        """Return the sums over the last axis, shape (..., 1)."""
        return CountSums.from_stack(self.stack().sum(axis=-1, keepdims=True), self.mpix)

    def with_total(self) -> CountSums:
        """Return the counts with their total appended, shape (..., n + 1)."""
        joined = np.concatenate([self.stack(), self.total().stack()], axis=-1)
        return CountSums.from_stack(joined, self.mpix)


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """A number that detectors are ranked by.

    Parameters
    ----------
    name : str
        In tables on disk, options and code.
    label : str
        On axes and pages, with the unit.
    short : str
        In sentences and in the terminal.
    uses : frozenset of str
        Where it is listed, see `Use`.
    digits : int
        Decimals shown.
    unit : str
        Written after a value in a sentence.
    higher_is_better : bool
        Whether a larger value is better.
    """

    name: str
    label: str
    short: str
    uses: frozenset[Use]
    digits: int = 3
    unit: str = ""
    higher_is_better: bool = True

    @property
    def most(self) -> float:
        """The largest possible value."""
        return np.inf

    def within(self, lo: float, hi: float) -> tuple[float, float]:
        """Return the ends of a difference's interval, cut at the largest possible difference.

        Such an interval is symmetric, and with few frames wider than what is possible.
        """
        return max(lo, -self.most), min(hi, self.most)


@dataclass(frozen=True, kw_only=True)
class Metric(Quantity):
    """A score computed from counts.

    Parameters
    ----------
    axis : {"true", "measured", "joined"}
        The magnitude that its bins are of; ``joined`` takes a bin of each.
    numerator, denominator : callable
        The two counts ``k`` and ``n`` in the tables, from `CountSums`.
    counted : str
        What the denominator counts.
    interval : {"proportion", "bootstrap", "poisson"}
        ``proportion``: of k out of n. ``bootstrap``: over frames or blocks. ``poisson``: of k
        events.
    glossary : tuple of str
        The term and its explanation on the page. Metrics with the same term share one entry.
    formula : callable, optional
        The score from `CountSums` where it is not numerator / denominator.
    of_ratios : callable, optional
        The score of one bin from its purity and completeness; needed by ``joined``.
    column : str
        Head of its column in tables; the label by default.
    in_first_schema : bool
        Whether every run folder has it. The tables of runs that are older than the metric lack
        it, and their readers fill in NaN.
    """

    axis: Literal["true", "measured", "joined"]
    numerator: Callable[[CountSums], npt.NDArray[Any]]
    denominator: Callable[[CountSums], npt.NDArray[Any]]
    counted: str
    interval: Literal["proportion", "bootstrap", "poisson"]
    glossary: tuple[str, str]
    formula: Callable[[CountSums], Floats] | None = None
    of_ratios: Callable[[Floats, Floats], Floats] | None = None
    column: str = ""
    in_first_schema: bool = False

    @property
    def head(self) -> str:
        """Head of the metric's column in tables."""
        return self.column or self.label

    @property
    def most(self) -> float:
        """The largest possible value; the least is 0."""
        return np.inf if self.interval == "poisson" else 1.0

    def pooled(self, sums: CountSums) -> Floats:
        """Return the score of counts that are not cut into bins, shape of the counts."""
        if self.formula is not None:
            return self.formula(sums)
        return ratio(self.numerator(sums), self.denominator(sums))

    def values(self, sums: CountSums) -> Floats:
        """Return the score of each bin and then of all bins, (..., n) to (..., n + 1)."""
        if self.of_ratios is None:
            binned = self.pooled(sums)
        else:
            purity, completeness = (
                ratio(sums.right, sums.detections),
                ratio(sums.found, sums.truths),
            )
            binned = self.of_ratios(purity, completeness)
        return np.concatenate([binned, self.pooled(sums.total())], axis=-1)

    def contributing(self, units: CountSums) -> npt.NDArray[np.int64]:
        """Return how many units each score rests on, (n_units, n) to (n + 1,).

        A unit contributes where its denominator is not 0. The joined score of a bin rests on
        two ratios, and is known as well as the one of fewer units.
        """
        binned = (self.denominator(units) > 0).sum(axis=0)
        if self.of_ratios is not None:
            binned = np.minimum((units.truths > 0).sum(axis=0), (units.detections > 0).sum(axis=0))
        whole = (self.denominator(units.total()) > 0).sum(axis=0)
        return np.concatenate([binned, whole]).astype(np.int64)


_F_TERM: Final = (
    "F1, F2",
    "Purity P and completeness R in one number: F1 = 2PR/(P+R), F2 = 5PR/(4P+R); F2 gives "
    "completeness more weight. In a magnitude bin they join a true and a measured axis.",
)
_FILES: Final[frozenset[Use]] = frozenset({"swept", "compared", "gated"})
_TABLES: Final[frozenset[Use]] = _FILES | {"overall", "by_magnitude"}
_OVERVIEW: Final[frozenset[Use]] = _TABLES | {"terminal", "overview"}


def _f_metric(name: str, label: str, beta: float, uses: frozenset[Use]) -> Metric:
    return Metric(
        name=name,
        label=label,
        short=label,
        uses=uses,
        axis="joined",
        numerator=lambda s: s.found + s.right,
        denominator=lambda s: s.truths + s.detections,
        counted="truths + detections",
        interval="bootstrap",
        glossary=_F_TERM,
        # Over all bins as many truths are found as detections are right.
        formula=lambda s: f_from_counts(s.found, s.truths, s.detections, beta),
        of_ratios=lambda purity, completeness: f_beta(purity, completeness, beta),
        in_first_schema=True,
    )


#: All scores, in the order of the tables.
METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        name="completeness",
        label="Completeness (recall)",
        short="completeness",
        uses=_OVERVIEW | {"brief"},
        axis="true",
        numerator=lambda s: s.found,
        denominator=lambda s: s.truths,
        counted="truths",
        interval="proportion",
        glossary=(
            "Completeness (recall)",
            "Share of the true sources that was found. Binned by true magnitude.",
        ),
        in_first_schema=True,
    ),
    Metric(
        name="purity",
        label="Purity (precision)",
        short="purity",
        uses=_OVERVIEW | {"brief"},
        axis="measured",
        numerator=lambda s: s.right,
        denominator=lambda s: s.detections,
        counted="detections",
        interval="proportion",
        glossary=(
            "Purity (precision)",
            "Share of the detections that are true sources. Binned by measured magnitude, since "
            "a false detection has no true magnitude. It depends on the number of sources in the "
            "frames.",
        ),
        in_first_schema=True,
    ),
    _f_metric("f1", "F1", 1.0, _OVERVIEW | {"brief"}),
    _f_metric("f2", "F2", 2.0, _OVERVIEW),
    Metric(
        name="jaccard",
        label="Jaccard index",
        short="Jaccard",
        uses=_TABLES,
        axis="joined",
        numerator=lambda s: s.found,
        denominator=lambda s: s.truths + s.detections - s.right,
        counted="truths + false detections",
        interval="bootstrap",
        glossary=(
            "Jaccard index (critical success index)",
            "Right detections over right and false detections and missed sources together: "
            "TP/(TP+FP+FN). It is F1/(2−F1), so it orders detectors as F1 does. In a magnitude "
            "bin it joins a true and a measured axis, as F1 does.",
        ),
        formula=lambda s: jaccard_from_counts(s.found, s.truths, s.detections),
        of_ratios=jaccard,
    ),
    Metric(
        name="false_per_mpix",
        label="False detections per Mpix",
        short="false/Mpix",
        column="False per Mpix",
        uses=frozenset({"swept", "overall", "terminal"}),
        digits=1,
        higher_is_better=False,
        axis="measured",
        numerator=lambda s: s.detections - s.right,
        denominator=lambda s: np.full(s.detections.shape, s.mpix),
        counted="detections",
        interval="poisson",
        glossary=("False per Mpix", "False detections in each million pixels searched."),
        in_first_schema=True,
    ),
)

#: Limits of completeness that are compared and gated like scores; see `scoring.depth`.
LIMITS: Final[tuple[Quantity, ...]] = (
    Quantity(
        name="m50",
        label="m50 [mag]",
        short="m50",
        unit=" mag",
        digits=2,
        uses=frozenset({"compared", "gated", "terminal"}),
    ),
    Quantity(
        name="snr50",
        label="S/N50",
        short="S/N50",
        digits=2,
        higher_is_better=False,
        uses=frozenset({"compared", "gated", "terminal"}),
    ),
)


def listed(use: Use | None = None) -> tuple[Metric, ...]:
    """Return the metrics of one use, or all metrics, in the order of `METRICS`."""
    return tuple(m for m in METRICS if use is None or use in m.uses)


def quantities(use: Use) -> tuple[Quantity, ...]:
    """Return the metrics of one use, and then the limits of it."""
    return (*listed(use), *(q for q in LIMITS if use in q.uses))


def metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises
    ------
    BadInputError
        If there is none; the nearest one is suggested.
    """
    return _named(name, METRICS)


def quantity_named(name: str) -> Quantity:
    """Return the metric or the limit of a name.

    Raises
    ------
    BadInputError
        If there is none; the nearest one is suggested.
    """
    return _named(name, (*METRICS, *LIMITS))


_Q = TypeVar("_Q", bound=Quantity)


def _named(name: str, known: Sequence[_Q]) -> _Q:
    for quantity in known:
        if quantity.name == name:
            return quantity
    names = [q.name for q in known]
    close = nearest(name, names)
    hint = f"; did you mean {close}?" if close else ""
    raise BadInputError("quantity", f"one of {', '.join(names)}", f"{name!r}{hint}")
