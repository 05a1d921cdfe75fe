"""Extract objects with SEP, whose process-wide limits are raised for frames that need it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sep

from skyduel.baseline.errors import DetectionError

__all__ = ["MAX_SUB_OBJECTS", "Extraction", "extract"]

#: SEP numbers the branches of its deblending tree with 16-bit signed integers.
MAX_SUB_OBJECTS: Final = 32_767

_FACTOR: Final = 4


@dataclass(frozen=True, eq=False)
class Extraction:
    """The objects that SEP extracted from one frame, and the limits it needed.

    Parameters
    ----------
    objects : structured ndarray, shape (n,)
        As `sep.extract` returns them.
    segments : ndarray of int32, shape (ny, nx)
        ``i + 1`` in the pixels of object ``i``, 0 elsewhere.
    pixstack, sub_objects : int
        The limits of the attempt that succeeded.
    attempts : int
        Number of attempts.
    """

    objects: npt.NDArray[Any]
    segments: npt.NDArray[np.int32]
    pixstack: int
    sub_objects: int
    attempts: int


def extract(
    frame: str,
    data: npt.NDArray[np.float32],
    thresh: float,
    *,
    pixstack: int,
    sub_objects: int,
    **options: Any,
) -> Extraction:
    """Run `sep.extract` on an image, with its limits raised as often as necessary.

    Parameters
    ----------
    frame : str
        Name for messages.
    data : ndarray of float32, shape (ny, nx), C-contiguous and writable
        Image minus its background.
    thresh : float
        Passed on, as are ``options``.
    pixstack, sub_objects : int
        Limits of the first attempt. A limit that is too low is multiplied by 4 and the
        extraction is repeated, up to the number of pixels of the frame (no more can be
        active) and up to `MAX_SUB_OBJECTS`.

    Raises
    ------
    DetectionError
        If a limit is too low at its maximum, or SEP fails in another way.

    Notes
    -----
    The limits belong to the process, not to the call. They are always restored, and two
    threads must not do this at the same time (SEP holds the interpreter lock while it
    works; the runner uses processes).

    Deblending assigns pixels of the lowest isophote at random. SEP seeds its generator
    (``rand_r``) with 1 at the start of every extraction, so equal calls give
    identical results.
    """
    # SEP fails when two places are left on its stack.
    most_pixels = max(pixstack, data.size + 2)
    attempts = 0
    with _limits_restored():
        while True:
            attempts += 1
            sep.set_extract_pixstack(pixstack)
            sep.set_sub_object_limit(sub_objects)
            try:
                objects, segments = sep.extract(data, thresh, segmentation_map=True, **options)
            except Exception as error:  # SEP's errors are plain Exceptions told apart by text
                reason = str(error)
                if "set_extract_pixstack" in reason and pixstack < most_pixels:
                    pixstack = min(pixstack * _FACTOR, most_pixels)
                elif "set_sub_object_limit" in reason and sub_objects < MAX_SUB_OBJECTS:
                    sub_objects = min(sub_objects * _FACTOR, MAX_SUB_OBJECTS)
                else:
                    raise DetectionError(
                        frame,
                        f"{reason} (pixel stack {pixstack}, sub-objects {sub_objects}, "
                        f"attempt {attempts})",
                    ) from error
            else:
                return Extraction(objects, segments, pixstack, sub_objects, attempts)


@contextmanager
def _limits_restored() -> Iterator[None]:
    """Restore SEP's limits on exit."""
    pixstack, sub_objects = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    try:
        yield
    finally:
        sep.set_extract_pixstack(pixstack)
        sep.set_sub_object_limit(sub_objects)
