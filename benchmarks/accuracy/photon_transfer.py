"""Compare the gain measured from a frame's own photon noise with the true one.

Simulated frames: gain 0.05 to 10 e-/ADU, FWHM 1.2 to 6 px, 20 to 2000 stars, sky gradients,
vignetting, profiles that change over the field, cosmic rays and hot pixels; with `--correlation`
their noise is that of resampled frames. Prints for each range of FWHM and number of stars: frames,
how many give a gain that is used, the median of measured over true gain of those and how many are
within 25 %, and the root mean square of errors over their standard errors where the noise is
that of photons. `--frames`
measures files instead, beside the gain of their headers, and says whether a header's gain would
be set aside.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from skyduel.core import read_frame
from skyduel.core.io.pixel_checks.check_facts import central_box
from skyduel.core.io.pixel_checks.photon_transfer import PhotonTransfer, photon_transfer
from skyduel.simulation import SceneSettings, simulate

FWHM_PX = (1.2, 2.0, 2.5, 3.5, 6.0)
STARS = (20, 100, 500, 2000)
MOSAIC = ("BAYERPAT", "COLORTYP")


@dataclass(frozen=True)
class Trial:
    """A simulated frame: its truth, and what was measured."""

    fwhm: float
    stars: float
    gain: float
    found: PhotonTransfer | None


def trial(seed: int, side: int, correlation: float) -> Trial:
    """Simulate and measure one frame."""
    rng = np.random.default_rng([seed, 15])

    def log_uniform(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    gain, fwhm, stars = log_uniform(0.05, 10), rng.uniform(1.2, 6), log_uniform(20, 2000)
    settings = SceneSettings(
        ny=side,
        nx=side,
        gain=gain,
        fwhm=fwhm,
        beta=rng.uniform(2.5, 5),
        density=stars / side**2,
        min_snr=5,
        max_snr=2000,
        sky=log_uniform(100, 3000) / gain,
        read_noise=rng.uniform(1, 10),
        bias=rng.uniform(0, 1000),
        saturation=65535 / min(gain, 1),
        gradient=rng.uniform(0, 0.3),
        vignetting=rng.uniform(0, 0.4),
        zones=4,
        field_growth=rng.uniform(0, 0.3),
        field_coma=rng.uniform(0, 0.5),
        cosmic_rays=rng.uniform(0, 100),
        hot_pixels=rng.uniform(0, 100),
        correlation=correlation,
    )
    frame, _ = simulate(settings, rng)
    return Trial(fwhm, stars, gain, photon_transfer(frame.data, frame.bad, frame.saturation))


def table(trials: list[Trial]) -> None:
    """Print one row for each range of width and number."""
    print("| FWHM [px] | stars | frames | used | measured / true | within 25 % | rms pull |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for low, high in pairwise(FWHM_PX):
        for few, many in pairwise(STARS):
            part = [t for t in trials if low <= t.fwhm < high and few <= t.stars < many]
            seen = [(t, t.found) for t in part if t.found is not None and t.found.error > 0]
            ratio = np.array([found.gain / t.gain for t, found in seen if found.good])
            pulls = [(f.per_electron - 1 / t.gain) / f.error for t, f in seen if f.trusted]
            near = int((np.abs(ratio - 1) < 0.25).sum())
            words = f"{np.median(ratio):.2f} | {near}" if len(ratio) else "– | –"
            rms = f"{np.sqrt(np.mean(np.square(pulls))):.1f}" if pulls else "–"
            numbers = f"{len(part)} | {len(ratio)} | {words} | {rms}"
            print(f"| {low:g}–{high:g} | {few}–{many} | {numbers} |", flush=True)


def measured(path: Path) -> str:
    """Return the row of a frame."""
    frame = read_frame(path)
    stated = frame.gain if str(frame.sources.get("gain", "")).find("measured") < 0 else None
    box = central_box(frame.shape)
    mosaic = any(key in frame.header for key in MOSAIC)
    found = photon_transfer(frame.data[box], frame.bad[box], frame.saturation, mosaic=mosaic)
    card = "unknown" if stated is None else f"{stated:.3g}"
    if found is None:
        return f"| {frame.name} | {card} | – | | |"
    aside = stated is not None and found.contradicts(stated)
    return (f"| {frame.name} | {card} | {found.gain:.3g} ± {100 * found.relative_error:.0f} % "
            f"| {'yes' if found.good else 'no'} | {'yes' if aside else 'no'} |")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=240, help="simulated frames")
    parser.add_argument("--side", type=int, default=512, help="of a simulated frame [px]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--correlation", type=float, default=0.0, help="of resampling [px]")
    parser.add_argument("--frames", nargs="*", type=Path, default=[], help="measure these instead")
    options = parser.parse_args()
    if options.frames:
        print("| frame | gain of the header [e-/ADU] | measured | used | header set aside |")
        print("|---|---:|---:|---|---|")
        for path in options.frames:
            print(measured(path), flush=True)
        return
    table(
        [trial(options.seed + k, options.side, options.correlation) for k in range(options.number)]
    )


if __name__ == "__main__":
    main()
