"""Compare all detectors on all real sets at equal numbers of detections, and upside down."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from real.catalogues import LIMIT, gaia, stripe82
from real.preprocessing import Truth, of_table, of_tycho, sbig_dark
from real.tools import inside, markdown, run

from skyduel.core import (
    Detector,
    Frame,
    entry_of,
    make_detector,
    open_dataset,
    read_catalog,
    read_frame,
)
from skyduel.core.errors import BadInputError
from skyduel.core.io.calibration.files import CalibrationFiles
from skyduel.evaluation import pair
from skyduel.runner.inject import at_default
from skyduel.simulation import sign_flipped

__all__ = ["all_sets"]

#: Detectors besides those of the other sections; the program is left out where it is missing.
MORE = ("sep-cleaned", "source-extractor", "daofind", "photutils-source-finder")
#: The rivals of which the best is shown beside the network.
CLASSICAL = ("sep", "sep-matched", "source-extractor")
MARGIN = 5


class RealSet(NamedTuple):
    """Frames with truths; ``bright`` and ``faint`` are ranges of the truth's size."""

    name: str
    frames: Callable[[Path, Path], Iterator[tuple[Frame, Truth]]]
    radius_px: float
    bright: tuple[str, float, float]
    faint: tuple[str, float, float] | None
    #: Whether nearly all real sources are known, so that what is in no catalogue is false.
    complete: bool


