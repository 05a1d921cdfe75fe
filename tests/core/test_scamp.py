"""SCAMP takes the FITS_LDAC that is written and corrects the frame's coordinates with it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from skyduel.core import Catalog, Frame, read_catalog, write_catalog
from skyduel.core.io.sextractor_tables import write_ldac

SCAMP = shutil.which("scamp")
N = 80
KEYS = {
    "ASTREF_CATALOG": "FILE", "ASTREFCAT_NAME": "ref.ldac", "CENTROID_KEYS": "X_IMAGE,Y_IMAGE",
    "CENTROIDERR_KEYS": "ERRA_IMAGE,ERRB_IMAGE,ERRTHETA_IMAGE", "DISTORT_DEGREES": "1",
    "DISTORT_KEYS": "X_IMAGE,Y_IMAGE", "CHECKPLOT_TYPE": "NONE", "CHECKPLOT_DEV": "NULL",
    "WRITE_XML": "N", "NTHREADS": "1", "SN_THRESHOLDS": "5,10",
    "PHOTFLUX_KEY": "FLUX_APER", "PHOTFLUXERR_KEY": "FLUXERR_APER",
}  # fmt: skip


def field() -> tuple[Frame, Catalog]:
    """Return a frame with its own header cards and a catalogue without position errors."""
    rng = np.random.default_rng(0)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [300.5, 200.5]
    wcs.wcs.cdelt = [-1 / 3600, 1 / 3600]
    cards = dict(wcs.to_header()) | {"FILTER": "r", "EXPTIME": 60.0, "OBJECT": "field"}
    frame = Frame(data=rng.normal(size=(400, 600)), name="a", wcs=wcs, header=cards, fwhm=3.0)
    flux = 10 ** rng.uniform(3, 5, N)
    found = Catalog.build(
        x=rng.uniform(20, 580, N), y=rng.uniform(20, 380, N), flux=flux, flux_err=flux**0.5,
        mag=25 - 2.5 * np.log10(flux),
    )  # fmt: skip
    return frame, found


def test_the_frames_cards_and_position_errors_are_written(tmp_path: Path) -> None:
    frame, found = field()
    write_catalog(found, tmp_path / "a.ldac", frame=frame)
    with fits.open(tmp_path / "a.ldac") as hdus:
        start, length = hdus[1]._data_offset, hdus[1].header["NAXIS1"]
        errors = np.array(hdus[2].data["ERRA_IMAGE"])
        assert hdus[2].columns["ERRTHETA_IMAGE"].unit == "deg"
    raw = (tmp_path / "a.ldac").read_bytes()[start : start + length]
    assert len(raw) % 2880 == 0
    assert b"\0" not in raw
    header = fits.Header.fromstring(raw.decode("ascii"))
    assert (header["NAXIS1"], header["NAXIS2"], header["FILTER"]) == (600, 400, "r")
    assert header["CRVAL1"] == 150.0
    np.testing.assert_allclose(errors, np.sqrt(2) * 3 / 2.3548 * found["flux"] ** -0.5, rtol=1e-4)
    np.testing.assert_allclose(read_catalog(tmp_path / "a.ldac")["xy_err"], errors)


def test_stated_position_errors_stand(tmp_path: Path) -> None:
    frame, found = field()
    stated = found.with_columns(xy_err=np.full(N, 0.25))
    write_catalog(stated, tmp_path / "a.ldac", frame=frame)
    back = read_catalog(tmp_path / "a.ldac")
    assert (back["xy_err"] == 0.25).all()
    assert "ERRA_IMAGE" not in back
    assert "xy_err" not in read_with(tmp_path, frame.with_(fwhm=None), found)


def read_with(folder: Path, frame: Frame, found: Catalog) -> Catalog:
    write_catalog(found, folder / "b.ldac", frame=frame)
    return read_catalog(folder / "b.ldac")


@pytest.mark.skipif(SCAMP is None, reason="needs SCAMP: apt install scamp")
def test_scamp_corrects_a_shift(tmp_path: Path) -> None:
    frame, found = field()
    assert frame.wcs is not None
    moved = found.with_columns(x=found["x"] + 3.0).with_meta(fluxtype="aper")
    write_catalog(moved, tmp_path / "a.ldac", frame=frame)
    ra, dec = frame.wcs.all_pix2world(found["x"], found["y"], 0)
    errors = np.full(N, 0.05 / 3600)
    reference = Table(
        {
            "X_WORLD": ra, "Y_WORLD": dec, "ERRA_WORLD": errors, "ERRB_WORLD": errors,
            "ERRTHETA_WORLD": np.zeros(N), "MAG": found["mag"].astype("f4"),
            "MAGERR": np.full(N, 0.02, "f4"), "OBSDATE": np.full(N, 2000.0),
        }
    )  # fmt: skip
    write_ldac(reference, tmp_path / "ref.ldac")
    words = [word for key, value in KEYS.items() for word in (f"-{key}", value)]
    done = subprocess.run(
        [str(SCAMP), "a.ldac", *words], cwd=tmp_path, capture_output=True, text=True, timeout=1200
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert "All done" in done.stdout + done.stderr
    text = (tmp_path / "a.head").read_text().splitlines()
    cards = "".join(line.ljust(80) for line in text if not line.startswith(("COMMENT", "HISTORY")))
    header = fits.Header.fromstring(cards)
    corrected = WCS(header).all_world2pix([[150.0, 2.0]], 1)[0]
    np.testing.assert_allclose(corrected, [303.5, 200.5], atol=0.1)
