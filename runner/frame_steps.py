"""Steps of the work on one frame that detecting and tuning have in common."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import numpy as np

from skyduel.core import (
    BadInputError,
    Catalog,
    Detector,
    Entry,
    Frame,
    Section,
    SkyduelError,
)
from skyduel.core.catalog import SCHEMA
from skyduel.core.detector import NOTE_KEY
from skyduel.core.errors import printable
from skyduel.core.extras import missing_extra
from skyduel.core.frame import Plane
from skyduel.core.sections.large_image import PackedMask
from skyduel.core.settings import nearest
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.execution.time_limit import TooLongError, time_limit

__all__ = [
    "SectionMasks",
    "checked_catalog",
    "failure_reason",
    "process_detector",
    "read_truth",
    "usable_mpix",
]

#: Side of the noise frame that a detector is warmed up on before it is timed [px].
_WARM_UP_PX: Final = 128

_detectors: dict[str, Detector] = {}
_warm: set[str] = set()


def process_detector(
    spec: DetectorSpec, *, warm_up: bool = False, limit_s: float | None = None
) -> Detector:
    """Return the detector of a spec, built once in this process.

    Parameters
    ----------
    spec : DetectorSpec
        The detector and its settings.
    warm_up : bool
        Run the detector on a small frame of noise first, so that its start is not timed.
    limit_s : float, optional
        Time limit of that [s].
    """
    key = spec.model_dump_json()
    if key not in _detectors:
        _detectors[key] = build(spec)
    detector = _detectors[key]
    if warm_up and spec.use != "file" and key not in _warm:
        _warm.add(key)
        noise = np.random.default_rng(0).normal(100, 5, (_WARM_UP_PX, _WARM_UP_PX))
        frame = Frame(data=noise.astype(np.float32), name="warm-up")
        # An error or a timeout here will also come, and be recorded, with the frames.
        with suppress(Exception, SystemExit, TooLongError), time_limit(limit_s):
            detector(frame)
    return detector


def checked_catalog(found: object, detector: Detector) -> Catalog:
    """Return the result of a detector if it is a catalogue, with a note if it has no scores.

    Raises
    ------
    BadInputError
        If it is not.
    """
    if not isinstance(found, Catalog):
        raise BadInputError(
            f"detector {detector.name!r}", "a Catalog returned", type(found).__name__
        )
    if len(found) and NOTE_KEY not in found.table.meta and np.isnan(found["score"]).all():
        # Often a column of another name, which would be kept without a word.
        near = nearest("score", (name for name in found.table.colnames if name not in SCHEMA))
        hint = f"; is the column {near!r} meant for it?" if near else ""
        note = f"no row has a score, so that no threshold can be chosen{hint}"
        return found.with_meta(**{NOTE_KEY: note})
    return found


def failure_reason(error: BaseException) -> str:
    """Return an exception of a detector in one printable line, with its type if not our own."""
    if isinstance(error, MemoryError):
        return "out of memory"
    lacking = missing_extra("this command", error) if isinstance(error, ImportError) else None
    if lacking is not None:
        return str(lacking)
    text = str(error).strip()
    first = printable(text.splitlines()[0]) if text else "no message"
    return first if isinstance(error, SkyduelError) else f"{type(error).__name__}: {first}"


def read_truth(entry: Entry, plane: Plane) -> Catalog:
    """Read the truth of a frame.

    Parameters
    ----------
    entry : Entry
        Names the file.
    plane : Frame or LargeImage
        For celestial positions and magnitudes of the truth.

    Raises
    ------
    BadInputError
        If the data set names no truth for the frame, or it cannot be read.
    """
    return entry.read_truth(plane)


def usable_mpix(frame: Frame, area: PackedMask | None = None) -> float:
    """Return the number of pixels of a frame that are neither masked nor in an area [10⁶]."""
    return (frame.bad.size - PackedMask.of(frame.bad).count(area)) / 1e6


class SectionMasks:
    """Masks of a large image and its usable area, collected section by section.

    Parameters
    ----------
    shape : tuple of int
        (ny, nx) of the image.

    Attributes
    ----------
    bad, saturated : PackedMask
        Of the whole image.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.bad, self.saturated = PackedMask(shape, True), PackedMask(shape, False)
        self._usable = 0

    def add(self, section: Section, frame: Frame) -> None:
        """Add the masks of one section; its core alone counts as area."""
        self.bad.put(section, frame.bad)
        self.saturated.put(section, frame.saturated())
        self._usable += int(np.count_nonzero(~frame.bad[section.core]))

    @property
    def mpix(self) -> float:
        """Usable pixels so far [10⁶]."""
        return self._usable / 1e6
