"""The command `skyduel simulate`: simulate frames with a known truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from skyduel.cli.console import out, progress
from skyduel.core import BadInputError
from skyduel.simulation import FAMILIES, FURTHER_FAMILIES

if TYPE_CHECKING:
    from skyduel.core import Split
    from skyduel.runner.builtin_dataset import Pointing

__all__ = ["NAME", "command"]

NAME = "simulate"


def command(
    out_folder: Annotated[
        Path, typer.Option("--out", help="Folder for frames, truth and manifest.")
    ],
    family: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            help=f"Kind of frame: {', '.join(FAMILIES)}, or {', '.join(FURTHER_FAMILIES)}. Repeat "
            f"for more. Default: the first {len(FAMILIES)}."
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Number of frames per kind.")] = 4,
    calibration: Annotated[
        int,
        typer.Option(
            min=0, help="Number of frames per kind in the calibration split, which is not scored."
        ),
    ] = 0,
    ny: Annotated[int, typer.Option(min=16, help="Number of rows.")] = 512,
    nx: Annotated[int, typer.Option(min=16, help="Number of columns.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same frames.")] = 1,
    center: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            metavar="RA,DEC",
            help="Position of the centre of each frame [deg, ICRS]: the frames have a WCS, and the "
            "truth right ascensions and declinations. Default: no WCS.",
        ),
    ] = None,
    scale: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            metavar="ARCSEC", help="With --center: width of a pixel. Default: drawn for each frame."
        ),
    ] = None,
) -> None:
    """Simulate frames with known truth: FITS images, ECSV tables and a manifest.

    The truth lists every rendered source with its ideal S/N, galaxies also with their shape.
    """
    from skyduel.runner.builtin_dataset import make_frames

    pointing = _pointing(center, scale)
    families = list(dict.fromkeys(family or FAMILIES))
    known = [*FAMILIES, *FURTHER_FAMILIES]
    unknown = [f for f in families if f not in known]
    if unknown:
        raise BadInputError("--family", f"one of {', '.join(known)}", repr(unknown[0]))
    if calibration > count:
        raise BadInputError("--calibration", f"at most --count ({count})", str(calibration))
    if out_folder.exists() and (not out_folder.is_dir() or any(out_folder.iterdir())):
        raise BadInputError("--out", "a new or empty folder", str(out_folder))
    plan: list[tuple[str, str, Split]] = [
        (f"{f}_{i:03d}", f, "calibration" if i >= count - calibration else "test")
        for f in families
        for i in range(count)
    ]
    with progress() as bar:
        task = bar.add_task("simulate", total=len(plan), note="")
        make_frames(
            out_folder, plan, seed, ny=ny, nx=nx, pointing=pointing,
            on_frame=lambda _: bar.update(task, advance=1),
        )  # fmt: skip
    out.print(str(out_folder / "manifest.csv"), markup=False, highlight=False, soft_wrap=True)


def _pointing(center: str | None, scale: float | None) -> Pointing | None:
    """Return where the frames lie on the sky, None for frames without WCS."""
    from skyduel.runner.builtin_dataset import Pointing

    if scale is not None and center is None:
        raise BadInputError("--scale", "--center RA,DEC beside it", str(scale))
    if center is None:
        return None
    try:
        ra, dec = map(float, center.split(","))
    except ValueError:
        ra = dec = math.nan
    if not (0 <= ra <= 360 and -90 <= dec <= 90):
        required = "RA,DEC in degrees, 0 to 360 and -90 to 90, such as 83.6,22"
        raise BadInputError("--center", required, repr(center))
    if scale is not None and not 0 < scale <= 60:
        raise BadInputError("--scale", "more than 0 and at most 60 arcsec", str(scale))
    return Pointing(ra=ra, dec=dec, scale_arcsec=scale)
