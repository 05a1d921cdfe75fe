"""`skyduel truth`: the truth of a frame from a reference table, and what uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from helpers.command_line import skyduel
from helpers.paths import DATA, needs_data

from skyduel.core import Catalog, open_dataset, read_catalog, read_frame, write_catalog
from skyduel.evaluation import ScoringRules, apply_ignore

NY, NX = 120, 150
X = np.array([20.0, 50.0, 80.0, 110.0, 135.0, 30.0, 70.0, 100.0])
Y = np.array([20.0, 30.0, 90.0, 60.0, 100.0, 95.0, 60.0, 25.0])
FLUX = np.array([20000, 12000, 9000, 7000, 5000, 4000, 3500, 3000.0])


def solution() -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crpix = 75.0, 60.0
    made.wcs.crval = 210.0, 54.0
    made.wcs.cdelt = -1 / 3600, 1 / 3600
    made.wcs.set()
    return made


def pixels() -> np.ndarray:
    yy, xx = np.mgrid[:NY, :NX]
    data = np.random.default_rng(4).normal(200, 4, (NY, NX))
    for x, y, flux in zip(X, Y, FLUX, strict=True):
        data += flux / (4 * np.pi) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 4)
    return data.astype("f4")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a frame of eight stars, and a reference with them and a ninth, faint one."""
    monkeypatch.chdir(tmp_path)
    header = solution().to_header()
    header["FILTER"], header["DATE-OBS"] = "r", "2016-01-01T12:00:00"
    Path("night").mkdir()
    fits.writeto("night/a.fits", pixels(), header)
    ra, dec = solution().all_pix2world(np.append(X, 60.0), np.append(Y, 110.0), 0)
    mag = np.append(25 - 2.5 * np.log10(FLUX), 24.0)
    nothing = np.zeros(9)
    write_catalog(
        Catalog.build(x=nothing, y=nothing, ra=ra, dec=dec, rmag=mag, gmag=mag + 1,
                      pmra=nothing, pmdec=nothing, ref_epoch=nothing + 2016.0),
        "ref.parquet",
    )  # fmt: skip
    return tmp_path / "night"


