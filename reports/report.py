"""Drawing a run's report: figures, page and Markdown, from the run folder's files alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from catalog.files import safe_name
from reports.figures import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from reports.files import figure_files, write_file
from reports.folder import Run, load_run
from reports.frames import frame_figure
from reports.page import PageFigure, inline_png, inline_svg, page_html
from reports.style import point_name, shorten, styles
from reports.summary import markdown

__all__ = ["FRAMES_CHOICE", "MOST_GROUPS", "write_report"]

#: By which rule the frames shown were chosen; the page says so.
FRAMES_CHOICE: Final = (
    "Shown is the first scored frame of each group, in the data set’s order: not chosen by result."
)
#: So many groups get figures of their own; the tables hold all.
MOST_GROUPS: Final = 8


@dataclass(frozen=True)
class _Drawn:
    name: str
    section: str
    title: str
    caption: str
    alt: str
    figure: Figure
    data: pd.DataFrame


def write_report(run_folder: str | Path) -> Path:
    """Draw a run's report into its folder; return the page's path.

    Parameters
    ----------
    run_folder : str or Path
        A run folder (`docs/run-folder.md`).

    Returns
    -------
    Path
        ``report/index.html``. Beside it stand ``report.md`` and, under
        ``figures/``, each figure as PNG, SVG and the CSV of what it draws.
        Every file is replaced whole, and drawing twice gives the same bytes.

    Raises
    ------
    BadInputError
        If the folder is not a run that this version reads, or cannot be
        written to.
    """
    run = load_run(run_folder)
    place = run.path / "report"
    entries = []
    for drawn in _figures(run):
        files = figure_files(drawn.figure, drawn.data)
        for ending, content in files.items():
            write_file(place / "figures" / f"{drawn.name}.{ending}", content)
        # A frame's pixels are smaller as PNG; lines and letters are sharper as SVG.
        picture = (
            inline_png(files["png"], drawn.alt)
            if drawn.section == "frames"
            else inline_svg(files["svg"], drawn.name, drawn.alt)
        )
        entries.append(PageFigure(drawn.name, drawn.section, drawn.title, drawn.caption, picture))
    write_file(place / "report.md", markdown(run))
    return write_file(place / "index.html", page_html(run, entries, frames_choice=FRAMES_CHOICE))


def _figures(run: Run) -> Iterator[_Drawn]:
    """Yield the figures one by one, so that only one is in memory."""
    looks = styles(run.detectors)
    who = ", ".join(map(shorten, run.detectors))
    points = [p for p in run.points if p != "purity95"]
    figure, data = scores_by_group(run.scores, "f1", points=run.points, looks=looks)
    yield _Drawn(
        "f1_by_group",
        "scores",
        "F1 of all magnitudes together",
        "One panel an operating point; bars are intervals.",
        f"Dots with interval bars: F1 per group for {who}. The numbers are in the tables.",
        figure,
        data,
    )
    figure, data = precision_recall(run.sweep, run.scores, looks=looks)
    yield _Drawn(
        "precision_recall",
        "scores",
        "Purity against completeness as the score threshold is swept",
        "Nearer the upper right is better; dotted lines join points of equal F1. Markers are the "
        "operating points, with intervals.",
        f"Curves of purity against completeness for {who}, one panel a group, the operating points "
        "marked.",
        figure,
        data,
    )
    for point in run.points:
        yield _by_magnitude(run, "magnitude", "all", point, f"scores_by_magnitude-{point}")
    headline = "calibrated" if "calibrated" in points else run.points[0] if run.points else ""
    if len(run.groups) > 1:
        for group in run.groups[:MOST_GROUPS]:
            name = f"scores_by_magnitude-{headline}-group-{group}"
            yield _by_magnitude(run, "groups", group, headline, name)
    if len(run.limits):
        figure, data = limits_by_group(run.limits, points=run.points, looks=looks)
        yield _Drawn(
            "snr50_by_group",
            "limits",
            "S/N at which half of the sources are found",
            "Further left is better. Only the panel of equal purity compares like with like.",
            f"Dots with interval bars: S/N of half completeness per group for {who}. The numbers "
            "are in the table of limits.",
            figure,
            data,
        )
    for frame in _shown_frames(run):
        figure, data = frame_figure(run, frame, headline)
        yield _Drawn(
            safe_name(f"frame-{frame}"),
            "frames",
            f"{shorten(frame, 60)}, operating point: {point_name(headline)}",
            "The frame with its truth, then each detector: truths found, truths missed, false "
            "detections. Streaks are lines.",
            f"The frame {shorten(frame, 60)} with the truth and what {who} found, missed and "
            "detected falsely. The counts are in the table frame by frame.",
            figure,
            data,
        )


def _by_magnitude(run: Run, section: str, group: str, point: str, name: str) -> _Drawn:
    looks = styles(run.detectors)
    figure, data = scores_by_magnitude(run.scores, group=group, point=point, looks=looks)
    where = "all frames" if group == "all" else f"group {shorten(group)}"
    return _Drawn(
        safe_name(name),
        section,
        f"Scores by magnitude, {where}, operating point: {point_name(point)}",
        "Bars are intervals; markers are set apart sideways within a bin; the strip below zero "
        "holds the numbers in each bin.",
        "Four panels against magnitude: completeness, purity, F1 and F2 for "
        f"{', '.join(map(shorten, run.detectors))}, with interval bars.",
        figure,
        data,
    )


def _shown_frames(run: Run) -> list[str]:
    """Return the first scored frame of each group, in the record's order."""
    group_of = dict(
        zip(run.counts["frame"].astype(str), run.counts["group"].astype(str), strict=True)
    )
    group_of |= {str(f.get("name")): str(f.get("group")) for f in run.frames}
    first: dict[str, str] = {}
    for frame in run.scored_frames:
        first.setdefault(group_of[frame], frame)
    return sorted(first.values(), key=run.scored_frames.index)[:MOST_GROUPS]
