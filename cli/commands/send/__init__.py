"""The command `skyduel send`: catalogues and frames to TOPCAT, DS9 and Aladin by SAMP."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from skyduel.cli.console import out
from skyduel.cli.frame_arguments import check_files

__all__ = ["NAME", "command"]

NAME = "send"


def command(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Catalogues in any format, and FITS frames."),
    ],
    frame: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(help="Frame of the catalogues: gives RA and Dec to those without."),
    ] = None,
    to: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(metavar="NAME", help="Only to programs with this in their name, e.g. topcat."),
    ] = None,
) -> None:
    """Send catalogues and frames to TOPCAT, DS9, Aladin and other programs by SAMP.

    Catalogues are sent as VOTables. A SAMP hub must run on this machine, as TOPCAT and Aladin
    start one. Exit status 2 if a program could not load a file.
    """
    check_files(*files)
    from skyduel.cli.commands.send.samp import send
    from skyduel.core.errors import printable

    failed = False
    for delivery in send(files, frame, to):
        failed |= bool(delivery.error)
        out.print(printable(str(delivery)), markup=False, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(2)
