"""Choose how a score map is fitted, on simulated telescopes: ``score_map_telescopes.py``.

Most of the telescopes have a noise that the network's training did not have: resampled by
linear interpolation (``drizzle``), mean of three pixels along the rows (``box``), skewed,
heavy-tailed (Student's t of 4), correlated over several pixels (``pink``), interpolated
on a checkerboard (``bayer``), warm pixels, and the noise that their subtraction leaves
(``dark``). Each has three dithered exposures of one field, on which the map is fitted without a
truth, and two frames of other fields, on which it is tested. ``best shift`` is fitted on the truth
of the test frames, the limit of a shift. ``isotonic`` is isotonic regression of flipped noise.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd
from astropy.wcs import WCS
from real.tools import markdown
from scipy import ndimage, optimize
from scipy.special import expit, log_expit, logit

from skyduel.core import Catalog, Detector, Frame, make_detector
from skyduel.core.defaults import FAINT_SNR
from skyduel.detect.calibration.fit_calibration import match_to_truth
from skyduel.evaluation.analyses.score_calibration import calibration_error
from skyduel.runner.truth_free import UpsideDown, fit_score_map, look_upside_down
from skyduel.simulation import SceneSettings, draw_settings, draw_training_settings
from skyduel.simulation.sampling import draw_defects, draw_sources
from skyduel.simulation.scene import assign_flux, digitise, expected_light, truth_columns

TELESCOPES = (
    "plain field", "plain mixture", "plain sparse", "plain dirty", "plain aberrated",
    "plain crowded", "drizzle field", "drizzle sparse", "drizzle dirty", "box field", "box sparse",
    "skew sparse", "skew mixture", "skew field", "heavy field", "heavy sparse", "pink field",
    "pink mixture", "bayer aberrated", "bayer sparse", "warm field", "warm sparse", "dark field",
)  # fmt: skip
SIDE = 512
#: Largest dither [px].
DITHER = 24
TENTHS = np.linspace(0, 1, 11)


@dataclass(frozen=True, eq=False)
class Exposure:
    frame: Frame
    truth: Catalog
    look: UpsideDown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--telescopes", nargs="+", default=list(TELESCOPES))
    options = parser.parse_args()
    detector = make_detector("neural", {})
    rows = []
    for number, name in enumerate(options.telescopes):
        noise, family = name.split()
        rng = np.random.default_rng([977, number])
        settings = drawn(family, rng)
        fitted = [seen(detector, *e) for e in exposures(settings, noise, rng, fields=1, each=3)]
        others = [seen(detector, *e) for e in exposures(settings, noise, rng, fields=2, each=1)]
        score, right, flipped, mpix = labelled(others)
        for method, mapped in maps(detector, fitted, score, right).items():
            p = mapped(score)
            kept = p >= 0.5
            rows.append(
                {
                    "telescope": name,
                    "map": method,
                    "error": calibration_error(p, right, TENTHS)[0],
                    "promised": p[kept].mean() if kept.any() else np.nan,
                    "real": right[kept].mean() if kept.any() else np.nan,
                    "upside down": (mapped(flipped) >= 0.5).sum() / mpix,
                    "true": int(right[kept].sum()),
                }
            )
        print(name, {r["map"]: round(r["error"], 3) for r in rows if r["telescope"] == name})
    table = pd.DataFrame(rows)
    before = table[table["map"] == "none"].set_index("telescope")["error"]
    out = []
    for method, part in table.groupby("map", sort=False):
        worse = part.set_index("telescope")["error"] - before
        plain = part["telescope"].str.startswith("plain")
        out.append(
            {
                "map": method,
                "calibration error": f"{part['error'].mean():.3f}",
                "largest": f"{part['error'].max():.3f}",
                "largest loss": f"{max(worse.max(), 0):.3f}",
                "plain noise": f"{part['error'][plain].mean():.3f}",
                "promised less real": f"{(part['promised'] - part['real']).mean():.3f}",
                "upside down, per Mpix": f"{part['upside down'].mean():.0f}",
                "right ones from 0.5 on": f"{part['true'].sum():,}",
            }
        )
    print(markdown(out))


def drawn(family: str, rng: np.random.Generator) -> SceneSettings:
    made = (
        draw_training_settings(rng, SIDE)
        if family == "mixture"
        else draw_settings(family, rng, ny=SIDE, nx=SIDE)
    )
    change = {"correlation": 0.0, "streaks": 0.0, "trails": 0.0}
    return made.model_copy(update={**change, "density": made.density or 1e-3})


def exposures(
    s: SceneSettings, noise: str, rng: np.random.Generator, *, fields: int, each: int
) -> list[tuple[Frame, Catalog]]:
    """Return dithered exposures of fields, with a WCS, and their truths."""
    wide = s.model_copy(update={"ny": s.ny + 2 * DITHER, "nx": s.nx + 2 * DITHER})
    warm = np.where(rng.random((s.ny, s.nx)) < 3e-3, rng.exponential(3.5, (s.ny, s.nx)), 0)
    out = []
    for field_number in range(fields):
        sources, field = draw_sources(wide, rng), wide.field()
        rendered = assign_flux(wide, sources, field)
        whole = expected_light(wide, sources, rendered, field)
        truth = Catalog.build(source="truth", **truth_columns(wide, rendered))
        for k in range(each):
            dx, dy = (int(v) for v in rng.integers(0, 2 * DITHER + 1, 2))
            light = whole[dy : dy + s.ny, dx : dx + s.nx]
            electrons = light * s.gain
            sigma = np.sqrt(electrons + s.read_noise**2)
            data = (electrons + sigma * drawn_noise(noise, warm, rng)) / s.gain
            data = digitise(data.astype(np.float32), s, draw_defects(s, rng))
            wcs = WCS(naxis=2)
            wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
            wcs.wcs.crpix = [SIDE / 2 + 1 - dx, SIDE / 2 + 1 - dy]
            wcs.wcs.crval, wcs.wcs.cdelt = [10.0 + field_number, 0.0], [-1 / 1800, 1 / 1800]
            frame = Frame(
                data=data, name=f"{field_number}-{k}", gain=s.gain, read_noise=s.read_noise,
                saturation=s.saturation, fwhm=field.fwhm, zero_point=s.zero_point, wcs=wcs,
            )  # fmt: skip
            out.append((frame, truth.with_columns(x=truth["x"] - dx, y=truth["y"] - dy)))
    return out


def drawn_noise(kind: str, warm: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return noise of unit variance in the sense of the kind."""
    ny, nx = warm.shape
    white = rng.standard_normal((ny, nx))
    if kind == "plain":
        return white
    if kind == "drizzle":  # the shift changes over the frame
        n = rng.standard_normal((ny + 1, nx + 1))
        fy, fx = np.linspace(0.15, 0.85, ny)[:, None], np.linspace(0.3, 0.9, nx)
        top = (1 - fx) * n[:-1, :-1] + fx * n[:-1, 1:]
        n = (1 - fy) * top + fy * ((1 - fx) * n[1:, :-1] + fx * n[1:, 1:])
    elif kind == "box":
        n = ndimage.uniform_filter(white, (1, 3))
    elif kind == "skew":
        shape = 4 / 0.6**2
        n = rng.gamma(shape, size=(ny, nx)) - shape
    elif kind == "heavy":
        n = rng.standard_t(4, size=(ny, nx))
    elif kind == "pink":
        smooth = ndimage.gaussian_filter(rng.standard_normal((ny, nx)), 1.2)
        n = 0.95 * white + 0.3 * smooth / smooth.std()
    elif kind == "bayer":
        green = np.add.outer(np.arange(ny), np.arange(nx)) % 2 == 0
        cross = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]) / 4
        n = np.where(green, white, ndimage.convolve(np.where(green, white, 0), cross))
    elif kind == "warm":
        return white + warm
    elif kind == "dark":
        return white + np.sqrt(5 * warm) * rng.standard_normal((ny, nx))
    else:
        raise SystemExit(f"no such noise: {kind}")
    return np.asarray(n / n.std())


