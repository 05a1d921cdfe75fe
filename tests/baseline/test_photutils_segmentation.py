"""Tests of the detector based on photutils' segmentation."""

from importlib.util import find_spec

import numpy as np
import pytest

from skyduel.baseline import sep_matched
from skyduel.baseline.photutils_segmentation import source_finder
from skyduel.core.detector import Detector
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

watershed = pytest.mark.skipif(
    find_spec("skimage") is None, reason="photutils deblends by scikit-image's watershed"
)


def gaussians(positions, shape=(80, 130), peak=200.0, sigma=1.3, seed=0):
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    image = np.random.default_rng(seed).normal(100, 4, shape)
    for x0, y0 in positions:
        image += peak * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / sigma**2)
    return Frame(data=image, name="made", fwhm=2.355 * sigma, gain=2.0, zero_point=25.0)


SPREAD = [(20.3, 15.7), (60.0, 40.0), (100.8, 60.2), (110.5, 12.5), (30.1, 64.9)]


@pytest.fixture(scope="module")
def plain():
    return source_finder(deblend=False)


def test_every_star_is_found_once_where_it_is(plain):
    assert isinstance(plain, Detector)
    found = plain(gaussians(SPREAD))
    found = found.select(found["score"] >= 6)
    distance = np.hypot(*(found.xy[:, None] - np.array(SPREAD)).transpose(2, 0, 1))
    assert distance.shape == (5, 5)
    assert sorted(distance.argmin(axis=1)) == [0, 1, 2, 3, 4]
    assert distance.min(axis=1).max() < 0.1
    assert found["flux"] == pytest.approx(200 * 2 * np.pi * 1.3**2, rel=0.1)
    assert (found["flux_err"] > 0).all()
    assert found["mag"] == pytest.approx(25 - 2.5 * np.log10(found["flux"]))
    assert (found["kind"] == "point").all()


def test_the_score_is_seps(plain):
    frame = gaussians(SPREAD)
    ours, seps = plain(frame), sep_matched()(frame)
    for row, (x, y) in enumerate(ours.xy):
        if ours["score"][row] >= 8:
            near = np.hypot(seps["x"] - x, seps["y"] - y).argmin()
            assert ours["score"][row] == pytest.approx(seps["score"][near], rel=0.02)


def test_a_streak_is_one(plain):
    y, x = np.mgrid[:90, :140].astype(float)
    along = (x - 70) * np.cos(-0.4) + (y - 45) * np.sin(-0.4)
    across = -(x - 70) * np.sin(-0.4) + (y - 45) * np.cos(-0.4)
    image = 150 * np.exp(-(across**2) / 2 / 1.3**2) * (np.abs(along) < 20)
    frame = gaussians([], shape=(90, 140))
    found = plain(frame.with_(data=frame.data + image))
    (row,) = np.flatnonzero(found.is_streak)
    assert found["theta"][row] == pytest.approx(-0.4, abs=0.03)
    assert found["length"][row] == pytest.approx(40, rel=0.12)


def test_masked_stars_are_not_found(plain):
    frame = gaussians(SPREAD)
    mask = np.zeros(frame.shape, bool)
    mask[30:50, 50:70] = True
    found = plain(frame.with_(mask=mask))
    assert np.hypot(found["x"] - 60, found["y"] - 40).min() > 8
    assert np.hypot(found["x"] - 20.3, found["y"] - 15.7).min() < 0.2


@pytest.mark.parametrize("shape", [(5, 5), (1, 40), (3, 3), (60, 4)])
def test_frames_of_odd_sizes_give_a_catalogue(plain, shape):
    data = np.random.default_rng(0).normal(10, 1, shape)
    data[shape[0] // 2, shape[1] // 2] += 80
    found = plain(Frame(data=data, name="odd"))
    assert (found["x"] >= -0.5).all()
    assert (found["x"] <= shape[1] - 0.5).all()


def test_nothing_there(plain):
    assert len(plain(Frame(data=np.full((40, 50), 3.0), name="flat"))) == 0


def test_without_the_watershed_it_says_what_is_missing(monkeypatch):
    import skyduel.baseline.photutils_segmentation

    monkeypatch.setattr(skyduel.baseline.photutils_segmentation, "find_spec", lambda name: None)
    with pytest.raises(BadInputError, match="pip install scikit-image"):
        source_finder()
    assert source_finder(deblend=False).settings.deblend is False


def test_unknown_settings_are_refused():
    with pytest.raises(BadInputError, match=r"'thresh'; did you mean threshold\?"):
        source_finder(deblend=False, thresh=3)


@watershed
def test_close_pairs_are_parted_and_flagged(plain):
    frame = gaussians([(40.0, 40.0), (45.5, 41.0), (90.0, 20.0)])
    bright = plain(frame)
    assert np.count_nonzero(bright["score"] > 8) == 2
    parted = source_finder()(frame)
    parted = parted.select(parted["score"] > 8)
    assert len(parted) == 3
    assert sorted(parted["flags"]) == [0, 2, 2]
