"""The command `skyduel truth`: make the truth of frames from a reference catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from skyduel.cli.commands.options import MaskBits, mask_bits_from
from skyduel.cli.console import err, out, warn
from skyduel.cli.frame_arguments import check_files, expand_frames
from skyduel.core.errors import BadInputError, SkyduelError, with_options

if TYPE_CHECKING:
    from skyduel.core.frame import Frame
    from skyduel.core.io.dataset import Entry
    from skyduel.core.reference.origin import Reference
    from skyduel.core.sections.large_image import LargeImage

__all__ = ["NAME", "command"]

NAME = "truth"

#: What the arguments in notes of the library are called here.
_OPTIONS: Final[Mapping[str, str]] = {
    "Reference.columns": "--mag COLUMN",
    "Reference.epoch": "--reference-epoch",
    "Reference.max_rows": "--max-rows",
    "depth": "--depth MAG",
    "epoch": "--epoch",
}


def command(
    frames: Annotated[list[str], typer.Argument(metavar="FRAME", help="Images, as for detect.")],
    from_: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="TABLE|FOLDER|NAME",
            help="Reference catalogue: a table (FITS, VOTable, ECSV, CSV, Parquet, ...), a folder "
            "of Parquet files (HATS), or gaia, ps1, tycho2 or 2mass, asked online.",
        ),
    ],
    out_file: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Table to write, for one frame. Default: NAME_truth.ecsv beside each frame, where "
            "`skyduel run` finds it.",
        ),
    ] = None,
    columns: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="OURS=THEIRS,...",
            help="Columns under other names, e.g. ra=RAJ2000,mag=rmag. Our names: ra, dec, mag, "
            "pmra, pmdec, epoch.",
        ),
    ] = None,
    mag: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="COLUMN", help="Magnitude to use. Default: by the frame's filter."),
    ] = None,
    filter_: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--filter", metavar="NAME", help="Filter of the frames, above the header's."),
    ] = None,
    epoch: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="YEAR", help="Epoch of the frames, above the header's, e.g. 2024.6."),
    ] = None,
    reference_epoch: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(metavar="YEAR", help="Epoch of the reference's positions, e.g. 2016."),
    ] = None,
    depth: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="MAG|none",
            help="Fainter sources are ignored. Default: measured on each frame (S/N 2); "
            "none ignores no source as faint.",
        ),
    ] = None,
    edge: Annotated[
        float, typer.Option(min=0.0, metavar="PX", help="Ignore sources closer to the border.")
    ] = 0.0,
    unresolved: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0.0,
            metavar="PX",
            help="Sources this close to a brighter one are one source with it. Default: half the "
            "FWHM of the frame's stars, at least 0.5; 0 keeps all apart.",
        ),
    ] = None,
    wcs: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            metavar="FILE",
            help="Celestial coordinates of the frame: .wcs, .new or .corr of astrometry.net. "
            "Default: the header's, else such a file beside the frame.",
        ),
    ] = None,
    mask_bits: MaskBits = None,
    max_rows: Annotated[
        int, typer.Option(min=1, metavar="N", help="Most rows of an answer from online.")
    ] = 200_000,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Wait so long for an answer.")
    ] = 300.0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace tables that are there.")
    ] = False,
) -> None:
    """Make the truth of frames from a deeper catalogue, as score and run read it.

    Sources are placed by the frame's WCS, moved to its epoch by their proper motions, and clipped
    to it. Doubles that the frame cannot resolve become one source. Sources that are masked, without
    a magnitude or fainter than the limit are marked to be ignored, with the reason. If a frame
    fails, its error is reported, the other frames are finished, and the exit status is 2.
    """
    check_files(*frames)
    from skyduel.core.io.column_names import parse_columns
    from skyduel.core.io.dataset import entry_of
    from skyduel.core.reference.origin import Reference
    from skyduel.core.reference.sources import MOTION_COLUMNS

    mapping = {} if columns is None else parse_columns(columns, more=MOTION_COLUMNS)
    if mag is not None:
        if mapping.get("mag", mag) != mag:
            raise BadInputError("--mag", "one magnitude", f"mag={mapping['mag']} in --columns too")
        mapping["mag"] = mag
    limit = _limit(depth)
    names = expand_frames(frames)
    for option, value in (("--out", out_file), ("--wcs", wcs)):
        if value is not None and len(names) > 1:
            raise BadInputError(option, "one frame", f"{len(names)} frames")
    reference = Reference(
        from_, columns=mapping, epoch=reference_epoch, max_rows=max_rows, timeout_s=timeout
    )
    failures = 0
    for name in names:
        entry = entry_of(name, mask_bits=mask_bits_from(mask_bits))
        try:
            _make(
                entry, reference, _target(entry, out_file), wcs, filter_, epoch, limit,
                depth is None, edge, unresolved, overwrite,
            )  # fmt: skip
        except SkyduelError as error:
            failures += 1
            warn(str(error), style="red")
    if failures:
        raise typer.Exit(2)


def _limit(depth: str | None) -> float | None:
    """Return the limit of an option; None also for ``none``."""
    if depth is None or depth.strip().lower() == "none":
        return None
    try:
        value = float(depth)
    except ValueError:
        value = float("nan")
    if not -30 < value < 40:
        raise BadInputError("--depth", "a magnitude, or none", repr(depth))
    return value


def _target(entry: Entry, out_file: str | None) -> Path:
    """Return the file of a frame's truth."""
    from skyduel.core.io.images.image_reader import without_brackets
    from skyduel.core.io.table_writers import TABLE_ENDINGS

    if out_file is None:
        return without_brackets(entry.frame).parent / f"{entry.name}_truth.ecsv"
    target = Path(out_file)
    readable = [ending for ending in TABLE_ENDINGS if ending != ".reg"]
    if target.suffix.lower() not in readable:
        raise BadInputError(
            "--out", f"a file that ends in {', '.join(readable)}", f"the ending {target.suffix!r}"
        )
    return target


