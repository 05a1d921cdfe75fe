"""Sections from the run's record: cost, frames, how the run was made; and the glossary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.frame_overlay import frame_figure
from skyduel.reports.sections.section import (
    MOST_GROUPS,
    FigureSpec,
    Section,
    at_point,
    detector_names,
)
from skyduel.reports.style import Style, shorten
from skyduel.reports.tables.run_tables import Table, cost_table, frames_table, number, text
from skyduel.reports.text.glossary import glossary
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.record import RunRecord

__all__ = ["COST", "FRAMES", "FRAMES_CHOICE", "HOW_IT_WAS_MADE", "TERMS"]

#: The rule by which the frames shown were chosen.
FRAMES_CHOICE: Final = (
    "Shown is the first scored frame of each group, in the order of the data set. The choice does "
    "not depend on the results."
)


def _frame_figures(run: Run, styles: Mapping[str, Style]) -> Iterator[FigureSpec]:
    point = run.headline_point
    for frame in _shown_frames(run):
        yield FigureSpec(
            safe_name(f"frame-{frame}"),
            f"{shorten(frame, 60)}, {at_point(point)}",
            "The frame with its truth, then each detector: truths found, truths missed, false "
            "detections. Streaks are lines.",
            f"The frame {shorten(frame, 60)} with the truth and what {detector_names(run)} found, "
            "missed and detected falsely. The counts are in the table frame by frame.",
            lambda frame=frame: frame_figure(run, frame, point),  # type: ignore[misc]
            frame=frame,
        )


def _shown_frames(run: Run) -> list[str]:
    """Return the first scored frame of each group, in the record's order."""
    last = run.counts.drop_duplicates("frame", keep="last")
    group_of = dict(zip(last["frame"].astype(str), last["group"].astype(str), strict=True))
    group_of |= {f.name: str(f.group) for f in run.frames}
    first: dict[str, str] = {}
    for frame in run.scored_frames:
        first.setdefault(group_of[frame], frame)
    return list(first.values())[:MOST_GROUPS]


def _how_it_was_made(run: Run) -> Mapping[str, Any]:
    record = run.record
    return {
        "facts": _facts(record),
        "truth_note": _truth_note(run),
        "dataset": _dataset(run),
        "scoring_rules": _json(record.rules),
        "detectors": [
            {
                "name": d.name,
                "default": _threshold(d.default_threshold),
                "calibrated": _threshold(d.calibrated_threshold),
                "weights": d.weights_sha256 or "none",
                "settings": _json(d.settings),
            }
            for d in record.detectors
        ],
    }


def _facts(record: RunRecord) -> Table:
    """Return the table of the run: command, times, versions, seeds and machine."""
    rows = [
        ("Command", record.command),
        ("Started (UTC)", record.created_utc),
        ("Finished (UTC)", record.finished_utc),
        ("Git revision", record.git_revision),
        ("Changes beyond it", {True: "yes", False: "no"}.get(record.git_dirty)),  # type: ignore[arg-type]
    ]
    for title, values in (
        ("Version of", record.versions),
        ("Seed of", record.seeds),
        ("Machine:", record.machine),
    ):
        rows += [(f"{title} {k}", v) for k, v in values.items()]
    rows += [
        ("Same tables promised for", record.promises.get("same_tables")),
        ("Not promised for", record.promises.get("not_promised")),
    ]
    return Table("The run", ("Fact", "Value"), tuple((text(k), text(v)) for k, v in rows))


def _dataset(run: Run) -> Table:
    """Return the table of the data set: its record, and the number of frames by split and group."""
    dataset = run.record.dataset
    names = [f.name for f in fields(dataset) if f.name != "frames"]
    rows = [(text(k), text(v)) for k in names if (v := getattr(dataset, k)) is not None]
    for key in ("split", "group"):
        tally: dict[str, int] = {}
        for frame in run.frames:
            value = str(getattr(frame, key))
            tally[value] = tally.get(value, 0) + 1
        rows += [(text(f"frames of {key} {k}"), number(v)) for k, v in sorted(tally.items())]
    if run.frames:
        rows.append((text("first truth file"), text(run.frames[0].truth)))
    return Table("The data set", ("Fact", "Value"), tuple(rows))


def _truth_note(run: Run) -> str:
    dataset = run.record.dataset
    told = [t for t in (dataset.truth_source, dataset.description, dataset.provenance) if t]
    if told:
        return f"How the truth was made: {'; '.join(told)}"
    if run.paths.data.is_dir():  # only the built-in set lies inside the run folder
        return (
            "The frames are simulated by this program: the truth is every source that was put in, "
            "and no contestant took part in making it."
        )
    return (
        "The run’s record names the truth files but does not say how the truth was made. A truth "
        "that one contestant helped to make favours that contestant."
    )


def _machine(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in machine.items()) or "a machine it does not name"


def _threshold(value: Any) -> str:
    return "none" if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


COST = Section(
    name="cost",
    title="Cost",
    first_tables=lambda run: (cost_table(run),),
    note=lambda run: f"As recorded by the run, on {_machine(run.record.machine)}.",
    summary=lambda run: (cost_table(run),),
    shown_when_empty=True,
)
FRAMES = Section(
    name="frames",
    title="Frames",
    introduction=lambda run: FRAMES_CHOICE if run.scored_frames else "",
    figures=_frame_figures,
    tables=lambda run: (frames_table(run, run.headline_point),),
    folded_tables=False,
    shown_when_empty=True,
)
HOW_IT_WAS_MADE = Section(
    name="made",
    title="How it was made",
    template="how_it_was_made.html.j2",
    values=_how_it_was_made,
)
TERMS = Section(
    name="terms",
    title="Terms",
    template="terms.html.j2",
    values=lambda run: {"glossary": glossary()},
)
