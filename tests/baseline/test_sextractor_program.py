"""Tests of the SExtractor program as a detector; stand-ins replace it where it is missing."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from skyduel.baseline import DetectionError, sep_default
from skyduel.baseline.sextractor_files import KEYWORDS
from skyduel.baseline.sextractor_program import PROGRAMS, source_extractor
from skyduel.core.detector import Detector
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame

PROGRAM = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
real = pytest.mark.skipif(
    PROGRAM is None, reason="needs the SExtractor program: apt install source-extractor"
)


def stars(ny=90, nx=140, seed=3, **facts):
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:ny, :nx].astype(float)
    image = np.full((ny, nx), 200.0)
    xs, ys = np.meshgrid(np.arange(15, nx - 10, 20.0), np.arange(12, ny - 10, 20.0))
    xs, ys = (
        xs.ravel() + random.uniform(-2, 2, xs.size),
        ys.ravel() + random.uniform(-2, 2, xs.size),
    )
    for x0, y0 in zip(xs, ys, strict=True):
        image += 300.0 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / 1.3**2)
    image += random.normal(0, 5, image.shape)
    given = {"name": "stars", "gain": 2.0, "saturation": 4e4, "zero_point": 25.0, "fwhm": 3.06}
    return Frame(data=image, **{**given, **facts}), xs, ys


def stand_in(folder: Path, body: str, version: str = "Source Extractor version 9.9.9") -> str:
    """An executable that states a version and then does as told."""
    path = folder / "stand-in"
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = --version ]; then echo "{version}"; exit; fi\n{body}\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


# -- without the program -----------------------------------------------------------------


def test_an_absent_program_names_the_package(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(BadInputError, match=r"apt install source-extractor.*no source-extractor"):
        source_extractor()
    with pytest.raises(BadInputError, match="no my-sex that can be run"):
        source_extractor(executable="my-sex")


def test_another_program_under_the_name_is_refused(tmp_path):
    other = stand_in(tmp_path, "exit 0", version="GNU sex education")
    with pytest.raises(BadInputError, match="to be SExtractor and state its version; got GNU sex"):
        source_extractor(executable=other)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            r'printf "\033[1M> Setting\n\033[1A\n> *Error*: not enough memory\n" >&2; exit 1',
            r"stars: detection failed: stand-in exit status 1: not enough memory$",
        ),
        ("echo just this >&2; exit 3", r"exit status 3: just this$"),
        ("exit 2", r"exit status 2: it said nothing$"),
        ("kill -SEGV $$", r"was stopped by signal 11$"),
        ("exec sleep 3000", r"took more than 0\.3 s$"),
        ("exit 0", r"left no readable catalogue: .*found\.fits"),
        ("echo SIMPLE > found.fits", r"left no readable catalogue"),
    ],
)
def test_a_failure_is_one_line_with_the_reason(tmp_path, body, message):
    limit_s = 0.3 if "sleep" in body else 3000.0
    detector = source_extractor(executable=stand_in(tmp_path, body), timeout_s=limit_s)
    with pytest.raises(DetectionError, match=message) as caught:
        detector(stars()[0])
    assert "\n" not in str(caught.value)


def test_what_the_program_is_given(tmp_path):
    body = f"cp used.sex used.param image.fits weight.fits default.conv {tmp_path}; exit 1"
    frame = stars(mask=np.eye(90, 140, dtype=bool))[0]
    (tmp_path / "mine.param").write_text("CLASS_STAR\nMU_MAX\n")
    (tmp_path / "mine.nnw").write_text("weights\n")
    (tmp_path / "mine.sex").write_text(
        "DETECT_THRESH 2.5\nPARAMETERS_NAME mine.param\nSTARNNW_NAME mine.nnw\n"
        "CATALOG_NAME other.cat\nWEIGHT_TYPE NONE\nWEIGHT_IMAGE weight.fits\nGAIN_KEY EGAIN\n"
    )
    detector = source_extractor(
        executable=stand_in(tmp_path, body), config=tmp_path / "mine.sex", BACK_SIZE=[32, 16]
    )
    with pytest.raises(DetectionError):
        detector(frame)
    used = dict(line.split(" ", 1) for line in (tmp_path / "used.sex").read_text().splitlines())
    assert set(used) <= KEYWORDS
    assert used["DETECT_THRESH"] == "2.5"
    assert "DETECT_MINAREA" not in used  # the program's own, not the shipped file's
    assert used["BACK_SIZE"] == "32, 16"
    assert used["STARNNW_NAME"] == str((tmp_path / "mine.nnw").resolve())
    assert used["CATALOG_TYPE"] == "FITS_LDAC"
    assert used["CATALOG_NAME"] == "found.fits"
    assert used["WEIGHT_TYPE"] == "MAP_WEIGHT"
    assert {"CLASS_STAR", "MU_MAX", "X_IMAGE_DBL"} <= set(
        (tmp_path / "used.param").read_text().split()
    )
    from astropy.io import fits

    assert fits.getheader(tmp_path / "image.fits")["EGAIN"] == 2.0
    assert np.array_equal(fits.getdata(tmp_path / "image.fits"), frame.data)
    assert np.array_equal(fits.getdata(tmp_path / "weight.fits") == 0, frame.bad)
    shown = detector.settings.model_dump(mode="json")
    assert shown["columns"] == ["CLASS_STAR", "MU_MAX"]
    assert len(shown["files"]["STARNNW_NAME"]) == 64
    assert detector.program_version == "9.9.9"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DETECT_TRESH": 2}, r"'DETECT_TRESH'; did you mean DETECT_THRESH\?"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"WEIGHT_IMAGE": "w.fits"}, "WEIGHT_IMAGE: required a weight or mask handed in"),
        ({"FILTER_NAME": "none.conv"}, r"FILTER_NAME: required the file 'none\.conv'"),
        ({"BACK_SIZE": None}, "BACK_SIZE: required a number, a word or a list"),
        ({"BACK_SIZE": "64\nGAIN 3"}, "keywords, each with a value"),
        ({"parameters": {"NOPE": "1"}}, "keywords, each with a value"),
        ({"config": "none.sex"}, "an existing file"),
    ],
)
def test_settings_that_cannot_be(tmp_path, settings, message):
    with pytest.raises(BadInputError, match=message):
        source_extractor(executable=stand_in(tmp_path, "exit 0"), **settings)


# -- with it -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def program():
    return source_extractor()


@real
def test_every_star_is_found_once_where_it_is(program):
    frame, xs, ys = stars()
    found = program(frame)
    assert isinstance(program, Detector)
    assert len(found) == len(xs)
    distance = np.hypot(found["x"][:, None] - xs, found["y"][:, None] - ys)
    assert distance.min(axis=1).max() < 0.1
    assert sorted(distance.argmin(axis=1)) == list(range(len(xs)))
    flux = 300 * 2 * np.pi * 1.3**2
    assert np.median(found["flux"]) == pytest.approx(flux, rel=0.1)
    assert np.allclose(found["mag"], 25 - 2.5 * np.log10(found["flux"]))
    assert (found["kind"] == "point").all()
    assert (found["flux_err"] > 0).all()
    assert found.table.meta["program_version"] == program.program_version


@real
def test_the_version_is_the_programs(program):
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    assert program.program_version in said.stdout + said.stderr


@real
@pytest.mark.parametrize("score", ["peak_snr", "snr_win", "flux_max"])
def test_scores_rise_with_the_threshold_that_would_find_them(score):
    frame = stars(seed=4)[0]
    dim = frame.with_(data=frame.data + np.random.default_rng(1).normal(0, 30, frame.shape))
    low = source_extractor(score=score, DETECT_THRESH=1.0)(dim)
    high = source_extractor(score=score, DETECT_THRESH=3.0)(dim)
    assert 0 < len(high) < len(low)
    assert np.isfinite(low["score"]).all()
    assert np.median(high["score"]) > np.median(low["score"])


@real
def test_our_defaults_are_the_shipped_files(program):
    shipped = Path("/usr/share/source-extractor/default.sex")
    if not shipped.exists():
        pytest.skip("needs the default.sex of Debian's package")
    (frame, *_) = stars(seed=8)
    ours, theirs = program(frame), source_extractor(config=shipped)(frame)
    assert len(ours) > 0
    for name in ("x", "y", "flux", "flux_err", "score", "flags"):
        assert np.array_equal(ours[name], theirs[name])


@real
def test_columns_asked_for_are_kept(tmp_path):
    (tmp_path / "p.param").write_text("ISOAREA_IMAGE\nFLUX_APER(2)\nFLAGS\n")
    (tmp_path / "p.sex").write_text("PARAMETERS_NAME p.param\nPHOT_APERTURES 5,10\n")
    found = source_extractor(config=tmp_path / "p.sex", flux="aper")(stars()[0])
    assert (found["ISOAREA_IMAGE"] >= 5).all()
    assert found.table["FLUX_APER"].shape == (len(found), 2)
    assert np.array_equal(found["flux"], found.table["FLUX_APER"][:, 0])
    assert "FLAGS" not in found.table.colnames  # it is there as flags


@real
def test_a_masked_star_is_not_found(program):
    frame, xs, ys = stars()
    mask = np.zeros(frame.shape, bool)
    # Larger than the program interpolates over.
    mask[:45, :60] = True
    found = program(frame.with_(mask=mask))
    outside = ~((xs < 60) & (ys < 45))
    assert 0 < outside.sum() < len(xs)
    for x0, y0, seen in zip(xs, ys, outside, strict=True):
        if abs(x0 - 60) > 8 and abs(y0 - 45) > 8:
            assert (np.hypot(found["x"] - x0, found["y"] - y0).min() < 0.5) == seen


@real
def test_a_streak_is_one(program):
    y, x = np.mgrid[:120, :160].astype(float)
    along = (x - 80) * np.cos(0.5) + (y - 60) * np.sin(0.5)
    across = -(x - 80) * np.sin(0.5) + (y - 60) * np.cos(0.5)
    image = 200 + 200 * np.exp(-(across**2) / 2 / 1.3**2) * (np.abs(along) < 25)
    image += np.random.default_rng(2).normal(0, 5, image.shape)
    found = program(Frame(data=image, name="streak", fwhm=3.06))
    (row,) = np.flatnonzero(found.is_streak)
    assert found["theta"][row] == pytest.approx(0.5, abs=0.02)
    assert found["length"][row] == pytest.approx(50, rel=0.1)
    assert found["x"][row] == pytest.approx(80, abs=0.5)


@real
@pytest.mark.parametrize("shape", [(5, 5), (1, 40), (200, 3)])
def test_frames_of_odd_sizes_give_a_catalogue(program, shape):
    data = np.random.default_rng(0).normal(10, 1, shape)
    assert len(program(Frame(data=data, name="odd"))) >= 0


@real
def test_what_the_program_refuses_is_its_own_line():
    with pytest.raises(DetectionError, match=r"exit status 1: .*threshold"):
        source_extractor(DETECT_THRESH="nothing")(stars()[0])


@real
def test_nothing_is_left_behind(program, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    import tempfile

    monkeypatch.setattr(tempfile, "tempdir", None)
    before = sorted(os.listdir("."))
    program(stars()[0])
    assert list(tmp_path.iterdir()) == []
    assert sorted(os.listdir(".")) == before


@real
def test_it_agrees_with_sep_on_a_clear_field(program):
    frame = stars()[0]
    theirs, ours = program(frame), sep_default()(frame)
    order_theirs, order_ours = np.lexsort(theirs.xy.T), np.lexsort(ours.xy.T)
    assert np.abs(theirs.xy[order_theirs] - ours.xy[order_ours]).max() < 0.02
    assert theirs["flux"][order_theirs] == pytest.approx(ours["flux"][order_ours], rel=0.02)
    assert theirs["score"][order_theirs] == pytest.approx(ours["score"][order_ours], rel=0.01)