def seen(detector: Detector, frame: Frame, truth: Catalog) -> Exposure:
    [look] = look_upside_down([frame], {"neural": detector})["neural"]
    return Exposure(frame, truth, look)


def labelled(exposures: list[Exposure]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Return scores and outcomes of the detections that count; flipped scores, their area."""
    scores, rights = [], []
    for one in exposures:
        found = one.look.found.select(~one.look.found.is_streak)
        truth = one.truth.select(~one.truth.is_streak)
        ignored = truth["ignore"] if "ignore" in truth else np.zeros(len(truth), dtype=bool)
        right, counts = match_to_truth(found.xy, truth.xy, (truth["snr"] >= FAINT_SNR) & ~ignored)
        scores.append(found["score"][counts])
        rights.append(right[counts])
    flipped = np.concatenate([one.look.flipped["score"] for one in exposures])
    mpix = sum(one.look.mpix_flipped for one in exposures)
    return np.concatenate(scores), np.concatenate(rights), flipped, mpix


def maps(
    detector: Detector, fitted: list[Exposure], score: np.ndarray, right: np.ndarray
) -> dict[str, object]:
    def made(some: list[Exposure], repeats: bool) -> object:
        frames, looks = [e.frame for e in some], [e.look for e in some]
        return fit_score_map(frames, detector, repeats=repeats, looks=looks)

    u = logit(np.clip(score, 1e-9, 1 - 1e-9))

    def against(shift: float) -> float:
        return -float((right * log_expit(u + shift) + ~right * log_expit(-u - shift)).sum())

    best = optimize.minimize_scalar(against, bounds=(-6, 3), method="bounded").x
    return {
        "none": lambda s: np.asarray(s),
        "flipped noise": made(fitted, False),
        "flipped noise, 2 exposures": made(fitted[:2], True),
        "flipped noise, 3 exposures": made(fitted, True),
        "isotonic": isotonic([e.look for e in fitted]),
        "best shift": lambda s: expit(logit(np.clip(s, 1e-9, 1 - 1e-9)) + best),
    }


def isotonic(looks: list[UpsideDown]) -> object:
    found = np.concatenate([k.found["score"] for k in looks])
    flipped = np.concatenate([k.flipped["score"] for k in looks])
    ratio = sum(k.mpix for k in looks) / sum(k.mpix_flipped for k in looks)
    every = np.concatenate([found, flipped])
    order = np.argsort(every, kind="stable")
    on_frame = (np.arange(every.size) < found.size)[order].astype(float)
    share = np.maximum(optimize.isotonic_regression(on_frame).x, 1e-9)
    p = np.clip(1 - (1 - share) / share * ratio, 0, 1)
    return lambda s: np.interp(s, every[order], p)


if __name__ == "__main__":
    main()
