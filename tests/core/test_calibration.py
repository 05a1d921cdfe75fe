"""Tests of bias, dark and flat with exactly known results."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from helpers.command_line import skyduel

from skyduel.core import Sectioning, entry_of, open_dataset, open_large_image, read_frame
from skyduel.core.errors import BadInputError
from skyduel.core.io.calibration.files import CalibrationFiles, files_beside, files_named
from skyduel.core.io.calibration.masters import read_masters
from skyduel.core.io.dataset_listing import summarize_files
from skyduel.core.preprocess.calibration import Conditions, combined, hot_pixels
from skyduel.core.used_facts import used_facts

pytest.importorskip("ccdproc", reason="needs the extra calibrate")

NY, NX = 96, 80
BIAS = 300.0 + np.arange(NX) % 7
#: Dark current [ADU/s] with 5 hot pixels.
DARK = np.full((NY, NX), 0.25)
HOT = [(10, 20), (30, 40), (50, 60), (70, 10), (90, 75)]
for place in HOT:
    DARK[place] = 90.0
FLAT = 0.8 + 0.4 * np.linspace(0, 1, NY)[:, np.newaxis] * np.ones(NX)
FLAT /= np.median(FLAT)


def write(path: Path, pixels: np.ndarray, seconds: float | None, **cards) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu = fits.PrimaryHDU(pixels.astype(np.float32))
    if seconds is not None:
        hdu.header["EXPTIME"] = seconds
    hdu.header.update({key.replace("_", "-"): value for key, value in cards.items()})
    hdu.writeto(path)
    return path


def exposure(seconds: float, light: np.ndarray | float = 0.0, seed: int = 0) -> np.ndarray:
    """A raw exposure: bias, dark current, light through the flat, and 1 ADU of read noise."""
    noise = np.random.default_rng(seed).normal(0, 1, (NY, NX)) if seed else 0.0
    return BIAS + DARK * seconds + light * FLAT + noise


def scene() -> np.ndarray:
    """Light of a sky of 100 with one bright star."""
    light = np.full((NY, NX), 100.0)
    light[40:44, 30:34] += 4000.0
    light[0, 0] = 101.0
    return light


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A frame of 30 s with exact bias, dark (of 60 s) and flat exposures beside it."""
    write(tmp_path / "a.fits", exposure(30, scene()), 30, GAIN=1.5, XBINNING=2, CCD_TEMP=-10.0)
    for k in range(2):
        write(tmp_path / "bias" / f"b{k}.fits", exposure(0), 0)
        write(tmp_path / "dark" / f"d{k}.fits", exposure(60), 60, CCD_TEMP=-10.2)
        write(tmp_path / "Flats" / f"f{k}.fits", exposure(2, 20000.0 * (k + 1)), 2)
    return tmp_path


def test_a_frame_becomes_its_light_exactly(night: Path) -> None:
    frame = entry_of(night / "a.fits").read()
    hot = np.zeros((NY, NX), bool)
    hot[tuple(np.transpose(HOT))] = True
    np.testing.assert_array_equal(frame.bad, hot)
    np.testing.assert_allclose(frame.data[~hot], scene()[~hot], rtol=1e-5, atol=2e-3)
    assert frame.gain == 1.5  # the unit stays
    assert frame.header["CALSTAT"] == "BDF"
    facts = used_facts(frame)
    assert facts.used["calibration"] == "BDF"
    assert facts.notes == (
        "a: calibrated: bias of 2 exposures, dark of 2 exposures, flat of 2 exposures, "
        "dark scaled by 0.5, 5 hot pixels masked",
    )
    raw = entry_of(night / "a.fits", raw=True).read()
    np.testing.assert_allclose(raw.data, exposure(30, scene()), rtol=1e-6)
    assert not raw.bad.any()
    assert used_facts(raw).used["calibration"] == "none"


def test_a_large_frame_is_calibrated_in_its_sections(night: Path) -> None:
    image = open_large_image(entry_of(night / "a.fits"), Sectioning(64, 0))
    assert image is not None
    whole = entry_of(night / "a.fits").read()
    for section, part in image.frames():
        box = slice(section.y0, section.y1), slice(section.x0, section.x1)
        np.testing.assert_array_equal(part.data, whole.data[box])
        np.testing.assert_array_equal(part.bad, whole.bad[box])
    assert used_facts(image).used["calibration"] == "BDF"


