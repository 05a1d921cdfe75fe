"""The page of two catalogues of one frame: counts, and pictures of what only one has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from skyduel.core import Frame
from skyduel.evaluation.comparison.catalog_difference import (
    BOTH,
    ONLY_A,
    ONLY_B,
    CatalogDifference,
)
from skyduel.reports.pictures import FINE, small_uri
from skyduel.run_folder.previews import stretch_of

__all__ = ["difference_page"]

#: Side of a cut-out [px], and how many there are of each kind.
_SIDE_PX: Final = 40
_MOST: Final = 24
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("skyduel.reports"), autoescape=True, undefined=StrictUndefined
)


@dataclass(frozen=True)
class _Cut:
    """A picture with the position of its source in it, and its caption."""

    uri: str
    u: float
    v: float
    size: int
    caption: str


def difference_page(difference: CatalogDifference, frame: Frame) -> str:
    """Return the page as one HTML file without scripts that loads nothing.

    Parameters
    ----------
    difference : CatalogDifference
        The comparison.
    frame : Frame
        Its frame, for the pictures.
    """
    picture = stretch_of(frame.data[~frame.bad]).picture(frame.data)
    rows = difference.sources
    kinds = []
    for number, where in enumerate((ONLY_A, ONLY_B)):
        mine = rows[rows["where"] == where].sort_values("snr", ascending=False, kind="stable")
        cuts = [_cut(picture, row, f"score_{'ab'[number]}") for _, row in mine[:_MOST].iterrows()]
        kinds.append((difference.names[number], len(mine), cuts))
    tables = [
        ("by magnitude", difference.by_magnitude()),
        (
            f"by distance to the nearest of the {difference.n_bright} brightest sources",
            difference.by_bright_distance(),
        ),
        ("by place on the chip", difference.by_place()),
    ]
    return _ENVIRONMENT.get_template("difference.html.j2").render(
        frame=frame.name,
        names=difference.names,
        n_both=difference.count(BOTH),
        radius=difference.radius_px,
        kinds=kinds,
        tables=[(title, [tuple(r) for r in t.itertuples(index=False)]) for title, t in tables],
    )


def _cut(picture: npt.NDArray[np.uint8], row: pd.Series, score: str) -> _Cut:
    """Return the picture around a source, its row 0 at the bottom as DS9 shows it."""
    ny, nx = picture.shape
    size = min(_SIDE_PX, ny, nx)
    x0 = int(np.clip(np.rint(row["x"]) - size // 2, 0, nx - size))
    y0 = int(np.clip(np.rint(row["y"]) - size // 2, 0, ny - size))
    cut = picture[y0 : y0 + size, x0 : x0 + size][::-1]
    words = [f"x {row['x']:.1f}, y {row['y']:.1f}"]
    words += [f"{label} {row[key]:.{digits}f}" for label, key, digits in
              (("mag", "mag", 2), ("S/N", "snr", 1), ("score", score, 2))
              if np.isfinite(row[key])]  # fmt: skip
    return _Cut(
        small_uri(Image.fromarray(np.ascontiguousarray(cut)), FINE),
        float(row["x"] - x0 + 0.5),
        float(size - (row["y"] - y0 + 0.5)),
        size,
        ", ".join(words),
    )
