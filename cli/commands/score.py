"""The command `skyduel score`: score a catalogue against a truth catalogue."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.options import (
    Bins,
    Columns,
    Config,
    Ignore,
    IgnoreSuspects,
    MaskBits,
    Pairing,
    RadiusPx,
    mask_bits_from,
    read_config,
    rules_from,
)
from skyduel.cli.console import warn, wide_out
from skyduel.cli.frame_arguments import check_files
from skyduel.cli.frame_facts import decision_lines
from skyduel.cli.whole_tables import FirstThatFits, WholeTable
from skyduel.core import BadInputError
from skyduel.evaluation.table_keys import ALL_BINS, range_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from skyduel.core import Catalog, Frame
    from skyduel.evaluation import ScoreReport, ScoringRules

__all__ = ["NAME", "command"]

NAME = "score"

_METRICS: Final = ("skyduel", "jia2020")
_COUNTS: Final = "k/n"
#: What is left out until the table fits: first what follows from F1, then the counts.
_LEFT_OUT: Final = ((), ("jaccard",), (_COUNTS, "jaccard"), (_COUNTS, "jaccard", "f2"))


def command(
    found: Annotated[Path, typer.Argument(metavar="FOUND", help="Catalogue of detections.")],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", help="Catalogue of the truth.")],
    radius_px: RadiusPx = None,
    radius_arcsec: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Match on the sky by ra and dec: radius in arcsec, inclusive."),
    ] = None,
    pairing: Pairing = None,
    bins: Bins = None,
    threshold: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            help="Lowest score of a detection. Default: the threshold that FOUND states, else "
            "every row."
        ),
    ] = None,
    frame: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Frame of both catalogues: gives WCS, mask (also one beside it) and area; fluxes "
            "of both are measured on it in one aperture."
        ),
    ] = None,
    mask_bits: MaskBits = None,
    ignore: Ignore = None,
    metric: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="skyduel, or jia2020: the scores of Jia, Liu & Sun (2020) with their faults, only "
            "for comparison with that paper.",
        ),
    ] = "skyduel",
    columns: Columns = None,
    truth_columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="OURS=THEIRS,...", help="As --columns, for TRUTH only."),
    ] = None,
    found_columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="OURS=THEIRS,...", help="As --columns, for FOUND only."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    ignore_suspects: IgnoreSuspects = None,
    config: Config = None,
) -> None:
    """Match two catalogues and print completeness, purity and other scores per magnitude bin.

    Formats: ECSV, FITS, VOTable, CSV, Parquet, COCO JSON, and SExtractor's ASCII_HEAD and
    FITS_LDAC. Positions are 0-based px; integers are pixel centres (SExtractor's
    positions are converted). With --radius-arcsec, positions are RA and Dec.
    """
    for given in (found, truth, *(() if frame is None else (frame,))):
        check_files(given)
    import numpy as np

    from skyduel.core import entry_of, read_catalog
    from skyduel.core.areas.ignore_area import read_ignore_area
    from skyduel.core.operating_point import stated_threshold
    from skyduel.core.used_facts import used_facts
    from skyduel.evaluation import score_catalogs
    from skyduel.evaluation.rules import ignore_note
    from skyduel.evaluation.score_two_catalogs import measured_alike
    from skyduel.runner.frame_steps import usable_mpix

    if radius_px is not None and radius_arcsec is not None:
        raise BadInputError("--radius-arcsec", "one radius", "--radius-px as well")
    if metric not in _METRICS:
        raise BadInputError("--metric", " or ".join(_METRICS), repr(metric))
    if metric == "jia2020" and radius_arcsec is not None:
        raise BadInputError("--metric jia2020", "positions in px", "--radius-arcsec")
    rules = rules_from(read_config(config), radius_px=radius_px, bins=bins, pairing=pairing)
    bits = mask_bits_from(mask_bits)
    if bits is not None and frame is None:
        raise BadInputError("--mask-bits", "a frame, --frame FRAME", "none")
    if ignore is not None and frame is None:
        raise BadInputError("--ignore", "a frame, --frame FRAME", "none")
    entry = None if frame is None else entry_of(frame, mask_bits=bits)
    image = None if entry is None else entry.read()
    mappings = _mappings(found, truth, columns, found_columns, truth_columns)
    on_sky = radius_arcsec is not None
    read = [read_catalog(path, columns=mapping, frame=image, on_sky=on_sky)
            for path, mapping in zip((found, truth), mappings, strict=True)]  # fmt: skip
    if threshold is None:
        threshold = stated_threshold(read[0].table.meta)
        n_below = 0 if threshold is None else int((read[0]["score"] < threshold).sum())
        if n_below:
            warn(f"{found}: {n_below:,} rows below the stated threshold {threshold:g} are not "
                 "used; --threshold -inf uses all")  # fmt: skip
    file = ignore if ignore is not None or entry is None else entry.ignore
    area = None if image is None or file is None else read_ignore_area(file, image)

    def scored(given: Catalog) -> tuple[Catalog, ScoreReport]:
        detections, sources = measured_alike(read[0], given, image, rules, on_sky=on_sky, area=area)
        return sources, score_catalogs(
            sources,
            detections,
            rules,
            frame_shape=None if image is None else image.shape,
            mpix=None if image is None else usable_mpix(image, area),
            fwhm=None if image is None else image.fwhm,
            mask=None if image is None else image.bad,
            saturated=None if image is None else image.saturated(),
            area=area,
            threshold=threshold,
            radius_arcsec=radius_arcsec,
        )

    counted = None
    if ignore_suspects is not None:
        if on_sky:
            raise BadInputError("--ignore-suspects", "positions in px", "--radius-arcsec")
        counted = scored(read[1])[1]
        read[1] = _without_suspects(read[1], ignore_suspects, image, rules)
    sources, report = scored(read[1])
    if counted is not None:
        warn(_counted_line(str(ignore_suspects), report, counted))
    if len(sources) and not np.isfinite(sources["mag"]).any():
        warn(f"{truth}: no magnitudes, so one row for all; --truth-columns mag=NAME names a column")
    reasons = np.asarray(report.frame.source.truth["ignore_reason"]).astype(str)
    if n_unknown := int((reasons == "no_mag").sum()):
        warn(f"{truth}: {n_unknown} of {len(sources)} sources have no magnitude and count neither "
             "way")  # fmt: skip
    if file is not None and area is not None:
        warn(ignore_note(file, area, report.frame.source.truth))
    if image is not None:
        facts = used_facts(image)
        for line in decision_lines(image.name, facts.notes, facts.set_aside):
            warn(line)
    for line in _warnings(read[0], read[1], report, None if image is None else image.shape):
        warn(line)
    if metric == "jia2020":
        _print_jia2020(report, json_)
    elif json_:
        content = report.to_dict()
        if counted is not None:
            content["suspects_counted"] = counted.counts.sums()
        typer.echo(json.dumps(content, sort_keys=True, indent=2, allow_nan=False))
    else:
        wide_out().print(FirstThatFits([_table(report, left_out) for left_out in _LEFT_OUT]))


def _without_suspects(
    truth: Catalog, path: Path, image: Frame | None, rules: ScoringRules
) -> Catalog:
    """Return the truth with the listed suspects of its frame marked to be ignored."""
    from skyduel.evaluation.suspect_list import mark_suspects, read_suspects

    listed = read_suspects(path)
    name = next(iter(listed.rows), None) if image is None else image.name
    if image is None and len(listed.rows) > 1:
        raise BadInputError("--ignore-suspects", "--frame with suspects of several frames", "none")
    suspects = None if name is None else listed.of(name)
    return mark_suspects(truth, suspects, rules.radius_for(None if image is None else image.fwhm))


def _counted_line(source: str, report: ScoreReport, counted: ScoreReport) -> str:
    """Say how many suspects are ignored, and the scores with them counted."""
    from skyduel.evaluation.suspect_list import n_suspects

    n_truths, n_places = n_suspects(report.frame.source.truth)
    rows = counted.table[counted.table["bin"] == ALL_BINS]
    value = dict(zip(rows["quantity"], rows["value"].tolist(), strict=True))
    scores = ", ".join(f"{name} {value[name]:.3f}" for name in ("completeness", "purity", "f1"))
    return (
        f"suspects of {source} are ignored as asked for: {n_truths} of the truth, {n_places} that "
        f"it lacks; with them counted: {scores}"
    )


def _print_jia2020(report: ScoreReport, as_json: bool) -> None:
    from skyduel.evaluation.analyses.jia2020 import jia2020_table

    rows = jia2020_table([report.frame], report.rules, report.counts.edges)
    if as_json:
        shown = rows[["bin", "bin_lo", "bin_hi", "mag_plotted", "quantity", "value", "truths"]]
        content = {"schema": 1, "metric": "jia2020", "scores": shown.to_dict(orient="records")}
        typer.echo(json.dumps(content, sort_keys=True, indent=2, allow_nan=False))
        return
    names = ("recall", "precision", "f1", "f2")
    table = Table(
        title="scores as defined in Jia, Liu & Sun (2020): matches are not one to one",
        title_justify="left",
        caption="only for comparison with that paper: this is not the usual precision, and a bin "
        "without truths is 1",
    )
    table.add_column("mag")
    for name in names:
        table.add_column(name, justify="right")
    for _, bin_rows in rows.groupby("bin"):
        first = bin_rows.iloc[0]
        values = bin_rows.set_index("quantity")["value"]
        label = Text(range_label(first["bin_lo"], first["bin_hi"]))
        table.add_row(label, *(f"{values[name]:.3f}" for name in names))
    wide_out().print(WholeTable(table))


def _mappings(
    found: Path, truth: Path, both: str | None, of_found: str | None, of_truth: str | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the column mappings of both catalogues.

    A column of --columns need be in one of the two only.

    Raises
    ------
    BadInputError
        If a column of --columns is in neither, with the columns of both.
    """
    from skyduel.core.io.column_names import parse_columns
    from skyduel.core.io.tables import read_column_names

    own = [
        {} if text is None else parse_columns(text, option)
        for text, option in ((of_found, "--found-columns"), (of_truth, "--truth-columns"))
    ]
    if both is None:
        return own[0], own[1]
    mapping = parse_columns(both)
    present = [read_column_names(path) for path in (found, truth)]
    known = [{name.lower() for name in names} for names in present]
    for name, given in mapping.items():
        if not any(given.lower() in names for names in known):
            raise BadInputError(
                "--columns",
                f"a column {given!r} for {name!r} in {found} or {truth}",
                f"columns {', '.join(present[0])}; and {', '.join(present[1])}",
            )
    shared = [{n: g for n, g in mapping.items() if g.lower() in names} for names in known]
    return shared[0] | own[0], shared[1] | own[1]


