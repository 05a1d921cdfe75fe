"""8-bit previews of frames: the stretch, writing, reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.stats import mad_std
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from skyduel.core import BadInputError, atomic_path

__all__ = ["STRETCH", "Stretch", "read_picture", "stretch_of", "write_picture"]

#: Previews are an asinh stretch of (value - sky) / sigma between these two [sigma of the sky].
STRETCH: Final = (-2.0, 30.0)
#: So many pixels say what sky and noise are.
_SAMPLE: Final = 200_000


@dataclass(frozen=True)
class Stretch:
    """From pixel values to 8 bits: asinh from 2 sigma below the sky to 30 above."""

    sky: float
    sigma: float

    def picture(self, data: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the stretched pixels, same shape."""
        low, high = np.arcsinh(STRETCH)
        value = np.arcsinh(np.clip((data - self.sky) / self.sigma, *STRETCH)) - low
        return np.asarray(np.rint(255 * (value / (high - low))), dtype=np.uint8)


def stretch_of(values: npt.NDArray[np.float32]) -> Stretch:
    """Return the stretch for a frame from its usable pixels, or many of them."""
    sample = values[:: max(1, values.size // _SAMPLE)]
    sky = float(np.median(sample))
    return Stretch(sky, float(mad_std(sample)) or 1.0)


def write_picture(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture, its last row first, as PNG; replaced whole or not at all."""
    image = Image.fromarray(picture)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def read_picture(path: Path) -> Image.Image | None:
    """Read a preview as an 8-bit grey picture, the frame's row 0 last; None without the file.

    Raises
    ------
    BadInputError
        If the file is no readable PNG.
    """
    if not path.is_file():
        return None
    try:
        # Not `Image.open`, which takes a survey's frame of 10⁸ pixels for an attack.
        with PngImageFile(path) as picture:
            return picture.convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInputError(str(path), "a readable PNG picture", str(error)) from error
