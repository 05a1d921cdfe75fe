"""Tests of frame arguments: chips, planes, masks and the bits of masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from typer.testing import CliRunner

from skyduel.cli.main import app
from skyduel.core import Dataset, entry_of, open_dataset, read_catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules
from skyduel.runner.detect_frame import frame_fingerprint
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.plan import RunPlan
from skyduel.runner.start_run import start_run

RUNNER = CliRunner()
STARS = ((20.0, 30.0), (60.0, 30.0), (40.0, 70.0))


def image(*stars: tuple[float, float], seed: int = 1) -> np.ndarray:
    y, x = np.mgrid[:96, :80].astype(float)
    data = np.random.default_rng(seed).normal(100, 3, x.shape)
    for sx, sy in stars:
        data += 900 * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4)
    return data.astype("f4")


@pytest.fixture
def chips(tmp_path: Path) -> Path:
    hdus = [fits.ImageHDU(image(*STARS[: k + 1]), name="SCI", ver=k + 1) for k in range(3)]
    path = tmp_path / "chips.fits"
    fits.HDUList([fits.PrimaryHDU(), *hdus, fits.ImageHDU(image(), name="WHT")]).writeto(path)
    return path


def detect(*arguments: object) -> str:
    result = RUNNER.invoke(app, ["detect", *map(str, arguments), "--with", "sep"])
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_detect_names_the_chips_that_it_does_not_read(chips: Path, tmp_path: Path) -> None:
    said = detect(chips, "-o", tmp_path / "a.ecsv")
    assert "chips.fits: read SCI,1; not read: SCI,2, SCI,3" in said
    assert len(read_catalog(tmp_path / "a.ecsv")) == 1
    assert "not read" not in detect(f"{chips}[SCI,2]", "-o", tmp_path / "b.ecsv")
    assert len(read_catalog(tmp_path / "b.ecsv")) == 2


@pytest.mark.parametrize("brackets", ["[SCI,*]", "[sci,*]", "[*]"])
def test_every_chip_is_a_frame(chips: Path, tmp_path: Path, brackets: str) -> None:
    detect(f"{chips}{brackets}", "--out", tmp_path / "out")
    counts = {f.stem: len(read_catalog(f)) for f in (tmp_path / "out").glob("*.ecsv")}
    assert counts == {"chips_SCI_1": 1, "chips_SCI_2": 2, "chips_SCI_3": 3}
    dataset = open_dataset(f"{chips}{brackets}")
    assert dataset.name == "chips"
    assert [e.name for e in dataset] == sorted(counts)


def test_chips_of_a_pattern_and_of_a_manifest(chips: Path, tmp_path: Path) -> None:
    entries = open_dataset(f"{tmp_path}/ch*.fits[SCI,*]").entries
    assert [e.name for e in entries] == ["chips_SCI_1", "chips_SCI_2", "chips_SCI_3"]
    manifest = tmp_path / "m.csv"
    manifest.write_text('name,frame\nnight,"chips.fits[SCI,*]"\n')
    names = [e.name for e in open_dataset(manifest)]
    assert names == ["night_SCI_1", "night_SCI_2", "night_SCI_3"]
    with pytest.raises(BadInputError, match="required an image CCD; got none in the file"):
        open_dataset(f"{chips}[CCD,*]")


def test_masks_and_weights_of_a_pattern_are_no_frames(tmp_path: Path) -> None:
    bad = np.zeros((96, 80), "u1")
    bad[25:36, 15:26] = 1
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    fits.writeto(tmp_path / "a_mask.fits", bad)
    fits.writeto(tmp_path / "a_weight.fits", np.ones((96, 80), "f4"))
    said = detect(*sorted(tmp_path.glob("*.fits")), "--out", tmp_path / "out")
    assert "not frames, but files of frames: a_mask.fits, a_weight.fits" in said
    (found,) = (tmp_path / "out").glob("*.ecsv")
    assert (found.name, len(read_catalog(found))) == ("a.ecsv", 2)


@pytest.mark.parametrize("mask", ["a_mask.fits", "a_mask2.fits", "a.flags.fits", "a_Mask_v3.fits"])
def test_a_mask_alone_is_no_frame(tmp_path: Path, mask: str) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    fits.writeto(tmp_path / mask, np.zeros((96, 80), "u1"))
    (tmp_path / "a.ecsv").write_text("x,y\n1,2\n")
    said = detect(*sorted(tmp_path.glob("*")), "--out", tmp_path / "out")
    assert f"not frames, but files of frames: a.ecsv, {mask}" in said or mask in said
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["a.ecsv"]
    result = RUNNER.invoke(app, ["detect", str(tmp_path / mask), "--with", "sep"])
    assert "at least one image that is no mask or table; got none" in str(result.exception)


def test_a_folder_is_no_frame(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["detect", str(tmp_path), "--with", "sep"])
    assert f"required image files (for those of a folder: {tmp_path}/*.fits*)" in str(
        result.exception
    )


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (("a.fit", "b.FIT", "log.txt"), ("*.fit",)),
        (("a.fit", "b.fits.fz"), ("*.fit", "*.fits*")),
        (("a.asdf",), ("*.asdf",)),
        (("a.fts.gz", ".hidden.fit"), ("*.fits*",)),
    ],
)
def test_the_patterns_for_a_folder_are_those_of_its_images(
    tmp_path: Path, names: tuple[str, ...], patterns: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).touch()
    result = RUNNER.invoke(app, ["detect", str(tmp_path), "--with", "sep"])
    said = " ".join(f"{tmp_path}/{pattern}" for pattern in patterns)
    assert f"(for those of a folder: {said})" in str(result.exception)


def test_a_folder_among_images_is_left_out_and_named(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    (tmp_path / "sub").mkdir()
    said = detect(*sorted(tmp_path.glob("*")), "--out", tmp_path / "out")
    assert "folders are not searched: sub" in said
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["a.ecsv"]


@pytest.mark.parametrize(
    ("card", "value"),
    [("IMAGETYP", "Bias Frame"), ("OBSTYPE", "zero"), ("IMAGETYP", "FLAT"),
     ("FRAMETYP", "Dark"), ("IMAGETYP", "Master Dark"), ("IMAGETYP", "Flat Field")],
)  # fmt: skip
def test_an_exposure_for_calibration_is_named(tmp_path: Path, card: str, value: str) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS), fits.Header({card: value}))
    said = detect(tmp_path / "a.fits", "--out", tmp_path / "out.ecsv")
    assert f"a: {card} = {value!r}: an exposure for calibration" in said


@pytest.mark.parametrize("value", ["Light Frame", "object", "dark subtracted", "flatfielded", ""])
def test_an_exposure_of_the_sky_is_not(tmp_path: Path, value: str) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS), fits.Header({"IMAGETYP": value}))
    said = detect(tmp_path / "a.fits", "--out", tmp_path / "out.ecsv")
    assert "for calibration" not in said


@pytest.mark.parametrize(("bits", "n"), [("1", 2), ("0x4", 1), ("5", 0), ("8", 3)])
def test_detect_with_mask_bits(tmp_path: Path, bits: str, n: int) -> None:
    dq = np.zeros((96, 80), "i2")
    for (x, y), value in zip(STARS, (1, 4, 4), strict=True):
        dq[int(y) - 7 : int(y) + 8, int(x) - 7 : int(x) + 8] = value
    path = tmp_path / "a.fits"
    hdus = [fits.ImageHDU(image(*STARS), name="SCI"), fits.ImageHDU(dq, name="DQ")]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    detect(path, "--mask-bits", bits, "-o", tmp_path / "a.ecsv")
    assert len(read_catalog(tmp_path / "a.ecsv")) == n


@pytest.mark.parametrize(
    "command",
    [("detect", "a.fits"), ("inject", "a.fits", "--out", "o"), ("truth-free", "a.fits"),
     ("score", "a.csv", "a.csv", "--frame", "a.fits"), ("finetune", "a.fits"),
     ("run", "a.fits", "--out", "o"), ("tune", "a.fits", "--out", "t.toml", "--trials", "1")],
)  # fmt: skip
@pytest.mark.parametrize(
    ("bits", "message"),
    [("four", "mask_bits as a sum of powers of two"), ("4", "a mask for mask_bits to choose from")],
)
def test_every_command_takes_mask_bits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    bits: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    fits.writeto("a.fits", image(*STARS))
    Path("a.csv").write_text("x,y\n20,30\n")
    with_ = [] if command[0] in ("score", "finetune") else ["--with", "sep"]
    result = RUNNER.invoke(app, [*command, *with_, "--mask-bits", bits])
    said = " ".join(result.output.split()) + str(result.exception)
    assert result.exit_code != 0
    assert message in said


def test_runs_of_other_mask_bits_are_other_runs(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    plans = []
    for bits in (None, 1, 4):
        entry = entry_of(str(tmp_path / "a.fits"), mask_bits=bits)
        dataset = Dataset("a", tmp_path / "a.fits", (entry,))
        plans.append(RunPlan(dataset, parse_specs(["sep"]), ScoringRules(), tmp_path / "run"))
    start_run(plans[1], {})
    start_run(plans[1], {})
    for plan in (plans[0], plans[2]):
        with pytest.raises(BadInputError, match="the folder of another run"):
            start_run(plan, {})
    assert len({frame_fingerprint(plan.dataset.entries[0]) for plan in plans}) == 3


def test_a_chip_has_the_fingerprint_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.writeto(path, image(*STARS))
    whole, chip = (frame_fingerprint(entry_of(name)) for name in (str(path), f"{path}[0]"))
    assert whole == chip
    assert "missing" not in chip


def test_run_names_the_files_that_it_does_not_use(tmp_path: Path) -> None:
    night = tmp_path / "night"
    (night / "calibration").mkdir(parents=True)
    fits.writeto(night / "a.fits", image(*STARS))
    (night / "a.csv").write_text("x,y\n20,30\n60,30\n40,70\n")
    fits.writeto(night / "calibration" / "dark.fits", image())
    arguments = ["run", night, "--with", "sep", "--out", tmp_path / "out"]
    result = RUNNER.invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert (
        "night: 1 test frame, 1 truth table; not used: calibration/dark.fits "
        "(a calibration frame without a truth table)"
    ) in said


def test_detect_says_which_facts_it_used_and_set_aside(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(image(*STARS))
    hdu.header["EGAIN"], hdu.header["MAGZERO"], hdu.header["FWHM"] = 1.5, 99.99, 8500.0
    hdu.writeto(tmp_path / "f.fits")
    said = detect(tmp_path / "f.fits", "-o", tmp_path / "a.ecsv")
    assert "skyduel: f: MAGZERO = 99.99: set aside (sentinel: unknown)" in said
    assert "skyduel: f: FWHM = 8500.0: set aside" in said
    assert "gain" not in said
    said = detect(tmp_path / "f.fits", "-o", tmp_path / "a.ecsv", "--verbose")
    assert "f: gain: 1.5 e- per pixel unit (EGAIN = 1.5)" in said
    assert "f: zero_point: unknown" in said
    assert "f: mask: 0 px" in said


def test_detect_says_once_what_holds_for_many_frames(tmp_path: Path) -> None:
    for k in range(3):
        hdu = fits.PrimaryHDU(image(*STARS, seed=k))
        hdu.header["EXPOSURE"] = f"3{k},x"
        hdu.writeto(tmp_path / f"f{k}.fits")
    frames = [tmp_path / f"f{k}.fits" for k in range(3)]
    said = detect(*frames, "-o", tmp_path / "out")
    assert "skyduel: f0: EXPOSURE = '30,x': set aside (no number)" in said
    assert "skyduel: EXPOSURE = '30,x': set aside (no number) (and so on 2 other frames)" in said
    assert said.count("set aside") == 2
    assert detect(*frames, "-o", tmp_path / "out", "--verbose").count("set aside") == 3


def test_detect_advises_darks_where_hot_pixels_recur(tmp_path: Path) -> None:
    hot = np.ravel_multi_index(np.divmod(np.arange(20), 5) * np.array([[18], [14]]) + 8, (96, 80))
    frames, done = [], []
    for k in range(3):
        data = image(*STARS, seed=k)
        data.flat[hot] += 500
        for name, cards in (("raw", {}), ("done", {"CALSTAT": "BD"})):
            path = tmp_path / f"{name}{k}.fits"
            fits.PrimaryHDU(data, fits.Header(cards)).writeto(path)
            (frames if name == "raw" else done).append(path)
    advice = f"no dark: {len(hot)} bright pixels stand alone at the same place in 3 frames"
    assert detect(*frames, "-o", tmp_path / "out").count(advice) == 1
    assert "no dark" not in detect(*done, "-o", tmp_path / "out")
    assert "no dark" not in detect(frames[0], "-o", tmp_path / "out")


@pytest.mark.parametrize("ending", ["ecsv", "fits", "vot", "parquet", "ldac"])
def test_the_table_holds_the_facts_that_were_used(tmp_path: Path, ending: str) -> None:
    hdu = fits.PrimaryHDU(image(*STARS))
    hdu.header["EGAIN"], hdu.header["MAGZERO"], hdu.header["BUNIT"] = 1.5, 99.99, "adu/s"
    hdu.header["EXPTIME"] = 20.0
    hdu.writeto(tmp_path / "f.fits")
    detect(tmp_path / "f.fits", "-o", tmp_path / f"a.{ending}")
    meta = read_catalog(tmp_path / f"a.{ending}").table.meta
    times = "EGAIN = 1.5, times the exposure of 20 s: pixels in adu/s, per second"
    assert meta["FR_GAIN"] == f"30 e- per pixel unit ({times})"
    assert meta["FR_EXPOS"] == "20 s (EXPTIME = 20.0)"
    assert meta["FR_ASIDE"] == "MAGZERO = 99.99: set aside (sentinel: unknown)"
    assert (meta["FR_UNIT"], meta["FR_MASK"], meta["FR_WCS"]) == ("adu/s", "0 px", "none")
    assert meta["FR_FWHM"] == meta["FR_ZEROP"] == "unknown"


def test_missing_facts_are_named_with_their_keys_and_option(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    fits.writeto(tmp_path / "b.fits", image(*STARS, seed=2))
    said = detect(tmp_path / "a.fits", tmp_path / "b.fits", "--out", tmp_path / "o", "--gain", "2")
    assert (
        "skyduel: no zero-point in 2 of 2 frames: magnitudes are instrumental, -2.5 log10(flux); "
        "--zero-point sets it (header: MAGZERO"
    ) in said
    assert "no FWHM in 2 of 2 frames" in said
    assert "no gain" not in said
    table = read_catalog(tmp_path / "o" / "a.ecsv")
    assert table["mag"] == pytest.approx(-2.5 * np.log10(table["flux"]))
    assert table["aper_mag"] == pytest.approx(-2.5 * np.log10(table["aper_flux"]))
    known = ["--zero-point", "25", "--fwhm", "2.4", "--gain", "2"]
    said = detect(tmp_path / "a.fits", "-o", tmp_path / "c.ecsv", "--verbose", *known)
    assert "skyduel: no " not in said
    assert "a: fwhm: 2.4 px (given)" in said
    again = read_catalog(tmp_path / "c.ecsv")
    assert again["mag"] == pytest.approx(25 - 2.5 * np.log10(again["flux"]))
    result = RUNNER.invoke(app, ["detect", str(tmp_path / "a.fits"), "--gain", "-1"])
    assert "--gain: required a number above 0; got -1.0" in str(result.exception)


def test_detect_keeps_the_sources_and_counts_the_candidates(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    path = tmp_path / "a.fits"
    out = tmp_path / "a.ecsv"
    low = ["--set", "sep.DETECT_THRESH=0.8", "--set", "sep.DETECT_MINAREA=3"]
    said = detect(path, "-o", out, *low, "--all")
    n = len(read_catalog(out))
    assert n > 5
    assert f"a.ecsv {n} candidates of sep" in said
    said = detect(path, "-o", out, *low, "--threshold", "20")
    assert f"3 sources of sep (score ≥ 20), {n - 3} fainter candidates not written" in said
    assert len(read_catalog(out)) == 3
    said = detect(path, "-o", out, *low, "--max", "1")
    assert f"1 source of sep, {n - 1} fainter candidates not written" in said
    said = detect(path, "-o", out, *low, "--set", "sep.score_threshold=20")
    assert "3 sources of sep (score ≥ 20)" in said


def test_score_cuts_at_the_threshold_that_a_catalogue_states(tmp_path: Path) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    (tmp_path / "t.csv").write_text("x,y,mag\n20,30,15\n60,30,15\n40,70,15\n")
    low = ["--set", "sep.DETECT_THRESH=0.8", "--set", "sep.DETECT_MINAREA=3"]
    for name in ("a.ecsv", "a.fits.cat.fits", "a.vot", "a.parquet", "a.ldac", "a.json"):
        out = tmp_path / name
        detect(tmp_path / "a.fits", "-o", out, *low, "--all", "--set", "sep.score_threshold=20")
        words = ["score", str(out), str(tmp_path / "t.csv"), "--bins", "10:20:10"]
        said = " ".join(RUNNER.invoke(app, words).output.split())
        assert "rows below the stated threshold 20 are not used" in said, name
        assert "3/3" in said
        said = " ".join(RUNNER.invoke(app, [*words, "--threshold", "-inf"]).output.split())
        assert "rows below" not in said


@pytest.mark.parametrize("ending", ["txt", "ecvs", "jpg"])
def test_an_unknown_ending_is_refused(tmp_path: Path, ending: str) -> None:
    fits.writeto(tmp_path / "a.fits", image(*STARS))
    words = ["detect", str(tmp_path / "a.fits"), "--with", "sep", "-o", f"{tmp_path}/b.{ending}"]
    result = RUNNER.invoke(app, words)
    assert "required a file that ends in .ecsv, .fits" in str(result.exception)
    assert f"got the ending '.{ending}'" in str(result.exception)
    assert not (tmp_path / f"b.{ending}").exists()
    words[-1] += "/"
    assert RUNNER.invoke(app, words).exit_code == 0
    assert (tmp_path / f"b.{ending}" / "a.ecsv").is_file()


@pytest.mark.parametrize(
    "command",
    [("inject", "f.fits", "--out", "o", "--number", "1", "--psf", "moffat:3,3"),
     ("truth-free", "f.fits"), ("score", "f.csv", "f.csv", "--frame", "f.fits")],
)  # fmt: skip
def test_facts_set_aside_are_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    hdu = fits.PrimaryHDU(image(*STARS))
    hdu.header["MAGZERO"], hdu.header["GAIN"] = 99.99, (110, "Sub Gain")
    hdu.writeto("f.fits")
    Path("f.csv").write_text("x,y\n20,30\n")
    with_ = [] if command[0] == "score" else ["--with", "sep", "--with", "sep-matched"]
    result = RUNNER.invoke(app, [*command, *with_])
    assert result.exit_code == 0, result.output
    for line in ("f: MAGZERO = 99.99: set aside (sentinel: unknown)",
                 "f: GAIN = 110: set aside (a camera's setting: Sub Gain)"):  # fmt: skip
        assert result.stderr.count(f"skyduel: {line}") == 1
