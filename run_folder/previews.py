"""8-bit previews of frames and 1-bit pictures of their masks: the stretch, writing, reading."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from skyduel.core import BadInputError, atomic_path

if TYPE_CHECKING:  # loaded where a picture is written or read, not for its stretch
    from PIL import Image

__all__ = ["STRETCH", "Stretch", "read_preview", "stretch_of", "write_mask", "write_preview"]

#: Previews are an asinh stretch of (value - background) / sigma between these two [sigma].
STRETCH: Final = (-2.0, 30.0)
#: Number of pixels that the background and its noise are measured on.
_SAMPLE: Final = 200_000


@dataclass(frozen=True)
class Stretch:
    """Conversion of pixel values to 8 bits: asinh from 2 sigma below the background to 30 above.

    Parameters
    ----------
    background, sigma : float
        Level and standard deviation of the background [unit of the pixels].
    """

    background: float
    sigma: float

    def picture(self, data: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the stretched pixels, same shape."""
        low, high = np.arcsinh(STRETCH)
        value = np.arcsinh(np.clip((data - self.background) / self.sigma, *STRETCH)) - low
        return np.asarray(np.rint(255 * (value / (high - low))), dtype=np.uint8)


def stretch_of(values: npt.NDArray[np.float32]) -> Stretch:
    """Measure the stretch of a frame on its usable pixels, or a sample of them."""
    from astropy.stats import mad_std  # takes long to load, and not needed to read a preview

    sample = values[:: max(1, values.size // _SAMPLE)]
    background = float(np.median(sample))
    return Stretch(background, float(mad_std(sample)) or 1.0)


def write_preview(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write an 8-bit picture, its last row first, as PNG; replaced whole or not at all."""
    from PIL import Image

    image = Image.fromarray(picture)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")


def write_mask(bits: npt.NDArray[np.uint8], nx: int, path: Path) -> None:
    """Write a mask as a PNG of one bit a pixel, its last row first; no file if nothing is masked.

    Parameters
    ----------
    bits : ndarray of uint8, shape (ny, ceil(nx / 8))
        As of `numpy.packbits` along the rows; bits beyond the last column are not used.
    nx : int
        Columns of the frame.
    path : Path
        Replaced whole or not at all; removed if there is nothing to write.
    """
    from PIL import Image

    picture = Image.frombytes("1", (nx, len(bits)), np.ascontiguousarray(bits[::-1]).tobytes())
    if picture.getbbox() is None:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)


def read_preview(path: Path) -> Image.Image | None:
    """Read a preview or a mask as an 8-bit grey picture, row 0 last; None without the file.

    Raises
    ------
    BadInputError
        If the file is not a readable PNG.
    """
    from PIL.PngImagePlugin import PngImageFile

    if not path.is_file():
        return None
    try:
        # Not `Image.open`, which refuses 10⁸ pixels, a survey's frame, as a decompression bomb.
        with PngImageFile(path) as picture:
            return picture.convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInputError(str(path), "a readable PNG picture", str(error)) from error
