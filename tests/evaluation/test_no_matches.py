"""A comparison without any match is reported as such."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from typer.testing import CliRunner

from skyduel.cli.main import app
from skyduel.core import BadInputError, Catalog, Frame, read_catalog
from skyduel.evaluation.matching.no_matches import (
    _chance_matches,
    frame_warning,
    match_warning,
)

GRID = np.array([[10.0 * i, 8.0 * j] for i in range(1, 5) for j in range(1, 4)])


def wcs() -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    made.wcs.crval, made.wcs.crpix, made.wcs.cdelt = [150.0, 2.0], [26.0, 21.0], [-1e-3, 1e-3]
    return made


@pytest.mark.parametrize(
    ("ra", "dec", "message"),
    [
        (150.0, 2.7, r"0 of 12 truth rows lie on the frame \(nearest 0.677° from its centre; is"),
        (10.0, 2.0, r"nearest 1[34]\d° from its centre; is the frame FK4, are RA in hours\?\)"),
    ],
)
def test_a_sky_list_of_another_field(tmp_path: Path, ra: float, dec: float, message: str) -> None:
    Table({"ra": ra + GRID[:, 0] * 1e-3, "dec": dec - GRID[:, 1] * 1e-3}).write(tmp_path / "t.csv")
    frame = Frame(data=np.arange(2000.0).reshape(40, 50), name="a", wcs=wcs())
    line = frame_warning(read_catalog(tmp_path / "t.csv", frame=frame), "truth rows", frame.shape)
    assert line is not None
    assert re.search(message, line), line


def test_pixels_off_the_frame() -> None:
    off = Catalog.build(x=GRID[:, 0] + 100, y=GRID[:, 1])
    expected = (
        "0 of 12 detections lie on the frame (nearest 61 px away; is it another image's list?)"
    )
    assert frame_warning(off, "detections", (40, 50)) == expected
    assert frame_warning(Catalog.empty(), "detections", (40, 50)) is None
    assert frame_warning(off, "detections", (40, 150)) is None
    assert frame_warning(off, "detections", None) is None


def test_nothing_matched_on_the_frame() -> None:
    line = match_warning(GRID, GRID + np.array([3.0, -1.0]), 0, (60, 60))
    expected = "nearest detection 3.16 px away, median offset +3, -1 px)"
    assert line == f"0 of 12 truths matched although 12 detections lie on the frame ({expected}"
    assert match_warning(GRID, GRID + 3, 1, (60, 60)) is None
    assert match_warning(GRID[:4], GRID + 3, 0, (60, 60)) is None


def test_matches_that_are_no_more_than_chance() -> None:
    rng = np.random.default_rng(4)
    truth, other = rng.uniform(0, 399, (2, 300, 2))
    apart = np.hypot(*(truth[:, None] - other[None]).transpose(2, 0, 1)).min(axis=1)
    by_chance = int((apart <= 2).sum())
    assert 0 < by_chance < 20
    line = match_warning(truth, other, by_chance, (400, 400), radius=2.0)
    assert line is not None
    assert re.fullmatch(
        rf"only {by_chance} of 300 truths matched one of 300 detections, no more than by chance "
        r"\(\d+\): is it the truth of another frame\?",
        line,
    ), line
    # A detector that finds a tenth of the truths and as many false ones has matches of its own.
    few = np.vstack([truth[:30], rng.uniform(0, 399, (170, 2))])
    assert match_warning(truth, few, 30 + 2, (400, 400), radius=2.0) is None
    # Too few rows, or no radius: any match counts.
    assert match_warning(truth[:19], other, 1, (400, 400), radius=2.0) is None
    assert match_warning(truth, other, by_chance, (400, 400)) is None
    assert match_warning(GRID, GRID + 300, 0, (60, 60)) is None


#: Where detections are moved to for pairs by chance, in radii.
SHIFTS = [(8, 0), (0, 8), (-8, 0), (0, -8), (12, 5), (-5, 12), (-12, -5), (5, -12)]
ODD_SKY = "is the frame FK4, are RA in hours?)"
#: So far apart that a shift leads to no other truth.
SPARSE = np.array([[200.0 * i, 200.0 * j] for i in range(8) for j in range(8)])


@pytest.mark.parametrize(
    ("x", "y", "meta", "shape", "said"),
    [
        ([], [], {"outside_frame": 3, "nearest_outside_deg": 0.05}, (40, 50),
         f"0 of 3 rows lie on the frame (nearest 3' from its centre; {ODD_SKY}"),
        ([], [], {"outside_frame": 1, "nearest_outside_deg": 0.1}, None,
         f"0 of 1 rows lie on the frame (nearest 0.1° from its centre; {ODD_SKY}"),
        ([], [], {"outside_frame": 3}, (40, 50),
         "0 of 3 rows lie on the frame (is it another image's list?)"),
        ([], [], {"outside_frame": 3}, None,
         "0 of 3 rows lie on the frame (is it another image's list?)"),
        ([-3.0], [10.0], {"outside_frame": 2}, (40, 50),
         "0 of 3 rows lie on the frame (nearest 3 px away; is it another image's list?)"),
        ([-3.0, 53.0], [-44.0, 42.0], {}, (40, 50),
         "0 of 2 rows lie on the frame (nearest 5 px away; is it another image's list?)"),
        ([-0.5, 49.5], [10.0, 10.0], {}, (40, 50),
         "0 of 2 rows lie on the frame (nearest 0.5 px away; is it another image's list?)"),
        ([9.0, 9.0], [-0.5, 39.5], {}, (40, 50),
         "0 of 2 rows lie on the frame (nearest 0.5 px away; is it another image's list?)"),
        ([-0.4, 900.0], [-0.4, 900.0], {"outside_frame": 2}, (40, 50), None),
        ([49.49], [39.49], {}, (40, 50), None),
        ([-3.0], [10.0], {"outside_frame": 2}, None, None),
    ],
)  # fmt: skip
def test_rows_off_the_frame_and_how_far(x, y, meta, shape, said) -> None:
    catalog = Catalog.build(x=x, y=y)
    catalog.table.meta.update(meta)
    assert frame_warning(catalog, "rows", shape) == said


def test_what_lies_off_the_frame_is_not_compared() -> None:
    truth, found = np.vstack([GRID[:5], [[99.0, 9.0]]]), np.vstack([GRID[:6] + 3, [[9.0, -7.0]]])
    line = match_warning(truth, found, 0, (60, 60))
    assert line is not None
    assert line.startswith("0 of 5 truths matched although 6 detections lie on the frame (nearest")
    line = match_warning(truth, found[:6], 0, unit="arcsec")
    assert line == (
        "0 of 6 truths matched although 6 detections are there "
        "(nearest detection 4.24 arcsec away, median offset +3, +3 arcsec)"
    )
    assert match_warning(truth, found[:4], 0, (60, 60)) is None
    assert match_warning(truth, found[:4], 0) is None
    # No match at all is not told as one of chance.
    line = match_warning(SPARSE, SPARSE + 90.0, 0, radius=2.0)
    assert line is not None
    assert line.startswith("0 of 64 truths matched although 64 detections are there")


@pytest.mark.parametrize("shift", SHIFTS)
def test_pairs_by_chance_are_a_mean_over_eight_shifts(shift: tuple[int, int]) -> None:
    assert _chance_matches(SPARSE, SPARSE - 2.0 * np.array(shift), 2.0) == 64 / 8


@pytest.mark.parametrize(
    ("n", "moved", "matches", "chance"),
    [
        # Three standard deviations above nothing by chance are three matches.
        (20, 0, 3, "0"), (19, 0, 3, None), (64, 0, 3, "0"), (64, 0, 4, None),
        # A fifth of the shorter list is more than chance.
        (20, 20, 3, "2"), (20, 20, 4, None),
        # 25 pairs at one of eight shifts: 3.1 by chance, and up to 9.2.
        (64, 25, 9, "3"), (64, 25, 10, None),
    ],
)  # fmt: skip
def test_how_many_matches_are_no_more_than_chance(n, moved, matches, chance) -> None:
    truth, found = SPARSE[:n], SPARSE[:n] + 90.0
    found[:moved] = truth[:moved] - (16, 0)
    line = match_warning(truth, found, matches, radius=2.0)
    if chance is None:
        assert line is None
    else:
        assert line == (
            f"only {matches} of {n} truths matched one of {n} detections, no more than by chance "
            f"({chance}): is it the truth of another frame?"
        )


@pytest.fixture
def files(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    header = wcs().to_header()
    fits.writeto(tmp_path / "a.fits", rng.normal(100, 3, (40, 50)).astype("f4"), header)
    ra, dec = wcs().all_pix2world(GRID[:, 0], GRID[:, 1], 0)
    mag = np.linspace(15, 20, len(GRID))
    Table({"x": GRID[:, 0], "y": GRID[:, 1], "mag": mag}).write(tmp_path / "found.csv")
    Table({"alpha_x": ra, "delta_x": dec, "rmag": mag}).write(tmp_path / "odd.csv")
    Table({"RAJ2000": ra, "DEJ2000": dec, "rmag": mag}).write(tmp_path / "known.csv")
    Table({"x": GRID[:, 0] + 4, "y": GRID[:, 1], "mag": mag}).write(tmp_path / "shifted.csv")
    return tmp_path


def score(folder: Path, truth: str, *options: str) -> tuple[str, str]:
    words = ["score", str(folder / "found.csv"), str(folder / truth), *options]
    done = CliRunner().invoke(app, words)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_score_warns_on_stderr(files: Path) -> None:
    stdout, stderr = score(files, "shifted.csv", "--frame", str(files / "a.fits"), "--json")
    assert "0 of 12 truths matched although 12 detections lie on the frame" in stderr
    assert "median offset -4, +0 px" in stderr
    assert stdout.startswith("{")
    _, stderr = score(files, "known.csv", "--frame", str(files / "a.fits"))
    (line,) = stderr.splitlines()  # not a word of matches
    assert line.endswith(
        "no magnitudes, so one row for all; --truth-columns mag=NAME names a column"
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--columns", "ra=alpha_x,dec=delta_x,mag=rmag"],
        ["--truth-columns", "ra=alpha_x,dec=delta_x,mag=rmag"],
        ["--columns", "ra=alpha_x,dec=delta_x", "--truth-columns", "mag=rmag"],
        ["--found-columns", "x=x,y=y", "--truth-columns", "ra=ALPHA_X,dec=delta_x,mag=rmag"],
    ],
)
def test_score_takes_a_mapping(files: Path, options: list[str]) -> None:
    stdout, stderr = score(files, "odd.csv", "--frame", str(files / "a.fits"), *options)
    assert "12/12" in stdout
    assert stderr == ""


def test_half_a_pair_brings_the_other_half(files: Path) -> None:
    mapping = "ra=RAJ2000,mag=rmag"
    stdout, _ = score(files, "known.csv", "--frame", str(files / "a.fits"), "--columns", mapping)
    assert "12/12" in stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--columns", "ra=nope"], "a column 'nope' for 'ra' in .*; got columns x, y, mag; and al"),
        (["--truth-columns", "ra=nope"], "odd.csv: required a column 'nope' for 'ra'; got columns"),
        (["--columns", "ra"], "--columns: required pairs as in ra=RAJ2000,mag=rmag; got 'ra'"),
        (["--found-columns", "q=x"], "--found-columns: required one of the columns x, y"),
    ],
)
def test_a_mapping_that_fits_nothing(files: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        score(files, "odd.csv", "--frame", str(files / "a.fits"), *options)
