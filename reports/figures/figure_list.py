"""Which figures a run's report has, in the page's order; each drawn when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import pandas as pd
from matplotlib.figure import Figure

from skyduel.core.io.atomic_files import safe_name
from skyduel.reports.figures.binned_scores import binned_scores_overview, ignore_limits, migrations
from skyduel.reports.figures.calibration import purity_choices, reliability_diagrams
from skyduel.reports.figures.differences import differences_by_group, differences_by_magnitude
from skyduel.reports.figures.error_kinds import error_kinds_by_group, error_kinds_by_magnitude
from skyduel.reports.figures.frame_overlay import frame_figure
from skyduel.reports.figures.ideal_observer import (
    completeness_and_ideal,
    completeness_curves,
    ideal_distance,
)
from skyduel.reports.figures.jia2020 import FAULTS, jia2020_layout
from skyduel.reports.figures.residuals import residuals
from skyduel.reports.figures.scores import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from skyduel.reports.style import detector_styles, point_name, shorten
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["FRAMES_CHOICE", "MOST_GROUPS", "Drawing", "drawings"]

#: By which rule the frames shown were chosen; the page says so.
FRAMES_CHOICE: Final = (
    "Shown is the first scored frame of each group, in the data set’s order: not chosen by result."
)
#: So many groups get figures of their own; the tables hold all.
MOST_GROUPS: Final = 8

_Draw = Callable[[], tuple[Figure, pd.DataFrame]]


@dataclass(frozen=True)
class Drawing:
    """A figure of the report: where it stands, what it is called, and how it is drawn."""

    name: str
    section: str
    title: str
    caption: str
    alt: str
    draw: _Draw


def drawings(run: Run) -> Iterator[Drawing]:
    """Yield what a run's report draws; a figure whose table the run lacks is left out."""
    yield from _scores(run)
    yield from _limits(run)
    yield from _comparisons(run)
    yield from _mistakes(run)
    yield from _calibration(run)
    yield from _analyses(run)
    yield from _frames(run)


def _who(run: Run) -> str:
    return ", ".join(map(shorten, run.detectors))


def _at(point: str) -> str:
    return f"operating point: {point_name(point)}"


def _scores(run: Run) -> Iterator[Drawing]:
    styles, who = detector_styles(run.detectors), _who(run)
    yield Drawing(
        "f1_by_group",
        "scores",
        "F1 of all magnitudes together",
        "One panel an operating point; bars are intervals.",
        f"Dots with interval bars: F1 per group for {who}. The numbers are in the tables.",
        lambda: scores_by_group(run.scores, "f1", points=run.points, styles=styles),
    )
    yield Drawing(
        "precision_recall",
        "curves",
        "Purity against completeness as the score threshold is swept",
        "Nearer the upper right is better; dotted lines join points of equal F1. Markers are the "
        "operating points, with intervals.",
        f"Curves of purity against completeness for {who}, one panel a group, the operating points "
        "marked.",
        lambda: precision_recall(run.sweep, run.scores, styles=styles),
    )
    for point in run.points:
        yield _by_magnitude(run, "magnitude", ALL_GROUPS, point, f"scores_by_magnitude-{point}")
    if len(run.groups) > 1:
        point = run.headline_point
        for group in run.groups[:MOST_GROUPS]:
            name = f"scores_by_magnitude-{point}-group-{group}"
            yield _by_magnitude(run, "groups", group, point, name)


def _by_magnitude(run: Run, section: str, group: str, point: str, name: str) -> Drawing:
    styles = detector_styles(run.detectors)
    where = "all frames" if group == ALL_GROUPS else f"group {shorten(group)}"
    return Drawing(
        safe_name(name),
        section,
        f"Scores by magnitude, {where}, {_at(point)}",
        "Bars are intervals; markers are set apart sideways within a bin; the strip below zero "
        "holds the numbers in each bin.",
        f"Four panels against magnitude: completeness, purity, F1 and F2 for {_who(run)}, with "
        "interval bars.",
        lambda: scores_by_magnitude(run.scores, group=group, point=point, styles=styles),
    )


