"""Cut-outs of a run's frames: small pictures on one sheet, with marks of the sources in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup
from PIL import Image

from skyduel.reports.pictures import Quality, small_uri
from skyduel.reports.style import shorten
from skyduel.run_folder.match_outcomes import IGNORED, RIGHT, WRONG, column, is_streak, outcomes_of
from skyduel.run_folder.read_run import Run

__all__ = ["CUT_PX", "Cut", "Marks", "cut_out", "sheet"]

#: Side of a cut-out on the sheet [px].
CUT_PX: Final = 48
#: A streak is shown whole, averaged over this many pixels a side at the most.
_COARSEST: Final = 8
_SHEET_COLUMNS: Final = 12

Floats = npt.NDArray[np.float64]
_NOTHING: Final = np.empty((0, 4))


@dataclass(frozen=True)
class Cut:
    """One cut-out.

    Parameters
    ----------
    detector : int
        Number of the detector in the run, and of its sheet.
    frame, place : str
        The frame, and the source's place in the viewer as a query string.
    where, label : str
        The position for the caption, and the whole caption in one sentence.
    facts : tuple of str
        The rest of the caption.
    across : int
        Frame pixels across.
    view_box : str
        Its square of the sheet.
    marks : Markup
        SVG of the marks in it.
    """

    detector: int
    frame: str
    place: str
    where: str
    facts: tuple[str, ...]
    label: str
    across: int
    view_box: str
    marks: Markup


def cut_out(
    detector: int,
    name: str,
    row: pd.Series,
    point: str,
    picture: Image.Image | None,
    marks: Marks,
    number: int,
    title: str,
) -> tuple[Image.Image | None, Cut]:
    """Return the picture of a cut-out and its caption, place and marks.

    Parameters
    ----------
    detector : int
        Number of the detector in the run.
    name : str
        Its name.
    row : Series
        A row of ``analyses/mistake_sources``.
    point : str
        The operating point.
    picture : Image or None
        The frame's preview.
    marks : Marks
        The frame's truths and detections.
    number : int
        Of the cell on the detector's sheet.
    title : str
        Name of the kind of error.
    """
    x, y, frame = float(row["x"]), float(row["y"]), str(row["frame"])
    missed = row["side"] == "missed"
    length = marks.length(missed, int(row["truth_index" if missed else "found_index"]))
    coarse = 1
    while coarse < _COARSEST and length > 0.9 * CUT_PX * coarse:
        coarse *= 2
    across = CUT_PX * coarse
    left, bottom = round(x) - across // 2, round(y) - across // 2
    cell = None
    if picture is not None:
        top = picture.height - bottom - across
        cell = picture.crop((left, top, left + across, top + across))
        cell = cell.reduce(coarse) if coarse > 1 else cell
    corner = (number % _SHEET_COLUMNS * CUT_PX, number // _SHEET_COLUMNS * CUT_PX)
    where = f"x {x:.1f}, y {y:.1f}"
    facts = tuple(
        f"{what} {_number(float(row[key]), digits)}"
        for what, key, digits in (("mag", "mag", 2), ("S/N", "snr", 1), ("score", "score", 2))
        if key != "score" or not missed
    )
    what = "missed source" if missed else "false detection"
    who = shorten(name)
    place = {
        "frame": frame,
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "zoom": f"{8 / coarse:g}",
        "detector": name,
        "point": point,
        "pick": "truth" if missed else "found",
    }
    return cell, Cut(
        detector=detector,
        frame=frame,
        place=urlencode(place),
        where=where,
        facts=facts,
        label=f"{who}: {what} ({title.lower()}) in {shorten(frame, 40)} at "
        f"{where} px, {', '.join(facts)}",
        across=across,
        view_box=f"{corner[0]} {corner[1]} {CUT_PX} {CUT_PX}",
        marks=marks.svg(left, bottom, coarse, corner) + _here(length / coarse, corner),
    )


def sheet(cells: Sequence[Image.Image | None], quality: Quality) -> tuple[int, int, str]:
    """Return width and height [px] and the ``data:`` address of cells side by side."""
    columns = min(_SHEET_COLUMNS, len(cells))
    size = (columns * CUT_PX, -(-len(cells) // columns) * CUT_PX)
    whole = Image.new("L", size, 28)
    for i, cell in enumerate(cells):
        if cell is not None:
            whole.paste(cell, (i % _SHEET_COLUMNS * CUT_PX, i // _SHEET_COLUMNS * CUT_PX))
    return *size, small_uri(whole, quality)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"


class Marks:
    """Truths and detections of one frame with their outcomes.

    Empty where the run lacks one of the files.
    """

    def __init__(self, run: Run, detector: str, point: str, frame: str) -> None:
        pairs = run.pairs(detector, point, frame)
        truth, found = run.truth(frame), run.catalog(detector, frame)
        self._rows: list[tuple[str, Floats]] = []
        self._all = [_NOTHING if t is None else _shapes(t) for t in (found, truth)]
        if pairs is None or truth is None or found is None:
            return
        got = outcomes_of(pairs, len(truth), len(found), f"pairs of {detector} on {frame}")
        found_at, truth_at = self._all
        ignored = (truth_at[got.truth == IGNORED], found_at[got.found == IGNORED])
        self._rows = [
            ("ignored", np.concatenate(ignored)),
            ("found", truth_at[got.truth == RIGHT]),
            ("right", found_at[got.found == RIGHT]),
            ("missed", truth_at[got.truth == WRONG]),
            ("false", found_at[got.found == WRONG]),
        ]

    def length(self, truth: bool, row: int) -> float:
        """Return the length [px] of a streak of the truth or the catalogue; 0 for a point."""
        table = self._all[truth]
        return float(2 * np.hypot(*table[row, 2:])) if 0 <= row < len(table) else 0.0

    def svg(self, left: int, bottom: int, coarse: int, corner: tuple[int, int]) -> Markup:
        """Return the marks of each outcome, in the units of the sheet.

        Points are the vertices of one line, whose markers are drawn and itself not; streaks
        are paths.
        """
        drawn = []
        for name, rows in self._rows:
            shift = np.array([left, bottom, 0.0, 0.0]) - [0.5, 0.5, 0.0, 0.0]
            at = (rows - shift) / coarse
            at[:, 1] = CUT_PX - at[:, 1]
            at[:, 3] *= -1  # the frame's y runs up, the page's down
            slack = 3.0 + np.abs(at[:, 2:]).max(axis=1, initial=0.0, keepdims=True)
            inside = ((at[:, :2] > -slack) & (at[:, :2] < CUT_PX + slack)).all(axis=1)
            ends = at[inside] + [*corner, 0.0, 0.0]
            streak = ends[:, 2:].any(axis=1)
            points = " ".join(_short(u, v) for u, v, *_ in ends[~streak])
            if points:
                drawn.append(f'<polyline class="p-{name}" points="{points}"/>')
            path = "".join(_streak(*end) for end in ends[streak])
            if path:
                drawn.append(f'<path class="m-{name}" d="{path}"/>')
        return Markup("".join(drawn))


def _shapes(table: pd.DataFrame) -> Floats:
    """Return x, y and half of the extent in x and in y of each row [px], shape (n, 4)."""
    half = np.where(is_streak(table), np.nan_to_num(column(table, "length")) / 2, 0.0)
    theta = np.nan_to_num(column(table, "theta"))
    return np.column_stack(
        [column(table, "x"), column(table, "y"), half * np.cos(theta), half * np.sin(theta)]
    )


def _here(length: float, corner: tuple[int, int]) -> Markup:
    """Return ticks around the middle, where the error is; a streak needs none."""
    if length > 0.3 * CUT_PX:
        return Markup("")
    u, v = corner[0] + CUT_PX / 2, corner[1] + CUT_PX / 2
    ticks = "".join(
        f"M{_short(u + du * 5.5, v + dv * 5.5)}l{_short(du * 4, dv * 4)}"
        for du, dv in ((1, 0), (-1, 0), (0, 1), (0, -1))
    )
    return Markup(f'<path class="m-here" d="{ticks}"/>')


def _streak(u: float, v: float, du: float, dv: float) -> str:
    return f"M{_short(u - du, v - dv)}l{_short(2 * du, 2 * dv)}"


def _short(*values: float) -> str:
    return " ".join(f"{value:.1f}".removesuffix(".0") for value in values)