def _warnings(
    found: Catalog, truth: Catalog, report: ScoreReport, shape: tuple[int, int] | None
) -> list[str]:
    """Return the warnings of a comparison: decisions about the files, and no match at all."""
    from skyduel.evaluation.matching.doubles import doubles_warning
    from skyduel.evaluation.matching.no_matches import frame_warning, match_warning

    lines = [f"{c.source}: {n}" for c in (found, truth) for n in c.table.meta.get("notes", ())]
    apart = [frame_warning(truth, "truth rows", shape), frame_warning(found, "detections", shape)]
    if any(apart):
        return [*lines, *(line for line in apart if line)]
    pairing = report.frame.pairing
    n_matches = len(pairing.pairs) + len(pairing.ignored_pairs)
    xy, unit = [truth.xy, found.xy], "px"
    if report.radius_arcsec is not None:
        shape, unit = None, "arcsec"
        xy = _on_one_plane(report.frame.source.truth, report.frame.source.found)
    radius = report.radius_arcsec or report.rules.radius_for(report.frame.source.fwhm)
    doubles = None if report.radius_arcsec is not None else doubles_warning(truth)
    unmatched = match_warning(xy[0], xy[1], n_matches, shape, unit, radius=radius)
    return [*lines, *(line for line in (unmatched, doubles) if line)]


