"""Section on suspects in the truth: what all detectors find and it lacks, and what none finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from PIL import Image

from skyduel.evaluation.number_text import format_number
from skyduel.evaluation.scoring.table_columns import NEVER_FOUND, NOT_IN_TRUTH
from skyduel.reports.pictures import small_uri
from skyduel.reports.sections.section import Section, present
from skyduel.reports.style import point_name, shorten
from skyduel.reports.tables.run_tables import Table, number, text
from skyduel.run_folder.previews import read_preview
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import SUSPECTS, SUSPECTS_IGNORED

__all__ = ["SUSPECTS_SECTION", "ignored_table", "suspects_table"]

#: Side of a cut-out [px], and how many there are of each side.
_SIDE_PX: Final = 48
_MOST_CUTS: Final = 24
_MOST_ROWS: Final = 200
_TITLES: Final[Mapping[str, str]] = {
    NOT_IN_TRUTH: "Found by all detectors with a high score, not in the truth",
    NEVER_FOUND: "Bright in the truth, found by none",
}


@dataclass(frozen=True)
class Cut:
    """A cut-out: its picture, the place of the suspect in it, and its caption."""

    uri: str
    u: float
    v: float
    size: int
    frame: str
    facts: str


@dataclass(frozen=True)
class Side:
    """The suspects of one side: how many, and those that are shown."""

    title: str
    n: int
    cuts: tuple[Cut, ...]


def suspects_table(run: Run) -> Table | None:
    """Return the suspects, at most two hundred; None without any."""
    suspects = run.analysis(SUSPECTS.name)
    if not len(suspects):
        return None
    rows = [
        (
            text(row["side"]),
            text(row["frame"]),
            number(row["x"], 1),
            number(row["y"], 1),
            number(row["mag"], 2),
            number(row["snr"], 1),
            number(row["rank"], 2),
        )
        for row in suspects[:_MOST_ROWS].to_dict("records")
    ]
    n = len(suspects)
    note = "Rank: share of the right detections with a lower score, of the least sure detector."
    if n > _MOST_ROWS:
        note += f" The first {_MOST_ROWS} of {n:,}; all are in analyses/suspects.csv."
    heads = ("Side", "Frame", "x [px]", "y [px]", "mag", "S/N", "Rank")
    return Table("Suspects in the truth", heads, tuple(rows), n_heads=2, note=note)


def ignored_table(run: Run) -> Table | None:
    """Return the scores with suspects ignored and counted; None if none are ignored."""
    ignored = run.analysis(SUSPECTS_IGNORED.name)
    if not len(ignored):
        return None
    rows = [
        (
            text(point_name(str(row["point"]))),
            text(row["detector"]),
            text(row["quantity"]),
            number(row["ignored"], 3),
            number(row["counted"], 3),
        )
        for row in ignored.to_dict("records")
    ]
    heads = ("Operating point", "Detector", "Score", "suspects ignored", "suspects counted")
    return Table("Scores with and without the suspects", heads, tuple(rows), n_heads=3)


def _introduction(run: Run) -> str:
    """Say how many are listed, and how many are ignored."""
    n = len(run.analysis(SUSPECTS.name))
    said = (
        f"{n:,} suspect{'' if n == 1 else 's'} in the truth. They count as the truth has them: the "
        "first kind as false detections, the second as missed. Look at them, keep the rows of "
        "analyses/suspects.csv that are errors of the truth, and run again with "
        "--ignore-suspects suspects.csv."
        if n
        else "No suspect is left in the truth."
    )
    ignored = run.analysis(SUSPECTS_IGNORED.name)
    if len(ignored):
        first = ignored.iloc[0]
        truths, places = int(first["truths"]), int(first["detections"])
        said += (
            f" In this run, as asked for, {truths} truth{'' if truths == 1 else 's'} that no "
            f"detector found and {places} place{'' if places == 1 else 's'} that the truth lacks "
            "count neither way."
        )
    return said


def _values(run: Run) -> Mapping[str, Any]:
    suspects = run.analysis(SUSPECTS.name)
    if not len(suspects) and not len(run.analysis(SUSPECTS_IGNORED.name)):
        return {}
    sides = []
    for side, title in _TITLES.items() if len(suspects) else ():
        mine = suspects[suspects["side"] == side]
        if len(mine):
            sides.append(Side(title, len(mine), _cuts(run, mine[:_MOST_CUTS])))
    return {
        "said": _introduction(run),
        "ignored": ignored_table(run),
        "sides": sides,
        "listed": suspects_table(run),
    }


def _cuts(run: Run, rows: pd.DataFrame) -> tuple[Cut, ...]:
    """Return the cut-outs in the order of the rows, one preview in memory at a time."""
    cuts: dict[int, Cut] = {}
    ranked = rows.reset_index(drop=True)
    for frame, part in ranked.groupby("frame", sort=True):
        picture = read_preview(run.preview_path(str(frame)))
        if picture is not None:
            for at, row in part.iterrows():
                cuts[int(str(at))] = _cut(picture, row)
    return tuple(cuts[at] for at in sorted(cuts))


def _cut(picture: Image.Image, row: pd.Series) -> Cut:
    """Return the picture around a suspect; the preview's first row is the frame's last."""
    x, y = float(row["x"]), float(row["y"])
    left = int(np.rint(x)) - _SIDE_PX // 2
    bottom = int(np.rint(y)) - _SIDE_PX // 2
    top = picture.height - bottom - _SIDE_PX
    cell = picture.crop((left, top, left + _SIDE_PX, top + _SIDE_PX))
    values: Sequence[tuple[str, str, int]] = (("mag", "mag", 2), ("S/N", "snr", 1))
    facts = [f"x {x:.1f}, y {y:.1f}"]
    facts += [f"{what} {format_number(float(row[key]), digits)}" for what, key, digits in values]
    return Cut(
        small_uri(cell),
        x - left + 0.5,
        _SIDE_PX - (y - bottom + 0.5),
        _SIDE_PX,
        shorten(str(row["frame"])),
        ", ".join(facts),
    )


SUSPECTS_SECTION: Final = Section(
    name="suspects",
    title="Suspects in the truth",
    tables=lambda run: present(suspects_table(run), ignored_table(run)),
    summary=lambda run: present(ignored_table(run)),
    template="suspects.html.j2",
    values=_values,
)
