"""8-bit pictures of frames for the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.stats import mad_std

from skyduel.core import atomic_path

__all__ = ["Stretch", "stretch_of", "write_picture"]

#: The ends of the stretch in units of the sky's noise.
_LOW: Final = -2.0
_HIGH: Final = 30.0
#: So many pixels say what sky and noise are.
_SAMPLE: Final = 200_000


@dataclass(frozen=True)
class Stretch:
    """From pixel values to 8 bits: asinh from 2 sigma below the sky to 30 above."""

    sky: float
    sigma: float

    def picture(self, data: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
        """Return the stretched pixels, same shape."""
        low, high = np.arcsinh(_LOW), np.arcsinh(_HIGH)
        value = np.arcsinh(np.clip((data - self.sky) / self.sigma, _LOW, _HIGH)) - low
        return np.asarray(np.rint(255 * (value / (high - low))), dtype=np.uint8)


def stretch_of(values: npt.NDArray[np.float32]) -> Stretch:
    """Return the stretch for a frame from its usable pixels, or many of them."""
    sample = values[:: max(1, values.size // _SAMPLE)]
    sky = float(np.median(sample))
    return Stretch(sky, float(mad_std(sample)) or 1.0)


def write_picture(picture: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a picture, its last row first, as PNG; replaced whole or not at all."""
    from PIL import Image

    image = Image.fromarray(picture)
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG")
