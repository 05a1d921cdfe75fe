"""The built-in set: 24 simulated frames of five kinds, four of them for calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from skyduel.core import Dataset, Entry, Split, write_catalog, write_frame, write_manifest
from skyduel.simulation import FAMILIES, draw_settings, simulate

__all__ = ["BUILTIN_FRAMES", "BUILTIN_SEED", "make_builtin", "make_frames"]

#: Seed of the built-in set; the network was never trained on its stream.
BUILTIN_SEED: Final = 20260
_TEST_PER_FAMILY: Final = 4
_CALIBRATION: Final = ("sparse", "aberrated", "crowded", "dirty")
#: Frames of the built-in set, of both splits.
BUILTIN_FRAMES: Final = _TEST_PER_FAMILY * len(FAMILIES) + len(_CALIBRATION)


def make_frames(
    folder: Path,
    plan: Sequence[tuple[str, str, Split]],
    seed: int,
    *,
    ny: int = 512,
    nx: int = 512,
    on_frame: Callable[[str], None] | None = None,
) -> Dataset:
    """Simulate frames with truth into a folder and return the data set.

    Parameters
    ----------
    folder : Path
        Gets ``NAME.fits.fz``, ``NAME.ecsv`` and ``manifest.csv``.
    plan : list of (name, family, split)
        What to make. A frame depends on the seed and its own place in the
        plan only.
    seed : int
        Of everything random.
    ny, nx : int
        Shape of the frames.
    on_frame : callable, optional
        Called with the name after each frame.
    """
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for index, (name, family, split) in enumerate(plan):
        rng = np.random.default_rng([seed, index])
        frame, truth = simulate(draw_settings(family, rng, ny=ny, nx=nx), rng, name)
        image, table = folder / f"{name}.fits.fz", folder / f"{name}.ecsv"
        write_frame(frame, image, dtype="uint16")
        write_catalog(truth, table)
        entries.append(Entry(name=name, frame=image, truth=table, split=split, group=family))
        if on_frame is not None:
            on_frame(name)
    dataset = Dataset(name=folder.name, path=folder, entries=tuple(entries))
    write_manifest(dataset, folder / "manifest.csv")
    return dataset


def make_builtin(folder: Path, on_frame: Callable[[str], None] | None = None) -> Dataset:
    """Simulate the built-in set into a folder."""
    plan: list[tuple[str, str, Split]] = [
        (f"{family}_{i:03d}", family, "test")
        for family in FAMILIES
        for i in range(_TEST_PER_FAMILY)
    ]
    plan += [(f"calibration_{family}", family, "calibration") for family in _CALIBRATION]
    return make_frames(folder, plan, BUILTIN_SEED, on_frame=on_frame)