def test_without_a_bias_a_dark_of_the_same_time_holds_it(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", exposure(60, scene()), 60)
    write(tmp_path / "dark" / "d.fits", exposure(60), 60.3)
    frame = entry_of(tmp_path / "a.fits").read()
    np.testing.assert_allclose(frame.data[~frame.bad], (scene() * FLAT)[~frame.bad], rtol=1e-5)
    write(tmp_path / "b.fits", exposure(30, scene()), 30)
    with pytest.raises(
        BadInputError, match="b: required a dark of the same exposure time of 30 s, or a bias"
    ):
        entry_of(tmp_path / "b.fits").read()


@pytest.mark.parametrize(
    ("kind", "pixels", "cards", "message"),
    [
        ("dark", np.ones((NY, NX - 2)), {}, rf"px \(x, y\) {NX} x {NY} as a; got {NX - 2} x {NY}"),
        ("dark", exposure(30), {"XBINNING": 1}, "binning 2x2 as a; got 1x1"),
        ("flat", exposure(0), {}, "a flat with light above bias and dark"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(
    tmp_path: Path, kind: str, pixels: np.ndarray, cards: dict, message: str
) -> None:
    write(tmp_path / "a.fits", exposure(30, scene()), 30, XBINNING=2)
    if kind == "flat":
        write(tmp_path / "bias" / "b.fits", pixels, 0)
    write(tmp_path / kind / "c.fits", pixels, 30, **cards)
    with pytest.raises(BadInputError, match=message):
        entry_of(tmp_path / "a.fits").read()


def test_differences_that_only_matter_a_little_are_said(tmp_path: Path) -> None:
    write(tmp_path / "a.fits", exposure(60, scene()), 60, CCD_TEMP=-10.0, FILTER="V")
    write(tmp_path / "dark" / "d.fits", exposure(60), 60, CCD_TEMP=-4.0)
    write(tmp_path / "flat" / "f.fits", exposure(60, 9000.0), 60, FILTER="R")
    notes = used_facts(entry_of(tmp_path / "a.fits").read()).notes
    assert "d: taken at -4.0 °C, the frame a at -10.0 °C" in notes[1]
    assert notes[2] == "calibration frame f: filter R, the frame a has V"


def test_darks_of_two_exposure_times_are_refused(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{t}.fits", exposure(t), t) for t in (30, 60)]
    with pytest.raises(BadInputError, match="darks of one exposure time; got darks of 30 s and"):
        read_masters(CalibrationFiles(dark=tuple(paths)))


def test_a_calibrated_frame_is_not_calibrated_again(night: Path) -> None:
    done = write(night / "c.fits", scene(), 30, CALSTAT="BDF")
    frame = entry_of(done).read()
    np.testing.assert_array_equal(frame.data, scene().astype(np.float32))
    assert "CALSTAT = BDF: these steps are not repeated" in used_facts(frame).notes[0]


def test_overscan_is_subtracted_and_saturation_follows(tmp_path: Path) -> None:
    wide = np.full((NY, NX + 8), 500.0)  # this night's bias level is 200 above that of the dark
    wide[:, :NX] = exposure(60, scene()) + 200.0
    wide[40, 30] = 65535.0
    cards = {"BIASSEC": f"[{NX + 1}:{NX + 8},1:{NY}]", "SATURATE": 65535.0}
    write(tmp_path / "a.fits", wide, 60, **cards)
    dark = np.full((NY, NX + 8), 300.0)
    dark[:, :NX] = exposure(60)
    write(tmp_path / "dark" / "d.fits", dark, 60, BIASSEC=cards["BIASSEC"])
    frame = entry_of(tmp_path / "a.fits").read()
    assert frame.bad[:, NX:].all()
    inside = ~frame.bad[:, :NX]
    inside[40, 30] = False
    np.testing.assert_allclose(
        frame.data[:, :NX][inside], (scene() * FLAT)[inside], rtol=1e-5, atol=1e-2
    )
    # 65535 - 500 of overscan - 18 of the dark, and that pixel counts as saturated.
    assert frame.saturation == pytest.approx(65535 - 500 - 18, abs=4)
    np.testing.assert_array_equal(np.argwhere(frame.saturated()), [[40, 30]])


@pytest.mark.parametrize("n", [2, 3, 5, 9])
def test_masters_leave_cosmic_rays_out(n: int) -> None:
    rng = np.random.default_rng(n)
    stack = [rng.normal(100, 4, (60, 60)) for _ in range(n)]
    if n >= 3:
        stack[1][5, 5] = 9000.0
        stack[0][8, 8] = np.nan
    master = combined(stack, "darks")
    assert master.dtype == np.float32
    assert np.isfinite(master).all()
    assert abs(master[5, 5] - 100) < 4 * 4 / np.sqrt(n - 1)
    plain = np.nanmean(stack, axis=0) if n >= 5 or n == 2 else np.nanmedian(stack, axis=0)
    alike = np.isclose(master, plain, rtol=1e-6)
    assert alike.mean() > 0.9  # of Gaussian noise little is clipped
    assert np.std(master) == pytest.approx(np.std(plain[alike]), rel=0.1)


def test_quantised_exposures_are_not_clipped_to_one_value() -> None:
    rng = np.random.default_rng(1)
    stack = [np.rint(rng.normal(100.3, 0.7, (80, 80))) for _ in range(8)]
    assert np.mean(combined(stack, "bias")) == pytest.approx(np.mean(stack), abs=0.01)


def test_hot_pixels_exceed_ten_times_the_scatter() -> None:
    dark = np.random.default_rng(3).normal(50, 2, (200, 200)).astype(np.float32)
    dark[5, 6], dark[7, 8], dark[9, 9] = 75.0, 66.0, np.nan
    assert np.argwhere(hot_pixels(dark)).tolist() == [[5, 6]]
    assert not hot_pixels(np.ones((4, 4), np.float32)).any()


def test_masters_of_several_exposures_are_better_than_one(tmp_path: Path) -> None:
    for k in range(9):
        write(tmp_path / "dark" / f"{k}.fits", exposure(60, seed=k + 1), 60)
    masters = read_masters(files_beside(tmp_path))
    assert masters.counts == {"dark": 9}
    assert masters.dark is not None
    assert np.std(masters.dark - exposure(60)) == pytest.approx(1 / 3, rel=0.1)
    assert read_masters(files_beside(tmp_path)) is masters  # combined once


def test_conditions_are_read_from_the_header() -> None:
    cards = {"CCD-TEMP": " -9.5", "XBINNING": 2, "YBINNING": 2, "FILTER": " V ", "CALSTAT": "bd"}
    one = Conditions.of("a", (3, 4), 5.0, cards)
    assert (one.temperature_c, one.binning, one.filter, one.done) == (-9.5, "2x2", "V", "BD")
    assert Conditions.of("a", (3, 4), None, {"SET-TEMP": "cold"}).temperature_c is None
    assert Conditions.of("a", (3, 4), None, {"CCD-TEMP": "-9,5"}).temperature_c == -9.5


def test_a_data_set_names_its_exposures(night: Path) -> None:
    data = open_dataset(night)
    assert [entry.name for entry in data] == ["a"]
    listed = summarize_files(data, _files(night))
    assert "2 bias exposures" in listed
    assert "2 flat exposures" in listed
    (night / "set").mkdir()
    manifest = night / "set" / "list.csv"
    manifest.write_text("frame,dark,bias\n../a.fits,../dark/d0.fits,../bias\n../a.fits,,\n")
    with pytest.raises(BadInputError, match="frames of different names"):
        open_dataset(manifest)
    manifest.write_text(
        "name,frame,dark,bias\na,../a.fits,../dark/d*.fits,../bias\nb,../a.fits,,\n"
    )
    one, two = open_dataset(manifest)
    assert [p.name for p in one.calibration.dark] == ["d0.fits", "d1.fits"]
    assert len(one.calibration.bias) == 2
    assert not two.calibration
    assert one.read().header["CALSTAT"] == "BD"
    manifest.write_text("frame,dark\n../a.fits,../nothing\n")
    with pytest.raises(BadInputError, match="an image, a folder of images or a pattern"):
        open_dataset(manifest)


def _files(folder: Path) -> tuple:
    from skyduel.core.io.dataset_listing import list_files

    return list_files(open_dataset(folder))


def test_the_command_writes_what_the_data_set_would_read(
    night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = night / "done"
    assert skyduel("calibrate", night / "a.fits", "-o", out) == 0
    assert "a: calibrated: bias of 2 exposures" in " ".join(capsys.readouterr().err.split())
    written, read = read_frame(out / "a.fits"), entry_of(night / "a.fits").read()
    np.testing.assert_array_equal(written.data[~read.bad], read.data[~read.bad])
    np.testing.assert_array_equal(written.bad, read.bad)
    assert written.gain == 1.5
    dark = night / "dark" / "d*.fits"
    moved = write(night / "elsewhere" / "b.fits", exposure(60, scene()), 60)
    assert skyduel("calibrate", moved, "--dark", dark, "-o", night / "b.fits") == 0
    made = read_frame(night / "b.fits")
    np.testing.assert_allclose(made.data[~made.bad], (scene() * FLAT)[~made.bad], rtol=1e-5)
    capsys.readouterr()
    assert skyduel("calibrate", moved, "-o", night / "c.fits") == 2
    assert "--bias, --dark or --flat" in " ".join(capsys.readouterr().err.split())
    assert skyduel("calibrate", moved, "--dark", dark, "-o", moved) == 2
    assert "another file than the frame" in " ".join(capsys.readouterr().err.split())


def test_a_path_that_names_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="--dark: required an image, a folder of images"):
        files_named([tmp_path / "none*.fits"], "--dark")
