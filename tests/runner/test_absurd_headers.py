"""Absurd headers among the frames of a run: the record says what was used, the run goes on."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.runs import assert_same_tables, two_detector_plan

from skyduel.run_folder.record import read_record
from skyduel.runner.run import run

POINTING = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 32.0, "CRPIX2": 32.0,
            "CRVAL1": 1e30, "CRVAL2": -1e30, "CD1_1": 0.0, "CD2_2": "x", "PV1_99": 1.0}  # fmt: skip
HEADERS: dict[str, dict[str, Any]] = {
    "good": {"GAIN": 1.5, "MAGZERO": 25.0, "EXPTIME": 30.0},
    "none": {},
    "size": {"FWHM": 8500.0, "SEEING": 1e30, "PIXSCALE": 1e-30, "SATURATE": -5.0},
    "number": {"GAIN": 1e300, "EXPTIME": -1e300, "MAGZERO": "99.99", "RDNOISE": "-", "FWHM": 0},
    "unit": {"BUNIT": "MJy/sr", "GAIN": (0.0, "ADU per electron"), "EXPTIME": "soon"},
    "place": POINTING | {"DATASEC": "[9:1,0:-5]", "BIASSEC": "[1:64,1:64]", "EQUINOX": "J"},
    "asinh": {"BSOFTEN": -1.0, "BOFFSET": 0.0},
    "blank": {"BSCALE": 0.0, "BZERO": 1.0},
}  # fmt: skip
SET_ASIDE = {
    "size": "FWHM SEEING PIXSCALE SATURATE",
    "number": "GAIN EXPTIME MAGZERO RDNOISE FWHM",
    "unit": "gain EXPTIME",
    "place": "CRVAL",
}
#: Frames whose pixels cannot be used.
FAILED = {"asinh": "BSOFTEN > 0 of asinh pixels", "blank": "an image whose pixels vary"}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("absurd") / "night"
    folder.mkdir()
    rng = np.random.default_rng(8)
    yy, xx = np.mgrid[:64, :64]
    for name, cards in HEADERS.items():
        x, y = rng.uniform(8, 55, (2, 4))
        image = rng.normal(100, 3, (64, 64))
        for at in zip(x, y, strict=True):
            image += 200 * np.exp(-((xx - at[0]) ** 2 + (yy - at[1]) ** 2) / 3)
        hdu = fits.PrimaryHDU(image.astype("f4"))
        for key, value in cards.items():
            hdu.header[key] = value
        hdu.writeto(folder / f"{name}.fits")
        flux = np.full(4, 600 * np.pi)
        table = Table({"x": x, "y": y, "flux": flux, "mag": 25 - 2.5 * np.log10(flux)})
        table.write(folder / f"{name}.ecsv")
    return folder


def test_a_run_survives_absurd_headers_and_is_resumed(night: Path, tmp_path: Path) -> None:
    plan = two_detector_plan(night, tmp_path / "run")
    record = run(plan)
    assert record.status == "complete with failures"
    assert {f.frame for f in record.failures} == set(FAILED)
    for failure in record.failures:
        assert FAILED[failure.frame] in str(failure.reason)
        assert "\n" not in str(failure.reason)
    assert record == read_record(plan.paths.record)
    assert record.detector("sep").frames_done == len(HEADERS) - len(FAILED)

    frames = {f.name: f for f in record.dataset.frames}
    assert frames["good"].facts["gain"] == "1.5 e- per pixel unit (GAIN = 1.5)"
    assert frames["good"].facts["zero_point"] == "25 mag (MAGZERO = 25.0)"
    assert frames["good"].set_aside == frames["blank"].set_aside == ()
    assert frames["none"].facts == {
        "wcs": "none", "unit": "no BUNIT", "mask": "0 px", "mosaic": "none", "calibration": "none",
    }  # fmt: skip
    for name, cards in SET_ASIDE.items():
        said = " ".join(frames[name].set_aside)
        assert [card for card in cards.split() if card not in said] == [], name
    warned = " ".join(record.warnings)
    assert "FWHM = 0: set aside" in warned
    assert "(and so on 1 other frame)" in warned

    shutil.copytree(plan.folder, tmp_path / "first")
    plan.paths.catalog("sep", "size").unlink()
    again = run(replace(plan, resume=True, workers=2))
    assert again.dataset == record.dataset
    assert again.warnings == record.warnings
    assert_same_tables(tmp_path / "first", plan.folder)
