"""Tables of the page that come from a run's analyses; none where the run has none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from skyduel.reports.figures.error_kinds import KINDS, SIDES, kind_style
from skyduel.reports.style import QUANTITY_NAMES, point_name
from skyduel.reports.tables.run_tables import Cell, Table, interval, number, text
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS

__all__ = [
    "binned_scores_table",
    "calibration_table",
    "chance_table",
    "error_kinds_table",
    "ideal_table",
    "ignore_table",
    "precision_table",
    "purity_table",
    "residuals_table",
    "shape_table",
]

_METHODS: Final[Mapping[str, str]] = {
    "position": "by position",
    "coco50": "boxes, IoU 0.5",
    "coco50_95": "boxes, IoU 0.50 … 0.95",
}
_MEASURED: Final[Mapping[str, str]] = {
    "x": "x [px]",
    "y": "y [px]",
    "mag": "magnitude [mag]",
    "length_ratio": "length of streaks, found over true",
    "angle": "angle of streaks [deg]",
}
_FACETS: Final[Mapping[str, str]] = {
    "snr": "ideal S/N",
    "density": "sources per 1000 px²",
    "neighbour": "nearest source [FWHM]",
    "radius": "distance from the centre [half diagonals]",
    "kind": "kind",
    "measured_snr": "measured S/N",
}


def shape_table(run: Run) -> Table | None:
    """Return the fitted completeness curves beyond one half."""
    limits = run.limits[run.limits["width_mag"].notna()]
    if not len(limits):
        return None
    rows = [
        (
            *_heads(run, row),
            interval(row, ("m90", "m90_lo", "m90_hi"), 2),
            interval(row, ("snr90", "snr90_lo", "snr90_hi"), 2),
            interval(row, ("width_mag", "width_mag_lo", "width_mag_hi"), 3),
            number(row["floor"], 3),
            number(row["ceiling"], 3),
        )
        for row in _in_order(run, limits)
    ]
    return Table(
        "The completeness curve: where nine tenths are found, and its shape",
        (*_HEADS, "m90 [mag]", "S/N90", "Width [mag]", "Floor", "Ceiling"),
        tuple(rows),
        n_heads=3,
        note="A logistic with floor and ceiling, fitted to the point sources one by one.",
    )


def ideal_table(run: Run) -> Table | None:
    """Return how far each detector is behind the ideal observer."""
    ideal = run.analysis("ideal")
    if not len(ideal):
        return None
    ideal = ideal[(ideal["bin"] == ALL_BINS) & (ideal["match"] == "false_rate")]
    rows = [
        (
            *_heads(run, row),
            interval(row, ("distance_mag", "distance_lo", "distance_hi"), 2),
            number(row["snr50"], 2),
            number(row["snr50_ideal"], 2),
            number(row["m50_ideal"], 2),
            interval(row, ("found", "found_lo", "found_hi"), 3),
            number(row["ideal"], 3),
            number(row["n"]),
            text("yes: a bug or a leak" if bool(row["beats"]) else "no"),
        )
        for row in _in_order(run, ideal)
    ]
    return Table(
        "Distance from the ideal observer, which has as many false detections per Mpix",
        (
            *_HEADS,
            "Behind [mag]",
            "S/N50",
            "its S/N50",
            "its m50 [mag]",
            "Completeness of point sources",
            "its completeness",
            "n point sources",
            "More than can be?",
        ),
        tuple(rows),
        n_heads=3,
        note="The ideal observer knows the PSF, the noise and every other source; “its” columns "
        "are what it would find. Below zero, or above its completeness, within the interval is "
        "chance.",
    )


def error_kinds_table(run: Run, point: str, side: str) -> Table | None:
    """Return how many mistakes of each kind: one row a group and detector."""
    mistakes = run.analysis("mistakes")
    if not len(mistakes):
        return None
    part = mistakes[
        (mistakes["bin"] == ALL_BINS) & (mistakes["point"] == point) & (mistakes["side"] == side)
    ]
    if not len(part):
        return None
    there = [k for k in KINDS if k in set(part["kind"])]
    kinds = there + sorted(set(part["kind"]) - set(KINDS))
    of = {(str(r["group"]), str(r["detector"]), str(r["kind"])): r for r in part.to_dict("records")}
    rows = []
    for group in _groups(run):
        for detector in run.detectors:
            found = [of.get((group, detector, k)) for k in kinds]
            if any(f is not None for f in found):
                cells = [number(None if f is None else f["n"]) for f in found]
                rows.append((text(group), text(detector), *cells))
    return Table(
        f"{SIDES[side]} by kind, operating point: {point_name(point)}",
        ("Group", "Detector", *(kind_style(k).label.capitalize() for k in kinds)),
        tuple(rows),
        n_heads=2,
        note="Every one has one kind, the first whose rule applies, so the kinds add up to all of "
        "them.",
    )


def calibration_table(run: Run) -> Table | None:
    """Return how far scores are from probabilities."""
    errors = run.analysis("calibration_error")
    if not len(errors):
        return None
    errors = errors[errors["bin"] == ALL_BINS]
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text({"fitted": "fitted to the calibration frames"}.get(row["score_is"], "its own")),
            number(row["ece"], 4),
            number(row["ece_chance"], 4),
            number(row["ece_equal_count"], 4),
            number(row["brier"], 4),
            number(row["predicted"], 3),
            number(row["right"], 3),
            number(row["n"]),
        )
        for row in _in_order(run, errors.assign(point=""))
    ]
    return Table(
        "Calibration of the scores",
        (
            "Group",
            "Detector",
            "Probability",
            "Expected calibration error",
            "if exactly true",
            "in bins of equal count",
            "Brier score",
            "Mean probability",
            "Share right",
            "n detections",
        ),
        tuple(rows),
        n_heads=2,
        note="Less is better. “If exactly true” is the error that chance alone would give.",
    )


def purity_table(run: Run) -> Table | None:
    """Return the purity that was wanted beforehand, and what came of it."""
    choices = run.analysis("purity_choice")
    if not len(choices):
        return None
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text({"calibration": "calibration frames"}.get(row["chosen_by"], "the score itself")),
            number(row["wanted"], 2),
            number(row["threshold"], 4),
            interval(row, ("purity", "lo", "hi"), 3),
            number(row["n"]),
            interval(row, ("completeness", "completeness_lo", "completeness_hi"), 3),
        )
        for row in _in_order(run, choices.assign(point=""))
    ]
    return Table(
        "Purity wanted beforehand, and reached on the test frames",
        (
            "Group",
            "Detector",
            "Chosen by",
            "Wanted",
            "Threshold",
            "Purity reached",
            "n detections",
            QUANTITY_NAMES["completeness"],
        ),
        tuple(rows),
        n_heads=3,
        note="A dash: no threshold serves.",
    )


def residuals_table(run: Run, point: str) -> Table | None:
    """Return how well found sources are measured, over all of them."""
    table = run.analysis("astrometry")
    if not len(table):
        return None
    part = table[(table["bin"] == ALL_BINS) & (table["point"] == point) & (table["n"] > 0)]
    part = part.drop_duplicates(["group", "detector", "quantity"])
    rows = [
        (
            text(row["group"]),
            text(row["detector"]),
            text(_MEASURED.get(row["quantity"], row["quantity"])),
            number(row["bias"], 4),
            number(row["scatter"], 4),
            number(row["rms"], 4),
            number(row["n"]),
        )
        for row in _in_order(run, part)
    ]
    return Table(
        f"Found sources measured against the truth, operating point: {point_name(point)}",
        ("Group", "Detector", "Measured", "Bias (median)", "Scatter", "rms", "n"),
        tuple(rows),
        n_heads=3,
        note="Found minus true. Scatter is 1.4826 times the median absolute deviation. Positions "
        "come from pairs, so none is off by more than the pairing radius. Magnitudes are those of "
        "the common aperture, the same for every detector.",
    )


def binned_scores_table(run: Run, point: str, quantity: str) -> Table | None:
    """Return completeness or purity along other axes, all groups together."""
    facets = run.analysis("facets")
    if not len(facets):
        return None
    part = facets[
        (facets["point"] == point)
        & (facets["group"] == ALL_GROUPS)
        & (facets["quantity"] == quantity)
        & facets["facet"].isin(list(_FACETS))
        & (facets["n"] > 0)
    ]
    of = {(str(r["facet"]), int(r["bin"]), str(r["detector"])): r for r in part.to_dict("records")}
    edges = part.drop_duplicates(["facet", "bin"])
    rows = []
    for edge in edges.sort_values(["facet", "bin"], kind="stable").to_dict("records"):
        found = [of.get((str(edge["facet"]), int(edge["bin"]), d)) for d in run.detectors]
        cells: list[Cell] = []
        for f in found:
            cells += [interval(f, ("value", "lo", "hi"), 3), number(None if f is None else f["n"])]
        lo, hi = float(edge["bin_lo"]), float(edge["bin_hi"])
        label = str(edge["label"]) or (
            f"{lo:.4g} or more" if np.isinf(hi) else f"{lo:.4g}–{hi:.4g}"
        )
        rows.append((text(_FACETS[str(edge["facet"])]), text(label), *cells))
    if not rows:
        return None
    return Table(
        f"{QUANTITY_NAMES[quantity]} along other axes, operating point: {point_name(point)}",
        ("Axis", "Bin", *(c for d in run.detectors for c in (d, "n"))),
        tuple(rows),
        n_heads=2,
    )


def ignore_table(run: Run, point: str) -> Table | None:
    """Return how the scores move with the ignore limit."""
    table = run.analysis("ignore_limit")
    if not len(table):
        return None
    part = table[(table["point"] == point) & (table["group"] == ALL_GROUPS)]
    rows = [
        (
            number(row["min_snr"], 1),
            text(row["detector"]),
            number(row["completeness"], 3),
            number(row["purity"], 3),
            number(row["f1"], 3),
            number(row["truths"]),
            number(row["truths_ignored"]),
            number(row["detections"]),
            number(row["detections_ignored"]),
        )
        for row in part.sort_values("min_snr", kind="stable").to_dict("records")
    ]
    return Table(
        f"Scores against the ignore limit, all groups, operating point: {point_name(point)}",
        (
            "Ignored below S/N",
            "Detector",
            QUANTITY_NAMES["completeness"],
            QUANTITY_NAMES["purity"],
            "F1",
            "Truths",
            "Truths ignored",
            "Detections",
            "Detections ignored",
        ),
        tuple(rows),
        n_heads=2,
    )


def chance_table(run: Run) -> Table | None:
    """Return how many pairs would be there by chance."""
    chance = run.analysis("chance")
    if not len(chance):
        return None
    rows = [
        (
            *_heads(run, row),
            number(row["pairs"]),
            interval(row, ("chance_pairs", "chance_lo", "chance_hi"), 1),
            interval(row, ("chance_share", "share_lo", "share_hi"), 4),
            number(row["truths"]),
            number(row["n_frames"]),
        )
        for row in _in_order(run, chance)
    ]
    return Table(
        "Pairs by chance",
        (*_HEADS, "Pairs", "Pairs by chance", "their share", "Truths", "Frames"),
        tuple(rows),
        n_heads=3,
        note="Pairs that are left when the detections are shifted against the truth. In crowded "
        "frames a good part of a high completeness can be chance.",
    )


def precision_table(run: Run) -> Table | None:
    """Return average precision: one row a group, method and kind."""
    table = run.analysis("average_precision")
    if not len(table):
        return None
    of = {
        (str(r["group"]), str(r["method"]), str(r["kind"]), str(r["detector"])): r
        for r in table.to_dict("records")
    }
    rows = []
    for group in _groups(run):
        for method, kind in dict.fromkeys((m, k) for g, m, k, _ in of if g == group):
            found = [of.get((group, method, kind, d)) for d in run.detectors]
            if not any(f is not None and np.isfinite(f["value"]) for f in found):
                continue
            rows.append(
                (
                    text(group),
                    text(_METHODS.get(method, method)),
                    text(kind),
                    *(number(None if f is None else f["value"], 3) for f in found),
                    number(next(f["truths"] for f in found if f is not None)),
                )
            )
    return Table(
        "Average precision",
        ("Group", "Pairs", "Kind", *run.detectors, "n truths"),
        tuple(rows),
        n_heads=3,
        note="The area under the precision-recall curve, whatever the operating point. By position "
        "it rests on the pairs of all other scores; by boxes it is COCO’s, and its mean over kinds "
        "at IoU 0.5 is the mAP of Jia et al. (2020). A detector that returns few false rows cannot "
        "reach far along the curve.",
    )


_HEADS: Final = ("Group", "Operating point", "Detector")


def _groups(run: Run) -> Sequence[str]:
    return [ALL_GROUPS, *run.groups] if len(run.groups) > 1 else [ALL_GROUPS]


def _heads(run: Run, row: Mapping[Any, Any]) -> tuple[Cell, Cell, Cell]:
    return text(row["group"]), text(point_name(str(row["point"]))), text(row["detector"])


def _in_order(run: Run, table: pd.DataFrame) -> Iterator[dict[Any, Any]]:
    """Yield rows by group, operating point and detector, as every table of the page has them."""
    groups, points = list(_groups(run)), ["", *run.points]
    detectors = list(run.detectors)
    rows = [
        r
        for r in table.to_dict("records")
        if r["group"] in groups and r["point"] in points and r["detector"] in detectors
    ]
    rows.sort(
        key=lambda r: (
            groups.index(r["group"]),
            points.index(r["point"]),
            detectors.index(r["detector"]),
        )
    )
    yield from rows
