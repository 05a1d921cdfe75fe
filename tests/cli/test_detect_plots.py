"""Tests of `skyduel detect --plot` and of its figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import skyduel

from skyduel.core import Catalog, Frame, Sectioning, entry_of, open_large_image, write_frame
from skyduel.reports.figures.sources import MOST_PX, reduced, sources_figure
from skyduel.runner.large_images import picture_of

STARS = ((20.0, 30.0), (60.0, 30.0), (40.0, 70.0))


def frame(name: str, shape: tuple[int, int] = (96, 80)) -> Frame:
    y, x = np.indices(shape)
    data = np.random.default_rng(1).normal(100, 3, shape)
    for at_x, at_y in STARS:
        data += 900 * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / 4)
    return Frame(data=data.astype("f4"), name=name, gain=1.0, zero_point=25.0, fwhm=3.3)


@pytest.fixture
def night(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.fits" for name in "ab"]
    for path in paths:
        write_frame(frame(path.stem), path)
    return paths


FOUND = Catalog.build(
    x=[5.0, 50.0, 20.0, 30.0],
    y=[7.0, 20.0, 10.0, 15.0],
    kind=["point", "streak", "galaxy", "point"],
    length=[0.0, 10.0, 0.0, 0.0],
    theta=[0.0, np.pi / 6, 0.0, 0.0],
)


def test_the_figure_marks_every_source_where_it_is() -> None:
    picture = np.zeros((40, 60), np.uint8)
    figure = sources_figure(picture, (40, 60), FOUND, "m31_$1$", "4 sources of sep")
    (ax,) = figure.axes
    points, galaxies, streaks = (line.get_xydata() for line in ax.lines)
    np.testing.assert_array_equal(points, [[5, 7], [30, 15]])
    np.testing.assert_array_equal(galaxies, [[20, 10]])
    dx, dy = 5 * np.cos(np.pi / 6), 5 * np.sin(np.pi / 6)
    np.testing.assert_allclose(streaks[:2], [[50 - dx, 20 - dy], [50 + dx, 20 + dy]])
    # Integers are centres of pixels, as in the catalogue, and row 0 is at the bottom.
    assert (*ax.get_xlim(), *ax.get_ylim()) == (-0.5, 59.5, -0.5, 39.5)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x [px]", "y [px]")
    assert figure.get_suptitle() == "m31_$1$\n4 sources of sep"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["2 points", "1 galaxy", "1 streak"]
    assert len({line.get_color() for line in ax.lines}) == 3


def test_an_empty_catalogue_is_a_figure_without_a_legend() -> None:
    figure = sources_figure(np.zeros((4, 9), np.uint8), (4, 9), Catalog.empty(), "a", "0 sources")
    assert not figure.legends
    assert not figure.axes[0].lines


def test_a_reduced_picture_holds_means_and_keeps_its_place() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (MOST_PX + 1, 7)).astype(np.uint8)
    small = reduced(picture)
    assert small.shape == (MOST_PX // 2 + 1, 4)
    squares = picture[:-1, :-1].reshape(MOST_PX // 2, 2, 3, 2).mean(axis=(1, 3))
    np.testing.assert_array_equal(small[:-1, :-1], np.rint(squares))
    assert small[-1, -1] == picture[-1, -1]
    assert reduced(small) is small
    figure = sources_figure(small, picture.shape, Catalog.empty(), "a", "")
    # The last square sticks out by the pixel that it lacks.
    assert figure.axes[0].images[0].get_extent() == [-0.5, 7.5, -0.5, MOST_PX + 1.5]


def test_a_large_image_is_drawn_by_sections(tmp_path: Path) -> None:
    whole = frame("large", (300, 340))
    write_frame(whole, tmp_path / "large.fits")
    image = open_large_image(entry_of(tmp_path / "large.fits"), Sectioning(192, 64))
    assert image is not None
    assert len(image.sections) > 1
    by_sections, at_once = picture_of(image).astype(int), picture_of(whole).astype(int)
    assert by_sections.shape == (300, 340)
    # Level and noise are those of a sample, so the greys differ a little.
    assert np.abs(by_sections - at_once).max() < 12
    for x, y in STARS:
        assert by_sections[299 - int(y), int(x)] == 255


STARTS = {".png": b"\x89PNG\r\n", ".svg": b"<?xml", ".pdf": b"%PDF-"}


@pytest.mark.parametrize("ending", [".png", ".SVG", ".pdf"])
def test_detect_draws_the_frame_with_its_sources(
    night: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    out, target = tmp_path / "a.ecsv", tmp_path / "new" / f"found{ending}"
    words = ("detect", night[0], "--with", "sep", "-o", out, "--plot", target)
    assert skyduel(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"{out} {target} 3 sources of sep" in said
    drawn = target.read_bytes()
    assert drawn.startswith(STARTS[ending.lower()])
    assert skyduel(*words) == 0
    assert target.read_bytes() == drawn  # no clock in it


def test_several_frames_are_drawn_into_a_folder(night: list[Path], tmp_path: Path) -> None:
    plots = tmp_path / "plots"
    words = ("--with", "sep", "-o", tmp_path / "found", "--format", "reg", "--plot", plots)
    assert skyduel("detect", *night, *words) == 0
    assert sorted(path.name for path in plots.iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("number", "plot", "said"),
    [
        (1, "a.jpg", "--plot: required a file that ends in .png, .svg, .pdf, or a folder "
                     "(a.jpg/ makes one); got the ending '.jpg'"),
        (2, "a.png", "--plot: required a folder for several frames; got a file a.png"),
    ],
)  # fmt: skip
def test_a_plot_that_cannot_be_is_said_before_anything_is_read(
    night: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    number: int,
    plot: str,
    said: str,
) -> None:
    out = tmp_path / "found"
    assert skyduel("detect", *night[:number], "--with", "sep", "-o", out, "--plot", plot) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert not out.exists()