def _limits(run: Run) -> Iterator[Drawing]:
    styles, who, point = detector_styles(run.detectors), _who(run), run.headline_point
    if len(run.limits):
        yield Drawing(
            "snr50_by_group",
            "limits",
            "S/N at which half of the sources are found",
            "Further left is better. Only the panel of equal purity compares like with like.",
            f"Dots with interval bars: S/N of half completeness per group for {who}. The numbers "
            "are in the table of limits.",
            lambda: limits_by_group(run.limits, points=run.points, styles=styles),
        )
    if run.limits["width_mag"].notna().any():
        yield Drawing(
            f"completeness_curves-{safe_name(point)}",
            "limits",
            f"Completeness and its fitted curve, {_at(point)}",
            "Points are the bins, lines the logistic with floor and ceiling fitted to the sources "
            "one by one; ticks with bars near 0.5 and 0.9 are m50 and m90 with their intervals, "
            "set apart upwards so that none covers another. The curve is of point sources alone.",
            f"Binned completeness against true magnitude with fitted curves for {who}, one panel a "
            "group. The limits are in the tables.",
            lambda: completeness_curves(run.scores, run.limits, point=point, styles=styles),
        )
    ideal = run.analysis("ideal")
    if not len(ideal):
        return
    yield Drawing(
        f"completeness_and_ideal-{safe_name(point)}",
        "ideal",
        f"Point sources found, and the most that could be, {_at(point)}",
        "Dashed, in each detector’s colour: the ideal observer, which knows the PSF, the noise and "
        "all other sources, with as many false detections per Mpix as that detector. What lies "
        "between is left to win; beyond it lies a bug or a leak.",
        f"Completeness of point sources against true magnitude for {who} below the curves of the "
        "ideal observer, one panel a group.",
        lambda: completeness_and_ideal(ideal, point=point, styles=styles),
    )
    yield Drawing(
        "ideal_distance",
        "ideal",
        "Magnitudes behind the ideal observer",
        "At half completeness, the ideal observer having as many false detections per Mpix as the "
        "detector. Further left is better. Where one value is far, the axis is a symmetric "
        "logarithm.",
        f"Dots with interval bars: distance from the ideal observer per group for {who}. The "
        "numbers are in the table.",
        lambda: ideal_distance(ideal, points=run.points, styles=styles),
    )


def _comparisons(run: Run) -> Iterator[Drawing]:
    table, styles, who = run.comparisons, detector_styles(run.detectors), _who(run)
    if not len(table):
        return
    there = set(table["point"].astype(str))
    for point in (p for p in run.points if p in there):
        yield Drawing(
            f"differences_by_group-{safe_name(point)}",
            "differences",
            f"Paired differences over all magnitudes, {_at(point)}",
            "Right of zero the first of a pair is better, left of it the second; a point has the "
            "better one’s colour, and is full where the difference is shown after Holm’s "
            "correction over groups.",
            f"Forest plot of the differences between {who} in completeness, purity, F1 and m50, "
            "with intervals. The numbers are in the table.",
            lambda point=point: differences_by_group(table, point=point, styles=styles),  # type: ignore[misc]
        )
    point = run.headline_point
    if point in there:
        yield Drawing(
            f"differences_by_magnitude-{safe_name(point)}",
            "differences",
            f"Paired differences by magnitude, {_at(point)}",
            "Above zero the first of a pair is better, below it the second. Intervals of "
            "completeness are Newcombe’s for pairs, the others a bootstrap over frames; full where "
            "shown after Holm’s correction over bins. Neighbouring bins share frames.",
            f"Differences between {who} in completeness, purity and F1 against magnitude, with "
            "intervals, one row a pair.",
            lambda: differences_by_magnitude(table, point=point, styles=styles),
        )


def _mistakes(run: Run) -> Iterator[Drawing]:
    table, point = run.analysis("mistakes"), run.headline_point
    if not len(table) or point not in set(table["point"].astype(str)):
        return
    yield Drawing(
        f"mistakes_by_group-{safe_name(point)}",
        "mistakes",
        f"Kinds of mistake, {_at(point)}",
        "Shares of the missed sources and of the false detections; how many they are stands at "
        "the right of each bar.",
        f"Stacked bars: the shares of the kinds of mistake of {_who(run)} in each group. The "
        "numbers are in the tables.",
        lambda: error_kinds_by_group(table, point=point),
    )
    yield Drawing(
        f"mistakes_by_magnitude-{safe_name(point)}",
        "mistakes",
        f"Kinds of mistake by magnitude, all groups, {_at(point)}",
        "Missed sources by true magnitude, false detections by measured magnitude; each row of "
        "panels shares its scale.",
        f"Stacked bars: the numbers of each kind of mistake of {_who(run)} in each magnitude bin.",
        lambda: error_kinds_by_magnitude(table, point=point),
    )


