"""Tests of the command line: its output, its files and its errors."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.command_line import skyduel
from helpers.paths import DATA, needs_data

from skyduel.core import BadInputError, Catalog, read_catalog, read_frame, write_catalog


@pytest.fixture
def star_frame(tmp_path: Path) -> Path:
    """A frame of 12 bright stars on noise, 90 × 120 px."""
    rng = np.random.default_rng(2)
    yy, xx = np.mgrid[0:90, 0:120]
    image = rng.normal(200, 5, (90, 120))
    for x, y in zip(rng.uniform(8, 112, 12), rng.uniform(8, 82, 12), strict=True):
        image += 400 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 2.5)
    path = tmp_path / "night" / "stars.fits"
    path.parent.mkdir()
    fits.writeto(path, image.astype(">f4"))
    return path


def test_help_names_every_command(capsys) -> None:
    assert skyduel("--help") == 0
    text = capsys.readouterr().out
    for name in ("run", "simulate", "detect", "score", "report", "train"):
        assert name in text
    assert "Exit status" in text


@pytest.mark.parametrize("name", ["run", "simulate", "detect", "score", "report", "train"])
def test_each_command_explains_itself(name, capsys) -> None:
    assert skyduel(name, "--help") == 0
    assert len(capsys.readouterr().out) > 300


def test_an_old_command_name_works_and_says_its_new_name(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.fits").touch()
    assert skyduel("--help") == 0
    text = capsys.readouterr().out
    assert "truth-free" in text
    assert "blind" not in text
    assert skyduel("blind", "one.fits", "--repeats") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "skyduel: `blind` is an old name; the command is now `truth-free`"
    assert "at least two frames" in lines[1]
    assert skyduel("truth-free", "nowhere.fits", "--repeats") == 2
    assert "old name" not in capsys.readouterr().err


def test_version(capsys) -> None:
    assert skyduel("--version") == 0
    assert capsys.readouterr().out.startswith("skyduel ")


def test_simulate_writes_frames_truth_and_manifest(tmp_path, capsys) -> None:
    out = tmp_path / "sky"
    words = ["simulate", "--out", out, "--family", "field", "--family", "dirty", "--count", 2]
    assert skyduel(*words, "--calibration", 1, "--ny", 96, "--nx", 130, "--seed", 3) == 0
    assert capsys.readouterr().out.strip() == str(out / "manifest.csv")
    frame = read_frame(out / "field_000.fits.fz")
    assert frame.shape == (96, 130)
    assert frame.fwhm is not None
    truth = read_catalog(out / "field_000.ecsv")
    assert "snr" in truth
    again = tmp_path / "again"
    words[2] = again
    assert skyduel(*words, "--calibration", 1, "--ny", 96, "--nx", 130, "--seed", 3) == 0
    np.testing.assert_array_equal(frame.data, read_frame(again / "field_000.fits.fz").data)
    assert skyduel(*words) == 2
    assert "a new or empty folder" in capsys.readouterr().err


def test_simulated_frames_lie_on_the_sky_where_one_wants(tmp_path) -> None:
    words = ["--family", "field", "--count", 1, "--ny", 95, "--nx", 131, "--seed", 3]
    assert skyduel("simulate", "--out", tmp_path / "plain", *words) == 0
    words += ["--center", "83.6,-60", "--scale", 3]
    assert skyduel("simulate", "--out", tmp_path / "sky", *words) == 0
    plain = read_frame(tmp_path / "plain" / "field_000.fits.fz")
    frame = read_frame(tmp_path / "sky" / "field_000.fits.fz")
    np.testing.assert_array_equal(frame.data, plain.data)
    assert plain.wcs is None
    assert frame.pixel_scale_arcsec == 3
    # The middle of 131 × 95 px, counted from 0; ten pixels up are 30 arcsec north, ten to the left
    # 30 arcsec east.
    sky = frame.wcs.pixel_to_world([65, 65, 55], [47, 57, 47])
    np.testing.assert_allclose(sky.ra.deg, [83.6, 83.6, 83.6 + 30 / 3600 / 0.5], atol=1e-5)
    np.testing.assert_allclose(sky.dec.deg, [-60, -60 + 30 / 3600, -60], atol=2e-6)
    truth = read_catalog(tmp_path / "sky" / "field_000.ecsv")
    sky = frame.wcs.pixel_to_world(truth["x"], truth["y"])
    np.testing.assert_allclose(truth["ra"], sky.ra.deg, atol=1e-9)
    np.testing.assert_allclose(truth["dec"], sky.dec.deg, atol=1e-9)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--center", "400,3"], "--center: required RA,DEC in degrees, 0 to 360"),
        (["--center", "5h 3m"], "--center: required RA,DEC in degrees, 0 to 360"),
        (["--center", "nan,3"], "--center: required RA,DEC in degrees, 0 to 360"),
        (["--center", "4,3", "--scale", "0"], "--scale: required more than 0 and at most 60"),
        (["--scale", "2"], "--scale: required --center RA,DEC beside it"),
    ],
)
def test_simulate_refuses_positions_that_are_none(words, message, tmp_path, capsys) -> None:
    assert skyduel("simulate", "--out", tmp_path / "sky", *words) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "sky").exists()


def test_detect_writes_one_catalogue_a_frame(star_frame, tmp_path, capsys) -> None:
    out = tmp_path / "cats"
    assert skyduel("detect", star_frame, "--with", "sep", "--out", out, "--regions") == 0
    found = read_catalog(out / "stars.ecsv")
    assert len(found) == 12
    assert np.isfinite(found["score"]).all()
    assert (out / "stars.reg").exists()
    assert sorted(p.name for p in out.iterdir()) == ["stars.ecsv", "stars.reg"]
    assert "12 sources" in capsys.readouterr().out
    assert skyduel("detect", star_frame, "--with", "sep", "--out", out, "--format", "csv",
                   "--set", "sep.DETECT_THRESH=500") == 0  # fmt: skip
    assert len(read_catalog(out / "stars.csv")) == 0


def broken_files(folder: Path) -> dict[str, tuple[Path, str]]:
    """Files nobody can use, with a word of the line that should say so."""
    good = np.random.default_rng(0).normal(100, 5, (64, 80)).astype("f4")
    folder.mkdir()

    def write(name: str, data: np.ndarray) -> Path:
        fits.writeto(folder / name, data)
        return folder / name

    whole = write("whole.fits", good)
    truncated = folder / "truncated.fits"
    truncated.write_bytes(whole.read_bytes()[:12000])
    empty = folder / "empty.fits"
    empty.write_bytes(b"")
    text = folder / "text.fits"
    text.write_text("SIMPLE, said the astronomer\n")
    return {
        "truncated": (truncated, "trunc|complete|bytes"),
        "empty": (empty, "empty file"),
        "all-NaN": (write("nan.fits", np.full((30, 40), np.nan, "f4")), "usable pixel"),
        "constant": (write("flat.fits", np.full((30, 40), 7, "i2")), "vary"),
        "1-D": (write("line.fits", np.arange(50, dtype="f4")), "two|2-D|dimension"),
        "3-D": (write("cube.fits", np.stack([good] * 3)), "two|2-D|dimension"),
        "text": (text, "FITS"),
        "missing": (folder / "missing.fits", "existing file"),
    }


@pytest.mark.parametrize(
    "kind", ["truncated", "empty", "all-NaN", "constant", "1-D", "3-D", "text", "missing"]
)
def test_a_broken_frame_is_one_line_and_the_others_are_done(
    kind, star_frame, tmp_path, capsys
) -> None:
    import re

    path, word = broken_files(tmp_path / "broken")[kind]
    out = tmp_path / "cats"
    assert skyduel("detect", path, star_frame, "--with", "sep", "--out", out) == 2
    printed = capsys.readouterr()
    said = [line for line in printed.err.splitlines() if line.startswith("skyduel:")]
    lines = [line for line in said if not line.startswith("skyduel: no ")]  # facts of the other
    assert len(lines) == 1
    assert re.search(word, lines[0]), lines[0]
    assert path.name in lines[0] or path.stem in lines[0]
    assert "Traceback" not in printed.err
    assert len(read_catalog(out / "stars.ecsv")) == 12
    assert not list(out.glob(f"{path.stem}*"))


def test_frames_of_one_name_are_refused_before_work(star_frame, tmp_path, capsys) -> None:
    other = tmp_path / "stars.fits"
    other.write_bytes(star_frame.read_bytes())
    assert skyduel("detect", star_frame, other, "--with", "sep", "--out", tmp_path / "c") == 2
    assert "frames of different names" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--with", "spe"], "did you mean"),
        (["--with", "sep", "--set", "sep.DETECT_TRESH=2"], "did you mean"),
        (["--with", "sep", "--set", "DETECT_THRESH=2"], "LABEL.SETTING=VALUE"),
        (["--with", "sep", "--set", "neural.floor=1"], "a label among sep"),
        (["--with", "sep", "--format", "xls"], "one of ecsv"),
        (["--with", "neural", "--set", "neural.weights=nowhere.safetensors"], "weights file"),
    ],
)
def test_wrong_options_are_named(words, message, star_frame, tmp_path, capsys) -> None:
    assert skyduel("detect", star_frame, "--out", tmp_path / "c", *words) == 2
    err = capsys.readouterr().err
    assert message in " ".join(err.split())
    assert "Traceback" not in err


@pytest.fixture
def two_tables(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(6)
    x, y, mag = rng.uniform(0, 500, 40), rng.uniform(0, 300, 40), rng.uniform(15, 24, 40)
    truth = Catalog.build(x=x, y=y, mag=mag)
    found = Catalog.build(
        x=np.r_[x[:30] + 0.5, [600, 620]], y=np.r_[y[:30], [10, 20]], mag=np.r_[mag[:30], [20, 21]]
    )
    paths = tmp_path / "found.ecsv", tmp_path / "truth.fits"
    write_catalog(found, paths[0])
    write_catalog(truth, paths[1])
    return paths


def test_score_prints_and_speaks_json(two_tables, capsys) -> None:
    found, truth = two_tables
    words = ["score", found, truth, "--radius-px", 2, "--bins", "15:24:1"]
    assert skyduel(*words) == 0
    table = capsys.readouterr().out
    assert "0.750" in table
    assert "30/40" in table
    assert skyduel(*words, "--json") == 0
    first = capsys.readouterr().out
    report = json.loads(first)
    total = {r["quantity"]: r for r in report["scores"] if r["bin"] == -2}
    assert total["completeness"]["value"] == 0.75
    assert total["purity"]["value"] == pytest.approx(30 / 32)
    assert report["edges"] == [float(e) for e in range(15, 25)]
    assert report["schema"] == 1
    assert skyduel(*words, "--json") == 0
    assert capsys.readouterr().out == first


def test_score_refuses_a_table_without_x(two_tables, tmp_path, capsys) -> None:
    bare = tmp_path / "bare.csv"
    bare.write_text("ex,y,mag\n1,2,3\n")
    assert skyduel("score", bare, two_tables[1]) == 2
    err = capsys.readouterr().err
    assert "columns x and y" in err
    assert "ex, y, mag" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


def test_score_refuses_bins_that_make_no_sense(two_tables, capsys) -> None:
    assert skyduel("score", *two_tables, "--bins", "15-24") == 2
    assert "start:stop:step" in capsys.readouterr().err


def test_report_refuses_a_folder_that_is_no_run(tmp_path, capsys) -> None:
    assert skyduel("report", tmp_path) == 2
    assert "run.json" in capsys.readouterr().err


def test_config_errors_name_the_key(star_frame, tmp_path, capsys) -> None:
    config = tmp_path / "duel.toml"
    for text, message in (
        ("detector = 3", "detector to be a table; got 3"),
        ("detectors = [1]", "detectors to be a list of at least one name; got [1]"),
        ("detectors = []", "a list of at least one name"),
        ("workers = 0", "workers to be a number, 1 or more; got 0"),
        ("workers = true", "1 or more; got True"),
        ("radius = 2", "keys among"),
        ("detecters = ['sep']", "'detecters'; did you mean detectors?"),
        ("[rules", "a TOML file"),
        ("[rules]\nradius_xp = 2", "'radius_xp'; did you mean 'radius_px'?"),
        ("[tuning]\ntrails = 2", "'trails'; did you mean trials?"),
        ("[detector.speed]\nthresh = 2", "'speed'; did you mean sep?"),
        ("[detector.nobodys]\nthresh = 2", "a label that runs or is registered (sep,"),
        ("[detector]\nnobodys = 2", "[detector.nobodys]: required a table of settings"),
        ("detectors = ['sep']\n[detector.seep]\nuse = 'sep'\n", "'seep'; did you mean sep?"),
    ):
        config.write_text(text)
        words = [] if "detectors =" in text else ["--with", "sep"]
        for command in ("run", "detect"):
            given = star_frame.parent if command == "run" else star_frame
            out = tmp_path / "out"
            assert skyduel(command, given, "--config", config, "--out", out, *words) == 2, text
            assert message in " ".join(capsys.readouterr().err.split()), text
            if not words:
                break  # `detect` takes one, by --with
        assert not (tmp_path / "out").exists()


def test_tables_of_detectors_that_stand_by_are_welcome(tmp_path) -> None:
    from skyduel.cli.commands.options import detector_specs, read_config

    config = tmp_path / "duel.toml"
    config.write_text(
        """
