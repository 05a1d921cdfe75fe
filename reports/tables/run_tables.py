"""Tables of the report as plain data; the page and the Markdown render the same cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from skyduel.evaluation.number_text import UNDEFINED, format_number
from skyduel.evaluation.scoring.metrics import metric
from skyduel.reports.style import point_name
from skyduel.reports.tables.slivers import limits_told
from skyduel.reports.tables.summary_table import metrics_of
from skyduel.run_folder.read_counts import COUNTED
from skyduel.run_folder.read_run import Run, bin_label
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

__all__ = [
    "MOST_FRAMES",
    "Cell",
    "Table",
    "and_list",
    "bins_table",
    "cost_table",
    "counts_table",
    "failures_table",
    "frames_table",
    "limits_table",
    "number",
    "scores_table",
    "text",
]

#: Most rows of the per-frame table; its note says if there are more.
MOST_FRAMES: Final = 500


@dataclass(frozen=True)
class Cell:
    """One cell: the pieces of its text, each with the number it stands for or None."""

    parts: tuple[tuple[str, float | None], ...]
    is_number: bool = False

    @property
    def text(self) -> str:
        """The whole text of the cell."""
        return "".join(piece for piece, _ in self.parts)


@dataclass(frozen=True)
class Table:
    """A table: caption, column heads, rows; the first `n_heads` columns name the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_heads: int = 1
    note: str = ""