def _calibration(run: Run) -> Iterator[Drawing]:
    styles = detector_styles(run.detectors)
    table, errors = run.analysis("reliability"), run.analysis("calibration_error")
    if len(table) and (table["score_is"] != "unknown").any():
        yield Drawing(
            "reliability",
            "calibration",
            "How often a detection of a stated probability is right",
            "On the dotted diagonal a score is a true probability; below it the detector is too "
            "sure. Ten bins of equal width. Detectors whose score is no probability and was not "
            "made one are not drawn.",
            "Share of right detections against the probability stated, one panel a group, with "
            "the expected calibration error of each detector.",
            lambda: reliability_diagrams(table, errors, styles=styles),
        )
    choices = run.analysis("purity_choice")
    if len(choices):
        yield Drawing(
            "purity_choice",
            "calibration",
            "Purity wanted beforehand, and reached",
            "The threshold was chosen without the test frames; bars are intervals. Above the dark "
            "line more purity was reached than wanted.",
            "Purity reached on the test frames where 0.9, 0.95 and 0.99 were wanted, one panel a "
            "group. The numbers are in the table.",
            lambda: purity_choices(choices, styles=styles),
        )


def _analyses(run: Run) -> Iterator[Drawing]:
    styles, who, point = detector_styles(run.detectors), _who(run), run.headline_point

    def there(name: str) -> pd.DataFrame | None:
        table = run.analysis(name)
        return table if len(table) and point in set(table["point"].astype(str)) else None

    if (astrometry := there("astrometry")) is not None:
        yield Drawing(
            f"residuals-{safe_name(point)}",
            "measures",
            f"Positions and magnitudes against the truth, {_at(point)}",
            "Upper row: scatter; lower row: bias. Numbers at the foot are sources in the bin, a "
            "range where detectors found different ones. A detector that finds more faint sources "
            "measures more of the hard ones.",
            f"Scatter and bias of x, y and magnitude of the sources that {who} found.",
            lambda: residuals(astrometry, point=point, styles=styles),
        )
    if (migration := there("migration")) is not None:
        yield Drawing(
            f"migration-{safe_name(point)}",
            "measures",
            f"Found sources by true and measured magnitude, {_at(point)}",
            "Off the outlined diagonal a source counts in one bin for completeness and in another "
            "for purity.",
            f"One matrix a detector ({who}) with the number of found sources in each pair of true "
            "and measured bin.",
            lambda: migrations(migration, point=point),
        )
    if (facets := there("facets")) is not None:
        yield Drawing(
            f"facets-{safe_name(point)}",
            "binnings",
            f"Completeness and purity along other axes, {_at(point)}",
            "Bins stand side by side with their edges between them; the strip below zero holds "
            "their numbers.",
            f"Nine panels: completeness of {who} by S/N, density, neighbour, place and kind, and "
            "purity by S/N, place, kind and score.",
            lambda: binned_scores_overview(facets, point=point, styles=styles),
        )
    if (ignore := there("ignore_limit")) is not None:
        yield Drawing(
            f"ignore_limit-{safe_name(point)}",
            "ignore",
            f"Scores against the ignore limit, {_at(point)}",
            "An order of detectors that changes along the axis depends on whom one asks.",
            f"Completeness, purity and F1 of {who} against the S/N below which truths are ignored.",
            lambda: ignore_limits(ignore, point=point, styles=styles),
        )
    if (jia2020 := there("jia2020")) is not None:
        yield Drawing(
            f"original_layout-{safe_name(point)}",
            "paper",
            f"In the layout of Jia et al. (2020), {_at(point)}",
            f"Above by that paper’s rules, below by this program’s. Its faults: {FAULTS}. Black "
            "marks are its published values, where a bin has the same edges; they are of other "
            "frames.",
            f"Recall and precision, F1 and F2 of {who} against magnitude, by the paper’s rules and "
            "by sound ones.",
            lambda: jia2020_layout(jia2020, run.scores, point=point, styles=styles),
        )


def _frames(run: Run) -> Iterator[Drawing]:
    point = run.headline_point
    for frame in _shown_frames(run):
        yield Drawing(
            safe_name(f"frame-{frame}"),
            "frames",
            f"{shorten(frame, 60)}, {_at(point)}",
            "The frame with its truth, then each detector: truths found, truths missed, false "
            "detections. Streaks are lines.",
            f"The frame {shorten(frame, 60)} with the truth and what {_who(run)} found, missed and "
            "detected falsely. The counts are in the table frame by frame.",
            lambda frame=frame: frame_figure(run, frame, point),  # type: ignore[misc]
        )


def _shown_frames(run: Run) -> list[str]:
    """Return the first scored frame of each group, in the record's order."""
    last = run.counts.drop_duplicates("frame", keep="last")
    group_of = dict(zip(last["frame"].astype(str), last["group"].astype(str), strict=True))
    group_of |= {str(f.get("name")): str(f.get("group")) for f in run.frames}
    first: dict[str, str] = {}
    for frame in run.scored_frames:
        first.setdefault(group_of[frame], frame)
    return list(first.values())[:MOST_GROUPS]