def _make(
    entry: Entry,
    reference: Reference,
    target: Path,
    wcs: Path | None,
    filter_: str | None,
    epoch: float | None,
    limit: float | None,
    measure: bool,
    edge: float,
    unresolved: float | None,
    overwrite: bool,
) -> None:
    """Make and write the truth of one frame, and say what is in it."""
    from importlib.metadata import version

    from skyduel.core.io.companions import truth_of
    from skyduel.core.io.images.image_reader import without_brackets
    from skyduel.core.io.table_writers import write_catalog
    from skyduel.core.reference.bands import filter_of
    from skyduel.core.reference.epochs import Epoch, observation_epoch
    from skyduel.core.reference.frame_truth import truth_of_frame

    if target.exists() and not overwrite:
        raise BadInputError(str(target), "a new file (--overwrite replaces it)", "an existing file")
    frame, header, said = _solved(entry, wcs)
    chosen = filter_of(header) if filter_ is None else filter_
    sources, remarks = reference.sources_on(frame, chosen)
    when = observation_epoch(header) if epoch is None else Epoch(epoch, "--epoch")
    truth = truth_of_frame(
        frame, sources, epoch=when, depth=limit, measure_depth=measure, edge_px=edge,
        unresolved_px=unresolved,
    )  # fmt: skip
    written = truth.catalog.with_meta(
        program=f"skyduel {version('skyduel')}", filter=chosen or "unknown", counts=truth.summary()
    )
    write_catalog(written, target, overwrite=overwrite)
    for note in (*said, *remarks, *truth.notes):
        line = with_options(note, _OPTIONS)
        err.print(f"{entry.name}: {line}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"{target}  {truth.summary()}", markup=False, highlight=False, soft_wrap=True)
    place = without_brackets(entry.frame).parent
    used = truth_of(entry.name, place)
    if target.parent == place and used is not None and used != target:
        warn(f"{entry.name}: `skyduel run` takes {used.name} for the truth, which comes first")


def _solved(
    entry: Entry, wcs: Path | None
) -> tuple[Frame | LargeImage, Mapping[str, Any], list[str]]:
    """Return a frame with coordinates, its header, and where the coordinates are from.

    Raises
    ------
    BadInputError
        If there are none, with the command that finds them.
    """
    from skyduel.core.reference.solutions import read_solution, solution_beside, unsolved
    from skyduel.core.sections.large_image import Sectioning, open_large_image

    image = open_large_image(entry, Sectioning())
    if image is not None:
        fields: Mapping[str, Any] = image.facts
        plane: Frame | LargeImage = image
    else:
        plane = entry.read()
        fields = vars(plane)
    header: Mapping[str, Any] = fields.get("header", {})
    if plane.wcs is not None and wcs is None:
        return plane, header, []
    file = wcs or solution_beside(entry.frame)
    if file is None:
        why = unsolved(entry.frame, plane, fields.get("pixel_scale_arcsec"))
        required = f"{why.required} (--wcs FILE names another)"
        raise BadInputError(why.source, required, why.got)
    solution, words = read_solution(file, plane)
    if image is not None:
        return replace(image, facts=image.facts | {"wcs": solution}), header, [words]
    return replace(plane, wcs=solution), header, [words]
