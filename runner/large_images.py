"""Frames read by sections: what is found, the truth, the common measurements and a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skyduel.core import (
    PIXEL_FEATURES,
    BadInputError,
    CapsuleSums,
    Catalog,
    Detector,
    Frame,
    LargeImage,
    PackedMask,
    Section,
    aperture_radius,
    capsule_sums,
    detector_info,
    estimate_background,
    forced_photometry,
    merge_sections,
    pixel_features,
    segment_of,
    with_flux,
)
from skyduel.run_folder.previews import Stretch, stretch_of

__all__ = ["Measured", "checked", "find_by_sections", "measure_by_sections"]

_MEASURES = ("aper_flux", "aper_flux_err", *PIXEL_FEATURES)
#: Side of the sample taken from the middle of each section for a picture's stretch [px].
_SAMPLE_PX = 256


@dataclass(frozen=True, eq=False)
class Measured:
    """A catalogue with the common measurements, and what was seen of the frame meanwhile.

    Parameters
    ----------
    catalog : Catalog
        With the columns of `forced_photometry` and `pixel_features`.
    bad, saturated : PackedMask
        Of the whole frame.
    mpix : float
        Usable pixels [10⁶].
    picture : ndarray of uint8, shape (ny, nx), or None
        The frame stretched, its last row first, if it was asked for.
    """

    catalog: Catalog
    bad: PackedMask
    saturated: PackedMask
    mpix: float
    picture: npt.NDArray[np.uint8] | None


def find_by_sections(detector: Detector, mosaic: LargeImage) -> Catalog:
    """Return what a detector finds on a mosaic, section by section, seams closed.

    Raises
    ------
    BadInputError
        If a section cannot be read, or the detector does not return a catalogue.
    """
    if not detector_info(detector).needs_pixels:
        return checked(detector(mosaic), detector)  # type: ignore[arg-type]
    parts = []
    for section, frame in mosaic.frames():
        parts.append((section, checked(detector(frame), detector)))
        del frame  # not two at a time
    return merge_sections(parts, zero_point=mosaic.zero_point)


def checked(found: object, detector: Detector) -> Catalog:
    """Return what a detector returned, if it is a catalogue."""
    if not isinstance(found, Catalog):
        raise BadInputError(
            f"detector {detector.name!r}", "a Catalog returned", type(found).__name__
        )
    return found


def measure_by_sections(mosaic: LargeImage, catalog: Catalog, *, picture: bool = False) -> Measured:
    """Return the common measurements at the positions of a catalogue.

    Parameters
    ----------
    mosaic : LargeImage
        The frame.
    catalog : Catalog
        Positions of the whole frame [px].
    picture : bool
        Whether a picture is made of it.

    Notes
    -----
    Each position is measured in the section whose core holds it. The aperture of a
    streak is summed over the cores that it crosses.
    """
    owner = mosaic.owner(catalog["x"], catalog["y"])
    streaks = np.flatnonzero(catalog.is_streak & ~(catalog["length"] == 0.0))
    round_ = np.ones(len(catalog), dtype=bool)
    round_[streaks] = False
    segments = {int(row): segment_of(catalog, row) for row in streaks}
    sums = dict.fromkeys(segments, CapsuleSums())
    columns = {name: np.full(len(catalog), np.nan) for name in _MEASURES}
    bad, saturated = PackedMask(mosaic.shape, True), PackedMask(mosaic.shape, False)
    stretch = _stretch(mosaic) if picture else None
    drawn = np.zeros(mosaic.shape, dtype=np.uint8) if picture else None
    usable, gain, radius = 0, None, 0.0
    for number, (section, frame) in _numbered(mosaic):
        sky = estimate_background(frame)
        gain, radius = frame.gain, aperture_radius(frame)
        for chosen, measure in (
            ((owner == number) & round_, forced_photometry),
            (owner == number, pixel_features),
        ):
            rows = np.flatnonzero(chosen)
            if rows.size:
                measured = measure(frame, _local(catalog, rows, section), background=sky)
                for name in _MEASURES:
                    if name in measured:
                        columns[name][rows] = measured[name]
        for row, (x, y, half_x, half_y) in segments.items():
            local = (x - section.x0, y - section.y0, half_x, half_y)
            sums[row] = sums[row] + capsule_sums(frame, sky, local, radius, section.core)
        bad.put(section, frame.bad)
        saturated.put(section, frame.saturated())
        usable += int(np.count_nonzero(~frame.bad[section.core]))
        if stretch is not None and drawn is not None:
            top = mosaic.shape[0] - section.core_y1
            drawn[
                top : top + section.core_y1 - section.core_y0, section.core_x0 : section.core_x1
            ] = stretch.picture(frame.data[section.core][::-1])
        del sky, frame
    for row, one in sums.items():
        length = 2.0 * float(np.hypot(*segments[row][2:]))
        columns["aper_flux"][row], columns["aper_flux_err"][row] = one.measured(
            length, radius, gain
        )
    flux, error = columns.pop("aper_flux"), columns.pop("aper_flux_err")
    done = with_flux(catalog.with_columns(**columns), flux, error, mosaic.zero_point)
    return Measured(done, bad, saturated, usable / 1e6, drawn)


def _numbered(mosaic: LargeImage) -> Iterator[tuple[int, tuple[Section, Frame]]]:
    numbers = {section: k for k, section in enumerate(mosaic.sections)}
    for section, frame in mosaic.frames():
        yield numbers[section], (section, frame)
        del frame


def _local(catalog: Catalog, rows: npt.NDArray[np.intp], section: Section) -> Catalog:
    """Return what the measurements need of some rows, in the section's pixels."""
    return Catalog.build(
        source=catalog.source,
        x=catalog["x"][rows] - section.x0,
        y=catalog["y"][rows] - section.y0,
        kind=catalog["kind"][rows],
        length=catalog["length"][rows],
        theta=catalog["theta"][rows],
    )


def _stretch(mosaic: LargeImage) -> Stretch:
    """Return a stretch for the whole frame, from the middle of each section."""
    samples = []
    for s in mosaic.sections:
        y, x = (s.core_y0 + s.core_y1) // 2, (s.core_x0 + s.core_x1) // 2
        y0, y1 = max(s.core_y0, y - _SAMPLE_PX // 2), min(s.core_y1, y + _SAMPLE_PX // 2)
        x0, x1 = max(s.core_x0, x - _SAMPLE_PX // 2), min(s.core_x1, x + _SAMPLE_PX // 2)
        frame = mosaic.read(Section(y0, y1, x0, x1, y0, y1, x0, x1))
        if frame is not None:
            samples.append(frame.data[~frame.bad])
    return stretch_of(np.concatenate(samples)) if samples else Stretch(0.0, 1.0)