detectors = ["a", "b=sep"]
[detector.a]
use = "sep"
DETECT_THRESH = 2
[detector.b]
DETECT_THRESH = 3
[detector.daofind]
[detector.for_another_day]
use = "sep"
"""
    )
    read = read_config(config)
    chosen = detector_specs(read, None, None, ())
    assert [(c.name, c.use) for c in chosen] == [("a", "sep"), ("b", "sep")]
    chosen = detector_specs(read, ["for_another_day"], None, ())
    assert [(c.name, c.use) for c in chosen] == [("for_another_day", "sep")]
    with pytest.raises(BadInputError, match="'bb'; did you mean b"):
        detector_specs(read, None, ["bb.DETECT_THRESH=3"], ())


FRAMES = [
    "skymaker/sparse_000.fits.fz",
    "sdss_s82/frame-r-000094-1-0012.fits.bz2",
    "ystar_streak/long.fits",
    "widefield_lens/Alt40_Azi135.fits.fz",
    "panoptes_cygnus/solved.fits.fz",
    "wfsat_crops/242.fits",
    "wfsat_crops/284.fits",
]


@needs_data
def test_detect_takes_every_kind_of_shared_frame(tmp_path) -> None:
    frames = [DATA / f for f in FRAMES]
    assert skyduel("detect", *frames, "--with", "sep", "--out", tmp_path) == 0
    names = sorted(p.stem for p in tmp_path.glob("*.ecsv"))
    assert names == sorted(
        ["sparse_000", "frame-r-000094-1-0012", "Alt40_Azi135", "solved", "long", "242", "284"]
    )
    for name in names:
        found = read_catalog(tmp_path / f"{name}.ecsv")
        assert len(found) > 5, name
        assert np.isfinite(found["score"]).all(), name
        if name in ("frame-r-000094-1-0012", "Alt40_Azi135", "solved"):
            assert np.isfinite(found["ra"]).all(), name


@needs_data
def test_sep_finds_what_stripe_82_lists(tmp_path) -> None:
    from skyduel.core import pixel_positions
    from skyduel.evaluation import pair

    path = DATA / "sdss_s82" / "frame-r-000094-1-0012.fits.bz2"
    assert skyduel("detect", path, "--with", "sep", "--out", tmp_path) == 0
    found = read_catalog(tmp_path / "frame-r-000094-1-0012.ecsv")
    frame = read_frame(path)
    coadd = DATA / "sdss_s82" / "stripe82_coadd_94_1_12.fits"
    truth = read_catalog(coadd, frame=frame, columns={"mag": "psfmag_r"})
    sky = np.column_stack(pixel_positions(found["ra"], found["dec"], frame))
    np.testing.assert_allclose(sky, found.xy, atol=1e-3)
    ny, nx = frame.shape
    x, y = truth["x"], truth["y"]
    inside = (x > 10) & (x < nx - 10) & (y > 10) & (y < ny - 10)
    mag = truth["mag"]
    bright = inside & (mag >= 16) & (mag < 22)
    assert bright.sum() > 200
    recall = len(pair(truth.xy[bright], sky, 4.0).truth_index) / bright.sum()
    assert recall >= 0.97
