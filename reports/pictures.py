"""Encode pictures for the page, as ``data:`` addresses of PNG and WebP."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from PIL import Image, features

from skyduel.run_folder.record import FrameRecord

__all__ = ["COARSE", "FINE", "Quality", "data_uri", "quality_for", "small_uri"]


@dataclass(frozen=True)
class Quality:
    """Compression of pictures.

    Parameters
    ----------
    webp : int
        Quality setting of WebP.
    loss : str
        Standard deviation of what it changes in a blank sky, in words, as a share of the noise.
    """

    webp: int
    loss: str

    @property
    def note(self) -> str:
        """Note of the page on the compression of the pictures."""
        return (
            "The pictures are the run’s 8-bit previews. Their compression changes pixels by about "
            f"{self.loss} of the background noise. They are for inspection, not for measurement."
        )


# Noise does not compress. Of a field of FWHM 3 px, 16 grey levels as PNG take 0.46 bytes a pixel,
# these two 0.22 and 0.35. At S/N 5 a matched filter finds the star in the picture at 0.96 and
# 1.00 of its significance in the preview.
#: For runs of many frames, so that the page stays within 4 MB, and for those of a few.
COARSE: Final = Quality(15, "two fifths")
FINE: Final = Quality(50, "a fifth")
#: Most pixels of all frames that are kept fine.
_MOST_FINE_PX: Final = 4_000_000


def quality_for(frames: Iterable[FrameRecord]) -> Quality:
    """Return the quality for the pictures of these frames; an unknown size is a large one."""
    n_pixels = sum(f.nx * f.ny if f.nx and f.ny else _MOST_FINE_PX + 1 for f in frames)
    return FINE if n_pixels <= _MOST_FINE_PX else COARSE


def data_uri(picture: Image.Image) -> str:
    """Return a picture without loss, as a ``data:`` address of a PNG."""
    return _uri(picture, "PNG", optimize=True)


def small_uri(picture: Image.Image, quality: Quality = COARSE) -> str:
    """Return a picture as a ``data:`` address: WebP with loss, or PNG where Pillow lacks WebP."""
    if features.check("webp"):
        return _uri(picture, "WEBP", quality=quality.webp, method=4)
    return data_uri(picture)


def _uri(picture: Image.Image, kind: str, **settings: int) -> str:
    file = io.BytesIO()
    picture.save(file, format=kind, **settings)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"