def stripe(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
    frame, coadd, own = stripe82(data / "sdss_s82")
    truth = Truth(frame, coadd.xy, -np.asarray(coadd["mag"]), np.ones(len(coadd), dtype=bool))
    truth.every = np.vstack([own, coadd.xy])
    yield frame, truth


def lenses(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
    for path in sorted((data / "widefield_lens").glob("*.fits.fz")):
        frame = read_frame(path)
        xy, mag = gaia(path.with_name(path.name.replace(".fits.fz", "_truth.csv")), frame)
        yield frame, Truth(frame, xy, -mag, mag < LIMIT)


def cygnus(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
    frame = entry_of(data / "panoptes_cygnus" / "solved.fits.fz").read()
    yield frame, of_tycho(frame, data / "panoptes_cygnus" / "tycho2_in_solved.csv")


def with_tables(folder: str) -> Callable[[Path, Path], Iterator[tuple[Frame, Truth]]]:
    """Return the frames of a set whose truth lies beside them."""

    def frames(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
        for entry in open_dataset(data / folder):
            frame = entry.read()
            assert entry.truth is not None
            yield frame, of_table(frame, entry.truth)

    return frames


def calibrated(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
    dark = sbig_dark(data, place)
    for entry in open_dataset(data / "sbig_tres1"):
        frame = replace(entry, calibration=CalibrationFiles(dark=(dark,))).read()
        assert entry.truth is not None
        yield frame, of_table(frame, entry.truth)


def simulated(data: Path, place: Path) -> Iterator[tuple[Frame, Truth]]:
    for entry in open_dataset(data / "skymaker"):
        frame = entry.read()
        assert entry.truth is not None
        truth = read_catalog(entry.truth)
        truth = truth.select(~truth.is_streak)
        yield frame, Truth(frame, truth.xy, truth["snr"], truth["snr"] > 2)


ABOVE_20 = ("S/N > 20", 20.0, np.inf)
SETS = (
    RealSet("SDSS", stripe, 4.0, ("r < 21", -21.0, np.inf), ("r 22–23", -23.0, -22.0), True),
    RealSet(
        "35 mm lens", lenses, 1.5, ("G < 7.25", -7.25, np.inf), ("G 7.25–8", -8.0, -7.25), True
    ),
    RealSet("Cygnus (mosaic)", cygnus, 2.0, ("VT < 11", -11.0, np.inf), None, False),
    RealSet(
        "small refractor, raw", with_tables("sbig_tres1"), 2.0, ABOVE_20,
        ("S/N 4–10", 4.0, 10.0), True,
    ),
    RealSet(
        "small refractor, dark subtracted", calibrated, 2.0, ABOVE_20, ("S/N 4–10", 4.0, 10.0), True
    ),
    RealSet(
        "M 94 (mosaic)", with_tables("seestar_m94"), 3.0, ABOVE_20, ("S/N 5–10", 5.0, 10.0), True
    ),
    RealSet(
        "all-sky camera", with_tables("allsky_magic"), 2.0, ABOVE_20, ("S/N 4–10", 4.0, 10.0), True
    ),
    RealSet(
        "SkyMaker (simulated)", simulated, 2.0, ABOVE_20, ("S/N 4–10", 4.0, 10.0), True
    ),
)  # fmt: skip


@dataclass
class _Sums:
    """Sums of one detector over the frames of a set."""

    own: int = 0
    bright: int = 0
    faint: int = 0
    false: int = 0
    flipped: int = 0
    flipped_equal: int = 0
    flipped_mpix: float = 0.0


def all_sets(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    """Return the table of the network beside the best classical one, and that of all detectors."""
    everyone = detectors | {name: made for name in MORE if (made := _made(name)) is not None}
    short, long = [], []
    with tempfile.TemporaryDirectory() as place:
        for one in SETS:
            sums, of, mpix, equal = _measured(one, data, Path(place), everyone)
            for name, s in sums.items():
                long.append(_row(one, name, s, of, mpix))
            best = {
                "bright": max(sums[n].bright for n in CLASSICAL if n in sums),
                "faint": max(sums[n].faint for n in CLASSICAL if n in sums),
                "false": min(sums[n].false for n in CLASSICAL if n in sums),
                "flipped": min(sums[n].flipped for n in CLASSICAL if n in sums),
                "flipped_equal": min(sums[n].flipped_equal for n in CLASSICAL if n in sums),
            }
            short.append(_beside(one, sums["neural"], best, of, mpix, equal))
    pd.DataFrame(long).to_csv(figures / "real-all-sets.csv", index=False)
    columns = [c for c in long[0] if c != "set"]
    parts = [
        f"{one.name}:\n\n"
        + markdown([{c: row[c] for c in columns} for row in long if row["set"] == one.name])
        for one in SETS
    ]
    return (
        markdown(short)
        + "\n\n<details>\n<summary>All detectors on all sets</summary>\n\n"
        + ("\n\n".join(parts) + "\n\n</details>")
    )


def _made(name: str) -> Detector | None:
    try:
        return make_detector(name, {})
    except BadInputError as error:
        print(f"left out: {error}")
        return None


def _measured(
    one: RealSet, data: Path, place: Path, detectors: dict[str, Detector]
) -> tuple[dict[str, _Sums], dict[str, int], float, int]:
    """Return sums by detector, numbers of truths, area [10⁶ px] and equal number."""
    sums = {name: _Sums() for name in detectors}
    of = {"bright": 0, "faint": 0}
    mpix, equals = 0.0, 0
    for frame, truth in one.frames(data, place):
        mpix += np.count_nonzero(~frame.bad) / 1e6
        found = {
            name: c.select(inside(c.xy, frame, MARGIN)) for name, c in run(detectors, frame).items()
        }
        own = {name: len(at_default(detectors[name], c)) for name, c in found.items()}
        # Of the network and the three it is compared with: a rival that finds little would
        # shorten all lists.
        equal = min(own[name] for name in ("neural", *CLASSICAL) if name in own)
        equals += equal
        upside_down = sign_flipped(frame)
        flipped, sky = run(detectors, upside_down.frame), upside_down.sky
        bands = {"bright": one.bright, "faint": one.faint}
        masks = {
            label: (truth.size >= band[1]) & (truth.size < band[2])
            for label, band in bands.items()
            if band is not None
        }
        for label, mask in masks.items():
            of[label] += int(mask.sum())
        for name, catalogue in found.items():
            n = min(equal, len(catalogue))
            got = np.zeros(len(truth.xy), dtype=bool)
            got[pair(truth.xy, catalogue.xy[:n], one.radius_px).truth_index] = True
            s = sums[name]
            s.own += own[name]
            s.bright += int(got[masks["bright"]].sum())
            s.faint += int(got[masks["faint"]].sum()) if "faint" in masks else 0
            s.false += n - len(pair(truth.every, catalogue.xy[:n], one.radius_px))
            false = flipped[name].select(~flipped[name].is_streak)
            false = false.select(sky.usable_at(*false.xy.T))
            s.flipped += len(at_default(detectors[name], false))
            if n:
                s.flipped_equal += int((false["score"] >= catalogue["score"][n - 1]).sum())
            s.flipped_mpix += np.count_nonzero(~sky.bad) / 1e6
    return sums, of, mpix, equals


def _row(one: RealSet, name: str, s: _Sums, of: dict[str, int], mpix: float) -> dict[str, object]:
    return {
        "set": one.name,
        "detector": name,
        "own number": f"{s.own:,}",
        "bright at equal numbers": f"{s.bright / of['bright']:.3f}",
        "faint at equal numbers": f"{s.faint / of['faint']:.3f}" if of["faint"] else "–",
        "in no catalogue at equal numbers, per Mpix": (
            f"{s.false / mpix:.0f}" if one.complete else "–"
        ),
        "upside down at equal numbers, per Mpix": f"{s.flipped_equal / s.flipped_mpix:.0f}",
        "upside down, own threshold, per Mpix": f"{s.flipped / s.flipped_mpix:.0f}",
    }


def _beside(
    one: RealSet,
    s: _Sums,
    best: dict[str, int],
    of: dict[str, int],
    mpix: float,
    equal: int,
) -> dict[str, object]:
    def both(label: str) -> str:
        if not of[label]:
            return "–"
        return f"{getattr(s, label) / of[label]:.3f} / {best[label] / of[label]:.3f}"

    faint = "" if one.faint is None else f" ({one.faint[0]}: {of['faint']:,})"
    return {
        "set": one.name,
        "equal number": f"{equal:,}",
        "bright": f"{both('bright')} ({one.bright[0]}: {of['bright']:,})",
        "faint": both("faint") + faint,
        "in no catalogue, per Mpix": (
            f"{s.false / mpix:.0f} / {best['false'] / mpix:.0f}" if one.complete else "–"
        ),
        "upside down, per Mpix": (
            f"{s.flipped_equal / s.flipped_mpix:.0f} / {best['flipped_equal'] / s.flipped_mpix:.0f}"
        ),
        "upside down, own, per Mpix": (
            f"{s.flipped / s.flipped_mpix:.0f} / {best['flipped'] / s.flipped_mpix:.0f}"
        ),
    }