def test_score_and_run_use_the_truth(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert skyduel("truth", "night/a.fits", "--from", "ref.parquet") == 0
    said = capsys.readouterr()
    assert said.out.startswith(
        "night/a_truth.ecsv  9 sources on the frame, 1 fainter than the limit 2"
    )
    assert said.out.endswith(" ignored, 8 count\n")
    assert "a: magnitudes: rmag (r band; filter r)" in said.err
    assert "9 of 9 positions moved from 2016.00 to 2016.00 (DATE-OBS = 2016-01-01" in said.err
    made = read_catalog("night/a_truth.ecsv")
    assert made["mag"][0] == pytest.approx(25 - 2.5 * np.log10(20000))
    assert made.table.meta["counts"] == said.out.partition("  ")[2].strip()
    assert made.table.meta["refcat"] == "ref.parquet"
    assert skyduel("detect", "night/a.fits", "--with", "sep", "-o", "found.ecsv") == 0
    assert skyduel("score", "found.ecsv", "night/a_truth.ecsv", "--frame", "night/a.fits") == 0
    assert "1.000 [0.676–1.000] 8/8" in capsys.readouterr().out
    (entry,) = open_dataset("night").entries  # as `skyduel run` opens it
    assert entry.truth == Path("night/a_truth.ecsv")
    truth = apply_ignore(entry.read_truth(entry.read()), (NY, NX), None, None, ScoringRules())
    assert truth["ignore_reason"].tolist().count("given") == truth["ignore"].sum() == 1


def test_a_table_that_is_there_is_kept(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (night / "a_truth.ecsv").write_text("mine")
    assert skyduel("truth", "night/a.fits", "--from", "ref.parquet") == 2
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (night / "a_truth.ecsv").read_text() == "mine"
    words = ("--mag", "gmag", "--depth", "none", "--overwrite")
    assert skyduel("truth", "night/a.fits", "--from", "ref.parquet", *words) == 0
    said = capsys.readouterr()
    assert said.out == "night/a_truth.ecsv  9 sources on the frame\n"
    assert "magnitudes: gmag (as asked for)" in said.err
    assert read_catalog(night / "a_truth.ecsv")["mag"].max() == pytest.approx(25.0)


def test_a_frame_without_coordinates_says_how_and_reads_the_solution(
    night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits.writeto("night/b.fits", pixels(), fits.Header({"PIXSCALE": 1.0}))
    words = ("truth", "night/a.fits", "night/b.fits", "--from", "ref.parquet", "--depth", "22")
    assert skyduel(*words) == 2
    said = capsys.readouterr()
    assert said.out.startswith("night/a_truth.ecsv  9 sources")  # the others are finished
    assert (
        "skyduel: b: required celestial coordinates (WCS): `solve-field --scale-units "
        "arcsecperpix --scale-low 0.9 --scale-high 1.1 night/b.fits` of astrometry.net writes "
        "b.wcs, which is then read (--wcs FILE names another); got none"
    ) in said.err
    header = solution().to_header()
    header["IMAGEW"], header["IMAGEH"] = NX, NY
    fits.PrimaryHDU(header=header).writeto("night/b.wcs")
    assert skyduel("truth", "night/b.fits", "--from", "ref.parquet", "--depth", "22") == 0
    said = capsys.readouterr()
    assert "b: coordinates of b.wcs" in said.err
    assert "no date of observation in the header" in said.err
    made = read_catalog("night/b_truth.ecsv")
    np.testing.assert_allclose(np.sort(made["x"])[:3], [20.0, 30.0, 50.0], atol=1e-6)
    # The frame itself has no coordinates, and needs none: the truth has x and y.
    assert skyduel("detect", "night/b.fits", "--with", "sep", "-o", "found.ecsv") == 0
    assert skyduel("score", "found.ecsv", "night/b_truth.ecsv", "--frame", "night/b.fits") == 0
    assert " 8/8" in capsys.readouterr().out


def test_another_truth_that_comes_first_is_named(
    night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (night / "a.csv").write_text("x,y\n1,2\n")
    assert skyduel("truth", "night/a.fits", "--from", "ref.parquet") == 0
    assert "`skyduel run` takes a.csv for the truth" in capsys.readouterr().err


@pytest.mark.usefixtures("night")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--from", "gaja"), "did you mean gaia"),
        (("--from", "ref.parquet", "--mag", "zmag"), "a column 'zmag' for 'mag'"),
        (("--from", "ref.parquet", "--depth", "deep"), "--depth: required a magnitude, or none"),
        (("--from", "ref.parquet", "-o", "a.xyz"), "a file that ends in"),
        (("--from", "ref.parquet", "--wcs", "none.wcs"), "an existing file"),
        (("--from", "ref.parquet", "--columns", "mag=gmag", "--mag", "rmag"), "one magnitude"),
        (("--from", "ref.parquet", "--columns", "parallax=p"), "pmra, pmdec, epoch"),
    ],
)
def test_what_is_wrong_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert skyduel("truth", "night/a.fits", *words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("night")
def test_without_pyvo_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def ask(*_: object) -> bytes:
        raise ModuleNotFoundError("No module named 'pyvo'", name="pyvo")

    monkeypatch.setattr("skyduel.core.reference.services.ask_by_pyvo", ask)
    assert skyduel("truth", "night/a.fits", "--from", "gaia") == 2
    wanted = "required pyvo (pip install 'skyduel[online]'); got no pyvo"
    assert wanted in capsys.readouterr().err


@needs_data
def test_the_truth_of_a_real_frame_is_the_one_shipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = DATA / "widefield_lens"
    frame, shipped = place / "Alt60_Azi45.fits.fz", place / "Alt60_Azi45_truth.csv"
    made = tmp_path / "made.ecsv"
    assert skyduel("truth", frame, "--from", shipped, "--mag", "g_gaia", "-o", made,
                   "--unresolved", "0") == 0  # fmt: skip
    ours, theirs = read_catalog(made), read_catalog(shipped, columns={"mag": "g_gaia"})
    ny, nx = read_frame(frame).shape
    on = (theirs["x"] < nx - 0.5) & (theirs["y"] < ny - 0.5)
    assert f"{on.sum():,} sources on the frame" in capsys.readouterr().out
    # The positions shipped have three digits.
    np.testing.assert_allclose(np.sort(ours["x"]), np.sort(theirs["x"]), atol=0.003)
    np.testing.assert_allclose(np.sort(ours["y"]), np.sort(theirs["y"]), atol=0.003)
    # 17 of them have a brighter one within half an FWHM.
    assert skyduel("truth", frame, "--from", shipped, "--mag", "g_gaia", "-o", made,
                   "--overwrite") == 0  # fmt: skip
    said = capsys.readouterr()
    assert f"{on.sum() - 17:,} sources on the frame" in said.out
    assert "17 sources within 0.72 px of a brighter one (half the FWHM of 46 stars)" in said.err
    merged = read_catalog(made)
    assert merged["n_sources"].sum() == len(ours)