def _on_one_plane(*catalogs: Catalog) -> list[npt.NDArray[np.float64]]:
    """Return the sky positions of catalogues on one plane [arcsec], x to the west."""
    import numpy as np

    from skyduel.core.wcs import plane_positions

    ra, dec = (np.concatenate([c[name] for c in catalogs]) for name in ("ra", "dec"))
    plane = np.column_stack(plane_positions(ra, dec))
    return np.split(plane, np.cumsum([len(c) for c in catalogs])[:-1])


def _table(report: ScoreReport, left_out: Sequence[str] = ()) -> Table:
    from skyduel.evaluation.scoring.metrics import listed, metric

    rows = report.table
    table = Table(
        title="completeness (recall) by true, purity (precision) by measured magnitude",
        title_justify="left",
        caption=_caption(report, left_out),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=0,
    )
    table.add_column("mag")
    shown = [m.name for m in listed("by_magnitude") if m.name not in left_out]
    for quantity in shown:
        table.add_column(metric(quantity).short, justify="right")
    n_bins = len(report.counts.edges) - 1
    counts = _COUNTS not in left_out
    names = {ALL_BINS: "all", n_bins + 1: "unmeasured"}
    bins: dict[int, dict[str, dict[Any, Any]]] = {}
    # Without magnitudes the bins are made up.
    placed = bool((rows[rows["bin"].between(0, n_bins - 1)]["n"] > 0).any())
    for row in rows.to_dict("records"):
        bins.setdefault(int(row["bin"]), {})[str(row["quantity"])] = row
    for number in sorted(bins):
        quantities = bins[number]
        outside = number not in range(n_bins) and number != ALL_BINS
        if not placed and number != ALL_BINS:
            continue
        if outside and not any(quantities[q]["n"] > 0 for q in shown):
            continue
        first = quantities[shown[0]]
        label = names.get(number) or range_label(first["bin_lo"], first["bin_hi"])
        table.add_row(Text(label), *(_cell(quantities[q], counts=counts) for q in shown))
    return table


