"""Compare simulated with real frames: ``python benchmarks/accuracy/reality.py [FRAME ...]``.

Prints statistics that need no truth, for real frames and for frames of the training mixture:
the background, the noise, lines, outliers and SEP's detections. Values of real frames outside
the range of the mixture (1st to 99th percentile) are marked: the training does not cover them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import sep

from skyduel.baseline import sep_default
from skyduel.core import Frame, read_frame
from skyduel.core.measure.background import estimate_background
from skyduel.simulation import draw_settings, draw_training_settings, simulate

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = (
    "ystar_streak/long.fits",
    "wfsat_crops/242.fits",
    "wfsat_crops/284.fits",
    "widefield_lens/Alt40_Azi-135.fits.fz",
    "widefield_lens/Alt60_Azi45.fits.fz",
    "sdss_s82/frame-r-000094-1-0012.fits.bz2",
    "skymaker/field_000.fits.fz",
    "skymaker/dirty_001.fits.fz",
)

#: Columns and their descriptions.
FACTS = {
    "sky range": "highest minus lowest sky level, in units of the noise",
    "noise range": "largest over smallest noise",
    "corr x": "correlation of the noise of neighbours in a row",
    "corr y": "and in a column",
    "kurtosis": "of source-free pixels within 5 sigma; 0 for Gaussian noise",
    "bright %": "pixels above 5 sigma",
    "dark %": "pixels below -5 sigma, in 1/1000 %",
    "rows": "scatter of the rows' medians over that of independent noise",
    "columns": "the same of columns",
    "per Mpix": "what SEP finds per 10^6 px",
    "FWHM": "median width of what SEP finds at S/N above 20 [px]",
    "elongation": "and its median a/b",
}


def facts(frame: Frame) -> dict[str, float]:
    """Measure the statistics of `FACTS`."""
    sky = estimate_background(frame)
    z = (frame.data - sky.level) / sky.rms
    z[frame.bad] = np.nan
    segments = sep.extract(
        np.nan_to_num(z).astype(np.float32), 2.0, minarea=4, segmentation_map=True
    )[1]
    free = (segments == 0) & np.isfinite(z) & (np.abs(z) < 5)
    blank = np.where(free, z, np.nan)
    blank -= np.nanmean(blank)

    def correlation(a: np.ndarray, b: np.ndarray) -> float:
        both = np.isfinite(a) & np.isfinite(b)
        return float(np.mean(a[both] * b[both]) / np.nanvar(blank))

    def lines(axis: int) -> float:
        counted = np.isfinite(blank).sum(axis=axis)
        usable = counted > 0.3 * blank.shape[axis]
        if usable.sum() < 10:
            return float("nan")
        median = np.nanmedian(np.compress(usable, blank, axis=1 - axis), axis=axis)
        expected = 1.2533 * np.nanstd(blank) / np.sqrt(counted[usable].mean())
        # Relative to a running mean: slow slopes belong to the background.
        slow = np.convolve(np.pad(median, 8, mode="edge"), np.ones(17) / 17, mode="valid")
        return float(np.std(median - slow) / expected)

    found = sep_default()(frame)
    snr = found["flux"] / found["flux_err"]
    bright = found.select((snr > 20) & ~found.is_streak & (found["flags"] == 0))
    widths, ratios = _shapes(frame, sky.level, bright.xy)
    return {
        "sky range": float(np.ptp(sky.level) / sky.global_rms),
        "noise range": float(sky.rms.max() / sky.rms.min()),
        "corr x": correlation(blank[:, 1:], blank[:, :-1]),
        "corr y": correlation(blank[1:], blank[:-1]),
        "kurtosis": float(np.nanmean(blank**4) / np.nanvar(blank) ** 2 - 3),
        "bright %": 100 * float(np.nanmean(z > 5)),
        "dark %": 1e5 * float(np.nanmean(z < -5)),
        "rows": lines(1),
        "columns": lines(0),
        "per Mpix": len(found) / frame.data.size * 1e6,
        "FWHM": float(np.median(widths)) if widths.size else float("nan"),
        "elongation": float(np.median(ratios)) if ratios.size else float("nan"),
    }


def _shapes(frame: Frame, level: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return widths [px] and axis ratios of sources, from moments within 6 px."""
    widths, ratios = [], []
    yy, xx = np.mgrid[-6:7, -6:7]
    for x, y in xy[:400]:
        c, r = round(float(x)), round(float(y))
        if not (6 <= c < frame.shape[1] - 6 and 6 <= r < frame.shape[0] - 6):
            continue
        stamp = (frame.data - level)[r - 6 : r + 7, c - 6 : c + 7]
        if stamp.max() <= 0:
            continue
        half = stamp > stamp.max() / 2
        area = np.count_nonzero(half)
        w = np.where(half, stamp, 0.0)
        w /= w.sum()
        mx, my = (w * xx).sum(), (w * yy).sum()
        moments = np.array(
            [
                [(w * (xx - mx) ** 2).sum() + 1 / 12, (w * (xx - mx) * (yy - my)).sum()],
                [0.0, (w * (yy - my) ** 2).sum() + 1 / 12],
            ]
        )
        moments[1, 0] = moments[0, 1]
        low, high = np.linalg.eigvalsh(moments)
        widths.append(2 * np.sqrt(area / np.pi))
        ratios.append(np.sqrt(high / max(low, 1e-6)))
    return np.array(widths), np.array(ratios)


def simulated(count: int) -> Iterator[tuple[str, Frame]]:
    """Yield frames of the training mixture, then one of each family."""
    for seed in range(count):
        rng = np.random.default_rng([4, seed])
        yield "mixture", simulate(draw_training_settings(rng, 384), rng)[0]
    for family in ("field", "dirty"):
        rng = np.random.default_rng([4, 0])
        yield family, simulate(draw_settings(family, rng), rng)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", nargs="*", type=Path, help="default: those of ../shared/data")
    parser.add_argument("--count", type=int, default=100, help="frames of the mixture")
    options = parser.parse_args()
    paths = options.frames or [DATA / name for name in REAL if (DATA / name).exists()]
    rows = [{"frame": kind, **facts(frame)} for kind, frame in simulated(options.count)]
    table = pd.DataFrame(rows)
    mixture = table[table["frame"] == "mixture"][list(FACTS)]
    low, high = mixture.quantile(0.01), mixture.quantile(0.99)
    lines = {
        "mixture, 1 %": low, "mixture, median": mixture.median(), "mixture, 99 %": high,
    }  # fmt: skip
    for _, row in table[table["frame"] != "mixture"].iterrows():
        lines[f"simulated {row['frame']}"] = row[list(FACTS)]
    real = {f"**{p.parent.name}/{p.name.split('.')[0]}**": facts(read_frame(p)) for p in paths}
    print("| frame | " + " | ".join(FACTS) + " |")
    print("|---|" + "---:|" * len(FACTS))
    for name, values in {**lines, **real}.items():
        cells = []
        for fact in FACTS:
            value = float(values[fact])
            outside = name in real and not low[fact] <= value <= high[fact]
            cells.append(f"{value:.3g}" + ("!" if outside else ""))
        print(f"| {name} | " + " | ".join(cells) + " |")
    for fact, meaning in FACTS.items():
        print(f"\n- {fact}: {meaning}", end="")
    print()


if __name__ == "__main__":
    main()
