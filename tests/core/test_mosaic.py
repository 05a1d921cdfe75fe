"""Tests of raw colour frames: recognised, balanced, and read so by every command."""

from pathlib import Path

import numpy as np
import pytest
from helpers.paths import DATA, needs_data

from skyduel.core import Frame, Sectioning, entry_of, open_large_image, write_frame
from skyduel.core.preprocess.mosaic import MOSAIC_KEY, balanced, find_mosaic, stated_pattern
from skyduel.core.registry import make_detector
from skyduel.core.used_facts import used_facts

PATTERN = "GRBG"
#: Throughput of each filter on the sky, in electrons, at a gain of 1 and a bias of 500.
SKY = {"R": 900.0, "G": 2500.0, "B": 1200.0}
THROUGHPUT = {"R": 0.6, "G": 1.0, "B": 0.7}


def colours(shape: tuple[int, int], values: dict[str, float]) -> np.ndarray:
    cell = np.array([values[letter] for letter in PATTERN]).reshape(2, 2)
    return np.tile(cell, (shape[0] // 2 + 1, shape[1] // 2 + 1))[: shape[0], : shape[1]]


def mosaic_scene(n: int = 60, side: int = 301, **header) -> tuple[Frame, np.ndarray]:
    """A raw colour frame with an odd side, a gradient of the sky, and its stars."""
    rng = np.random.default_rng(8)
    yy, xx = np.mgrid[0:side, 0:side]
    light = colours((side, side), SKY) * (1 + 0.4 * xx / side)
    cells = rng.permutation(81)[:n]  # apart from each other
    xy = (np.column_stack([cells % 9, cells // 9]) + 0.5) * (side / 9) + rng.uniform(-9, 9, (n, 2))
    for x, y in xy:
        star = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 1.2**2))
        light += 700 * star * colours((side, side), THROUGHPUT)
    data = 500 + rng.poisson(light).astype(np.float32)
    return Frame(data=data, name="raw", gain=1.0, header=header), xy


def recall(frame: Frame, xy: np.ndarray, name: str) -> tuple[int, int]:
    """Stars found within 1 px, and the number of detections, at the default threshold."""
    detector = make_detector(name, {})
    found = detector(frame)
    cut = getattr(detector.settings, "score_threshold", None)
    rows = found.xy if cut is None else found.xy[found["score"] >= cut]
    near = np.hypot(*(rows[:, None] - xy[None]).T) <= 1.0
    return int(near.any(axis=1).sum()), len(rows)


def test_a_mosaic_is_recognised_with_and_without_a_card() -> None:
    frame, _ = mosaic_scene()
    found = find_mosaic(frame)
    assert found is not None
    assert (found.pattern, found.card) == ("", "")
    # Poisson noise of the mean sky is 42; R and G are 1,600 x 1.2 apart.
    assert 30 < found.difference < 60
    stated = find_mosaic(mosaic_scene(BAYERPAT="GRBG    ")[0])
    assert stated is not None
    assert stated.note.startswith("raw colour mosaic (BAYERPAT = GRBG; levels of the phases")


def test_a_monochrome_frame_is_none_whatever_its_card_says() -> None:
    rng = np.random.default_rng(4)
    for data in (
        rng.normal(1000, 20, (128, 128)),
        rng.poisson(3.0, (128, 128)),
        rng.normal(1000, 20, (128, 128)) + np.linspace(0, 500, 128),
    ):
        frame = Frame(data=data.astype(np.float32), name="m", header={"BAYERPAT": "RGGB"})
        assert find_mosaic(frame) is None
    # An amplifier's offset of a tenth of the noise is believed with a card only.
    striped = rng.normal(1000, 20, (256, 256))
    striped[:, ::2] += 3.0
    assert find_mosaic(Frame(data=striped.astype(np.float32), name="m")) is None
    assert find_mosaic(Frame(data=np.ones((8, 8), np.float32), name="small")) is None


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ({"BAYERPAT": "RGGB"}, ("RGGB", "BAYERPAT")),
        ({"COLORTYP": "rggb"}, ("RGGB", "COLORTYP")),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 1, "YBAYROFF": 0}, ("GRBG", "BAYERPAT")),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 0, "YBAYROFF": 1}, ("GBRG", "BAYERPAT")),
        ({"BAYERPAT": "RGGB", "XBAYROFF": 3, "YBAYROFF": "1"}, ("BGGR", "BAYERPAT")),
        ({"BAYERPAT": "RGGB", "XBAYROFF": "none"}, ("RGGB", "BAYERPAT")),
        ({"BAYERPAT": "TRUE"}, None),
        ({"COLORTYP": "MONO"}, None),
        ({}, None),
    ],
)
def test_the_pattern_starts_at_the_first_pixel(cards: dict, expected: object) -> None:
    assert stated_pattern(cards) == expected


