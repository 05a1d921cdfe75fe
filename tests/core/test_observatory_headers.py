"""Headers as observatories and cameras' programs write them: every fact right, or unknown."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from astropy.io import fits

from skyduel.core import read_frame

FACTS = ("gain", "read_noise", "saturation", "exposure_s", "zero_point", "fwhm")


class Case(NamedTuple):
    """Cards, the facts they state (others are unknown), and words of what is set aside."""

    cards: dict[str, Any]
    facts: dict[str, float]
    aside: str = ""


CASES: dict[str, Case] = {
    "ZTF science image": Case(
        {"GAIN": (6.2, "[e-/DN] Gain"), "READNOI": (10.3, "[electrons] Read noise"),
         "SATURATE": (44500.0, "[DN] Saturation level"), "EXPTIME": (30.0, "[s] Exposure time"),
         "MAGZP": (26.2, "Magnitude zeropoint [mag]"), "SEEING": (2.3, "Seeing FWHM [pixels]"),
         "PIXSCALE": (1.012, "[arcsec/pixel] pixel scale")},
        {"gain": 6.2, "read_noise": 10.3, "saturation": 44500.0, "exposure_s": 30.0,
         "zero_point": 26.2, "fwhm": 2.3},
    ),
    "DECam community pipeline": Case(
        {"GAINA": (4.03, "[e/ADU] gain for amp A"), "GAINB": 3.97, "RDNOISEA": 6.1,
         "SATURATA": 43000.0, "EXPTIME": 90.0, "MAGZERO": (30.3, "[mag] Magnitude zero point"),
         "FWHM": (4.1, "Median FWHM in pixels"), "SEEING": (1.07, "[arcsec] seeing")},
        {"gain": 4.03, "read_noise": 6.1, "saturation": 43000.0, "exposure_s": 90.0,
         "zero_point": 30.3, "fwhm": 4.1},
    ),
    "HST drizzled, WFC3 IR": Case(
        {"BUNIT": "ELECTRONS/S", "CCDGAIN": 2.5, "EXPTIME": 1200.0, "NCOMBINE": 4},
        {"gain": 1200.0, "exposure_s": 1200.0},
    ),
    "HST WFPC2, counts": Case(
        {"BUNIT": "COUNTS/S", "ATODGAIN": 7.0, "CCDGAIN": 6.9, "EXPTIME": 400.0},
        {"gain": 2800.0, "exposure_s": 400.0},
    ),
    "SDSS frame": Case(
        {"BUNIT": ("nanomaggy", "1 nanomaggy = 3.631e-6 Jy"), "EXPTIME": "53.9", "NMGY": 0.005},
        {"exposure_s": 53.9},
        "gain unknown (pixels in nanomaggy",
    ),
    "JWST i2d": Case(
        {"BUNIT": "MJy/sr", "XPOSURE": (837.5, "[s] Effective exposure time"), "PHOTMJSR": 0.4},
        {"exposure_s": 837.5},
        "gain unknown (pixels in MJy/sr",
    ),
    "LCO BANZAI": Case(
        {"BUNIT": "electron", "GAIN": (1.0, "[electrons/count]"), "RDNOISE": (6.5, "[electrons]"),
         "SATURATE": (65000.0, "[ADU] Saturation level used"), "EXPTIME": (60.0, "[s]"),
         "L1ZP": (23.1, "[mag] Instrumental zeropoint"), "L1FWHM": (1.5, "[arcsec]"),
         "PIXSCALE": (0.5, "[arcsec/pixel]")},
        {"gain": 1.0, "read_noise": 6.5, "saturation": 65000.0, "exposure_s": 60.0,
         "zero_point": 23.1 + 2.5 * math.log10(60.0), "fwhm": 3.0},
    ),
    "Pan-STARRS warp": Case(
        {"HIERARCH CELL.GAIN": 1.02, "HIERARCH CELL.READNOISE": 5.4,
         "HIERARCH CELL.SATURATION": 62000.0, "HIERARCH FPA.ZP": 24.6, "EXPTIME": 43.0},
        {"gain": 1.02, "read_noise": 5.4, "saturation": 62000.0, "exposure_s": 43.0,
         "zero_point": 24.6 + 2.5 * math.log10(43.0)},
    ),
    "TESS full frame": Case(
        {"TELESCOP": "TESS", "BUNIT": ("electrons/s", "physical units of image"),
         "EXPOSURE": (0.0164, "[d] time on source"), "GAINA": (5.25, "[electrons/count]"),
         "READNOIA": 9.9},
        {"gain": 0.0164 * 86400, "exposure_s": 0.0164 * 86400},
    ),
    "BlackGEM": Case(
        {"BUNIT": "e-", "GAIN": 1.0, "RDNOISE": (9.6, "[e-] read-out noise"),
         "SATURATE": (118000.0, "[e-] saturation level"), "EXPTIME": 60.0,
         "PC-ZP": (23.9, "[mag] zeropoint, flux in e-/s"), "S-FWHM": (3.9, "[pix] FWHM estimate"),
         "S-SEEING": (2.2, "[arcsec] seeing estimate")},
        {"gain": 1.0, "read_noise": 9.6, "saturation": 118000.0, "exposure_s": 60.0,
         "zero_point": 23.9 + 2.5 * math.log10(60.0), "fwhm": 3.9},
    ),
    "PTF": Case(
        {"GAIN": (1.5, "[e-/D.N.] gain"), "READNOI": (4.9, "[e-]"), "SATURVAL": (55000.0, "[DN]"),
         "EXPTIME": 60.0, "IMAGEZPT": (27.2, "[mag] zero-point of the image"),
         "SEEING": (2.3, "[pix] FWHM")},
        {"gain": 1.5, "read_noise": 4.9, "saturation": 55000.0, "exposure_s": 60.0,
         "zero_point": 27.2, "fwhm": 2.3},
    ),
    "INT WFC": Case(
        {"GAIN": (2.8, "photo-electrons per ADU"), "READNOIS": (6.4, "electrons"),
         "EXPTIME": 120.0, "SEEING": (1.3, "[arcsec]"), "SECPPIX": (0.325, "arcsec per pixel")},
        {"gain": 2.8, "read_noise": 6.4, "exposure_s": 120.0, "fwhm": 4.0},
    ),
    "Keck LRIS": Case(
        {"TTIME": 120, "ELAPTIME": 121, "CCDGAIN": "low"}, {"exposure_s": 121.0},
        "CCDGAIN = 'low': set aside",
    ),
    "UKIRT WFCAM": Case(
        {"GAIN": (4.5, "[electrons/ADU] gain"), "READNOIS": (25.0, "[electrons]"), "EXP_TIME": 10.0,
         "MAGZPT": (22.8, "[mag] Photometric ZP for default extinction"), "EXTINCT": 0.05,
         "SEEING": (2.1, "[pixel] average pixel FWHM"), "PIXLSIZE": (0.4, "[arcsec] pixel size")},
        {"gain": 4.5, "read_noise": 25.0, "exposure_s": 10.0, "zero_point": 25.3, "fwhm": 2.1},
    ),
    "CFHT MegaPipe stack": Case(
        {"GAIN": 45, "NCOMBINE": 28, "PHOTZP": (30.0, "magnitude zero point"), "SATURATE": 21000.0},
        {"gain": 45.0, "zero_point": 30.0, "saturation": 21000.0},
    ),
    "Subaru HSC": Case({"FLUXMAG0": 63095734448.0194, "EXPTIME": 200.0},
                       {"zero_point": 27.0, "exposure_s": 200.0}),
    "ESO FORS": Case(
        {"EXPTIME": 99.9, "HIERARCH ESO DET OUT1 CONAD": 2.18, "HIERARCH ESO DET OUT1 GAIN": 0.46,
         "HIERARCH ESO DET OUT1 RON": 3.2},
        {"gain": 2.18, "read_noise": 3.2, "exposure_s": 99.9},
    ),
    "Liverpool Telescope": Case(
        {"GAIN": (1.62, "[e-/count] calibrated"), "READNOIS": 7.9, "EXPTIME": 60.0,
         "SEEING": (999.0, "[Dummy] Unable to calculate"), "L1SEESEC": 99.9},
        {"gain": 1.62, "read_noise": 7.9, "exposure_s": 60.0},
        "SEEING = 999.0: set aside",
    ),
    "MaxIm DL": Case(
        {"EGAIN": (0.37, "Electronic gain in e-/ADU"), "EXPTIME": 180.0, "XPIXSZ": 9.0,
         "PEDESTAL": -100, "SWCREATE": "MaxIm DL Version 6"},
        {"gain": 0.37, "exposure_s": 180.0},
    ),
    "NINA": Case(
        {"GAIN": (100, "Sensor gain"), "OFFSET": (50, "Sensor gain offset"), "EXPTIME": 120.0,
         "EGAIN": (0.246, "[e-/ADU] Electrons per A/D unit"), "INSTRUME": "ZWO ASI2600MM Pro"},
        {"gain": 0.246, "exposure_s": 120.0},
    ),
    "SharpCap": Case(
        {"GAIN": 200.0, "BLKLEVEL": 30, "EXPTIME": 4.0, "INSTRUME": "ZWO ASI533MC"},
        {"exposure_s": 4.0},
        "a camera's setting: beside BLKLEVEL",
    ),
    "ASIAIR": Case(
        {"GAIN": 101, "OFFSET": 50, "EXPTIME": 300.0, "CREATOR": "ZWO ASIAIR", "BAYERPAT": "RGGB"},
        {"exposure_s": 300.0},
        "a camera's setting",
    ),
    "Seestar stack": Case(
        {"GAIN": 80, "EXPTIME": 10.0, "STACKCNT": 120, "INSTRUME": "Seestar S50"},
        {"exposure_s": 10.0},
        "a camera's setting: beside Seestar S50",
    ),
    "EMCCD": Case({"GAIN": (2, "Pre-amp gain setting"), "EXPOSURE": 0.05},
                  {"exposure_s": 0.05}, "a camera's setting"),
    "IRAF": Case(
        {"GAIN": "1.5", "RDNOISE": "4.2 e-", "EXPTIME": "INDEF", "ITIME": 20.0, "NCOMBINE": 5},
        {"gain": 1.5, "read_noise": 4.2, "exposure_s": 20.0},
        "EXPTIME = 'INDEF': set aside (no number)",
    ),
    "dummies": Case(
        {"GAIN": -1, "RDNOISE": -99.0, "SATURATE": 0.0, "EXPTIME": 0.0, "MAGZERO": 0.0, "FWHM": -9},
        {"zero_point": 0.0},
        "GAIN = -1: set aside (sentinel",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_facts_of_a_header(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    level, gain = 200.0, case.facts.get("gain", 2.0)
    noise = np.random.default_rng(1).normal(0, math.sqrt(level / gain), (64, 80))
    hdu = fits.PrimaryHDU((level + noise).astype("f4"))
    for key, value in case.cards.items():
        hdu.header[key] = value
    hdu.writeto(tmp_path / "f.fits")
    frame = read_frame(tmp_path / "f.fits")
    found = {fact: v for fact in FACTS if (v := getattr(frame, fact)) is not None}
    assert found == pytest.approx(case.facts)
    assert set(found) <= set(frame.sources)
    assert case.aside in " ".join(frame.header.get("ignored_facts", ()))
