"""Positions of bright points are refined, and a common shift is subtracted."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core import Frame, estimate_background
from skyduel.detect.inference.centroids import refine_points

SHAPE = (180, 260)
FWHM = 2.4


def grid() -> np.ndarray:
    """Return 96 places off the pixel grid, shape (n, 2)."""
    y, x = np.mgrid[15:170:20, 14:250:20]
    n = x.size
    rng = np.random.default_rng(8)
    return np.stack([x.ravel(), y.ravel()], axis=1) + rng.uniform(-0.5, 0.5, (n, 2))


def stars(xy: np.ndarray, peak: float = 600.0, tail: float = 0.0) -> Frame:
    """Return a frame of Gaussian stars, each with a fainter one to its right as a tail."""
    rng = np.random.default_rng(9)
    data = rng.normal(100.0, 5.0, SHAPE)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    for x, y in xy:
        for dx, share in ((0.0, 1.0), (1.2, tail)):
            r2 = (xx - x - dx) ** 2 + (yy - y) ** 2
            data += share * peak * np.exp(-4 * np.log(2) * r2 / FWHM**2)
    return Frame(data=data.astype(np.float32), fwhm=FWHM, name="stars")


def refined(frame: Frame, xy: np.ndarray, snr: np.ndarray) -> np.ndarray:
    return refine_points(frame, estimate_background(frame), xy, snr)


def test_bright_points_go_where_their_light_is() -> None:
    truth = grid()
    frame = stars(truth)
    guess = truth + np.random.default_rng(1).normal(0, 0.08, truth.shape)
    out = refined(frame, guess, np.full(len(truth), 90.0))
    assert np.abs(out - truth).std() < 0.02 < np.abs(guess - truth).std()
    assert np.abs((out - truth).mean(axis=0)).max() < 0.01


def test_faint_points_and_those_of_unknown_brightness_stay() -> None:
    truth = grid()
    guess = truth + 0.1
    snr = np.full(len(truth), 10.0)
    snr[::2] = np.nan
    np.testing.assert_array_equal(refined(stars(truth), guess, snr), guess)
    assert refined(stars(truth), np.zeros((0, 2)), np.zeros(0)).shape == (0, 2)


def test_a_shift_that_all_share_is_the_profiles_and_is_taken_off() -> None:
    truth = grid()
    frame = stars(truth, tail=0.4)  # light to the right of the place the network knows
    snr = np.full(len(truth), 90.0)
    together = refined(frame, truth, snr)
    assert np.abs(np.median(together - truth, axis=0)).max() < 0.01
    few = refined(frame, truth[:5], snr[:5])
    assert np.median(few[:, 0] - truth[:5, 0]) > 0.1, "too few to tell a shift from chance"


def test_windows_that_cannot_be_trusted_leave_the_network_s_place() -> None:
    truth = np.array([[60.0, 60.0], [150.0, 90.0], [1.0, 20.0], [200.2, 100.3]])
    frame = stars(truth)
    mask = np.zeros(SHAPE, bool)
    mask[85:96, 145:156] = True
    frame = frame.with_(mask=mask)
    guess = truth + np.array([[2.0, 0.0], [0.1, 0.1], [0.1, 0.1], [0.1, 0.0]])
    out = refined(frame, guess, np.full(4, 90.0))
    np.testing.assert_array_equal(out[:3], guess[:3])
    assert out[3] == pytest.approx(truth[3], abs=0.03)
    assert guess[0, 0] == 62.0, "the input is left as it is"
