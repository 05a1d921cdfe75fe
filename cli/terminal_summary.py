"""Terminal summary of a run: tables with numbers from the files of the run."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from skyduel.cli.galaxy_tables import completeness_tables
from skyduel.cli.whole_tables import WholeTable
from skyduel.evaluation.number_text import UNDEFINED, format_interval, format_number
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.metrics import listed, quantity_named
from skyduel.evaluation.table_keys import range_label
from skyduel.reports import summary_table
from skyduel.reports.tables.run_tables import and_list
from skyduel.reports.tables.slivers import limits_told
from skyduel.reports.text.headline import headline
from skyduel.run_folder import Run
from skyduel.run_folder.schema import (
    ALL_GROUPS,
    CALIBRATED_POINT,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    NOMINAL_PURITY,
)

__all__ = ["run_summary"]


def run_summary(run: Run) -> Group:
    """Return the headline of a run and its tables.

    Overall, per magnitude, galaxies by size and magnitude if there are any, depth per group.
    """
    parts: list[Any] = [Text(headline(run), style="bold"), Text()]
    parts.append(WholeTable(_overall(run), keys=2))
    in_bins = run.scores[(run.scores["bin"] >= 0) & (run.scores["bin_hi"] < float("inf"))]
    if (in_bins.loc[in_bins["quantity"] == "completeness", "n"] > 0).any():
        parts.append(WholeTable(_per_magnitude(run), keys=2))
    else:
        parts.append(Text("no truth has a magnitude in the bins: no table per magnitude\n"))
    parts += completeness_tables(run, run.headline_point)
    if len(run.limits):
        parts.append(WholeTable(_depth(run)))
    return Group(*parts)


def _new(title: str, caption: str) -> Table:
    return Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _overall(run: Run) -> Table:
    rows = summary_table(run)
    shown = [m for m in listed("terminal") if m.name in rows]
    resampled = [m.short for m in shown if m.interval == "bootstrap"]
    kind = ScoringRules.model_fields["proportion_interval"].default
    kind = str(run.record.rules.get("proportion_interval", kind)).capitalize()
    caption = f"± half of the {100 * run.record.confidence:g} % interval, or \\[its ends] ({kind}"
    n = len(run.scored_frames)
    n_frames = f"{n} test frame{'' if n == 1 else 's'}"
    over = "parts of the one frame: of this frame only" if n == 1 else f"{n} frames"
    caption += f"; for {and_list(resampled)} bootstrapped over {over})." if resampled else ")."
    if CALIBRATED_POINT in run.points:
        caption += " calibrated: at the threshold with the best F1 on the calibration frames."
    table = _new(f"{run.name}: all magnitudes, {n_frames}", caption)
    table.add_column("detector", no_wrap=True)
    table.add_column("point", no_wrap=True)
    for name in (*(m.short for m in shown), "Mpix/s"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows[rows["point"] != EQUAL_PURITY_POINT].to_dict("records"):
        cells = []
        for m in shown:
            value, lo, hi = (row[m.name + end] for end in ("", "_lo", "_hi"))
            # The interval of a rate is far from symmetric, and is left to the page.
            cells.append(
                format_number(value, m.digits)
                if m.interval == "poisson"
                else format_interval(value, lo, hi, m.digits, least=0, most=m.most)
            )
        cells.append(format_number(row["mpix_per_s"], 2))
        table.add_row(Text(str(row["detector"])), str(row["point"]), *cells)
    return table


def _per_magnitude(run: Run) -> Table:
    point = CALIBRATED_POINT if CALIBRATED_POINT in run.points else DEFAULT_POINT
    scores = run.scores[
        (run.scores["group"] == ALL_GROUPS)
        & (run.scores["point"] == point)
        & (run.scores["bin"] >= 0)
    ]
    shown = listed("brief")
    table = _new(
        f"per magnitude, {point} point: {' / '.join(m.short for m in shown)}",
        "completeness (recall) by true, purity (precision) by measured magnitude; – is 0/0.",
    )
    table.add_column("mag", no_wrap=True)
    table.add_column("truths", justify="right")
    for detector in run.detectors:
        table.add_column(Text(detector), justify="right", no_wrap=True)
    value = scores.set_index(["bin", "detector", "quantity"])["value"].to_dict()
    n = scores[scores["quantity"] == "completeness"].groupby("bin")["n"].max()
    edges = scores.drop_duplicates("bin").set_index("bin")[["bin_lo", "bin_hi"]]
    edges = edges[edges["bin_hi"] < float("inf")].sort_index()
    for number, low, high in edges.itertuples():
        cells = [
            " / ".join(
                format_number(value.get((number, d, m.name), float("nan")), 2) for m in shown
            )
            for d in run.detectors
        ]
        table.add_row(range_label(low, high), str(int(n.get(number, 0))), *cells)
    return table


def _depth(run: Run) -> Table:
    """Return the limits by group: in S/N, or in magnitudes if the truth states no S/N."""
    told = limits_told(run)
    told = told[told["point"] == EQUAL_PURITY_POINT]
    limits: dict[tuple[str, str], dict[Any, Any]] = {
        (str(row["group"]), str(row["detector"])): row for row in told.to_dict("records")
    }
    in_mag = bool(told["snr50"].isna().all() and told["m50"].notna().any())
    quantity = quantity_named("m50" if in_mag else "snr50")
    what = "magnitude" if in_mag else "S/N"
    table = _new(
        f"{what} at 50 % completeness and {100 * NOMINAL_PURITY:g} % purity "
        f"({'fainter' if in_mag else 'lower'} is better)",
        "Point sources only. Thresholds are chosen on these same frames: a comparison at equal "
        f"purity, not a prediction. –: {100 * NOMINAL_PURITY:g} % purity and 50 % completeness "
        "never occur together, or only where most sources of the detector are left out.",
    )
    table.add_column("frames", no_wrap=True)
    for detector in run.detectors:
        table.add_column(Text(detector), justify="right", no_wrap=True)
    for group in [*run.groups, ALL_GROUPS]:
        cells = []
        for detector in run.detectors:
            row = limits.get((group, detector), {})
            names = (quantity.name, f"{quantity.name}_lo", f"{quantity.name}_hi")
            value, lo, hi = (
                format_number(row.get(name, float("nan")), quantity.digits) for name in names
            )
            cells.append(value if lo == UNDEFINED else f"{value} [{lo}, {hi}]")
        table.add_row(Text(group), *cells)
    return table
