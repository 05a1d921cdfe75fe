"""Warnings about catalogues that do not meet: off the frame, or on it without one match."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from skyduel.core.catalog import Catalog

__all__ = ["FRACTION_BY_CHANCE", "frame_warning", "match_warning"]

# Fewer rows than these may well have no match by chance.
_FEW: Final = 5
# So many rows of both lists tell matches from pairs by chance, ...
_ENOUGH: Final = 20
#: ... where they match less than this fraction of the shorter list.
FRACTION_BY_CHANCE: Final = 0.2
# How far the detections are shifted, in matching radii, for pairs that are chance.
_SHIFTS: Final = np.array(
    [(8, 0), (0, 8), (-8, 0), (0, -8), (12, 5), (-5, 12), (-12, -5), (5, -12)]
)


def frame_warning(catalog: Catalog, what: str, shape: tuple[int, int] | None) -> str | None:
    """Return a warning if no row of a catalogue lies on its frame.

    Parameters
    ----------
    catalog : Catalog
        As `skyduel.core.read_catalog` returned it: ``outside_frame`` of its
        meta is the number of rows left out.
    what : str
        The rows in words, e.g. ``truth rows``.
    shape : (ny, nx), optional
        Of the frame [px]. Without it only rows left out are counted.

    Returns
    -------
    str or None
        None if a row lies on the frame, or there is no row at all.
    """
    meta = catalog.table.meta
    outside = int(meta.get("outside_frame", 0))
    total = len(catalog) + outside
    if total == 0 or (shape is None and len(catalog)):
        return None
    if shape is not None and bool(_on_frame(catalog.xy, shape).any()):
        return None
    hint = "is it another image's list?"
    away = ""
    if outside and "nearest_outside_deg" in meta:
        away = f"nearest {_angle(float(meta['nearest_outside_deg']))} from its centre; "
        hint = "is the frame FK4, are RA in hours?"
    elif shape is not None and len(catalog):
        ny, nx = shape
        dx = np.maximum(-catalog["x"], catalog["x"] - (nx - 1)).clip(0)
        dy = np.maximum(-catalog["y"], catalog["y"] - (ny - 1)).clip(0)
        away = f"nearest {float(np.hypot(dx, dy).min()):.4g} px away; "
    return f"0 of {total} {what} lie on the frame ({away}{hint})"


def match_warning(
    truth_xy: npt.NDArray[np.float64],
    found_xy: npt.NDArray[np.float64],
    n_matches: int,
    shape: tuple[int, int] | None = None,
    unit: str = "px",
    *,
    radius: float | None = None,
) -> str | None:
    """Return a warning if no more matched than by chance although both catalogues lie on the frame.

    Parameters
    ----------
    truth_xy, found_xy : ndarray of float64, shape (n, 2)
        Positions of what was paired, in ``unit``, on one plane.
    n_matches : int
        Number of pairs, ignored ones included.
    shape : (ny, nx), optional
        Of the frame [px]; without it every row counts.
    unit : str
        Of the positions.
    radius : float, optional
        Matching radius, in ``unit``. Without it every match is one.

    Returns
    -------
    str or None
        None if there are more matches than by chance, or fewer than five rows of either. Pairs by
        chance are counted after shifts of the detections by 8 to 13 radii, for lists of twenty
        rows or more. The offset is the median over truths of the difference to the nearest
        detection.
    """
    if n_matches and radius is None:
        return None
    if shape is not None:
        truth_xy = truth_xy[_on_frame(truth_xy, shape)]
        found_xy = found_xy[_on_frame(found_xy, shape)]
    shorter = min(len(truth_xy), len(found_xy))
    if n_matches and radius is not None:
        if shorter < _ENOUGH or n_matches >= FRACTION_BY_CHANCE * shorter:
            return None
        chance = _chance_matches(truth_xy, found_xy, radius)
        if n_matches > chance + 3 * np.sqrt(chance + 1):
            return None
        return (
            f"only {n_matches} of {len(truth_xy)} truths matched one of {len(found_xy)} "
            f"detections, no more than by chance ({chance:.0f}): is it the truth of another frame?"
        )
    if shorter < _FEW:
        return None
    _, nearest = cKDTree(found_xy).query(truth_xy)
    offsets = found_xy[nearest] - truth_xy
    dx, dy = np.median(offsets, axis=0)
    apart = float(np.median(np.hypot(offsets[:, 0], offsets[:, 1])))
    where = "lie on the frame" if shape is not None else "are there"
    return (
        f"0 of {len(truth_xy)} truths matched although {len(found_xy)} detections {where} "
        f"(nearest detection {apart:.3g} {unit} away, median offset {dx:+.3g}, {dy:+.3g} {unit})"
    )


def _chance_matches(
    truth_xy: npt.NDArray[np.float64], found_xy: npt.NDArray[np.float64], radius: float
) -> float:
    """Return how many truths have a detection within a radius after a shift, a mean over shifts."""
    tree = cKDTree(found_xy)
    counts = [
        np.isfinite(tree.query(truth_xy + shift, distance_upper_bound=radius)[0]).sum()
        for shift in radius * _SHIFTS
    ]
    return float(np.mean(counts))


def _on_frame(xy: npt.NDArray[np.float64], shape: tuple[int, int]) -> npt.NDArray[np.bool_]:
    ny, nx = shape
    inside = (xy > -0.5) & (xy < np.array([nx, ny]) - 0.5)
    return np.asarray(inside.all(axis=1))


def _angle(degrees: float) -> str:
    if degrees >= 0.1:
        return f"{degrees:.3g}\N{DEGREE SIGN}"
    return f"{degrees * 60:.3g}'"
