"""Read calibration exposures, combine them, and apply them to the pixels of a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError
from skyduel.core.io.calibration.files import CalibrationFiles
from skyduel.core.io.images.image_formats import frame_name, open_image
from skyduel.core.io.images.image_reader import NOTES_KEY, ImageReader, without_brackets
from skyduel.core.preprocess.calibration import (
    KINDS,
    Conditions,
    Kind,
    Masters,
    applied,
    combined,
    hot_pixels,
)

__all__ = ["Calibrator", "calibrator_of", "read_masters"]

#: Pixels of all exposures of a kind that are in memory at a time.
_STRIP_PX: Final = 1 << 25


@dataclass(frozen=True, eq=False)
class Calibrator:
    """Masters made ready for one frame.

    Parameters
    ----------
    masters : Masters
        Those that apply.
    conditions : Conditions
        Of the frame.
    scale : float
        Of the dark.
    overscan : float
        Level that is subtracted first [ADU].
    saturation : float, optional
        Pixel value of the raw frame at and above which a pixel is saturated [ADU].
    """

    masters: Masters
    conditions: Conditions
    scale: float
    overscan: float
    saturation: float | None

    @property
    def level(self) -> float | None:
        """Saturation of the calibrated frame [ADU]: what is left where least is subtracted."""
        if self.saturation is None:
            return None
        less = self.overscan
        for kind, factor in (("bias", 1.0), ("dark", self.scale)):
            master = self.masters.of(kind)  # type: ignore[arg-type]
            if master is not None:
                less += factor * float(np.nanmedian(master))
        return self.saturation - less if self.saturation > less else None

    def facts(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Return the facts of the calibrated frame, with notes of what was done."""
        header = dict(facts.get("header", {}))
        header[NOTES_KEY] = (*header.get(NOTES_KEY, ()), *self.masters.notes(self.conditions))
        done = "".join(kind[0].upper() for kind in KINDS if self.masters.of(kind) is not None)
        letters = set(done) | set(self.conditions.done)
        if letters:
            header["CALSTAT"] = "".join(c for c in "BDF" if c in letters)
        made = {**facts, "header": header}
        if self.saturation is not None:
            made["saturation"] = self.level
        return made

    def apply(
        self, pixels: npt.NDArray[Any], rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Return the calibrated pixels of a box, and True where they are of no use.

        Saturated pixels stay at or above the saturation of the calibrated frame.
        """
        raw = np.asarray(pixels, dtype=np.float64)
        made, bad = applied(
            raw - self.overscan, self.masters, self.scale, (rows, columns), self.conditions.name
        )
        if self.saturation is not None and self.level is not None:
            with np.errstate(invalid="ignore"):
                made = np.where(raw >= self.saturation, np.maximum(made, self.level), made)
        return made, bad


def calibrator_of(
    files: CalibrationFiles, image: ImageReader, facts: Mapping[str, Any]
) -> Calibrator:
    """Return what calibrates one frame.

    Parameters
    ----------
    files : CalibrationFiles
        At least one.
    image : ImageReader
        The raw frame.
    facts : mapping
        Its facts, as fields of `core.Frame`.

    Raises
    ------
    BadInputError
        If an exposure cannot be read, or does not fit: another size or binning, or another
        exposure time without a bias.
    """
    name = str(facts["name"])
    conditions = Conditions.of(name, image.shape, facts.get("exposure_s"), facts.get("header", {}))
    masters = read_masters(files).for_frame(conditions)
    for taken in masters.taken.values():
        conditions.require_like(taken)
    return Calibrator(
        masters,
        conditions,
        masters.scale_for(conditions),
        _overscan(image) or 0.0,
        facts.get("saturation"),
    )


def read_masters(files: CalibrationFiles) -> Masters:
    """Read and combine calibration exposures; made once for the same files.

    Returns
    -------
    Masters
        The overscan is subtracted from each exposure; the bias from the darks; bias and dark
        from the flats, each of which is then divided by its median.

    Raises
    ------
    BadInputError
        If one cannot be read, those of a kind differ in size, binning or (darks) exposure
        time, or a flat needs a bias.
    """
    stamps = []
    for path in files.every:
        try:
            status = without_brackets(path).stat()
        except OSError as error:
            raise BadInputError(str(path), "a calibration frame", "no such file") from error
        stamps.append((status.st_size, status.st_mtime_ns))
    return _read_masters(files, tuple(stamps))


@lru_cache(maxsize=2)
def _read_masters(files: CalibrationFiles, stamps: tuple[tuple[int, int], ...]) -> Masters:
    """Read and combine; the stamps of the files are part of the key."""
    made = Masters()
    for kind in KINDS:
        if files.of(kind):
            made = _with(made, kind, files.of(kind))
    return made


def _with(made: Masters, kind: Kind, paths: Sequence[Path]) -> Masters:
    """Return masters with one more kind, made of exposures."""
    with ExitStack() as stack:
        images = [stack.enter_context(closing(open_image(path, whole=False))) for path in paths]
        taken = [_conditions(image) for image in images]
        for one in (*made.taken.values(), *taken[1:]):
            taken[0].require_like(one)
        if kind == "dark":
            times = sorted({c.exposure_s for c in taken if c.exposure_s is not None})
            if len(times) > 1 and times[-1] > 1.01 * times[0]:
                raise BadInputError(
                    taken[0].name,
                    "darks of one exposure time",
                    f"darks of {times[0]:g} s and of {times[-1]:g} s",
                )
        overscans = [_overscan(image) or 0.0 for image in images]
        norms = [1.0] * len(images)
        if kind == "flat":
            norms = [
                _norm(_corrected(image, made, c, over, slice(0, c.shape[0])), c.name)
                for image, c, over in zip(images, taken, overscans, strict=True)
            ]
        ny, nx = taken[0].shape
        height = max(1, _STRIP_PX // (nx * len(images)))
        strips = []
        for first in range(0, ny, height):
            rows = slice(first, min(first + height, ny))
            boxes = [
                _corrected(image, made, c, over, rows) / norm
                for image, c, over, norm in zip(images, taken, overscans, norms, strict=True)
            ]
            strips.append(combined(boxes, taken[0].name))
    master = np.concatenate(strips)
    if kind == "flat":
        master = master / np.float32(np.nanmedian(master))
    values = {k: made.of(k) for k in KINDS} | {kind: master}
    return Masters(
        **values,
        taken={**made.taken, kind: taken[0]},
        counts={**made.counts, kind: len(images)},
        hot=hot_pixels(master) if kind == "dark" else made.hot,
    )


def _corrected(
    image: ImageReader, made: Masters, taken: Conditions, overscan: float, rows: slice
) -> npt.NDArray[np.float64]:
    """Return rows of an exposure without overscan, bias and dark, of those made so far."""
    box = (rows, slice(0, taken.shape[1]))
    pixels = np.asarray(image.read_box(*box), dtype=np.float64) - overscan
    rest = Masters(bias=made.bias, dark=made.dark, taken=made.taken)
    if rest.bias is None and rest.dark is None:
        return pixels
    less, _ = applied(pixels, rest, rest.scale_for(taken), box, taken.name)
    return less


def _norm(pixels: npt.NDArray[np.float64], name: str) -> float:
    """Return the median of a flat."""
    middle = float(np.nanmedian(pixels))
    if not middle > 0:
        raise BadInputError(
            name, "a flat with light above bias and dark", f"a median of {middle:g}"
        )
    return middle


def _conditions(image: ImageReader) -> Conditions:
    """Return how a calibration exposure was taken."""
    facts = image.facts()
    name = f"calibration frame {frame_name(image.file)}"
    return Conditions.of(name, image.shape, facts.get("exposure_s"), facts.get("header", {}))


def _overscan(image: ImageReader) -> float | None:
    """Return the median of the overscan of an image [ADU], None without one."""
    reader = getattr(image, "overscan", None)
    level: float | None = None if reader is None else reader()
    return level