def _caption(report: ScoreReport, left_out: Sequence[str]) -> str:
    level = f"{100 * report.rules.confidence:g} %"
    counts = "" if _COUNTS in left_out else f" {_COUNTS}"
    said = f"value [{level} interval]{counts}; – is undefined (0/0)"
    if left_out:
        said += f". Too wide for here: {', '.join(left_out)}; --json has all"
    zero = _zero_point(report)
    return f"{said}\n{zero}" if zero else said


def _zero_point(report: ScoreReport) -> str:
    """Say by what measured magnitudes were shifted to those of the truth."""
    from skyduel.evaluation.number_text import format_number

    zero = report.frame.zero_point
    if zero.source == "none":
        if not report.frame.source.truth["mag"].size or zero.n == 0:
            return ""
        return (
            f"zero-point: not fitted, {zero.n} bright isolated sources are too few; measured "
            "magnitudes are taken as they are"
        )
    return (
        f"zero-point: {format_number(zero.offset_mag, 3, sign=True)} mag is added to measured "
        f"magnitudes, the median over {zero.n} bright isolated sources of the truth"
    )


def _cell(row: dict[Any, Any], *, counts: bool) -> Text:
    """Format ``value [lo–hi] k/n``; undefined parts are left out."""
    from skyduel.evaluation.scoring.metrics import metric

    if row["value"] != row["value"]:
        return Text("–")
    text = f"{row['value']:.3f}"
    if row["lo"] == row["lo"]:
        text += f" [{row['lo']:.3f}–{row['hi']:.3f}]"
    # Only a proportion is k of n.
    if counts and metric(str(row["quantity"])).interval == "proportion":
        text += f" {int(row['k'])}/{int(row['n'])}"
    return Text(text)
