"""Compare detectors on real frames before and after calibration, and before and after balance."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.io import fits
from astropy.table import Table
from real.tools import inside, markdown, run, share

from skyduel.core import Detector, Frame, entry_of, make_detector, open_dataset
from skyduel.core.io.calibration.files import CalibrationFiles
from skyduel.evaluation import pair
from skyduel.runner.inject import at_default

__all__ = ["Truth", "mosaics", "of_table", "of_tycho", "sbig", "sbig_dark"]

#: Detectors besides those of the other sections.
MORE = ("sep-cleaned", "daofind")
MARGIN = 5


class Truth:
    """Sources of a frame: those that count, and all of them, which excuse a detection."""

    def __init__(self, frame: Frame, xy: np.ndarray, size: np.ndarray, counts: np.ndarray) -> None:
        keep = inside(xy, frame, MARGIN) & frame.usable_at(*xy.T)
        self.every = xy
        self.xy, self.size = xy[keep & counts], size[keep & counts]


def of_table(frame: Frame, path: Path) -> Truth:
    """Read a truth with S/N and ignored rows."""
    table = Table.read(path)
    xy = np.column_stack([table["x"], table["y"]]).astype(float)
    counts = ~np.asarray(table["ignore"], dtype=bool)
    return Truth(frame, xy, np.asarray(table["snr"], dtype=float), counts)


def of_tycho(frame: Frame, path: Path) -> Truth:
    """Read stars brighter than the frame's limit; ``size`` is minus the magnitude."""
    table = pd.read_csv(path)
    xy = table[["x", "y"]].to_numpy(dtype=float)
    return Truth(frame, xy, -table["vt"].to_numpy(dtype=float), np.ones(len(xy), dtype=bool))


def rows_of(
    frames: Iterator[tuple[str, Frame, Truth]],
    detectors: dict[str, Detector],
    bins: tuple[tuple[str, float, float], ...],
    radius: float,
    complete: bool,
) -> list[dict[str, object]]:
    """Return one row for each variant and detector, at own thresholds and at equal numbers."""
    sums: dict[tuple[str, str], dict[str, float]] = {}
    for variant, frame, truth in frames:
        mpix = np.count_nonzero(~frame.bad) / 1e6
        found = run(detectors, frame)
        found = {name: c.select(inside(c.xy, frame, MARGIN)) for name, c in found.items()}
        own = {name: len(at_default(detectors[name], c)) for name, c in found.items()}
        equal = min(own.values())
        for name, catalogue in found.items():
            of = sums.setdefault((variant, name), {})
            for point, n in (("own", own[name]), ("equal", equal)):
                xy = catalogue.xy[:n]
                got = np.zeros(len(truth.xy), dtype=bool)
                got[pair(truth.xy, xy, radius).truth_index] = True
                more = {f"{point} n": n, f"{point} false": n - len(pair(truth.every, xy, radius))}
                for label, low, high in bins:
                    here = (truth.size >= low) & (truth.size < high)
                    more |= {f"{point} {label} k": int(got[here].sum()), f"of {label}": 0}
                    if point == "own":
                        more[f"of {label}"] = int(here.sum())
                for key, value in more.items():
                    of[key] = of.get(key, 0) + value
            of["mpix"] = of.get("mpix", 0) + mpix
    out = []
    for (variant, name), of in sums.items():
        row: dict[str, object] = {"frames": variant, "detector": name, "own": f"{of['own n']:,}"}
        for point in ("own", "equal"):
            for label, _, _ in bins:
                k, n = int(of[f"{point} {label} k"]), int(of[f"of {label}"])
                cell = share(k, n) if point == "own" else f"{k / n:.3f}"
                row[f"{label} ({n}), {point}"] = cell
            if complete:
                row[f"unpaired per Mpix, {point}"] = f"{of[f'{point} false'] / of['mpix']:.0f}"
        row["equal number"] = f"{of['equal n']:,}"
        out.append(row)
    return out


def _detectors(detectors: dict[str, Detector]) -> dict[str, Detector]:
    return detectors | {name: make_detector(name, {}) for name in MORE}


def sbig_dark(data: Path, place: Path) -> Path:
    """Write the dark of the small refractor as a FITS file, and return its path."""
    path = place / "dark.fits"
    hdu = fits.PrimaryHDU(np.load(data / "sbig_tres1" / "dark.npz")["dark"])
    hdu.header["EXPTIME"] = 60.0  # as the 20 darks that it is the median of
    hdu.writeto(path)
    return path


def sbig(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    """Return the table of four raw and calibrated frames of a small refractor."""
    folder = data / "sbig_tres1"
    with tempfile.TemporaryDirectory() as place:
        dark = sbig_dark(data, Path(place))

        def frames() -> Iterator[tuple[str, Frame, Truth]]:
            # A source on a hot pixel that the dark masks counts in both, and then as missed.
            truths: dict[str, Truth] = {}
            for variant, files in (("raw", ()), ("calibrated", (dark,))):
                for entry in open_dataset(folder):
                    chosen = replace(entry, calibration=CalibrationFiles(dark=files))
                    frame = chosen.read()
                    assert entry.truth is not None
                    if entry.name not in truths:
                        truths[entry.name] = of_table(frame, entry.truth)
                    yield variant, frame, truths[entry.name]

        bins = (("S/N 4–10", 4.0, 10.0), ("S/N > 20", 20.0, np.inf))
        return markdown(rows_of(frames(), _detectors(detectors), bins, 2.0, complete=True))


def mosaics(data: Path, detectors: dict[str, Detector], figures: Path) -> str:
    """Return the tables of two raw colour sets as they are and with balanced phases."""

    def seestar() -> Iterator[tuple[str, Frame, Truth]]:
        for raw in (True, False):
            for entry in open_dataset(data / "seestar_m94"):
                frame = replace(entry, raw=raw).read()
                assert entry.truth is not None
                yield ("as read" if raw else "balanced"), frame, of_table(frame, entry.truth)

    def panoptes() -> Iterator[tuple[str, Frame, Truth]]:
        folder = data / "panoptes_cygnus"
        for raw in (True, False):
            frame = entry_of(folder / "solved.fits.fz", raw=raw).read()
            truth = of_tycho(frame, folder / "tycho2_in_solved.csv")
            yield ("as read" if raw else "balanced"), frame, truth

    everyone = _detectors(detectors)
    snr = (("S/N 5–10", 5.0, 10.0), ("S/N 10–20", 10.0, 20.0), ("S/N > 20", 20.0, np.inf))
    mag = (("VT 11–12.5", -12.5, -11.0), ("VT 0–11", -11.0, np.inf))
    one = markdown(rows_of(seestar(), everyone, snr, 3.0, complete=False))
    two = markdown(rows_of(panoptes(), everyone, mag, 2.0, complete=False))
    return f"M 94 with a smart telescope:\n\n{one}\n\nThe wide field in Cygnus:\n\n{two}"
