"""Write the files of a report: atomically, and with the same bytes for the same run."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.safe_csv import without_formulas
from skyduel.reports.style import plot_style

__all__ = ["csv_text", "figure_files", "write_file"]

_DPI = 150


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file atomically; return its path.

    A reader sees either the old file or the new one. Text is written as UTF-8 with
    unchanged line ends. Missing folders are created.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)
    return path


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV: ten significant digits, an undefined value as ``nan``.

    Text that a spreadsheet would evaluate as a formula gets a leading apostrophe.
    """
    return without_formulas(table).to_csv(
        index=False, float_format="%.10g", na_rep="nan", lineterminator="\n"
    )


def figure_files(figure: Figure, data: pd.DataFrame) -> dict[str, bytes]:
    """Return a figure as ``png`` (150 dpi), ``svg`` and ``csv`` (the drawn numbers).

    The bytes depend on the figure alone: no date, and ids from a fixed salt.
    The layout is computed once, for both images.
    """
    png, svg = io.BytesIO(), io.BytesIO()
    with plot_style(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        engine = figure.get_layout_engine()
        if engine is not None:
            engine.execute(figure)
            figure.set_layout_engine("none")
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": "Skyduel"})
        figure.savefig(svg, format="svg", dpi=_DPI, metadata={"Date": None, "Creator": "Skyduel"})
    return {
        "png": png.getvalue(),
        "svg": svg.getvalue(),
        "csv": csv_text(data).encode("utf-8"),
    }
