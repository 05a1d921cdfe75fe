"""The figures of `benchmarks/accuracy/real_frames.py`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from skyduel.core import Catalog, Frame, estimate_background
from skyduel.reports.style import detector_styles
from skyduel.reports.svg.backend import plot_style

DPI = 110


def sdss(bins: dict, curves: dict, equal: int, path: Path) -> None:
    with plot_style():
        figure = Figure(figsize=(9.6, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2)
        _recall(left, bins, "mag_lo", "mag_hi")
        left.set(xlabel="r [mag]", ylabel="Completeness (recall)", ylim=(0, 1.03))
        left.set_title(f"Found of the Stripe 82 coadd, the {equal:,} surest of each")
        for name, style in detector_styles(curves).items():
            t = curves[name]
            right.plot(t["unknown"], t["recall_21_23"], color=style.color, lw=1.3, label=name)
            d = t[t["default"]]
            right.plot(d["unknown"], d["recall_21_23"], style.marker, color=style.color, ms=7)
            e = t[t["detections"] == equal]
            right.plot(
                e["unknown"], e["recall_21_23"], style.marker, color=style.color, ms=7, mfc="white"
            )
        right.set(
            xlabel="Detections in neither catalogue",
            ylabel="Completeness at r 21–23",
            xlim=(0, None),
        )
        right.set_ylim(0.5, 1.0)
        right.set_title("As the threshold falls")
        right.grid(True)
        handles, labels = right.get_legend_handles_labels()
        grey = {"color": "#555555", "ls": "", "ms": 7}
        handles += [
            Line2D([], [], marker="o", **grey),
            Line2D([], [], marker="o", mfc="white", **grey),
        ]
        right.legend(
            handles,
            [*labels, "own threshold", f"the {equal:,} surest"],
            frameon=False,
            loc="lower right",
        )
        figure.savefig(path, dpi=DPI)


def lens(bins: dict, curves: dict, example: dict, limit: float, path: Path) -> None:
    with plot_style():
        figure = Figure(figsize=(12.0, 3.9), layout="constrained")
        left, middle, right = figure.subplots(1, 3)
        _recall(left, bins, "mag_lo", "mag_hi")
        left.axvspan(limit, 9, color="#eeeeee", zorder=0)
        left.text(limit + 0.05, 0.97, "ignored", fontsize=8, color="#555555", va="top")
        left.set(xlabel="G [mag]", ylabel="Completeness (recall)", ylim=(0, 1.03), xlim=(3, 8.75))
        left.set_title("Four lens frames, equal numbers of detections")
        left.legend(frameon=False, loc="lower left")
        for name, style in detector_styles(curves).items():
            t = curves[name]
            middle.plot(t["false_per_mpix"], t["recall"], color=style.color, lw=1.3, label=name)
        middle.set(
            xlabel="Detections in no catalogue, per Mpix", ylabel=f"Completeness at G < {limit:g}"
        )
        middle.set_xscale("symlog", linthresh=10)
        middle.set_xlim(0, 1000)
        ticks = [0, 5, 10, 30, 100, 300, 1000]
        middle.set_xticks(ticks, [str(t) for t in ticks])
        middle.minorticks_off()
        middle.set_title("As the threshold falls")
        middle.grid(True)
        middle.legend(frameon=False, loc="lower right")
        frame: Frame = example["frame"]
        _picture(right, frame, (650, 800, 530, 680), 3)
        faint = example["mag"] >= limit
        right.plot(*example["xy"][~faint].T, "o", mfc="none", mec="white", ms=13, mew=0.8)
        for (name, style), size in zip(
            detector_styles(example["found"]).items(), (9, 6, 5), strict=False
        ):
            right.plot(
                *example["found"][name].T,
                style.marker,
                mfc="none",
                mec=style.color,
                ms=size,
                mew=1.2,
            )
        right.set(xlim=(650, 800), ylim=(530, 680))
        right.set_title(f"{frame.name}; white: stars of G < {limit:g}")
        figure.savefig(path, dpi=DPI)


def completeness(bins: dict, path: Path) -> None:
    with plot_style():
        figure = Figure(figsize=(5.6, 3.8), layout="constrained")
        axes = figure.subplots()
        _recall(axes, bins, "snr_lo", "snr_hi", log=True)
        axes.set_xscale("log")
        axes.set_xticks([2, 3, 5, 10, 20, 50], ["2", "3", "5", "10", "20", "50"])
        axes.minorticks_off()
        axes.set(xlabel="Ideal S/N", ylabel="Completeness (recall)", ylim=(0, 1.03))
        axes.set_title("Sources injected into the telescope crops")
        axes.legend(frameon=False, loc="lower right")
        figure.savefig(path, dpi=DPI)


def frames(
    frame: Frame,
    found: dict[str, Catalog],
    path: Path,
    *,
    box: tuple[int, int, int, int] | None = None,
    truth: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    segment: tuple[np.ndarray, np.ndarray] | None = None,
) -> None:
    """Draw one image per detector, with its detections: points as rings, streaks as lines."""
    ny, nx = frame.shape
    x0, x1, y0, y1 = box or (0, nx, 0, ny)
    with plot_style():
        aspect = (y1 - y0) / (x1 - x0)
        figure = Figure(figsize=(13.2, 13.2 / 3 * aspect + 0.24), layout="constrained")
        for axes, (name, style) in zip(
            figure.subplots(1, len(found)), detector_styles(found).items(), strict=True
        ):
            c = found[name]
            _picture(axes, frame, (x0, x1, y0, y1), 12)
            points, streaks = c.select(~c.is_streak), c.select(c.is_streak)
            axes.plot(points["x"], points["y"], "o", mfc="none", mec="#ffd21f", ms=5.5, mew=0.8)
            for x, y, length, theta in zip(
                *(streaks[k] for k in ("x", "y", "length", "theta")), strict=True
            ):
                dx, dy = np.cos(theta) * length / 2, np.sin(theta) * length / 2
                axes.plot([x - dx, x + dx], [y - dy, y + dy], color="#35d0ff", lw=1.6)
            if truth is not None:
                axes.plot(*truth.T, "s", mfc="none", mec="#ff5c8a", ms=9, mew=0.8)
            if labels is not None and len(labels):
                axes.plot(*labels.T, "D", mfc="none", mec="#ff5c8a", ms=10, mew=1.0)
            if segment is not None:
                for end in segment:
                    axes.plot(*end, "+", color="#ff5c8a", ms=10, mew=1.2)
            axes.set(xlim=(x0 - 0.5, x1 - 0.5), ylim=(y0 - 0.5, y1 - 0.5))
            shown = [
                ((k["x"] >= x0) & (k["x"] < x1) & (k["y"] >= y0) & (k["y"] < y1)).sum()
                for k in (points, streaks)
            ]
            title = f"{name}: {shown[0]} points, {shown[1]} streak{'' if shown[1] == 1 else 's'}"
            axes.set_title(title, color=style.color)
        figure.savefig(path, dpi=85)  # noise does not compress


def _recall(
    axes: Axes, bins: dict[str, pd.DataFrame], low: str, high: str, log: bool = False
) -> None:
    """Draw completeness per bin with intervals; detectors are offset, so as not to overlap."""
    for place, (name, style) in enumerate(detector_styles(bins).items()):
        t = bins[name]
        t = t[t["n"] > 0]
        part = 0.5 + 0.12 * (place - (len(bins) - 1) / 2)
        x = t[low] ** (1 - part) * t[high] ** part if log else t[low] + part * (t[high] - t[low])
        value = t["k"] / t["n"]
        error = [np.maximum(value - t["lo"], 0), np.maximum(t["hi"] - value, 0)]
        axes.errorbar(
            x,
            value,
            error,
            color=style.color,
            marker=style.marker,
            ms=4.5,
            lw=1.1,
            elinewidth=0.9,
            label=name,
        )
    axes.grid(True)


def _picture(axes: Axes, frame: Frame, box: tuple[int, int, int, int], top: float) -> None:
    x0, x1, y0, y1 = box
    sky = estimate_background(frame)
    z = ((frame.data - sky.level) / sky.global_rms)[y0:y1, x0:x1]
    shown = np.arcsinh(np.clip(z, -2.5, 6 * top))
    axes.imshow(
        shown,
        origin="lower",
        cmap="gray",
        extent=(x0 - 0.5, x1 - 0.5, y0 - 0.5, y1 - 0.5),
        interpolation="nearest",
    )
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
