"""Catalogues as DS9 region files, for looking at them over the frame."""

from __future__ import annotations

import os
from numbers import Real
from typing import Any

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.errors import PATH, BadInputError, printable, takes
from skyduel.core.io.atomic_files import atomic_path

__all__ = ["write_regions"]


@takes(catalog=Catalog, path=PATH, radius_px=Real, label=str, color=str)
def write_regions(
    catalog: Catalog,
    path: str | os.PathLike[str],
    *,
    radius_px: float = 6.0,
    label: str = "score",
    color: str = "green",
    overwrite: bool = True,
) -> None:
    """Write a DS9 region file: points as circles, streaks as lines.

    Parameters
    ----------
    catalog : Catalog
        Positions 0-based [px]; DS9 counts image coordinates from 1, and is
        given them so.
    path : path
        Replaced whole or not at all.
    radius_px : float
        Radius of the circles [px].
    label : str
        The column written beside each source; a NaN writes nothing. Braces
        and line ends in text would end the label early and are replaced; control
        characters are escaped, and long text is shortened.
    color : str
        A colour's name or ``#rrggbb``.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    BadInputError
        If there is no such column, the colour is not one word, or the file
        cannot be written.
    """
    if not color.lstrip("#").isalnum():
        raise BadInputError("color", "a colour's name or #rrggbb", repr(color))
    half_x = 0.5 * catalog["length"] * np.cos(catalog["theta"])
    half_y = 0.5 * catalog["length"] * np.sin(catalog["theta"])
    lines = ["# Region file format: DS9 version 4.1", f"global color={color}", "image"]
    for x, y, dx, dy, streak, value in zip(
        catalog["x"] + 1.0,
        catalog["y"] + 1.0,
        half_x,
        half_y,
        catalog.is_streak,
        catalog[label],
        strict=True,
    ):
        text = _text(value)
        if streak:
            shape = f"line({x - dx:.3f},{y - dy:.3f},{x + dx:.3f},{y + dy:.3f}) # line=0 0"
        else:
            shape = f"circle({x:.3f},{y:.3f},{radius_px:.3f}) #"
        lines.append(f"{shape} text={{{text}}}" if text else shape.removesuffix(" #"))
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: Any) -> str:
    """Return a value as DS9 may show it between braces."""
    if isinstance(value, float | np.floating):
        return f"{value:.4g}" if np.isfinite(value) else ""
    return printable(" ".join(str(value).translate({ord("{"): "(", ord("}"): ")"}).split()))
