"""The command `skyduel diff`: two catalogues of one frame, without a truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from skyduel.cli.commands.options import MaskBits, mask_bits_from
from skyduel.cli.frame_arguments import check_files

__all__ = ["NAME", "command"]

NAME = "diff"


def command(
    a: Annotated[
        str,
        typer.Argument(metavar="A", help="A catalogue, RUN/DETECTOR of a run, or a detector."),
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="As A.")],
    frame: Annotated[str, typer.Option(metavar="FRAME", help="The frame of both.")],
    radius_px: Annotated[
        float, typer.Option(help="Largest distance of two rows that are one source, in px.")
    ] = 2.0,
    threshold_a: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest score in A. Default: the threshold that it states."),
    ] = None,
    threshold_b: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(help="Lowest score in B. Default: the threshold that it states."),
    ] = None,
    out_folder: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", "-o", metavar="FOLDER", help="Write a page, tables and regions."),
    ] = None,
    mask_bits: MaskBits = None,
) -> None:
    """Show which sources two catalogues share, which only one has, and where these lie.

    Counts are by magnitude, by distance to bright sources and by place on the chip. With --out a
    page shows cut-outs of the sources that only one has. Without a truth nobody knows who is right.
    """
    check_files(frame)  # A and B may name detectors
    from skyduel.cli.catalog_diff import show_difference
    from skyduel.core import entry_of

    image = entry_of(frame, mask_bits=mask_bits_from(mask_bits)).read()
    show_difference(image, (a, b), (threshold_a, threshold_b), radius_px, out_folder)
