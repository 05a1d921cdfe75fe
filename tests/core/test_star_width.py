"""Tests of the measured width of a frame's stars, with hot pixels and tracks beside them."""

import numpy as np
import pytest
from scipy.special import erf

from skyduel.core import Frame
from skyduel.core.measure.star_width import measure_star_width, neighbour_ratios, star_shaped

SIDE, NOISE = 240, 5.0


def gaussian(fwhm: float, x: float, y: float, side: int) -> np.ndarray:
    """A star of unit flux, integrated over the pixels."""
    width = fwhm / (2 * np.sqrt(2 * np.log(2))) * np.sqrt(2)
    edges = np.arange(side + 1) - 0.5
    along, across = (np.diff(erf((edges - at) / width)) / 2 for at in (x, y))
    return np.outer(across, along)


def field(fwhm: float, n_stars: int, n_hot: int = 0, **facts) -> tuple[Frame, np.ndarray]:
    """A frame of stars on a jittered grid and of hot pixels between them, and the stars."""
    rng = np.random.default_rng(3)
    image = rng.normal(400.0, NOISE, (SIDE, SIDE))
    cells = rng.permutation(100)[:n_stars]
    xy = np.column_stack([cells % 10, cells // 10]) * 22 + 15 + rng.uniform(-2, 2, (n_stars, 2))
    for x, y in xy:
        image += 3000 * rng.uniform(1, 4) * gaussian(fwhm, x, y, SIDE)
    for k in rng.permutation(100)[:n_hot]:
        image[k // 10 * 22 + 4, k % 10 * 22 + 4] += rng.uniform(300, 3000)
    return Frame(data=image.astype(np.float32), name="f", **facts), xy


@pytest.mark.parametrize("fwhm", [1.3, 1.6, 2.0, 3.0, 5.0])
@pytest.mark.parametrize("n_hot", [0, 90])
def test_the_width_is_that_of_the_stars_however_many_pixels_are_hot(
    fwhm: float, n_hot: int
) -> None:
    frame, _ = field(fwhm, 40, n_hot)
    width = measure_star_width(frame)
    assert width is not None
    assert width.n_stars >= 25
    # A pixel widens a star by 2.355²/12 in the square.
    assert width.fwhm == pytest.approx(np.sqrt(fwhm**2 + 0.46), rel=0.08)


def test_few_stars_have_no_width() -> None:
    assert measure_star_width(field(2.0, 4, 50)[0]) is None
    assert measure_star_width(field(2.0, 6, 0)[0]) is not None
    # Nor have saturated ones.
    assert measure_star_width(field(2.0, 6, 0, saturation=600.0)[0]) is None


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.5])
def test_the_ratio_of_a_gaussian_is_the_formula(shift: float) -> None:
    a, d = 4 * np.log(2) / 1.8**2, np.arange(-4, 5)
    star = np.exp(-a * ((d - shift) ** 2 + d[:, np.newaxis] ** 2)).astype(np.float32)
    at = np.array([4])
    expected = min(np.exp(-a) * np.cosh(2 * a * shift), np.exp(-a))
    assert neighbour_ratios(star, at, at)[0] == pytest.approx(expected, rel=1e-5)
    star *= 1e6  # times the noise
    assert star_shaped(star, at, at, 0.99 * np.exp(-a)).all()
    assert not star_shaped(star, at, at, 1.01 * np.exp(-a)).any()


def test_hot_pixels_and_tracks_are_not_star_shaped() -> None:
    image = np.zeros((7, 7), np.float32)
    at = np.array([3])
    image[3, 3] = 1000
    assert not star_shaped(image, at, at, 0.2).any()
    image[3, 2:5] = 1000  # along a row
    assert not star_shaped(image, at, at, 0.2).any()
    image[3, 4], image[4, 3] = 0, 1000  # bent
    assert neighbour_ratios(image, at, at)[0] == 0.5
    assert not star_shaped(image, at, at, 0.2).any()
    image[3, 4] = image[2, 3] = 400  # a star beside another one
    assert star_shaped(image, at, at, 0.2).all()
    assert star_shaped(image, np.array([0]), np.array([0]), 0.2).tolist() == [False]
