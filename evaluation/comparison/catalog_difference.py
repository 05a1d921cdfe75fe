"""Which sources two catalogues of one frame share, which only one has, and where."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core import Catalog, Frame, forced_photometry
from skyduel.core.wcs import add_sky_positions
from skyduel.evaluation.matching.candidates import check_radius
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.table_keys import range_label

__all__ = ["BOTH", "ONLY_A", "ONLY_B", "CatalogDifference", "catalog_difference"]

BOTH: Final = "both"
ONLY_A: Final = "only A"
ONLY_B: Final = "only B"
#: Bins of the distance to the nearest bright source [px].
_DISTANCES: Final = (0.0, 10.0, 25.0, 50.0, 100.0, np.inf)
#: The brightest so much of all sources are the bright ones, within bounds.
_BRIGHT: Final = 0.01
_FEWEST_BRIGHT: Final = 3
_MOST_BRIGHT: Final = 100
#: The chip is divided into so many columns and rows.
_CELLS: Final = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CatalogDifference:
    """Two catalogues of one frame, source by source.

    Parameters
    ----------
    names : (str, str)
        Names of the catalogues A and B.
    sources : DataFrame
        One row a source: ``where`` (``both``, ``only A`` or ``only B``), ``x`` and ``y`` (those
        of A if both have it) [px, 0-based], ``mag`` and ``snr`` in the common aperture there,
        ``score_a``, ``score_b``, ``separation`` [px], ``bright_px`` (distance to the nearest
        other bright source), ``column`` and ``row`` of the chip's nine parts, counted from 0,
        and ``ra`` and ``dec`` [deg] if the frame has a WCS.
    radius_px : float
        Largest distance of a pair [px].
    n_bright : int
        Number of bright sources.
    """

    names: tuple[str, str]
    sources: pd.DataFrame
    radius_px: float
    n_bright: int

    def count(self, where: str) -> int:
        """Return how many sources are in both catalogues, or only in one."""
        return int((self.sources["where"] == where).sum())

    def by_magnitude(self) -> pd.DataFrame:
        """Return the counts per magnitude; sources without a magnitude are the last row."""
        mag = self.sources["mag"].to_numpy(float)
        known = mag[np.isfinite(mag)]
        if not known.size:
            return self._counts(np.full(len(mag), "no magnitude"), ["no magnitude"])
        low, high = np.floor(known.min()), np.ceil(known.max())
        edges = np.arange(low, max(high, low + 1) + 0.5)
        names = [range_label(a, a + 1) for a in edges[:-1]]
        at = np.clip(np.digitize(mag, edges) - 1, 0, len(names) - 1)
        labels = np.where(np.isfinite(mag), np.array(names)[at], "no magnitude")
        return self._counts(labels, [*names, "no magnitude"])

    def by_bright_distance(self) -> pd.DataFrame:
        """Return the counts per distance to the nearest bright source [px]."""
        ends = list(pairwise(_DISTANCES))
        names = [f"{range_label(a, b)} px" for a, b in ends]
        distance = self.sources["bright_px"].to_numpy(float)
        at = np.clip(np.digitize(distance, _DISTANCES) - 1, 0, len(names) - 1)
        return self._counts(np.array(names)[at] if len(at) else np.zeros(0, str), names)

    def by_place(self) -> pd.DataFrame:
        """Return the counts in the nine parts of the chip, from the top left as DS9 shows it."""
        vertical, horizontal = ("top", "middle", "bottom"), ("left", "centre", "right")
        row, column = (self.sources[name].to_numpy(int) for name in ("row", "column"))
        labels = np.array(
            [
                f"{vertical[_CELLS - 1 - r]} {horizontal[c]}"
                for r, c in zip(row, column, strict=True)
            ]
        )
        return self._counts(labels, [f"{v} {h}" for v in vertical for h in horizontal])

    def _counts(self, labels: npt.NDArray[np.str_], order: list[str]) -> pd.DataFrame:
        where = self.sources["where"].to_numpy(str)
        rows = []
        for label in order:
            here = where[labels == label]
            counts = [int((here == w).sum()) for w in (BOTH, ONLY_A, ONLY_B)]
            if sum(counts):
                rows.append((label, *counts))
        return pd.DataFrame(rows, columns=["bin", BOTH, ONLY_A, ONLY_B])


def catalog_difference(
    a: Catalog,
    b: Catalog,
    frame: Frame,
    *,
    radius_px: float = 2.0,
    names: tuple[str, str] = ("A", "B"),
) -> CatalogDifference:
    """Compare two catalogues of one frame without a truth.

    Parameters
    ----------
    a, b : Catalog
        In the frame's pixels.
    frame : Frame
        All sources are measured on it in one aperture.
    radius_px : float
        Largest distance of two rows that are one source [px], inclusive.
    names : (str, str)
        Names of the catalogues.

    Returns
    -------
    CatalogDifference
        Pairs are one to one: as many as possible, then the closest.

    Raises
    ------
    BadInputError
        If the radius is not positive.
    """
    check_radius(radius_px)
    pairs = pair(a.xy, b.xy, radius_px)
    only_b = np.setdiff1d(np.arange(len(b)), pairs.found_index)
    xy = np.concatenate([a.xy, b.xy[only_b]])
    streak = np.concatenate([a["kind"], b["kind"][only_b]])
    places = Catalog.build(
        x=xy[:, 0],
        y=xy[:, 1],
        kind=streak,
        length=np.concatenate([a["length"], b["length"][only_b]]),
        theta=np.concatenate([a["theta"], b["theta"][only_b]]),
    )
    measured = forced_photometry(frame, places)
    flux = measured["aper_flux"]
    where = np.full(len(xy), ONLY_A, dtype="U6")
    where[pairs.truth_index] = BOTH
    where[len(a) :] = ONLY_B
    score_b = np.full(len(xy), np.nan)
    score_b[pairs.truth_index] = b["score"][pairs.found_index]
    score_b[len(a) :] = b["score"][only_b]
    separation = np.full(len(xy), np.nan)
    separation[pairs.truth_index] = pairs.separation
    distance, n_bright = _bright_distance(xy, flux)
    ny, nx = frame.shape
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = flux / measured["aper_flux_err"]
    columns = {
        "where": where,
        "x": xy[:, 0],
        "y": xy[:, 1],
        "mag": measured["aper_mag"],
        "snr": snr,
        "score_a": np.concatenate([a["score"], np.full(len(only_b), np.nan)]),
        "score_b": score_b,
        "separation": separation,
        "bright_px": distance,
        "column": _cell(xy[:, 0], nx),
        "row": _cell(xy[:, 1], ny),
    }
    if frame.wcs is not None:
        on_sky = add_sky_positions(frame, places)
        columns |= {"ra": on_sky["ra"], "dec": on_sky["dec"]}
    return CatalogDifference(names, pd.DataFrame(columns), radius_px, n_bright)


def _bright_distance(xy: Floats, flux: Floats) -> tuple[Floats, int]:
    """Return the distance of each source to the nearest other bright one, and their number."""
    usable = np.flatnonzero(np.isfinite(flux))
    n = int(np.clip(np.ceil(_BRIGHT * len(usable)), _FEWEST_BRIGHT, _MOST_BRIGHT))
    bright = usable[np.argsort(-flux[usable], kind="stable")[:n]]
    nearest = np.full(len(xy), np.inf)
    for row in bright:
        distance = np.hypot(*(xy - xy[row]).T)
        distance[row] = np.inf
        nearest = np.minimum(nearest, distance)
    return nearest, len(bright)


def _cell(position: Floats, size: int) -> npt.NDArray[np.int64]:
    return np.clip(np.floor((position + 0.5) / size * _CELLS), 0, _CELLS - 1).astype(np.int64)
