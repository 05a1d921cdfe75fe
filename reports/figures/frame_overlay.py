"""Figure of one frame: the truth, and each detector's found, missed and false sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.errors import BadInputError, takes
from skyduel.reports.figures.plot_helpers import require_axes
from skyduel.reports.style import point_name, shorten
from skyduel.reports.svg.backend import entry, new_figure, plot_style
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.record import FrameRecord
from skyduel.run_folder.schema import DEFAULT_POINT

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CUT_PX",
    "MOST_MARKS",
    "Mark",
    "frame_figure",
    "frame_marks",
    "mark_handle",
    "plot_marks",
    "streak_lines",
]

#: A frame with more truths and detections than this is cropped.
MOST_MARKS: Final = 500
#: Widths of the crop at the frame's middle [px]: the first with few enough marks, else the last.
CUT_PX: Final = (256, 128)


@dataclass(frozen=True)
class Mark:
    """How the marks of one kind look."""

    color: str
    marker: str
    size: float
    linestyle: str
    label: str


# Bright on a dark background, and of different shapes, so that colour is not needed.
_MARKS: Final[dict[str, Mark]] = {
    "truth": Mark("#F0E442", "o", 34, "-", "truth"),
    "found": Mark("#56B4E9", "o", 34, "-", "truth found"),
    "missed": Mark("#F0E442", "s", 34, "--", "truth missed"),
    "false": Mark("#FF6FB5", "x", 26, ":", "false detection"),
    "ignored": Mark("#9a9a9a", ".", 8, "-", "ignored (counts neither way)"),
}


@takes(run=Run, frame=str, detector=str, point=str)
def frame_marks(run: Run, frame: str, detector: str, point: str) -> pd.DataFrame | None:
    """Return the outcomes of one detector on a frame as marks, or None without the files.

    Returns
    -------
    DataFrame
        `outcome` (``found``, ``missed``, ``false``, ``ignored``), `x`, `y`
        [px], `kind`, `length` [px], `theta` [rad]: the truth's own where there
        is one, else the detection's.
    """
    pairs = run.pairs(detector, point, frame)
    truth, found = run.truth(frame), run.catalog(detector, frame)
    if pairs is None or truth is None or found is None:
        return None
    truth_at = pairs["truth_index"].to_numpy(dtype=np.int64)
    found_at = pairs["found_index"].to_numpy(dtype=np.int64)
    for side, at, table in (("truth", truth_at, truth), ("found", found_at, found)):
        if len(at) and at.max() >= len(table):
            raise BadInputError(
                f"pairs of {detector} on {frame}",
                f"{side}_index below the {len(table)} rows it points into",
                str(at.max()),
            )
    of_truth, of_found = _shapes(truth), _shapes(found)
    parts = [
        of_truth.iloc[truth_at[truth_at >= 0]].assign(
            outcome=pairs["outcome"].to_numpy(dtype=object)[truth_at >= 0]
        )
    ]
    lone = (truth_at < 0) & (found_at >= 0)
    parts.append(
        of_found.iloc[found_at[lone]].assign(outcome=pairs["outcome"].to_numpy(dtype=object)[lone])
    )
    marks = pd.concat([p for p in parts if len(p)] or parts[:1], ignore_index=True)
    return marks[["outcome", "x", "y", "kind", "length", "theta"]]


@takes(marks=pd.DataFrame)
def plot_marks(ax: Axes, marks: pd.DataFrame) -> None:
    """Draw marks on a frame: points as open shapes, streaks as lines."""
    require_axes("plot_marks: ax", ax)
    for outcome, mark in reversed(_MARKS.items()):
        rows = marks[marks["outcome"] == outcome]
        streak = (rows["kind"] == "streak").to_numpy(dtype=bool)
        points = rows[~streak]
        if len(points):
            ax.plot(
                points["x"],
                points["y"],
                linestyle="none",
                color=mark.color,
                marker=mark.marker,
                markersize=mark.size**0.5,
                markerfacecolor=mark.color if mark.marker in "x." else "none",
                markeredgewidth=0.9,
            )
        lines = rows[streak]
        if len(lines):
            path = streak_lines(*(lines[c].to_numpy(float) for c in ("x", "y", "length", "theta")))
            ax.plot(
                path[:, 0], path[:, 1], color=mark.color, linewidth=1.6, linestyle=mark.linestyle
            )


def streak_lines(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    length: npt.NDArray[np.float64],
    theta: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return one interrupted line for all streaks, shape (3 n, 2) [px], NaN between them."""
    along = length[:, None] / 2 * np.column_stack([np.cos(theta), np.sin(theta)])
    centre = np.column_stack([x, y])
    between = np.full_like(centre, np.nan)
    return np.stack([centre - along, centre + along, between], axis=1).reshape(-1, 2)


