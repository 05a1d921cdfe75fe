"""The run's pictures of its frames, as the page holds them."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Final

from PIL import Image, features
from PIL.PngImagePlugin import PngImageFile

from skyduel.core.errors import BadInputError
from skyduel.core.io.atomic_files import safe_name
from skyduel.run_folder.read_run import Run

__all__ = ["LOSS_NOTE", "STRETCH", "data_uri", "has_preview", "open_preview", "small_uri"]

#: The previews are an asinh stretch of (value − sky)/σ between these two [σ of the sky].
STRETCH: Final = (-2.0, 30.0)
#: How pictures of the viewer are compressed; the page says so.
LOSS_NOTE: Final = (
    "The pictures are the run’s 8-bit previews, compressed with a loss of about a tenth of the "
    "sky’s noise: for looking, not for measuring."
)
# Noise does not compress: a lossless picture takes twice the room for nothing the eye sees.
_WEBP_QUALITY: Final = 80


def has_preview(run: Run, frame: str) -> bool:
    """Return whether the run has a preview of the frame."""
    return _path(run, frame).is_file()


def open_preview(run: Run, frame: str) -> Image.Image | None:
    """Return a frame's preview as an 8-bit grey picture; None where the run has none.

    The picture's last row is the frame's row 0.

    Raises
    ------
    BadInputError
        If the file is no readable PNG.
    """
    path = _path(run, frame)
    if not path.is_file():
        return None
    try:
        # Not `Image.open`, which takes a survey's frame of 10⁸ pixels for an attack.
        with PngImageFile(path) as picture:
            return picture.convert("L")
    except (OSError, SyntaxError, ValueError) as error:
        raise BadInputError(str(path), "a readable PNG picture", str(error)) from error


def data_uri(picture: Image.Image) -> str:
    """Return a picture without loss, as a ``data:`` address of a PNG."""
    return _uri(picture, "PNG", optimize=True)


def small_uri(picture: Image.Image) -> str:
    """Return a picture as a ``data:`` address: WebP with loss, or PNG where Pillow lacks WebP."""
    if features.check("webp"):
        return _uri(picture, "WEBP", quality=_WEBP_QUALITY, method=4)
    return data_uri(picture)


def _path(run: Run, frame: str) -> Path:
    return run.path / "previews" / f"{safe_name(frame)}.png"


def _uri(picture: Image.Image, kind: str, **settings: int) -> str:
    file = io.BytesIO()
    picture.save(file, format=kind, **settings)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{data}"
