"""Encode pictures for the page, as ``data:`` addresses of PNG and WebP."""

from __future__ import annotations

import base64
import io
from typing import Final

from PIL import Image, features

__all__ = ["LOSS_NOTE", "data_uri", "small_uri"]

#: Note of the page on the compression of the viewer's pictures.
LOSS_NOTE: Final = (
    "The pictures are the run’s 8-bit previews. Their compression changes pixels by about "
    "two fifths of the background noise. They are for inspection, not for measurement."
)
# Noise does not compress: a lossless picture is five times as large, with no visible gain.
_WEBP_QUALITY: Final = 15


def data_uri(picture: Image.Image) -> str:
    """Return a picture without loss, as a ``data:`` address of a PNG."""
    return _uri(picture, "PNG", optimize=True)


def small_uri(picture: Image.Image) -> str:
    """Return a picture as a ``data:`` address: WebP with loss, or PNG where Pillow lacks WebP."""
    if features.check("webp"):
        return _uri(picture, "WEBP", quality=_WEBP_QUALITY, method=4)
    return data_uri(picture)


def _uri(picture: Image.Image, kind: str, **settings: int) -> str:
    file = io.BytesIO()
    picture.save(file, format=kind, **settings)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"