def frame_figure(run: Run, frame: str, point: str = DEFAULT_POINT) -> tuple[Figure, pd.DataFrame]:
    """Return a figure of one frame, and the marks drawn in it.

    Parameters
    ----------
    run : Run
        The run.
    frame : str
        The frame's name.
    point : str
        The operating point whose pairs are drawn.

    Returns
    -------
    figure : Figure
        The truth over the frame, then one panel a detector. A frame with more
        than `MOST_MARKS` marks in a panel is cropped to 256 px at its middle, or
        to 128 px if there are still too many, and the title states the crop.
        A panel states which of its files the run folder lacks.
    marks : DataFrame
        Those inside the crop: `panel` (``truth`` or the detector) and the
        columns of `frame_marks`.
    """
    panels: dict[str, pd.DataFrame | None] = {"truth": _truth_marks(run.truth(frame))}
    panels |= {d: frame_marks(run, frame, d, point) for d in run.detectors}
    picture = run.preview(frame)
    shape = _shape(run.frame(frame), picture, panels)
    left, right, bottom, top = _window(shape, panels)
    panels = {
        p: None if m is None else _inside(m, left, right, bottom, top) for p, m in panels.items()
    }
    columns = min(len(panels), 2 if len(panels) <= 4 else 3)
    rows = -(-len(panels) // columns)
    cut = (right - left) < shape[1] or (top - bottom) < shape[0]
    with plot_style():
        aspect = (top - bottom) / (right - left)
        height = min(max(3.6 * aspect, 2.0), 7.0) + 0.6
        figure = new_figure(3.9 * columns, height * rows + 0.9)
        axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
        for ax, (name, marks) in zip(axes, panels.items(), strict=False):
            ax.set_facecolor("#1c1c1c")
            if picture is not None:
                ax.imshow(
                    picture,
                    cmap="gray",
                    vmin=0,
                    vmax=1,
                    origin="lower",
                    extent=(-0.5, shape[1] - 0.5, -0.5, shape[0] - 0.5),
                    interpolation="nearest",
                )
            if marks is not None:
                plot_marks(ax, marks)
            ax.set_aspect("equal")
            ax.set_xlim(left - 0.5, right - 0.5)
            ax.set_ylim(bottom - 0.5, top - 0.5)
            ax.set_title(_title(name, marks), fontsize=9)
            notes = ["no preview in the run folder"] if picture is None else []
            if marks is None:
                lacking = "truth" if name == "truth" else "pairs or catalogue"
                notes.append(f"no {lacking} in the run folder")
            if notes:
                ax.text(
                    0.5,
                    0.04,
                    "; ".join(notes),
                    transform=ax.transAxes,
                    color="white",
                    ha="center",
                    fontsize=8,
                )
        for ax in axes[len(panels) :]:
            ax.remove()
        for i, ax in enumerate(axes[: len(panels)]):
            if i % columns == 0:
                ax.set_ylabel("y [px]")
            if i + columns >= len(panels):
                ax.set_xlabel("x [px]")
                ax.tick_params(labelbottom=True)
        size = f"{shape[1]} × {shape[0]} px"
        if cut:
            size = f"the middle {right - left} × {top - bottom} px of {size}"
        figure.suptitle(
            f"{shorten(frame, 40)}, operating point: {point_name(point)}\n{size}", fontsize=10
        )
        figure.legend(
            handles=[mark_handle(m, m.label) for m in _MARKS.values()],
            loc="outside lower center",
            ncols=len(_MARKS) if columns > 1 else 2,
            columnspacing=1.2,
            framealpha=1.0,
            facecolor="#1c1c1c",
            labelcolor="white",
            fontsize=7.5,
        )
    drawn = [m.assign(panel=p) for p, m in panels.items() if m is not None and len(m)]
    columns_out = ["panel", "outcome", "x", "y", "kind", "length", "theta"]
    if not drawn:
        return figure, pd.DataFrame(columns=columns_out)
    return figure, pd.concat(drawn, ignore_index=True)[columns_out]


def _shapes(table: pd.DataFrame) -> pd.DataFrame:
    """Return position, kind, length and angle of each row; a point if the table does not say."""
    n = len(table)
    kind = table["kind"].map(_text) if "kind" in table else pd.Series(["point"] * n, dtype=object)
    return pd.DataFrame(
        {
            "x": table["x"].to_numpy(dtype=float),
            "y": table["y"].to_numpy(dtype=float),
            "kind": kind.to_numpy(dtype=object),
            "length": table["length"].to_numpy(dtype=float) if "length" in table else np.zeros(n),
            "theta": table["theta"].to_numpy(dtype=float) if "theta" in table else np.zeros(n),
        }
    )


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _truth_marks(truth: pd.DataFrame | None) -> pd.DataFrame | None:
    if truth is None:
        return None
    outcome = np.full(len(truth), "truth", dtype=object)
    if "ignore" in truth:
        outcome[truth["ignore"].to_numpy(dtype=bool)] = "ignored"
    return _shapes(truth).assign(outcome=outcome)


def _shape(
    record: FrameRecord,
    picture: npt.NDArray[np.float32] | None,
    panels: Mapping[str, pd.DataFrame | None],
) -> tuple[int, int]:
    """Return the frame's shape (ny, nx) from the record, else the preview, else the marks."""
    if record.ny and record.nx:
        return record.ny, record.nx
    if picture is not None:
        return int(picture.shape[0]), int(picture.shape[1])
    far = [m[["y", "x"]].max() for m in panels.values() if m is not None and len(m)]
    ny, nx = np.max(far, axis=0) if far else (1.0, 1.0)
    return max(int(np.ceil(ny)) + 1, 2), max(int(np.ceil(nx)) + 1, 2)


def _window(
    shape: tuple[int, int], panels: Mapping[str, pd.DataFrame | None]
) -> tuple[int, int, int, int]:
    """Return left, right, bottom, top of the shown window [px]; right and top are exclusive."""
    ny, nx = shape
    window = (0, nx, 0, ny)
    for cut in CUT_PX:
        most = max((len(_inside(m, *window)) for m in panels.values() if m is not None), default=0)
        if most <= MOST_MARKS:
            break
        left, bottom = max((nx - cut) // 2, 0), max((ny - cut) // 2, 0)
        window = (left, min(left + cut, nx), bottom, min(bottom + cut, ny))
    return window


def _inside(marks: pd.DataFrame, left: int, right: int, bottom: int, top: int) -> pd.DataFrame:
    """Return the marks whose extent overlaps the window."""
    half = marks["length"].where(marks["kind"] == "streak", 0.0) / 2
    dx, dy = half * np.cos(marks["theta"]).abs(), half * np.sin(marks["theta"]).abs()
    inside: pd.DataFrame = marks[
        (marks["x"] + dx >= left - 0.5)
        & (marks["x"] - dx < right - 0.5)
        & (marks["y"] + dy >= bottom - 0.5)
        & (marks["y"] - dy < top - 0.5)
    ]
    return inside


def _title(name: str, marks: pd.DataFrame | None) -> str:
    if marks is None:
        return shorten(name)
    n = marks["outcome"].value_counts()
    if name == "truth":
        return f"truth: {n.get('truth', 0)} sources"
    return (
        f"{shorten(name)}\n{n.get('found', 0)} found, {n.get('missed', 0)} missed, "
        f"{n.get('false', 0)} false"
    )


def mark_handle(mark: Mark, label: str) -> Any:
    """Return the entry of a legend for one kind of mark."""
    hollow = mark.marker in "os"
    return entry(
        color=mark.color,
        marker=mark.marker,
        markersize=6,
        markerfacecolor="none" if hollow else mark.color,
        linestyle="none",
        label=label,
    )
