"""Detect and measure on large images, section by section."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from skyduel.core import (
    PIXEL_FEATURES,
    Catalog,
    Detector,
    Frame,
    LargeImage,
    Section,
    aperture_radius,
    detector_info,
    estimate_background,
    forced_photometry,
    merge_sections,
    pixel_features,
)
from skyduel.core.measure.aperture_photometry import (
    CapsuleSums,
    capsule_sums,
    segment_of,
    with_flux,
)
from skyduel.core.sections.large_image import PackedMask
from skyduel.run_folder.previews import Stretch, stretch_of
from skyduel.runner.frame_steps import SectionMasks, checked_catalog

__all__ = ["MeasuredImage", "detect_by_sections", "measure_by_sections", "picture_of"]

_MEASURES = ("aper_flux", "aper_flux_err", *PIXEL_FEATURES)
#: Side of the sample taken from the middle of each section for the stretch of a preview [px].
_SAMPLE_PX = 256


@dataclass(frozen=True, eq=False)
class MeasuredImage:
    """Catalogue with the common measurements, masks, area and preview of a large image.

    Parameters
    ----------
    catalog : Catalog
        The catalogue with the columns of `forced_photometry` and `pixel_features`.
    bad, saturated : PackedMask
        Masks of the whole frame.
    mpix : float
        Number of usable pixels [10⁶].
    preview : ndarray of uint8, shape (ny, nx), or None
        The stretched image, last row first, if requested.
    """

    catalog: Catalog
    bad: PackedMask
    saturated: PackedMask
    mpix: float
    preview: npt.NDArray[np.uint8] | None


def detect_by_sections(detector: Detector, image: LargeImage) -> Catalog:
    """Run a detector on a large image section by section; duplicates at the seams are merged.

    Raises
    ------
    BadInputError
        If a section cannot be read, or the detector does not return a catalogue.
    """
    if not detector_info(detector).needs_pixels:
        return checked_catalog(detector(image), detector)  # type: ignore[arg-type]
    parts = []
    for section, frame in image.frames():
        parts.append((section, checked_catalog(detector(frame), detector)))
        del frame  # so that only one is in memory
    return merge_sections(parts, zero_point=image.zero_point)


def measure_by_sections(
    image: LargeImage, catalog: Catalog, *, preview: bool = False
) -> MeasuredImage:
    """Measure the common aperture photometry and pixel features of a catalogue.

    Parameters
    ----------
    image : LargeImage
        The image.
    catalog : Catalog
        Positions in the whole image [px].
    preview : bool
        If True, make a preview of the image.

    Notes
    -----
    Each position is measured in the section whose core holds it. The aperture of a
    streak is summed over the cores that it crosses.
    """
    owner = image.owner(catalog["x"], catalog["y"])
    streaks = np.flatnonzero(catalog.is_streak & ~(catalog["length"] == 0.0))
    round_ = np.ones(len(catalog), dtype=bool)
    round_[streaks] = False
    segments = {int(row): segment_of(catalog, row) for row in streaks}
    sums = dict.fromkeys(segments, CapsuleSums())
    columns = {name: np.full(len(catalog), np.nan) for name in _MEASURES}
    masks = SectionMasks(image.shape)
    stretch = _stretch(image) if preview else None
    drawn = np.zeros(image.shape, dtype=np.uint8) if preview else None
    gain, radius = None, 0.0
    unread = np.ones(len(image.sections), dtype=bool)
    for number, (section, frame) in _numbered(image):
        unread[number] = False
        background = estimate_background(frame)
        gain, radius = frame.gain, aperture_radius(frame)
        for chosen, measure in (
            ((owner == number) & round_, forced_photometry),
            (owner == number, pixel_features),
        ):
            rows = np.flatnonzero(chosen)
            if rows.size:
                measured = measure(frame, _local(catalog, rows, section), background=background)
                for name in _MEASURES:
                    if name in measured:
                        columns[name][rows] = measured[name]
        for row, (x, y, half_x, half_y) in segments.items():
            local = (x - section.x0, y - section.y0, half_x, half_y)
            sums[row] = sums[row] + capsule_sums(frame, background, local, radius, section.core)
        masks.add(section, frame)
        if stretch is not None and drawn is not None:
            _draw(section, frame, stretch, drawn)
        del background, frame
    # A section without a usable pixel is not read: what lies there is on the mask.
    lost = np.flatnonzero(unread[owner])
    at_x, at_y = catalog["x"][lost], catalog["y"][lost]
    on = (at_x >= -0.5) & (at_x < image.shape[1] - 0.5)
    on &= (at_y >= -0.5) & (at_y < image.shape[0] - 0.5)
    columns["mask_distance"][lost[on]] = 0.0
    for row, one in sums.items():
        length = 2.0 * float(np.hypot(*segments[row][2:]))
        columns["aper_flux"][row], columns["aper_flux_err"][row] = one.measured(
            length, radius, gain
        )
    flux, error = columns.pop("aper_flux"), columns.pop("aper_flux_err")
    done = with_flux(catalog.with_columns(**columns), flux, error, image.zero_point)
    return MeasuredImage(done, masks.bad, masks.saturated, masks.mpix, drawn)


def picture_of(plane: Frame | LargeImage) -> npt.NDArray[np.uint8]:
    """Return the stretched pixels of a frame or a large image, its last row first.

    Raises
    ------
    BadInputError
        If a section cannot be read.
    """
    if isinstance(plane, Frame):
        return stretch_of(plane.data[~plane.bad]).picture(plane.data[::-1])
    stretch, drawn = _stretch(plane), np.zeros(plane.shape, dtype=np.uint8)
    for section, frame in plane.frames():
        _draw(section, frame, stretch, drawn)
    return drawn


def _draw(section: Section, frame: Frame, stretch: Stretch, drawn: npt.NDArray[np.uint8]) -> None:
    """Draw the core of a section into the picture of the whole image, its last row first."""
    top = len(drawn) - section.core_y1
    rows = slice(top, top + section.core_y1 - section.core_y0)
    drawn[rows, section.core_x0 : section.core_x1] = stretch.picture(frame.data[section.core][::-1])


def _numbered(image: LargeImage) -> Iterator[tuple[int, tuple[Section, Frame]]]:
    """Yield the sections with their indices."""
    numbers = {section: k for k, section in enumerate(image.sections)}
    for section, frame in image.frames():
        yield numbers[section], (section, frame)
        del frame


def _local(catalog: Catalog, rows: npt.NDArray[np.intp], section: Section) -> Catalog:
    """Select rows and convert their positions to pixels of a section."""
    return Catalog.build(
        source=catalog.source,
        x=catalog["x"][rows] - section.x0,
        y=catalog["y"][rows] - section.y0,
        kind=catalog["kind"][rows],
        length=catalog["length"][rows],
        theta=catalog["theta"][rows],
    )


def _stretch(image: LargeImage) -> Stretch:
    """Measure the stretch of the whole image on the middle of each section."""
    samples = []
    for s in image.sections:
        y, x = (s.core_y0 + s.core_y1) // 2, (s.core_x0 + s.core_x1) // 2
        y0, y1 = max(s.core_y0, y - _SAMPLE_PX // 2), min(s.core_y1, y + _SAMPLE_PX // 2)
        x0, x1 = max(s.core_x0, x - _SAMPLE_PX // 2), min(s.core_x1, x + _SAMPLE_PX // 2)
        frame = image.read(Section(y0, y1, x0, x1, y0, y1, x0, x1))
        if frame is not None:
            samples.append(frame.data[~frame.bad])
    return stretch_of(np.concatenate(samples)) if samples else Stretch(0.0, 1.0)
