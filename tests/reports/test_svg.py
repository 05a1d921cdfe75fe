"""The small SVG of the page shows what matplotlib draws from the same calls."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_run import write_run

from skyduel.reports.sections.all_sections import report_figures
from skyduel.reports.svg.axis import Axis, nice_ticks
from skyduel.reports.svg.backend import as_svg
from skyduel.reports.svg.elements import marks, polyline, text
from skyduel.reports.svg.figure import Figure
from skyduel.reports.svg.markers import marker_path
from skyduel.reports.svg.text_width import text_width
from skyduel.run_folder import load_run

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    groups = ("dirty", "sparse")
    path = write_run(
        tmp_path_factory.mktemp("runs") / "svg",
        frames_per_group=1,
        n_truth=40,
        detectors=("neural", "sep"),
        groups=groups,
        points=("default",),
    )
    write_analyses(path, ("neural", "sep"), ("all", *groups), ("default",))
    return [spec for _, spec in report_figures(load_run(path))]


def test_every_figure_has_the_panels_limits_and_texts_of_matplotlibs(specs):
    assert len(specs) > 15
    for spec in specs:
        theirs, their_table = spec.draw()
        with as_svg():
            ours, our_table = spec.draw()
        assert their_table.equals(our_table), spec.name
        theirs.get_layout_engine().execute(theirs)
        panels = [ax for row in ours.grid for ax in row if not ax.removed]
        assert len(panels) == len(theirs.axes), spec.name
        said = "".join(t.text for t in ET.fromstring(ours.svg()).iter(f"{SVG}text"))
        for mine, other in zip(panels, theirs.axes, strict=True):
            if not mine.visible or mine.xaxis.ticks == []:  # nothing is there
                continue
            for axis in "xy":
                limits = np.asarray(getattr(other, f"get_{axis}lim")())
                room = 0.02 * abs(limits[1] - limits[0])
                got = getattr(mine, f"get_{axis}lim")()
                # An equal aspect widens the box of matplotlib's, and not its limits.
                np.testing.assert_allclose(got, limits, atol=room, err_msg=spec.name)
            lines = [other.get_title(), other.get_title(loc="left"), other.get_xlabel()]
            lines += [other.get_ylabel(), *(t.get_text() for t in other.texts)]
            lines += [t.get_text() for t in other.get_xticklabels() if mine.xaxis.labels]
            for line in lines:
                assert all(part in said for part in line.split("\n")), (spec.name, line)
        entries = [t.get_text() for legend in theirs.legends for t in legend.texts]
        for line in (theirs.get_suptitle(), *entries):
            assert all(part in said for part in line.split("\n")), (spec.name, line)


def test_points_stand_where_their_values_are():
    figure = Figure((4, 3))
    ax = figure.subplots()
    ax.set_xlim(10, 20)
    ax.set_ylim(0, 1)
    ax.plot([10, 15, 20], [0, 0.5, 1], color="#123456")
    root = ET.fromstring(figure.svg())
    panel = next(e for e in root.iter(f"{SVG}svg") if e is not root)
    x, y, wide, high = (float(panel.get(k)) for k in ("x", "y", "width", "height"))
    line = next(e for e in panel.iter(f"{SVG}path") if e.get("stroke") == "#123456")
    places = np.asarray(re.findall(r"[ML]([\d.]+) ([\d.]+)", line.get("d")), dtype=float)
    wanted = [[x, y + high], [x + wide / 2, y + high / 2], [x + wide, y]]
    np.testing.assert_allclose(places, wanted, atol=0.06)


@pytest.mark.parametrize(("scale", "values"), [
    ("linear", [-3.0, 0.0, 7.5]), ("log", [0.1, 1.0, 250.0]), ("symlog", [-40.0, -0.3, 0.0, 5.0]),
])  # fmt: skip
def test_a_scale_and_its_inverse_agree_and_keep_the_order(scale, values):
    axis = Axis(scale=scale, linthresh=0.5)
    drawn = axis.forward(values)
    assert (np.diff(drawn) > 0).all()
    np.testing.assert_allclose(axis.backward(drawn), values, rtol=1e-9, atol=1e-12)
    axis.see(values)
    assert ((axis.place(values) > 0) & (axis.place(values) < 1)).all()


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-0.3, 1.04), (13, 23), (0, 4.3e4), (2e-5, 3e-5)]
)
def test_ticks_are_round_few_and_inside(low, high):
    ticks = nice_ticks(low, high, 6)
    assert 2 <= len(ticks) <= 7
    steps = np.diff(ticks)
    np.testing.assert_allclose(steps, steps[0])
    assert f"{steps[0]:.1e}"[:3] in ("1.0", "2.0", "2.5", "5.0")
    assert ticks[0] >= low - 1e-9
    assert ticks[-1] <= high + 1e-9


def test_a_line_is_interrupted_where_it_is_undefined():
    drawn = polyline([0, 1, np.nan, 3, 3.001, 4], [0, 1, 2, 3, 3.001, 4], "#000000", 1)
    assert re.search(r'd="([^"]*)"', drawn).group(1) == "M0 0L1 1M3 3L4 4"
    drawn = polyline([0, 0, 2, 2], [0, 1, 1, 3], "#000000", 1)
    assert re.search(r'd="([^"]*)"', drawn).group(1) == "M0 0V1H2V3"
    assert polyline([np.nan], [1], "#000000", 1) == ""


def test_markers_are_closed_and_centred():
    for marker in "os^vD<>PXph*.":
        assert marker_path(marker, 0, 0, 6).startswith("M"), marker
    ring = marks([1.0, np.nan], [2.0, 2.0], "o", size=6, color="#000000", face="white")
    assert ring.count("M") == 1
    assert 'fill="white"' in ring
    half = marks([0.0], [0.0], "s", size=4, color="#ff0000", fill="left")
    assert re.findall(r'd="([^"]*)"', half)[1] == "M-2 -2L0 -2L0 2L-2 2z"


def test_text_is_escaped_and_its_width_is_that_of_the_longest_line():
    assert "&lt;b&gt; &amp;" in text("<b> &", 0, 0, 9)
    assert text_width("ab\nabcd", 10) == text_width("abcd", 10) > text_width("abc", 10) > 0
