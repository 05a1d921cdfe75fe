"""Counts per magnitude bin: truths, truths found, detections and right detections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, as_numbers, require_kind
from skyduel.evaluation.matching.candidates import within
from skyduel.evaluation.matching.matching import Pairing
from skyduel.evaluation.scoring.table_columns import COUNT_COLUMNS

__all__ = [
    "Counts",
    "ZeroPoint",
    "bin_edges",
    "bin_index",
    "bin_table",
    "count",
    "measured_mag",
    "tally",
    "total",
    "zero_point_offset",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Integers of one frame, or summed over frames.

    Parameters
    ----------
    edges : tuple of float
        n + 1 ascending edges [mag] of n half-open bins.
    truths, truths_found, truths_ignored : ndarray of int64, shape (n + 3,)
        By true magnitude. ``truths`` are those that count.
    detections, detections_right, detections_ignored, duplicates : same
        By measured magnitude. ``detections`` are those that count; the
        ``duplicates`` are among the false ones.

    Notes
    -----
    Entry 0 holds what is brighter than the first edge (bin -1), entries
    1 ... n the bins 0 ... n-1, entry n+1 what is fainter than the last edge
    (bin n) and entry n+2 what has no magnitude (bin n+1): entry = bin + 1, and
    the sum over entries is the total.

    Raises
    ------
    BadInputError
        If the edges do not ascend, a shape is wrong, or two counts of
        different edges are added.
    """

    edges: tuple[float, ...]
    truths: Ints
    truths_found: Ints
    detections: Ints
    detections_right: Ints
    truths_ignored: Ints
    detections_ignored: Ints
    duplicates: Ints

    def __post_init__(self) -> None:
        _check_edges(self.edges)
        for name in COUNT_COLUMNS:
            shape = getattr(self, name).shape
            if shape != (len(self.edges) + 2,):
                raise BadInputError(f"counts.{name}", f"shape ({len(self.edges) + 2},)", str(shape))

    @classmethod
    def zero(cls, edges: Sequence[float]) -> Counts:
        """Return counts of nothing."""
        kept = tuple(map(float, edges))
        return cls(kept, *(np.zeros(len(kept) + 2, dtype=np.int64) for _ in COUNT_COLUMNS))

    def __add__(self, other: Counts) -> Counts:
        if self.edges != other.edges:
            raise BadInputError("counts", f"edges {self.edges}", f"edges {other.edges}")
        return Counts(self.edges, *(getattr(self, f) + getattr(other, f) for f in COUNT_COLUMNS))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Counts):
            return NotImplemented
        return self.edges == other.edges and all(
            np.array_equal(getattr(self, f), getattr(other, f)) for f in COUNT_COLUMNS
        )

    @property
    def n_bins(self) -> int:
        """Number of bins between the edges."""
        return len(self.edges) - 1

    @property
    def false(self) -> Ints:
        """False detections, by measured magnitude, shape (n + 3,)."""
        return self.detections - self.detections_right

    def sums(self) -> dict[str, int]:
        """Return the totals over all entries, by column of the ``counts`` table."""
        return {name: int(getattr(self, name).sum()) for name in COUNT_COLUMNS}

    def array(self) -> Ints:
        """Return all integers, shape (7, n + 3), rows in the order of `COUNT_COLUMNS`."""
        return np.stack([getattr(self, name) for name in COUNT_COLUMNS])

    def to_table(self, **labels: Any) -> pd.DataFrame:
        """Return one row per bin, after columns of the given labels."""
        table = bin_table(self.edges)
        for at, (name, value) in enumerate(labels.items()):
            table.insert(at, name, value)
        for name in COUNT_COLUMNS:
            table[name] = getattr(self, name)
        return table

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> Counts:
        """Return counts from rows as `to_table` writes them, summed over equal bins."""
        needed = ["bin", "bin_lo", "bin_hi", *COUNT_COLUMNS]
        missing = [name for name in needed if name not in table.columns]
        if missing:
            raise BadInputError("counts table", f"columns {', '.join(needed)}", f"no {missing[0]}")
        if table.empty:
            raise BadInputError("counts table", "at least one row", "none")
        sums = table.groupby("bin", sort=True)[list(COUNT_COLUMNS)].sum()
        bins = table.drop_duplicates("bin").set_index("bin").sort_index()
        n = len(bins) - 3
        if n < 1 or list(bins.index) != list(range(-1, n + 2)):
            raise BadInputError("counts table", "bins -1 ... n+1", f"bins {list(bins.index)}")
        inner = bins.loc[0 : n - 1]
        edges = (*map(float, inner["bin_lo"]), float(inner["bin_hi"].iloc[-1]))
        return cls(edges, *(sums[c].to_numpy(dtype=np.int64) for c in COUNT_COLUMNS))


