"""Write the files of a report: atomically, and with the same bytes for the same run."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from skyduel.core.io.atomic_files import atomic_path
from skyduel.core.io.safe_csv import without_formulas
from skyduel.reports.svg.backend import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["csv_text", "figure_bytes", "write_file"]

_DPI = 150
#: Without the time of writing.
_METADATA: Final[Mapping[str, dict[str, str | None]]] = {
    "png": {"Software": "Skyduel"},
    "svg": {"Creator": "Skyduel", "Date": None},
    "pdf": {"Creator": "Skyduel", "CreationDate": None},
}


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


def figure_bytes(figure: Figure, kind: str = "png") -> bytes:
    """Return a figure of matplotlib as a file; the bytes depend on the figure alone.

    Parameters
    ----------
    figure : Figure
        The figure.
    kind : str
        ``png`` (150 dpi), ``svg`` or ``pdf``.
    """
    content = io.BytesIO()
    with plot_style(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the tables have it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(content, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    return content.getvalue()
