"""`skyduel score`: two catalogues to scores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table
from rich.text import Text

from catalog import Catalog, Frame, read_catalog, read_frame
from duel.commands.options import Bins, Config, RadiusPx, read_config, rules_from
from duel.console import out
from evaluation import ScoreReport, apply_ignore, mark_ignored_regions, score_catalogs

__all__ = ["NAME", "command"]

NAME = "score"

_SHOWN = ("completeness", "purity", "f1", "f2")


def command(
    found: Annotated[Path, typer.Argument(help="Catalogue of detections.")],
    truth: Annotated[Path, typer.Argument(help="Catalogue of the truth.")],
    radius_px: RadiusPx = None,
    bins: Bins = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest score that counts as a detection. Default: every row."),
    ] = None,
    frame: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Their FITS frame: its WCS, mask and area; a common aperture for both."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print stable JSON instead.")] = False,
    config: Config = None,
) -> None:
    """Pair two catalogues and print completeness, purity, F1 and F2 per magnitude bin."""
    rules = rules_from(read_config(config), radius_px=radius_px, bins=bins)
    image = None if frame is None else read_frame(frame)
    detections, sources = _prepared(found, truth, image, rules)
    report = score_catalogs(
        sources,
        detections,
        rules,
        frame_shape=None if image is None else image.shape,
        mpix=None if image is None else float((~image.bad).sum()) / 1e6,
        fwhm=None if image is None else image.fwhm,
        threshold=threshold,
    )
    if json_:
        typer.echo(report.to_json(), nl=False)
    else:
        out.print(_table(report))


def _prepared(found: Path, truth: Path, image: Frame | None, rules: object) -> tuple[Catalog, Catalog]:
    from catalog import forced_photometry
    from evaluation import ScoringRules

    assert isinstance(rules, ScoringRules)
    detections, sources = read_catalog(found, frame=image), read_catalog(truth, frame=image)
    if image is not None:
        detections = forced_photometry(image, detections)
        sources = forced_photometry(image, sources)
        detections = mark_ignored_regions(detections, image.shape, image.bad, rules)
        sources = apply_ignore(sources, image.shape, image.bad, image.saturated(), rules)
    return detections, sources


def _table(report: ScoreReport) -> Table:
    rows = report.table
    table = Table(
        title="completeness (recall) by true, purity (precision) by measured magnitude",
        title_justify="left",
        caption="value [95 % interval] k/n; – is undefined (0/0)",
    )
    table.add_column("mag")
    for quantity in _SHOWN:
        table.add_column(quantity, justify="right")
    n_bins = len(report.counts.edges) - 1
    names = {-2: "all", -1: f"< {report.counts.edges[0]:g}", n_bins: f"≥ {report.counts.edges[-1]:g}",
             n_bins + 1: "unmeasured"}  # fmt: skip
    for number, part in rows.groupby("bin", sort=True):
        lines = part.set_index("quantity")
        if int(str(number)) not in range(n_bins) and int(str(number)) != -2 and not lines["n"].sum():
            continue
        first = lines.iloc[0]
        label = names.get(int(str(number)), f"{first['bin_lo']:g}–{first['bin_hi']:g}")
        cells = [Text(label)]
        for quantity in _SHOWN:
            row = lines.loc[quantity]
            if row["value"] != row["value"]:
                cells.append(Text("–"))
                continue
            text = f"{row['value']:.3f}"
            if row["lo"] == row["lo"]:
                text += f" [{row['lo']:.3f}, {row['hi']:.3f}]"
            if row["k"] == row["k"]:
                text += f" {int(row['k'])}/{int(row['n'])}"
            cells.append(Text(text))
        table.add_row(*cells)
    return table
