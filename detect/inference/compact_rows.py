"""Measure what was found on a coarser grid again, on the frame itself."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
import scipy
from astropy.table import vstack
from scipy import ndimage

from skyduel.core.catalog import Catalog
from skyduel.core.frame import Frame
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.measure.aperture_photometry import forced_photometry, segment_of
from skyduel.core.measure.background import Background
from skyduel.core.measure.star_shape import StarShape
from skyduel.detect.inference.compact_frame import CoarseGrid
from skyduel.detect.inference.profile_match import ProfileMatch

__all__ = ["OUT_OF_RANGE", "measure_compact_rows"]

Floats = npt.NDArray[np.float64]

#: Bit of ``flags`` for the rows of a frame whose stars are outside the range of the training.
OUT_OF_RANGE: Final = 1
#: ``flux`` is measured in the circle that holds this part of a star's light.
_LIGHT: Final = 0.9
#: Streaks are longer than so many stars, and all but this fraction of their length, where they
#: may be masked, has a smoothed S/N of at least 1: a row of stars has gaps.
_STREAK_STARS: Final = 2.0
_UNLIT: Final = 0.3
_RIDGE_SIGMA_PX: Final = 1.5
#: Least S/N of all the light of a streak: training ignores fainter ones.
_LEAST_STREAK_SNR: Final = 5.0
#: Score from which a bright row counts as a source.
_SURE: Final = 0.5


def measure_compact_rows(
    frame: Frame,
    background: Background,
    stars: StarShape,
    grid: CoarseGrid,
    found: Catalog,
    floor: float,
) -> Catalog:
    """Return detections on a coarser grid as rows of the frame.

    Parameters
    ----------
    frame, background : Frame, Background
        The frame itself.
    stars : StarShape
        The profile of its stars.
    grid : CoarseGrid
        The grid.
    found : Catalog
        Detections on the grid, in its pixels.
    floor : float
        Lowest score returned.

    Returns
    -------
    Catalog
        In order of falling score. Points are the sources of `ProfileMatch` that the network
        found too, or that overlap with one it found; ``score`` is at most the probability of
        their S/N. Streaks that are no longer than two stars, have gaps, or have less
        than S/N 5 in all are left out.
        All rows have the bit `OUT_OF_RANGE` in ``flags``.
    """
    theta, xy = found["theta"].astype(np.float64), grid.to_frame(found.xy)
    found = found.with_columns(
        x=xy[:, 0],
        y=xy[:, 1],
        length=found["length"] * grid.stretch(theta),
        theta=np.where(found.is_streak, grid.direction(theta), 0.0),
        flags=found["flags"] | OUT_OF_RANGE,
    )
    match = ProfileMatch(frame, background, stars)
    points = _points(match, stars, grid, found.select(~found.is_streak))
    found = _joined(points, found.select(found.is_streak))
    found = found.select(frame.usable_at(found["x"], found["y"]) | found.is_streak)
    found = forced_photometry(frame, found, background=background)
    whole = forced_photometry(frame, found, match.radius(_LIGHT), background=background)
    flux = np.where(found.is_streak, found["aper_flux"], whole["aper_flux"])
    flux_err = np.where(found.is_streak, found["aper_flux_err"], whole["aper_flux_err"])
    mag = np.full(len(found), np.nan)
    if frame.zero_point is not None:
        mag = flux_to_mag(flux, frame.zero_point)
    found = found.with_columns(flux=flux, flux_err=flux_err, mag=mag)
    found = found.select(
        (found["score"] >= floor)
        & (~found.is_streak | _real_streaks(frame, background, stars, found))
    )
    return found.select(np.argsort(-found["score"], kind="stable"))


def _points(match: ProfileMatch, stars: StarShape, grid: CoarseGrid, found: Catalog) -> Catalog:
    """Return the sources of the S/N map that the network's points support."""
    xy, snr = match.xy, match.snr
    score = np.zeros(len(xy))
    if len(found) and len(xy):
        # Each row belongs to the nearest source within half the diagonal of a coarse pixel, and
        # as much for the network's own error; a source has the score of its surest row.
        own, of = _nearest(found.xy, xy, stars.theta, (1.5 * grid.steps[0], 1.5 * grid.steps[1]))
        np.maximum.at(score, of[own], found["score"][own])
        # A source that overlaps with a sure one: the network saw both as one.
        sure = score >= _SURE
        if sure.any():
            reach = stars.along, stars.across
            near, by = _nearest(xy, xy[sure], stars.theta, reach)
            score = np.where(near, np.maximum(score, score[sure][by]), score)
    score = np.minimum(score, match.probability(snr, score >= _SURE))
    return Catalog.build(
        source=found.source,
        x=xy[:, 0],
        y=xy[:, 1],
        xy_err=match.position_error(snr),
        score=score,
        flags=np.full(len(xy), OUT_OF_RANGE),
    )


def _nearest(
    xy: Floats, others: Floats, theta: float, reach: tuple[float, float]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.intp]]:
    """Return which positions have another within an ellipse along ``theta``, and the nearest."""
    c, s = np.cos(theta), np.sin(theta)
    turn = np.array([[c / reach[0], -s / reach[1]], [s / reach[0], c / reach[1]]])
    distance, index = scipy.spatial.KDTree(others @ turn).query(xy @ turn)
    return np.asarray(distance <= 1), np.asarray(index)


def _joined(points: Catalog, streaks: Catalog) -> Catalog:
    """Return the rows of both, with the columns of the schema that both have."""
    names = [name for name in points.table.colnames if name in streaks.table.colnames]
    table = vstack([points.table[names], streaks.table[names]], metadata_conflicts="silent")
    return Catalog(table, points.source)


def _real_streaks(
    frame: Frame, background: Background, stars: StarShape, found: Catalog
) -> npt.NDArray[np.bool_]:
    """Return True for the streaks that are longer than stars, bright, and lit from end to end."""
    long = found.is_streak & (found["length"] > _STREAK_STARS * stars.along)
    if not long.any():
        return long
    z = (frame.data - background.level) / background.rms
    z[frame.bad] = 0.0
    ridge = ndimage.gaussian_filter(z, _RIDGE_SIGMA_PX)
    reach = 2 * math.sqrt(math.pi) * _RIDGE_SIGMA_PX  # length of one independent value
    ridge *= reach  # in units of its noise
    for row in np.flatnonzero(long):
        x, y, half_x, half_y = segment_of(found, row)
        t = np.linspace(-1, 1, max(2, math.ceil(float(found["length"][row]))))
        light = ndimage.map_coordinates(ridge, [y + t * half_y, x + t * half_x], order=1)
        snr = light.mean() * math.sqrt(float(found["length"][row]) / reach)
        long[row] = np.quantile(light, _UNLIT) > 1 and snr > _LEAST_STREAK_SNR
    return long