def bin_edges(edges: npt.ArrayLike) -> tuple[float, ...]:
    """Return bin edges [mag] as plain numbers.

    Raises
    ------
    BadInputError
        If they are no numbers, or not two or more finite and ascending ones.
    """
    array = as_numbers("bin edges", edges)
    if array.ndim != 1:
        raise BadInputError("bin edges", "numbers of shape (n,)", f"shape {array.shape}")
    kept = tuple(array.tolist())
    _check_edges(kept)
    return kept


def bin_table(edges: Sequence[float]) -> pd.DataFrame:
    """Return ``bin``, ``bin_lo``, ``bin_hi`` [mag] of the n + 3 entries of `Counts`.

    The outer bins reach to infinity; the one without magnitude has NaN.
    """
    inner = [float(e) for e in edges]
    return pd.DataFrame(
        {
            "bin": np.arange(-1, len(inner) + 1),
            "bin_lo": [-np.inf, *inner, np.nan],
            "bin_hi": [*inner, np.inf, np.nan],
        }
    )


def bin_index(mag: npt.ArrayLike, edges: Sequence[float]) -> Ints:
    """Return the entry of `Counts` for each magnitude, int64 of shape (n,).

    Bins are half-open, [lo, hi); NaN and infinities have no magnitude.
    """
    values = np.asarray(mag, dtype=np.float64)
    entry = np.searchsorted(as_numbers("bin edges", edges), values, side="right")
    return np.where(np.isfinite(values), entry, len(edges) + 1).astype(np.int64)


def measured_mag(found: Catalog) -> Floats:
    """Return the measured magnitudes, shape (n,).

    Those of the common forced aperture (``aper_mag``) where the catalogue has
    that column, else the detector's own ``mag``.
    """
    return np.asarray(found["aper_mag"] if "aper_mag" in found else found["mag"], dtype=np.float64)


def count(
    truth: Catalog,
    found: Catalog,
    pairing: Pairing,
    edges: Sequence[float],
    *,
    offset_mag: float = 0.0,
) -> Counts:
    """Return the counts of one frame.

    Parameters
    ----------
    truth, found : Catalog
        As they were paired.
    pairing : Pairing
        Of these catalogues.
    edges : sequence of float
        Bin edges [mag], ascending.
    offset_mag : float
        Added to the measured magnitudes to bring them to the truth's
        zero-point [mag]; see `zero_point_offset`.
    """
    true = bin_index(truth["mag"], edges)
    measured = bin_index(measured_mag(found) + offset_mag, edges)
    return Counts(tuple(map(float, edges)), *tally(pairing, true, measured, len(edges) + 2))


def tally(pairing: Pairing, true: Ints, measured: Ints, size: int) -> list[Ints]:
    """Return the integers of `COUNT_COLUMNS`, each of shape (size,).

    ``true`` and ``measured`` say which entry each truth and each detection belongs to.
    """
    kinds = (
        (true, ~pairing.truth_ignored),
        (true, pairing.truth_found),
        (measured, pairing.used & ~pairing.found_ignored),
        (measured, pairing.right),
        (true, pairing.truth_ignored),
        (measured, pairing.found_ignored),
        (measured, pairing.duplicate),
    )
    return [np.bincount(e[which], minlength=size).astype(np.int64) for e, which in kinds]


