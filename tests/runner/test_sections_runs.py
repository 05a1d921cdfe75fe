"""Tests of tuning, injection and other work on frames that are too large to read whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.command_line import skyduel

from skyduel.core import (
    BadInputError,
    Frame,
    Sectioning,
    entry_of,
    open_dataset,
    read_frame,
    write_frame,
)
from skyduel.evaluation import ScoringRules
from skyduel.runner import tune_frame
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.read_region import read_region
from skyduel.runner.tune import TuningRules, tune
from skyduel.runner.tune_frame import trials_digest, try_on_frame

#: Sections smaller than anybody would take: two of the frame below.
SMALL = Sectioning(section_px=448, overlap_px=64)


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    return frame_folder([("field_000", "field", "calibration")], 7, ny=420, nx=612)


@pytest.mark.parametrize("name", ["sep", "sep-matched"])
def test_trials_by_sections_are_those_of_the_whole_frame(sky, tmp_path, name, monkeypatch) -> None:
    (entry,) = open_dataset(sky).entries
    (contestant,) = parse_specs([name])
    trials = [{}, {"DETECT_THRESH": 3.0}, {"DETECT_THRESH": -1}, {"DETECT_THRESH": 2.0}]
    rules = ScoringRules()
    assert len(SMALL.sections((420, 612))) == 2
    whole = try_on_frame(contestant, trials, entry, rules, tmp_path / "w.npz", "d")

    def never(self):
        raise AssertionError("read whole")

    monkeypatch.setattr("skyduel.core.io.dataset.Entry.read", never)
    cut = try_on_frame(contestant, trials, entry, rules, tmp_path / "c.npz", "d", SMALL)
    assert [r is None for r in cut.reasons] == [True, True, False, True]
    assert cut.reasons[2] == whole.reasons[2]
    for one, other in zip(whole.trials, cut.trials, strict=True):
        if one is None or other is None:
            assert one is other
            continue
        assert (one.truths, one.mpix) == (other.truths, other.mpix)
        found, detections = int(one.found.sum()), int(one.detections.sum())
        assert found > 20
        assert abs(int(other.found.sum()) - found) <= max(1, 0.03 * found)
        assert abs(int(other.detections.sum()) - detections) <= max(2, 0.03 * detections)


def test_a_run_of_other_sections_tries_anew(sky) -> None:
    (entry,) = open_dataset(sky).entries
    (sep,) = parse_specs(["sep"])
    digests = {trials_digest(sep, [{}], entry, ScoringRules(), c) for c in (Sectioning(), SMALL)}
    assert len(digests) == 2


def test_tuning_takes_the_sections_it_is_told(sky, tmp_path) -> None:
    entries = open_dataset(sky).entries
    tuned = [
        tune(entries, parse_specs(["sep"]), TuningRules(trials=1), ScoringRules(),
             tmp_path / str(k), sectioning=sectioning)[0]
        for k, sectioning in enumerate((Sectioning(), SMALL))
    ]  # fmt: skip
    assert [t.failures for t in tuned] == [(), ()]
    goals = [t.parts[0].goals[0] for t in tuned]
    assert goals[0] is not None
    assert goals[1] is not None
    assert goals[0].completeness == pytest.approx(goals[1].completeness, abs=0.05)


# -- pieces ------------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path) -> Path:
    """A frame of more than 4096² px, mostly a hole in the file, and small stars in it."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, 16, 2
    header["NAXIS1"], header["NAXIS2"] = 4200, 4100
    header["GAIN"], header["OBJECT"] = 2.0, "large"
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = [10, 20], [2100, 2050], [-3e-4, 3e-4]
    header.update(wcs.to_header())
    path = tmp_path / "large.fits"
    with path.open("wb") as file:
        start = header.tostring().encode()
        file.write(start)
        rng = np.random.default_rng(1)
        piece = rng.normal(100, 5, (300, 4200))
        yy, xx = np.mgrid[-5:6, -5:6]
        for y, x in zip(rng.integers(20, 280, 60), rng.integers(1020, 1480, 60), strict=True):
            piece[y - 5 : y + 6, x - 5 : x + 6] += 900 * np.exp(-(xx**2 + yy**2) / 4.0)
        file.seek(len(start) + 2000 * 4200 * 2)
        file.write(piece.astype(">i2").tobytes())
        file.truncate(len(start) + -(-4200 * 4100 * 2 // 2880) * 2880)
    return path


def test_a_piece_of_a_mosaic_is_that_piece_of_the_whole(large, tmp_path) -> None:
    piece = read_region(str(large), "1000:1500,2000:2300", gain=3.0)
    whole = read_frame(large)
    assert (piece.shape, piece.gain, piece.name) == ((300, 500), 3.0, "large_1000_2000")
    assert np.array_equal(piece.data, whole.data[2000:2300, 1000:1500])
    assert piece.wcs is not None
    assert whole.wcs is not None
    one, other = piece.wcs.pixel_to_world_values(7, 9), whole.wcs.pixel_to_world_values(1007, 2009)
    assert np.allclose(one, other, atol=1e-12)
    # ... and of a small frame.
    mask = np.zeros((300, 500), dtype=bool)
    mask[4, 10] = True
    small = replace(piece, mask=mask, name="small")
    write_frame(small, tmp_path / "small.fits")
    part = read_region(str(tmp_path / "small.fits"), "10:90,4:40")
    assert np.array_equal(part.data, piece.data[4:40, 10:90], equal_nan=True) or part.bad[0, 0]
    assert (part.shape, bool(part.bad[0, 0]), int(part.bad.sum())) == ((36, 80), True, 1)
    assert np.allclose(
        part.wcs.pixel_to_world_values(1, 2), piece.wcs.pixel_to_world_values(11, 6), atol=1e-12
    )


@pytest.mark.parametrize(
    ("cutout", "message"),
    [
        (None, "a cutout X0:X1,Y0:Y1 of a larger one; got 4200 x 4100 px"),
        ("0:4200,0:4100", "cutout: required at most 4096 x 4096 px; got 4200 x 4100"),
        ("0:10,0:4101", "X0:X1,Y0:Y1 within 0:4200,0:4100"),
        ("9:9,0:4", "X0:X1,Y0:Y1 within"),
        ("a:b", "X0:X1,Y0:Y1 within"),
        ("0:1,0:1\n", "X0:X1,Y0:Y1 within"),
        ("-1:9,0:4", "X0:X1,Y0:Y1 within"),
    ],
)  # fmt: skip
def test_what_is_too_large_or_no_piece_is_refused(large, cutout, message) -> None:
    with pytest.raises(BadInputError, match=message):
        read_region(str(large), cutout)


def test_inject_and_truth_free_take_pieces(large, tmp_path, capsys) -> None:
    out = tmp_path / "injected"
    words = ("inject", large, "--with", "sep", "--number", 5, "--out", out)
    assert skyduel(*words) == 2
    assert "a --cutout X0:X1,Y0:Y1 of a larger one" in capsys.readouterr().err
    assert skyduel(*words, "--cutout", "1000:1500,2000:2300", "--psf", "gaussian:3") == 0
    (entry,) = open_dataset(out).entries
    assert (entry.name, entry.read().shape) == ("large_1000_2000_000", (300, 500))
    capsys.readouterr()
    assert skyduel("truth-free", large, "--with", "sep") == 2
    assert "a --cutout" in capsys.readouterr().err
    assert skyduel("truth-free", large, "--with", "sep", "--cutout", "1000:1500,2000:2300") == 0
    assert "sign-flipped: large_1000_2000" in capsys.readouterr().out


def test_more_frames_than_memory_holds_are_refused_at_the_first(tmp_path, monkeypatch) -> None:
    rng = np.random.default_rng(3)
    frame = Frame(data=rng.normal(9, 1, (60, 80)).astype(np.float32), name="a")
    names = [tmp_path / f"{k}.fits" for k in range(4)]
    for name in names:
        write_frame(frame, name)
    monkeypatch.setattr("skyduel.core.io.size_limits.most_bytes", lambda: 3 * 2 * 60 * 80 * 5)
    assert skyduel("truth-free", *names[:3], "--with", "sep") == 0
    seen: list[str] = []
    monkeypatch.setattr(
        "skyduel.runner.read_region.read_region",
        lambda path, cutout, **_: seen.append(path) or frame,
    )
    assert skyduel("truth-free", *names, "--with", "sep") == 2
    assert len(seen) == 1


def test_the_default_of_trials_is_the_default_of_runs() -> None:
    assert Sectioning() == tune_frame._SECTIONING
    assert entry_of("a.fits").name == "a"
