"""Make the truth of a frame from a reference catalogue: placed, clipped, with what is ignored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import FAINT_SNR
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.io.pixel_checks.check_facts import central_box
from skyduel.core.measure.aperture_photometry import forced_photometry
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.reference.epochs import Epoch, positions_at
from skyduel.core.reference.sources import ReferenceSources
from skyduel.core.reference.unresolved import Separation, closest_resolved, merge_unresolved
from skyduel.core.sections.large_image import LargeImage
from skyduel.core.wcs import pixel_positions

__all__ = ["DEPTH_SNR", "Depth", "FrameTruth", "measured_depth", "truth_of_frame"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: S/N of a source at the measured limit: below this the scorer's rules call it too faint.
DEPTH_SNR: Final = FAINT_SNR
#: Sources this far off the frame are kept and ignored: a detection at the edge may be theirs [px].
_MARGIN_PX: Final = 10.0
_FEWEST_STARS: Final = 5
#: Radii of the apertures tried [px].
_RADII_PX: Final = (1.0, 1.5, 2.0, 3.0, 4.5)
_BRIGHT_SNR: Final = 20.0
#: S/N of a source that a detector finds, for the remark on shallow references.
_FOUND_SNR: Final = 5.0
#: Why a source is ignored, in the order of the rules, and the words of the summary.
_REASONS: Final[Mapping[str, str]] = {
    "given": "that the catalogue itself ignores",
    "masked": "in masks",
    "edge": "at the edge",
    "no_mag": "without a magnitude",
    "faint": "fainter than the limit",
}


@dataclass(frozen=True)
class Depth:
    """The magnitude down to which the sources of a frame count.

    Parameters
    ----------
    mag : float
        The limit; a fainter source is ignored.
    words : str
        Its origin.
    """

    mag: float
    words: str


@dataclass(frozen=True, eq=False)
class FrameTruth:
    """The truth of a frame.

    Parameters
    ----------
    catalog : Catalog
        Positions on the frame [px, 0-based], ``ra`` and ``dec`` at the frame's epoch, ``mag``,
        ``n_sources`` (how many sources of the reference are one on the frame), ``ignore`` and
        ``reason``, and ``ref_id`` (that of the brightest) if the reference names its sources.
    counts : mapping of str to int
        Sources on the frame by their reason of being ignored, the empty one first.
    depth : Depth or None
        The limit.
    notes : tuple of str
        What was decided, and what is in doubt, one line each.
    """

    catalog: Catalog
    counts: Mapping[str, int]
    depth: Depth | None
    notes: tuple[str, ...]

    @property
    def n_on_frame(self) -> int:
        """Number of sources on the frame."""
        return sum(self.counts.values())

    def summary(self) -> str:
        """Return the counts in one line."""
        n = self.n_on_frame
        parts = [f"{n:,} source{'' if n == 1 else 's'} on the frame"]
        for reason, words in reversed(list(_REASONS.items())):
            if self.counts.get(reason):
                limit = f" {self.depth.mag:.1f}" if reason == "faint" and self.depth else ""
                parts.append(f"{self.counts[reason]:,} {words}{limit}")
        if len(parts) > 1:
            parts[-1] += " ignored"
            parts.append(f"{self.counts.get('', 0):,} count")
        return ", ".join(parts)


def truth_of_frame(
    frame: Frame | LargeImage,
    sources: ReferenceSources,
    *,
    epoch: Epoch | None = None,
    depth: float | None = None,
    measure_depth: bool = True,
    edge_px: float = 0.0,
    unresolved_px: float | None = None,
) -> FrameTruth:
    """Return the truth of a frame from the sources of a reference catalogue.

    Parameters
    ----------
    frame : Frame or LargeImage
        Must have a WCS.
    sources : ReferenceSources
        At least those on the frame.
    epoch : Epoch, optional
        The frame's. Proper motions are applied up to it; not without it.
    depth : float, optional
        Sources fainter than this magnitude are ignored.
    measure_depth : bool
        Whether the limit is measured on the frame if none is given.
    edge_px : float
        Sources closer to the frame's border than this are ignored [px].
    unresolved_px : float, optional
        Sources at most this far from a brighter one are one source with it, of the summed flux
        [px]; 0 adds none. Default: half the FWHM of the frame's stars, at least half a pixel.
        No detector could find both.

    Returns
    -------
    FrameTruth
        Ignored are, by the first rule that applies: what the catalogue ignores, what lies on
        masked pixels, at the edge, has no magnitude (if others have one), is fainter than the
        limit. Sources up to 10 px off the frame are kept and ignored, and not counted.

    Raises
    ------
    BadInputError
        If no source lies on the frame.
    """
    ra, dec = sources.ra, sources.dec
    moving = np.isfinite(sources.pmra) & np.isfinite(sources.pmdec)
    movable = moving & np.isfinite(sources.epoch)
    if epoch is not None:
        ra, dec = positions_at(
            ra, dec, sources.pmra, sources.pmdec, sources.epoch, epoch.year
        )  # fmt: skip
    x, y = pixel_positions(ra, dec, frame)
    ny, nx = frame.shape
    with np.errstate(invalid="ignore"):
        near = (x >= -0.5 - _MARGIN_PX) & (x < nx - 0.5 + _MARGIN_PX)
        near &= (y >= -0.5 - _MARGIN_PX) & (y < ny - 0.5 + _MARGIN_PX)
    rows = np.flatnonzero(near)
    x, y, mag = x[rows], y[rows], sources.mag[rows]
    ra, dec = ra[rows], dec[rows]
    measurable = cache(partial(_measurable, frame))  # read at most once, and only where needed
    if unresolved_px is not None:
        apart = Separation(unresolved_px, "as asked for")
    elif (part := measurable()) is None:
        apart = closest_resolved(None)
    else:
        apart = closest_resolved(part.frame, part.background)
    # What the catalogue itself ignores is not added to a source that counts.
    merged = merge_unresolved(x, y, mag, apart.px, alone=sources.ignore[rows])
    x, y, mag = merged.mean(x), merged.mean(y), merged.magnitudes(mag)
    ra, dec = merged.mean(ra, 360.0), merged.mean(dec)
    n_added = len(rows) - len(merged.rows)
    rows = rows[merged.rows]
    on = (x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5)
    if not on.any():
        raise BadInputError(
            sources.source, f"a source on the frame {frame.name}",
            f"none of {len(sources):,} rows there",
        )  # fmt: skip
    masked = _masked(frame, x, y)
    limit = None if depth is None else Depth(depth, "as asked for")
    if limit is None and measure_depth and np.isfinite(mag).any():
        limit = _depth_of(measurable(), x, y, mag)
    border = np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))
    with np.errstate(invalid="ignore"):
        faint = np.zeros(len(rows), bool) if limit is None else mag > limit.mag
    reason = np.full(len(rows), "", dtype="U9")
    flags = {
        "given": sources.ignore[rows],
        "masked": masked,
        "edge": border < edge_px,
        "no_mag": ~np.isfinite(mag) & np.isfinite(mag).any(),
        "faint": faint,
    }
    for name in reversed(list(_REASONS)):
        reason[flags[name]] = name
    reason[~on] = "off_frame"
    columns: dict[str, Any] = {
        "x": x, "y": y, "mag": mag, "ra": ra, "dec": dec,
        "n_sources": merged.n_sources, "ignore": reason != "", "reason": reason,
    }  # fmt: skip
    if sources.names is not None:
        columns["ref_id"] = sources.names[rows]
    counts = {name: int((reason[on] == name).sum()) for name in ("", *_REASONS)}
    moved = int((movable[rows] & on).sum()) if epoch is not None else 0
    notes = _notes(sources, epoch, rows[on], moved, limit, mag[on & ~masked])
    if n_added:
        notes += (
            f"{n_added:,} source{'' if n_added == 1 else 's'} within {apart.px:.2g} px of a "
            f"brighter one ({apart.words}) {'is' if n_added == 1 else 'are'} one source with it",
        )
    meta: dict[str, Any] = {
        "refcat": sources.source,
        "refmag": sources.magnitude or "none",
        "epoch": round(epoch.year, 5) if epoch is not None else "unknown",
        "moved": moved,
        "unresolv": round(apart.px, 3),
        "added": n_added,
        "depth": round(limit.mag, 3) if limit is not None else "none",
        "depthby": limit.words if limit is not None else "",
    }
    order = np.argsort(np.where(np.isfinite(mag), mag, np.inf), kind="stable")
    catalog = Catalog.build(source=frame.name, meta=meta, **columns).select(order)
    return FrameTruth(catalog, counts, limit, notes)


def measured_depth(frame: Frame | LargeImage, x: Floats, y: Floats, mag: Floats) -> Depth | None:
    """Return the magnitude of a source of S/N 2 on a frame, in the aperture of the best S/N.

    Parameters
    ----------
    frame : Frame or LargeImage
        Of a large image the middle is measured.
    x, y : ndarray of float64, shape (n,)
        Positions of reference sources [px].
    mag : ndarray of float64, shape (n,)
        Their magnitudes.

    Returns
    -------
    Depth or None
        None if fewer than five unsaturated sources have an S/N of 20 or more. The zero-point is
        the median over these, the noise that of the background.

    Notes
    -----
    The best of a few apertures is within a tenth of the ideal measurement's S/N, whatever the
    width of the stars, which headers rarely state.
    """
    return _depth_of(_measurable(frame), x, y, mag)


def _depth_of(part: _Measurable | None, x: Floats, y: Floats, mag: Floats) -> Depth | None:
    """Return the limit as `measured_depth` does, from the part that is measured."""
    if part is None:
        return None
    seen, background, x0, y0 = part
    ny, nx = seen.shape
    here = np.isfinite(mag) & (x - x0 > 0) & (x - x0 < nx - 1) & (y - y0 > 0) & (y - y0 < ny - 1)
    if not here.any():
        return None
    at = Catalog.build(x=x[here] - x0, y=y[here] - y0)
    full = seen.saturated()[tuple(np.rint(at.xy[:, ::-1]).astype(int).T)]
    usable = ~seen.masked_at(at["x"], at["y"]) & ~full
    best: Depth | None = None
    for radius in _RADII_PX:
        measured = forced_photometry(seen, at, radius, background=background)
        flux, error = measured["aper_flux"], measured["aper_flux_err"]
        with np.errstate(invalid="ignore", divide="ignore"):
            zero = mag[here] + 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
            bright = usable & (flux > _BRIGHT_SNR * error) & np.isfinite(zero)
            photons = np.zeros(len(flux)) if seen.gain is None else np.maximum(flux, 0) / seen.gain
            noise = np.sqrt(np.maximum(error**2 - photons, 0.0))
        if bright.sum() < _FEWEST_STARS:
            continue
        sky = float(np.median(noise[usable & np.isfinite(noise)]))
        if not sky > 0:
            continue
        limit = float(np.median(zero[bright]) - 2.5 * np.log10(DEPTH_SNR * sky))
        if best is None or limit > best.mag:
            stars = f"{int(bright.sum()):,} stars of the frame"
            best = Depth(limit, f"S/N {DEPTH_SNR:g} in {radius:g} px around, from {stars}")
    return best


class _Measurable(NamedTuple):
    """The part of a frame that is measured, its background, and its lower left pixel."""

    frame: Frame
    background: Background
    x0: int
    y0: int


def _measurable(frame: Frame | LargeImage) -> _Measurable | None:
    """Return the whole frame, or the middle of a large one; None if nothing can be read there."""
    if isinstance(frame, Frame):
        return _Measurable(frame, estimate_background(frame), 0, 0)
    rows, columns = central_box(frame.shape)
    middle = frame.middle()
    if middle is None:
        return None
    return _Measurable(middle, estimate_background(middle), columns.start, rows.start)


def _masked(frame: Frame | LargeImage, x: Floats, y: Floats) -> Bools:
    """Return True for positions on masked pixels."""
    if isinstance(frame, Frame):
        return frame.masked_at(x, y)
    masked = np.zeros(len(x), dtype=bool)
    for section in frame.sections:
        mine = section.holds(x, y)
        if mine.any():
            seen = frame.read(section)
            masked[mine] = (
                True if seen is None else seen.masked_at(x[mine] - section.x0, y[mine] - section.y0)
            )
    return masked


def _notes(
    sources: ReferenceSources,
    epoch: Epoch | None,
    rows: npt.NDArray[np.int64],
    moved: int,
    limit: Depth | None,
    mag: Floats,
) -> tuple[str, ...]:
    """Return the lines on magnitudes, motions and depth."""
    notes = [f"magnitudes: {sources.magnitude}" if sources.magnitude else
             "the reference has no magnitude that is known as one: one bin for all, no limit of "
             "depth; `Reference.columns` names one"]  # fmt: skip
    has = np.isfinite(sources.pmra[rows]) & np.isfinite(sources.pmdec[rows])
    dated = has & np.isfinite(sources.epoch[rows])
    if epoch is None:
        why = "no date of observation in the header (DATE-OBS, MJD-OBS, ...; `epoch` sets it)"
        notes.append(f"{why}: proper motions are not applied" if has.any() else why)
    elif not has.any():
        notes.append("the reference has no proper motions: positions are used as they are")
    elif not dated.any():
        notes.append("the reference states no epoch of its positions: proper motions are not "
                     "applied; `Reference.epoch` sets it")  # fmt: skip
    else:
        start = float(np.median(sources.epoch[rows][dated]))
        notes.append(
            f"{moved:,} of {len(rows):,} positions moved from {start:.2f} to {epoch.year:.2f} "
            f"({epoch.words})"
        )
    known = mag[np.isfinite(mag)]
    if limit is None and known.size:
        notes.append("the depth of the frame is unknown, so no source is ignored as faint; "
                     "`depth` sets a limit")  # fmt: skip
    elif limit is not None and known.size:
        notes.append(f"limit {limit.mag:.2f} mag: {limit.words}")
        faintest = float(np.quantile(known, 0.99))
        found = limit.mag - 2.5 * np.log10(_FOUND_SNR / DEPTH_SNR)
        if faintest < found:
            notes.append(
                f"the reference ends at {faintest:.1f} mag, and the frame shows sources to about "
                f"{found:.1f}: real ones between count as false detections"
            )
    return tuple(notes)