def total(counts: Iterable[Counts], edges: Sequence[float]) -> Counts:
    """Return the sum of counts of the given edges; zeros if there are none."""
    zero = Counts.zero(edges)
    summed = zero.array()
    for one in counts:
        require_kind("counts", one, Counts)
        if one.edges != zero.edges:
            raise BadInputError("counts", f"edges {zero.edges}", f"edges {one.edges}")
        summed += one.array()
    return Counts(zero.edges, *summed)


@dataclass(frozen=True)
class ZeroPoint:
    """Offset between measured and true magnitudes.

    Parameters
    ----------
    offset_mag : float
        To be added to measured magnitudes [mag]; 0 where too few sources tell.
    n : int
        Bright isolated sources it rests on.
    source : str
        ``truth`` (the aperture at the true positions: the same for every
        detector), ``pairs`` (at the detections) or ``none``.
    """

    offset_mag: float
    n: int
    source: str


def zero_point_offset(
    truth: Catalog,
    found: Catalog,
    pairing: Pairing,
    *,
    min_sources: int = 5,
    min_snr: float = 20.0,
    isolation_px: float = 10.0,
    neighbour_mag: float = 3.0,
) -> ZeroPoint:
    """Return the offset that brings measured magnitudes to the truth's zero-point.

    The median of true minus measured magnitude over bright isolated point
    sources of the frame that are not ignored.

    Parameters
    ----------
    truth, found : Catalog
        One frame. If the truth has ``aper_mag``, measured at the true
        positions, that is compared, so that every detector of a frame gets
        the same offset; else the measured magnitudes of the paired detections.
    pairing : Pairing
        Of these catalogues.
    min_sources : int
        With fewer the offset is 0.
    min_snr : float
        Bright: ideal S/N at least this. Without S/N, the brighter half.
    isolation_px, neighbour_mag : float
        Isolated: no other truth within this distance [px] that is brighter
        than this much fainter than the source [mag].
    """
    # The aperture holds less of a galaxy than of a star.
    usable = truth.is_point & np.isfinite(truth["mag"])
    good = usable & ~pairing.truth_ignored
    if "aper_mag" in truth:
        rows, source = np.flatnonzero(good), "truth"
        measured = truth["aper_mag"][rows]
    else:
        keep = good[pairing.pairs.truth_index]
        rows, source = pairing.pairs.truth_index[keep], "pairs"
        measured = measured_mag(found)[pairing.pairs.found_index[keep]]
    mag = truth["mag"][rows]
    finite = np.isfinite(measured)
    rows, mag, measured = rows[finite], mag[finite], measured[finite]
    if "snr" in truth and np.isfinite(truth["snr"][rows]).any():
        bright = truth["snr"][rows] >= min_snr
    else:
        bright = mag <= np.median(mag) if mag.size else np.zeros(0, dtype=bool)
    rows, mag, measured = rows[bright], mag[bright], measured[bright]
    alone = _isolated(truth, rows, isolation_px, neighbour_mag)
    mag, measured = mag[alone], measured[alone]
    if mag.size < min_sources:
        return ZeroPoint(0.0, int(mag.size), "none")
    return ZeroPoint(float(np.median(mag - measured)), int(mag.size), source)


def _isolated(
    truth: Catalog, rows: Ints, radius: float, neighbour_mag: float
) -> npt.NDArray[np.bool_]:
    xy, mag = truth.xy, truth["mag"]
    i, j, _ = within(xy[rows], xy, radius)
    i = rows[i]
    # A neighbour of unknown magnitude may be bright.
    disturbs = (i != j) & ~(mag[j] >= mag[i] + neighbour_mag)
    disturbed = np.zeros(len(truth), dtype=bool)
    disturbed[i[disturbs]] = True
    return ~disturbed[rows]


@lru_cache(maxsize=16)
def _check_edges(edges: tuple[float, ...]) -> None:
    array = np.asarray(edges, dtype=np.float64)
    if array.size < 2 or not np.isfinite(array).all() or not (np.diff(array) > 0).all():
        raise BadInputError("bin edges", "two or more finite, ascending edges", str(tuple(edges)))
