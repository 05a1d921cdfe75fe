"""Simulate the built-in data set: 24 frames of five kinds, four of them for calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from astropy.wcs import WCS

from skyduel.core import (
    BadInputError,
    Dataset,
    Entry,
    Split,
    add_sky_positions,
    open_dataset,
    write_catalog,
    write_frame,
    write_manifest,
)
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.execution.process_pool import process_pool
from skyduel.simulation import FAMILIES, draw_settings, simulate

__all__ = [
    "BUILTIN_FRAMES",
    "BUILTIN_SEED",
    "Pointing",
    "builtin_of_run",
    "make_builtin",
    "make_frames",
]

#: Seed of the built-in set; the network was not trained on frames of this seed.
BUILTIN_SEED: Final = 20260
_BUILTIN: Final = "built-in"
_MANIFEST: Final = "manifest.csv"
_TEST_PER_FAMILY: Final = 4
_CALIBRATION: Final = ("sparse", "aberrated", "crowded", "dirty")
#: Number of frames of the built-in set, of both splits.
BUILTIN_FRAMES: Final = _TEST_PER_FAMILY * len(FAMILIES) + len(_CALIBRATION)


@dataclass(frozen=True, kw_only=True)
class Pointing:
    """Where on the sky simulated frames lie: north up, east left.

    Parameters
    ----------
    ra, dec : float
        Position of the centre of the frame [deg, ICRS].
    scale_arcsec : float, optional
        Width of a pixel [arcsec]. Default: the one that was drawn for the frame.
    """

    ra: float
    dec: float
    scale_arcsec: float | None = None

    def wcs(self, ny: int, nx: int, scale_arcsec: float) -> WCS:
        """Return the gnomonic projection (TAN) of a frame of a shape."""
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
        wcs.wcs.radesys = "ICRS"
        wcs.wcs.crval = self.ra, self.dec
        wcs.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
        wcs.wcs.cdelt = -scale_arcsec / 3600, scale_arcsec / 3600
        wcs.wcs.set()
        return wcs


def make_frames(
    folder: Path,
    plan: Sequence[tuple[str, str, Split]],
    seed: int,
    *,
    ny: int = 512,
    nx: int = 512,
    pointing: Pointing | None = None,
    on_frame: Callable[[str], None] | None = None,
    processes: int = 1,
) -> Dataset:
    """Simulate frames with truth into a folder and return them as a data set.

    Parameters
    ----------
    folder : Path
        Output folder: ``NAME.fits.fz``, ``NAME.ecsv`` and ``manifest.csv``.
    plan : list of (name, family, split)
        The frames. A frame depends only on the seed and its place in the plan.
    seed : int
        Seed of all random numbers.
    ny, nx : int
        Shape of the frames [px].
    pointing : Pointing, optional
        Where on the sky the frames lie: they have a WCS, and the truths `ra` and `dec`. Pixels
        and positions are the same with and without.
    on_frame : callable, optional
        Called with the name after each frame.
    processes : int
        Frames that are simulated at a time; with 1 this process does it. The files have the same
        bytes for any number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = [
        Entry(
            name=name,
            frame=folder / f"{name}.fits.fz",
            truth=folder / f"{name}.ecsv",
            split=split,
            group=family,
        )
        for name, family, split in plan
    ]
    calls = [
        (entry, np.random.SeedSequence([seed, index]), ny, nx, pointing)
        for index, entry in enumerate(entries)
    ]
    with ExitStack() as stack:
        later = []
        if processes > 1:
            pool = stack.enter_context(process_pool(min(processes, len(calls)), 1))
            later = [pool.submit(_make_frame, *call) for call in calls]
        for k, call in enumerate(calls):
            try:
                later[k].result() if later else _make_frame(*call)
            except BrokenProcessPool:  # killed twice: this process has the memory, or says so
                _make_frame(*call)
            if on_frame is not None:
                on_frame(call[0].name)
    dataset = Dataset(name=folder.name, path=folder, entries=tuple(entries))
    write_manifest(dataset, folder / _MANIFEST)
    return dataset


def _make_frame(
    entry: Entry, seed: np.random.SeedSequence, ny: int, nx: int, pointing: Pointing | None
) -> None:
    """Simulate one frame and write its files."""
    assert entry.truth is not None
    rng = np.random.default_rng(seed)
    frame, truth = simulate(draw_settings(str(entry.group), rng, ny=ny, nx=nx), rng, entry.name)
    if pointing is not None:
        scale = pointing.scale_arcsec or frame.pixel_scale_arcsec or 1.0
        wcs = pointing.wcs(ny, nx, scale)
        frame = frame.with_(wcs=wcs, pixel_scale_arcsec=scale)
        truth = add_sky_positions(frame, truth)
    write_frame(frame, entry.frame, dtype="uint16")
    write_catalog(truth, entry.truth)


def make_builtin(
    folder: Path, on_frame: Callable[[str], None] | None = None, processes: int = 1
) -> Dataset:
    """Simulate the built-in set into a folder."""
    plan: list[tuple[str, str, Split]] = [
        (f"{family}_{i:03d}", family, "test")
        for family in FAMILIES
        for i in range(_TEST_PER_FAMILY)
    ]
    plan += [(f"calibration_{family}", family, "calibration") for family in _CALIBRATION]
    return make_frames(folder, plan, BUILTIN_SEED, on_frame=on_frame, processes=processes)


def builtin_of_run(
    folder: Path,
    progress: Callable[[str, str, int], None] | None = None,
    processes: int = 1,
) -> Dataset:
    """Return the built-in data set; simulate it into a run folder if it is not there yet.

    Parameters
    ----------
    folder : Path
        The run folder; the frames are in its folder ``data``.
    progress : callable, optional
        Called with every simulated frame (`skyduel.runner.plan.ProgressCallback`).
    processes : int
        Frames that are simulated at a time.

    Raises
    ------
    BadInputError
        If the folder holds files that do not belong to a run.
    """
    paths = RunPaths(folder)
    if not (paths.data / _MANIFEST).exists():  # written last, so the set is complete
        ours = paths.record.is_file()
        if not ours and folder.exists() and any(p != paths.data for p in folder.iterdir()):
            raise BadInputError(
                str(folder), "a new folder, or one with the built-in set",
                "a folder with other files",
            )  # fmt: skip

        def on_frame(name: str) -> None:
            if progress is not None:
                progress("simulate", name, BUILTIN_FRAMES)

        make_builtin(paths.data, on_frame=on_frame, processes=processes)
    return replace(open_dataset(paths.data), name=_BUILTIN)