def and_list(names: Sequence[str]) -> str:
    """Return names as a sentence lists them: ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def text(value: Any) -> Cell:
    """Return a cell of text; a dash for None."""
    return Cell(((UNDEFINED if value is None else str(value), None),))


def number(value: Any, digits: int = 0) -> Cell:
    """Return a cell of one number; a dash for None and NaN."""
    v = math.nan if value is None else float(value)
    return Cell(((format_number(v, digits), v),), is_number=True)


def interval(row: Mapping[Any, Any] | None, names: Sequence[str], digits: int) -> Cell:
    """Return a cell ``value (lo–hi)`` from three columns of a row; ``lo to hi`` if one is < 0."""
    value, lo, hi = (math.nan if row is None else float(row[n]) for n in names)
    parts: list[tuple[str, float | None]] = [(format_number(value, digits), value)]
    if math.isfinite(value) and math.isfinite(lo) and math.isfinite(hi):
        ends = [(format_number(v, digits), v) for v in (lo, hi)]
        # A dash and a minus sign side by side are hard to tell apart: −0.98–−0.17.
        between = " to " if "−" in ends[0][0] + ends[1][0] else "–"
        parts += [(" (", None), ends[0], (between, None), ends[1], (")", None)]
    return Cell(tuple(parts), is_number=True)


def scores_table(run: Run, groups: Iterable[str], caption: str) -> Table:
    """Return scores over all bins: one row a group, operating point and detector."""
    cells = _by_quantity(run.scores[run.scores["bin"] == ALL_BINS], ["group", "point", "detector"])
    groups, shown = list(groups), metrics_of(run, "overall")
    several = groups != [ALL_GROUPS]
    rows = []
    for group in groups:
        for point in run.points:
            for detector in run.detectors:
                found = cells.get((group, point, detector))
                if found is None:
                    continue
                rows.append(
                    (
                        *((text(group),) if several else ()),
                        text(point_name(point)),
                        text(detector),
                        *(interval(found.get(m.name), _VLH, m.digits) for m in shown),
                        _n(found, "completeness"),
                        _n(found, "purity"),
                        number(max(r["n_frames"] for r in found.values())),
                    )
                )
    return Table(
        caption,
        (
            *(("Group",) if several else ()),
            "Operating point",
            "Detector",
            *(m.head for m in shown),
            "n truths",
            "n detections",
            "Frames",
        ),
        tuple(rows),
        n_heads=3 if several else 2,
        note="Value (interval). A dash is undefined: there was nothing to divide by.",
    )


def bins_table(run: Run, point: str, group: str = ALL_GROUPS) -> Table:
    """Return scores by magnitude bin: one row a bin and detector."""
    part = run.scores[(run.scores["point"] == point) & (run.scores["group"] == group)]
    part = part[part["bin"] != ALL_BINS]
    cells, shown = _by_quantity(part, ["bin", "detector"]), metrics_of(run, "by_magnitude")
    joined = [m.head for m in shown if m.axis == "joined"]
    edges = part.drop_duplicates("bin").sort_values("bin")
    both = edges[np.isfinite(edges["bin_lo"]) & np.isfinite(edges["bin_hi"]) & (edges["bin"] >= 0)]
    n_bins = int(both["bin"].max()) + 1 if len(both) else 0
    rows = []
    for edge in edges.to_dict("records"):
        label = bin_label(int(edge["bin"]), edge["bin_lo"], edge["bin_hi"], n_bins)
        for detector in run.detectors:
            found = cells.get((edge["bin"], detector))
            if found is None:
                continue
            values: list[Cell] = []
            for m in shown:
                values.append(interval(found.get(m.name), _VLH, m.digits))
                if m.axis != "joined":
                    values.append(_n(found, m.name))
            rows.append((text(label), text(detector), *values))
    return Table(
        f"Scores by magnitude, operating point: {point_name(point)}",
        (
            "Magnitude [mag]",
            "Detector",
            *(
                head
                for m in shown
                for head in ((m.head,) if m.axis == "joined" else (m.head, f"n {m.counted}"))
            ),
        ),
        tuple(rows),
        n_heads=2,
        note="Bins hold their lower edge and not their upper one. Completeness is binned by true "
        f"magnitude, purity by measured magnitude; {and_list(joined)} of a bin join the two.",
    )


def limits_table(run: Run) -> Table:
    """Return the faint limits: one row a group, operating point and detector."""
    found = {
        (str(r["group"]), str(r["point"]), str(r["detector"])): r
        for r in limits_told(run).to_dict("records")
    }
    points = list(dict.fromkeys([*run.points, *run.limits["point"].astype(str)]))
    rows = []
    for group in [ALL_GROUPS, *run.groups] if len(run.groups) > 1 else [ALL_GROUPS]:
        for point in points:
            for detector in run.detectors:
                row = found.get((group, point, detector))
                if row is None:
                    continue
                rows.append(
                    (
                        text(group),
                        text(point_name(point)),
                        text(detector),
                        interval(row, ("snr50", "snr50_lo", "snr50_hi"), 2),
                        interval(row, ("m50", "m50_lo", "m50_hi"), 2),
                        number(row["threshold"], 3),
                        number(row["purity"], 3),
                        number(row["completeness"], 3),
                        number(row["false_per_mpix"], 1),
                        number(row["n_truths"]),
                        number(row["n_frames"]),
                    )
                )
    return Table(
        "Where completeness (recall) falls to one half",
        (
            "Group",
            "Operating point",
            "Detector",
            "S/N",
            "Magnitude [mag]",
            "Threshold",
            metric("purity").label,
            metric("completeness").label,
            "False per Mpix",
            "n truths",
            "Frames",
        ),
        tuple(rows),
        n_heads=3,
        note="Lower S/N and fainter magnitude are better. A dash: the curve does not reach one "
        "half, or no threshold reaches the purity without leaving out most of what the detector "
        "finds. A limit without an interval: too few frames hold sources, or resamples of "
        "them reach beyond the sources.",
    )


def counts_table(run: Run) -> Table:
    """Return the counts and the ignored counts, summed over frames and bins."""
    # Where a point cuts each group by itself, the frames stand once more under ALL_GROUPS.
    whole = run.counts["group"] == ALL_GROUPS
    keys = ["point", "detector"]
    twice = pd.MultiIndex.from_frame(run.counts[keys]).isin(
        pd.MultiIndex.from_frame(run.counts.loc[whole, keys])
    )
    sums = _sums(run.counts[whole | ~twice], keys)
    rows = []
    for point in run.points:
        for detector in run.detectors:
            c = sums.get((point, detector))
            if c is None:
                continue
            rows.append(
                (
                    text(point_name(point)),
                    text(detector),
                    number(c["truths"]),
                    number(c["truths_found"]),
                    number(c["truths"] - c["truths_found"]),
                    number(c["detections"]),
                    number(c["detections_right"]),
                    number(c["detections"] - c["detections_right"]),
                    number(c["duplicates"]),
                    number(c["truths_ignored"]),
                    number(c["detections_ignored"]),
                )
            )
    return Table(
        "What was counted, over all frames and bins",
        (
            "Operating point",
            "Detector",
            "Truths",
            "Found",
            "Missed",
            "Detections",
            "Right",
            "False",
            "of these duplicates",
            "Truths ignored",
            "Detections ignored",
        ),
        tuple(rows),
        n_heads=2,
    )


def cost_table(run: Run) -> Table:
    """Return time, speed and memory of each detector, from the record."""
    rows = [
        (
            text(d.name),
            number(d.mpix_per_s, 2),
            number(d.seconds, 1),
            number(d.mpix, 2),
            number(d.peak_memory_mib, 0),
            text(d.device),
            number(d.frames_done),
            number(d.frames_failed),
        )
        for d in run.record.detectors
    ]
    return Table(
        "What each detector cost",
        (
            "Detector",
            "Speed [Mpix/s]",
            "Time [s]",
            "Pixels [Mpix]",
            "Peak memory [MiB]",
            "Device",
            "Frames done",
            "Frames failed",
        ),
        tuple(rows),
    )


def frames_table(run: Run, point: str) -> Table:
    """Return truths, found and false detections of every frame at one operating point."""
    part = run.counts[run.counts["point"] == point]
    if (part["group"] != ALL_GROUPS).any():  # a point that cuts by group has each frame twice
        part = part[part["group"] != ALL_GROUPS]
    names = run.scored_frames
    part = part[part["frame"].isin(names[:MOST_FRAMES])]
    of = _sums(part, ["frame", "detector"])
    groups = dict(zip(part["frame"].astype(str), part["group"].astype(str), strict=True))
    rows = []
    for frame in names[:MOST_FRAMES]:
        there = [of[frame, d] for d in run.detectors if (frame, d) in of]
        cells = [
            text(frame),
            text(groups.get(frame)),
            number(max((r["truths"] for r in there), default=None)),
        ]
        for detector in run.detectors:
            row = of.get((frame, detector))
            cells.append(number(None if row is None else row["truths_found"]))
            wrong = None if row is None else row["detections"] - row["detections_right"]
            cells.append(number(wrong))
        rows.append(tuple(cells))
    heads = [f"{d}: {what}" for d in run.detectors for what in ("found", "false")]
    note = "A dash: the detector has no counts on this frame."
    if len(names) > MOST_FRAMES:
        note += f" The first {MOST_FRAMES} of {len(names)} frames; the others are in counts.csv."
    return Table(
        f"Frame by frame, operating point: {point_name(point)}",
        ("Frame", "Group", "Truths", *heads),
        tuple(rows),
        note=note,
    )


def failures_table(run: Run) -> Table:
    """Return the failures and their reasons."""
    rows = [
        (
            text(f.frame),
            text("(the frame could not be read)" if f.detector is None else f.detector),
            text(f.reason),
        )
        for f in run.failures
    ]
    return Table("Failures", ("Frame", "Detector", "Reason"), tuple(rows))


_VLH: Final = ("value", "lo", "hi")


def _sums(counts: pd.DataFrame, keys: list[str]) -> dict[tuple[str, ...], dict[str, int]]:
    """Return the counts summed over what `keys` leaves out."""
    sums = counts.groupby(keys, sort=False, observed=True)[list(COUNTED)].sum().reset_index()
    return {
        tuple(str(row[k]) for k in keys): {c: int(row[c]) for c in COUNTED}
        for row in sums.to_dict("records")
    }


_Rows = dict[tuple[Any, ...], dict[str, dict[Any, Any]]]


def _by_quantity(scores: pd.DataFrame, keys: list[str]) -> _Rows:
    """Return the rows of `scores` by key, then by quantity."""
    found: _Rows = {}
    for row in scores.to_dict("records"):
        found.setdefault(tuple(row[k] for k in keys), {})[str(row["quantity"])] = row
    return found


def _n(found: Mapping[str, Mapping[Any, Any]], quantity: str) -> Cell:
    return number(found[quantity]["n"] if quantity in found else None)
