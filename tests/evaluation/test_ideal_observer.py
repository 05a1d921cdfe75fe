"""Compare the ideal observer with simulated fields, and detectors with it."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.stats import gaussian_fwhm_to_sigma
from helpers.paths import DATA
from scipy import ndimage
from scipy.special import erf

from skyduel.core import read_catalog, read_frame
from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses.ideal_observer import (
    expected_finds,
    half_snr,
    peak_completeness,
    peak_density,
    tail_completeness,
    threshold_for_density,
    threshold_for_purity,
)
from skyduel.evaluation.analyses.ideal_observer_table import ideal_table
from skyduel.evaluation.scoring.table_columns import IDEAL_COLUMNS

SKYMAKER = DATA / "skymaker"
EDGES = (14.0, 16.0, 18.0, 20.0)
RULES = ScoringRules(n_bootstrap=300)
#: Samples of the filtered field along a pixel.
OVER = 3


def profile(fwhm: float, dx: float, dy: float, reach: int = 7) -> np.ndarray:
    """A Gaussian integrated over pixels."""
    sigma, i = fwhm * gaussian_fwhm_to_sigma, np.arange(-reach, reach + 1)
    y, x = (
        0.5 * (erf((i + 0.5 - d) / sigma / 2**0.5) - erf((i - 0.5 - d) / sigma / 2**0.5))
        for d in (dy, dx)
    )
    return np.outer(y, x)


def matched_filter(image: np.ndarray, fwhm: float) -> np.ndarray:
    """S/N of the best source at every place, sampled `OVER` times a pixel."""
    out = np.empty((image.shape[0] * OVER, image.shape[1] * OVER))
    for a in range(OVER):
        for b in range(OVER):
            kernel = profile(fwhm, (b - (OVER - 1) / 2) / OVER, (a - (OVER - 1) / 2) / OVER)
            kernel /= np.sqrt((kernel**2).sum())
            out[a::OVER, b::OVER] = ndimage.correlate(image, kernel, mode="wrap")
    return out


@pytest.mark.parametrize("fwhm", [2.0, 3.0])
def test_noise_has_as_many_peaks_as_the_theory_says(fwhm: float) -> None:
    rng = np.random.default_rng(1)
    side = 400
    field = matched_filter(rng.normal(size=(side, side)), fwhm)
    peaks = field[field == ndimage.maximum_filter(field, 3, mode="wrap")]
    # The profile as pixels see it is wider by the variance of a pixel.
    beams = side**2 / ((fwhm * gaussian_fwhm_to_sigma) ** 2 + 1 / 12)
    for t in (1.5, 2.5, 3.0):
        want = float(peak_density(t)) * beams
        # Coarse pixels lose a few peaks: 10 % of them are 0.03 in threshold.
        assert (peaks >= t).sum() == pytest.approx(want, rel=0.15, abs=3.5 * want**0.5)


def test_sources_make_peaks_as_often_as_the_theory_says() -> None:
    rng = np.random.default_rng(2)
    fwhm, cell, n, snr = 2.5, 18, 24, 4.0
    image = rng.normal(size=(cell * n, cell * n))
    at = rng.uniform(-0.5, 0.5, (n, n, 2))
    for i in range(n):
        for j in range(n):
            bump = profile(fwhm, *at[i, j])
            y, x = cell * i + cell // 2, cell * j + cell // 2
            image[y - 7 : y + 8, x - 7 : x + 8] += snr * bump / np.sqrt((bump**2).sum())
    blocks = matched_filter(image, fwhm).reshape(n, cell * OVER, n, cell * OVER).swapaxes(1, 2)
    place = (np.arange(cell * OVER) + 0.5) / OVER - 0.5 - cell // 2
    near = (
        np.hypot(place[None, :] - at[..., 0, None, None], place[:, None] - at[..., 1, None, None])
        <= 2.0
    )
    peak = np.where(near, blocks, -np.inf).max(axis=(2, 3))
    for t in (3.0, 4.0, 4.5):
        want = float(peak_completeness(snr, t))
        assert (peak > t).mean() == pytest.approx(want, abs=0.015 + 2.5 * (0.25 / n**2) ** 0.5)
        # What the plain tail at the source's place would give is well below.
        assert want - float(tail_completeness(snr, t)) > 0.05


def test_the_density_of_all_peaks_is_the_known_one() -> None:
    # Longuet-Higgins (1957): 1 / (4 pi sqrt 3) in units of theta_*^2 = sigma^2.
    assert float(peak_density(-7.9)) == pytest.approx(1 / (4 * np.pi * 3**0.5), rel=1e-4)
    # High above, maxima are as many as the Euler characteristic has it:
    # t exp(-t^2 / 2) / (2 pi)^(3/2) / (2 sigma^2).
    t = np.array([4.5, 6.0, 8.0])
    euler = t * np.exp(-t * t / 2) / (2 * np.pi) ** 1.5 / 2
    np.testing.assert_allclose(peak_density(t), euler, rtol=5e-3)
    assert np.all(np.diff(peak_density(np.linspace(0, 12, 500))) < 0)


def test_thresholds_are_the_inverse_of_densities_and_completeness() -> None:
    t = np.array([1.0, 3.3, 4.6, 7.0])
    np.testing.assert_allclose(threshold_for_density(peak_density(t)), t, atol=1e-4)
    assert np.isnan(threshold_for_density([1.0, 0.0, np.nan])).all()
    np.testing.assert_allclose(peak_completeness(half_snr(t), t), 0.5, atol=1e-4)
    assert np.all((t - half_snr(t) > 0.1) & (t - half_snr(t) < 0.45))
    many = np.random.default_rng(0).uniform(0, 25, 900)
    alone = np.array([float(peak_completeness(s, 4.0)) for s in many])
    np.testing.assert_allclose(peak_completeness(many, 4.0), alone, atol=2e-4)


def test_the_threshold_for_a_purity_is_where_it_is_expected() -> None:
    rng = np.random.default_rng(3)
    snr, unit = 10 ** rng.uniform(0.3, 1.5, 400), rng.integers(0, 3, 400)
    finds = expected_finds(snr, unit, 3)
    assert finds.shape[0] == 3
    beams = np.array([3e5])
    for purity in (0.8, 0.95, 0.99):
        t = float(threshold_for_purity(finds.sum(axis=0)[None], beams, purity)[0])
        right = peak_completeness(snr, t).sum()
        false = float(peak_density(t)) * beams[0]
        assert right / (right + false) == pytest.approx(purity, abs=2e-3)
    nothing = expected_finds(np.zeros(0), np.zeros(0, dtype=int), 1)
    assert np.isnan(threshold_for_purity(nothing, beams, 0.95)).all()


def scored(
    threshold: float,
    *,
    seed: int = 0,
    loss_mag: float = 0.0,
    n_frames: int = 24,
    fwhm: float | None = 2.5,
    snr_known: bool = True,
    leak: bool = False,
):
    """Frames of a detector that is ideal but for a loss in S/N, on isolated sources."""
    rng = np.random.default_rng(seed)
    ny, nx, n = 700, 900, 90
    mpix = ny * nx / 1e6
    beams = mpix * 1e6 / (2.5 * gaussian_fwhm_to_sigma) ** 2
    out = []
    for k in range(n_frames):
        snr = 10 ** rng.uniform(0.31, 1.4, n)
        # Far apart, so that no chance pair helps.
        spot = rng.permutation(30 * 40)[:n]
        x, y = 10 + 22 * (spot % 40), 10 + 23 * (spot // 40)
        seen = rng.random(n) < peak_completeness(snr * 10 ** (-0.4 * loss_mag), threshold)
        seen |= leak
        false = rng.poisson(float(peak_density(threshold)) * beams)
        fx, fy = 21 + 22 * rng.integers(0, 40, false), 21.5 + 23 * rng.integers(0, 29, false)
        columns = {"x": x, "y": y, "mag": 20 - 2.5 * np.log10(snr)}
        truth = Catalog.build(**columns, **({"snr": snr} if snr_known else {}))
        found = Catalog.build(
            x=np.concatenate([x[seen], fx]), y=np.concatenate([y[seen], fy]),
            mag=np.full(int(seen.sum()) + false, 18.0),
        )  # fmt: skip
        source = FrameInput(
            frame=f"{k}", truth=apply_ignore(truth, (ny, nx), None, None, RULES), found=found,
            mpix=mpix, fwhm=fwhm, shape=(ny, nx),
        )  # fmt: skip
        out.append(score_frame(source, RULES, EDGES))
    return out


def overall(table):
    return table[table["bin"] == -2].set_index("match")


def test_an_ideal_detector_stands_at_no_distance() -> None:
    table = ideal_table(scored(4.0), RULES, EDGES)
    assert tuple(table.columns) == IDEAL_COLUMNS
    row = overall(table).loc["false_rate"]
    assert row["threshold"] == pytest.approx(4.0, abs=0.1)
    assert row["snr50_ideal"] == pytest.approx(3.714, abs=0.1)
    assert row["distance_lo"] < 0 < row["distance_hi"]
    assert row["distance_hi"] - row["distance_lo"] < 0.2
    assert row["ideal"] == pytest.approx(row["found"], abs=0.03)
    assert not row["beats"]
    assert row["m50_ideal"] == pytest.approx(20 - 2.5 * np.log10(row["snr50_ideal"]), abs=0.05)
    inner = table[(table["match"] == "purity") & table["bin"].between(1, 2)]
    assert inner["n"].sum() > 1000
    assert (inner["ideal"] > inner["found_lo"] - 0.02).all()
    assert (inner["ideal"] < inner["found_hi"] + 0.02).all()
    assert inner["distance_mag"].isna().all()


def test_a_loss_is_the_distance_and_a_leak_is_flagged() -> None:
    row = overall(ideal_table(scored(4.0, loss_mag=0.5), RULES, EDGES)).loc["false_rate"]
    assert row["distance_mag"] == pytest.approx(0.5, abs=0.08)
    assert row["distance_lo"] > 0.3
    assert not row["beats"]
    leak = overall(ideal_table(scored(4.5, leak=True), RULES, EDGES))
    assert leak["beats"].all()


def test_no_detector_beats_the_ideal_observer_by_chance() -> None:
    accused = [
        overall(ideal_table(scored(4.0, seed=s, n_frames=3), RULES, EDGES))["beats"].any()
        for s in range(1, 16)
    ]
    assert sum(accused) == 0


def test_what_is_unknown_is_undefined_not_wrong() -> None:
    assert len(ideal_table(scored(4.0, n_frames=2, snr_known=False), RULES, EDGES)) == 0
    assert len(ideal_table([], RULES, EDGES)) == 0
    table = ideal_table(scored(4.0, n_frames=3, fwhm=None), RULES, EDGES)
    assert table[["threshold", "ideal", "distance_mag", "snr50_ideal"]].isna().all().all()
    assert (table.loc[table["bin"] == -2, "n"] > 0).all()
    assert not table["beats"].any()
    # One frame is resampled by block; none false is half a one.
    lone = overall(ideal_table(scored(6.5, n_frames=1), RULES, EDGES)).loc["false_rate"]
    assert lone["threshold"] > 4.5
    assert np.isfinite(lone["distance_lo"])


@pytest.mark.skipif(not SKYMAKER.is_dir(), reason="needs ../shared/data/skymaker")
def test_on_sparse_and_field_frames_the_ideal_limit_is_about_four() -> None:
    finds, beams = 0.0, 0.0
    for path in sorted([*SKYMAKER.glob("sparse_*.fits.fz"), *SKYMAKER.glob("field_*.fits.fz")]):
        frame = read_frame(path)
        truth = read_catalog(path.parent / path.name.replace(".fits.fz", ".ecsv"), frame=frame)
        snr = truth["snr"][~truth.is_streak & (truth["snr"] >= 2)]
        finds = finds + expected_finds(snr, np.zeros(snr.size, dtype=int), 1)
        beams += frame.data.size / (frame.fwhm * gaussian_fwhm_to_sigma) ** 2
    t = threshold_for_purity(finds, np.array([beams]), 0.95)
    # The Gaussian tail is at one half at the threshold, peaks a little below.
    assert float(t[0]) == pytest.approx(4.15, abs=0.1)
    assert float(half_snr(t)[0]) == pytest.approx(3.9, abs=0.1)