def test_balanced_phases_have_one_level_and_one_noise() -> None:
    frame, _ = mosaic_scene(n=0)
    made = balanced(frame)
    assert made.shape == frame.shape
    phases = [made.data[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    slope = 1 + 0.4 * np.arange(301) / 301
    noises = []
    for (y, x), phase in zip(((0, 0), (0, 1), (1, 0), (1, 1)), phases, strict=True):
        expected = 500 + np.mean([SKY[letter] for letter in PATTERN]) * slope[x::2]
        assert np.abs(np.median(phase - expected)) < 7  # the noise is 45
        noises.append(np.std(np.diff(phase, axis=1)))
        del y
    assert max(noises) / min(noises) < 1.03
    assert find_mosaic(made) is None
    # The mean noise of a cell stays.
    before = [np.std(np.diff(frame.data[y::2, x::2], axis=1)) for y in (0, 1) for x in (0, 1)]
    assert np.mean(noises) == pytest.approx(np.mean(before), rel=0.03)


@pytest.mark.parametrize("name", ["sep", "sep-matched", "daofind"])
def test_every_detector_finds_more_on_the_balanced_frame(name: str) -> None:
    frame, xy = mosaic_scene()
    hits, _ = recall(frame, xy, name)
    better, _ = recall(balanced(frame), xy, name)
    assert better >= 0.95 * len(xy)
    assert better > hits


def test_a_frame_is_read_balanced_unless_raw(tmp_path: Path) -> None:
    frame, _ = mosaic_scene(n=20, side=256, BAYERPAT="GRBG")
    path = tmp_path / "a.fits"
    write_frame(frame, path)
    read, raw = entry_of(path).read(), entry_of(path, raw=True).read()
    np.testing.assert_array_equal(raw.data, frame.data)
    np.testing.assert_array_equal(read.data, balanced(frame).data)
    assert used_facts(raw).used["mosaic"] == "none"
    facts = used_facts(read)
    assert facts.used["mosaic"] == "GRBG (BAYERPAT), phases balanced"
    (note,) = facts.notes
    assert note.startswith("a: raw colour mosaic (BAYERPAT = GRBG;")
    assert MOSAIC_KEY in read.header
    # Written and read again, it is not balanced twice.
    write_frame(read, tmp_path / "b.fits")
    again = entry_of(tmp_path / "b.fits").read()
    np.testing.assert_array_equal(again.data, read.data)


def test_sections_of_a_large_mosaic_are_balanced(tmp_path: Path) -> None:
    frame, _ = mosaic_scene(n=20, side=512, BAYERPAT="GRBG")
    write_frame(frame, tmp_path / "a.fits")
    image = open_large_image(entry_of(tmp_path / "a.fits"), Sectioning(256, 64))
    assert image is not None
    assert "raw colour mosaic" in used_facts(image).notes[0]
    for _, part in image.frames():
        assert find_mosaic(part) is None
    raw = open_large_image(entry_of(tmp_path / "a.fits", raw=True), Sectioning(256, 64))
    assert raw is not None
    assert raw.mosaic is None


@needs_data
def test_real_mosaics_are_recognised_and_monochrome_frames_are_not() -> None:
    def note(path: str) -> str:
        return " ".join(used_facts(entry_of(DATA / path).read()).notes)

    seestar = "seestar_m94/m94_20250326-212424.fits.fz"
    assert "raw colour mosaic (BAYERPAT = GRBG" in note(seestar)
    assert "raw colour mosaic (no card states it" in note("panoptes_cygnus/solved.fits.fz")
    for path in ("sbig_tres1/tres1-026.fits.fz", "widefield_lens/Alt40_Azi135.fits.fz"):
        assert "mosaic" not in note(path)
