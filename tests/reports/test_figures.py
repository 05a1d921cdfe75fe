"""Figures show the values of the tables, and are labelled."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic_run import DETECTORS, N_BINS, write_run
from matplotlib.figure import Figure

from skyduel.core.errors import BadInputError
from skyduel.reports import detector_styles, frame_marks, plot_precision_recall, plot_score
from skyduel.reports.figures.binned_scores import (
    plot_binned_scores,
    plot_ignore_limit,
    plot_migration,
)
from skyduel.reports.figures.calibration import plot_purity_choice, plot_reliability
from skyduel.reports.figures.differences import plot_differences, plot_forest
from skyduel.reports.figures.error_kinds import plot_error_kinds, plot_error_kinds_by_magnitude
from skyduel.reports.figures.frame_overlay import frame_figure
from skyduel.reports.figures.galaxies import plot_galaxies
from skyduel.reports.figures.ideal_observer import plot_completeness_curve, plot_ideal
from skyduel.reports.figures.jia2020 import plot_jia2020
from skyduel.reports.figures.residuals import plot_residuals
from skyduel.reports.figures.score_axes import bin_rows
from skyduel.reports.figures.scores import (
    limits_by_group,
    precision_recall,
    scores_by_group,
    scores_by_magnitude,
)
from skyduel.reports.page.write_files import csv_text, figure_bytes
from skyduel.reports.style import shorten
from skyduel.run_folder import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(write_run(tmp_path_factory.mktemp("runs") / "figures", frames_per_group=2))


def _axis():
    return Figure().subplots()


def _tiny(n=(40, 4)):
    """Two bins, two detectors, all four quantities."""
    rows = []
    for detector, value in (("neural", 0.75), ("sep", 0.5)):
        for quantity in ("completeness", "purity", "f1", "f2"):
            for number in (-2, -1, 0, 1, 2, 3):
                regular = number in (0, 1)
                rows.append(
                    {
                        "detector": detector,
                        "point": "default",
                        "group": "all",
                        "bin": number,
                        "bin_lo": 18.0 + 2 * number if regular else np.nan,
                        "bin_hi": 20.0 + 2 * number if regular else np.nan,
                        "quantity": quantity,
                        "value": value - 0.25 * max(number, 0),
                        "lo": value - 0.25 * max(number, 0) - 0.125,
                        "hi": value - 0.25 * max(number, 0) + 0.125,
                        "n": n[number] if regular else 44,
                        "k": 1,
                        "interval": "wilson",
                        "n_frames": 3,
                    }
                )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("quantity", ["completeness", "purity", "f1", "f2"])
def test_a_curve_draws_every_finite_value_of_the_table_in_its_bin(run, quantity):
    ax = _axis()
    drawn = plot_score(ax, run.scores, quantity, group="dirty", point="calibrated")
    s = run.scores
    expected = s[
        (s["quantity"] == quantity)
        & (s["group"] == "dirty")
        & (s["point"] == "calibrated")
        & s["bin"].between(0, N_BINS - 1)
    ]
    assert len(drawn) == len(expected) == len(DETECTORS) * N_BINS
    merged = drawn.merge(expected, on=["detector", "bin"], suffixes=("", "_table"))
    for column in ("value", "lo", "hi", "n"):
        pd.testing.assert_series_equal(merged[column], merged[f"{column}_table"], check_names=False)
    assert ((drawn["x"] > drawn["bin_lo"]) & (drawn["x"] < drawn["bin_hi"])).all()
    assert drawn.groupby("bin")["x"].nunique().eq(len(DETECTORS)).all()
    marks = {
        (round(float(x), 6), round(float(y), 6))
        for line in ax.get_lines()
        if line.get_linestyle() == "None" and line.get_marker() in "os^"
        for x, y in line.get_xydata()
    }
    wanted = drawn[np.isfinite(drawn["value"])]
    assert len(wanted) > 10
    assert marks >= {(round(x, 6), round(v, 6)) for x, v in wanted[["x", "value"]].to_numpy()}


def test_axes_carry_both_names_and_say_which_magnitude(run):
    said = {}
    for quantity in ("completeness", "purity", "f1", "f2"):
        ax = _axis()
        plot_score(ax, run.scores, quantity)
        said[quantity] = (ax.get_ylabel(), ax.get_xlabel())
    assert said["completeness"] == ("Completeness (recall)", "true magnitude [mag]")
    assert said["purity"] == ("Purity (precision)", "measured magnitude [mag]")
    assert said["f1"][1] == said["f2"][1]
    assert "joins two axes" in said["f1"][1]


def test_thin_bins_are_hollow_and_others_full():
    ax = _axis()
    drawn = plot_score(ax, _tiny(n=(40, 4)), "completeness")
    assert drawn["thin"].tolist() == [False, True, False, True]
    faces = {
        (line.get_marker(), round(float(line.get_ydata()[0]), 3)): line.get_markerfacecolor()
        for line in ax.get_lines()
        if line.get_marker() in ("o", "s")
    }
    assert faces["o", 0.75] == detector_styles(["neural"])["neural"].color
    assert faces["o", 0.5] == "white"
    assert faces["s", 0.25] == "white"


def test_an_f_score_is_as_thin_as_the_thinner_score_it_joins():
    scores = _tiny(n=(40, 40))
    purity = (scores["quantity"] == "purity") & (scores["bin"] == 1)
    scores.loc[purity & (scores["detector"] == "sep"), "n"] = 3
    thin = bin_rows(scores, "f1").set_index(["detector", "bin"])["thin"]
    assert thin["sep", 1]
    assert not thin["neural", 1]
    assert not bin_rows(scores, "completeness")["thin"].any()


def test_the_counts_stand_on_the_axis():
    ax = _axis()
    plot_score(ax, _tiny(n=(40, 4)), "completeness")
    texts = [t.get_text() for t in ax.texts]
    assert "40" in texts
    assert "4" in texts
    assert "n: truths" in texts


def test_an_unknown_quantity_is_named():
    with pytest.raises(BadInputError, match="quantity: required one of completeness"):
        plot_score(_axis(), _tiny(), "recall")


def test_all_undefined_says_so_and_an_empty_selection_too(run):
    scores = _tiny()
    scores.loc[scores["detector"] == "sep", ["value", "lo", "hi"]] = np.nan
    ax = _axis()
    drawn = plot_score(ax, scores, "purity")
    assert drawn.loc[drawn["detector"] == "sep", "value"].isna().all()
    assert any("undefined in every bin: sep" in t.get_text() for t in ax.texts)
    ax = _axis()
    assert len(plot_score(ax, scores, "purity", point="calibrated")) == 0
    assert any("no such scores" in t.get_text() for t in ax.texts)


def test_the_numbers_of_a_curve_as_csv():
    drawn = plot_score(_axis(), _tiny(), "completeness")
    assert csv_text(drawn) == (
        "detector,point,group,quantity,bin,bin_lo,bin_hi,mag,value,lo,hi,n,thin,x\n"
        "neural,default,all,completeness,0,18,20,19,0.75,0.625,0.875,40,False,18.87\n"
        "neural,default,all,completeness,1,20,22,21,0.5,0.375,0.625,4,True,20.87\n"
        "sep,default,all,completeness,0,18,20,19,0.5,0.375,0.625,40,False,19.13\n"
        "sep,default,all,completeness,1,20,22,21,0.25,0.125,0.375,4,True,21.13\n"
    )


def test_a_detector_keeps_its_style_and_no_two_share_one():
    names = ["mine", "neural", "yours", "sep", "third", "sep-matched"]
    styles = detector_styles(names)
    assert list(styles) == names
    assert len({(s.color, s.marker) for s in styles.values()}) == len(names)
    assert len({s.color for s in styles.values()}) == len(names)
    assert detector_styles(["neural"])["neural"] == styles["neural"]
    many = detector_styles([f"d{i}" for i in range(70)])
    assert len({(s.color, s.marker) for s in many.values()}) == 70


def test_a_figure_has_one_legend_entry_a_detector_in_its_colour(run):
    figure, drawn = scores_by_magnitude(run.scores)
    legend = figure.legends[0]
    labels = [t.get_text() for t in legend.get_texts()]
    assert labels == [*DETECTORS, "hollow: n < 10"]
    colors = [line.get_color() for line in legend.get_lines()]
    assert colors[:3] == [s.color for s in detector_styles(DETECTORS).values()]
    assert "6 frames" in figure.get_suptitle()
    assert set(drawn["quantity"]) == {"completeness", "purity", "f1", "f2"}


def test_the_precision_recall_curve_is_the_sweep_and_its_points_are_the_scores(run):
    ax = _axis()
    drawn = plot_precision_recall(ax, run.sweep, run.scores, group="sparse")
    curve = drawn[(drawn["point"] == "") & (drawn["detector"] == "sep")]
    table = run.sweep[(run.sweep["detector"] == "sep") & (run.sweep["group"] == "sparse")]
    np.testing.assert_array_equal(curve["completeness"], table["completeness"])
    np.testing.assert_array_equal(curve["purity"], table["purity"])
    marks = drawn[drawn["point"] != ""]
    assert len(marks) == 9
    s = run.scores
    row = s[
        (s["detector"] == "neural")
        & (s["group"] == "sparse")
        & (s["point"] == "purity95")
        & (s["bin"] == -2)
        & (s["quantity"] == "purity")
    ].iloc[0]
    mark = marks[(marks["detector"] == "neural") & (marks["point"] == "purity95")].iloc[0]
    assert (mark["purity"], mark["purity_lo"], mark["purity_hi"]) == (
        row["value"],
        row["lo"],
        row["hi"],
    )
    assert ax.get_xlabel() == "Completeness (recall)"
    assert ax.get_ylabel() == "Purity (precision)"


def test_limits_and_scores_by_group_draw_their_tables(run):
    figure, drawn = limits_by_group(run.limits)
    pd.testing.assert_series_equal(drawn["snr50"], run.limits["snr50"])
    assert [ax.get_title() for ax in figure.axes] == [
        "own default",
        "calibrated",
        "equal purity 0.95",
    ]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == [
        "all",
        "crowded",
        "dirty",
        "sparse",
    ]
    _, drawn = scores_by_group(run.scores, "purity", points=["default"])
    s = run.scores
    total = s[(s["bin"] == -2) & (s["quantity"] == "purity") & (s["point"] == "default")]
    np.testing.assert_array_equal(drawn["value"], total["value"])


def test_a_far_limit_does_not_press_the_others_together(run):
    assert limits_by_group(run.limits)[0].axes[0].get_xscale() == "linear"
    limits = run.limits.copy()
    limits.loc[0, ["snr50", "snr50_lo", "snr50_hi"]] = 200.0
    assert {ax.get_xscale() for ax in limits_by_group(limits)[0].axes} == {"log"}


def test_undefined_limits_are_written_not_dropped(run):
    limits = run.limits.copy()
    limits.loc[limits["detector"] == "sep", ["snr50", "snr50_lo", "snr50_hi"]] = np.nan
    figure, _ = limits_by_group(limits, points=["purity95"])
    said = [t.get_text() for t in figure.axes[0].texts]
    assert said.count("sep: undefined") == 4
    figure, drawn = limits_by_group(run.limits.iloc[:0], points=["purity95"])
    assert len(drawn) == 0
    assert figure.axes


def test_empty_sweep_and_scores_still_make_a_figure(run):
    figure, drawn = precision_recall(run.sweep.iloc[:0], run.scores.iloc[:0])
    assert isinstance(figure, Figure)
    assert len(drawn) == 0


def test_marks_count_as_the_pairs_do(run):
    marks = frame_marks(run, "dirty_001", "sep", "calibrated")
    pairs = run.pairs("sep", "calibrated", "dirty_001")
    assert marks["outcome"].value_counts().to_dict() == pairs["outcome"].value_counts().to_dict()
    truth = run.truth("dirty_001")
    index = pairs.loc[pairs["outcome"] == "missed", "truth_index"]
    missed = marks[marks["outcome"] == "missed"]
    np.testing.assert_array_equal(missed["x"], truth["x"].to_numpy()[index])
    found = run.catalog("sep", "dirty_001")
    index = pairs.loc[pairs["outcome"] == "false", "found_index"]
    wrong = marks[marks["outcome"] == "false"]
    np.testing.assert_array_equal(wrong["y"], found["y"].to_numpy()[index])


def test_a_frame_has_a_panel_for_the_truth_and_each_detector(run):
    figure, drawn = frame_figure(run, "dirty_000", "default")
    assert len(figure.axes) == 4
    assert set(drawn["panel"]) == {"truth", *DETECTORS}
    assert "320 × 192 px" in figure.get_suptitle()
    assert "middle" not in figure.get_suptitle()
    for ax, detector in zip(figure.axes[1:], DETECTORS, strict=True):
        n = drawn.loc[drawn["panel"] == detector, "outcome"].value_counts()
        assert ax.get_title() == (
            f"{detector}\n{n['found']} found, {n['missed']} missed, {n['false']} false"
        )
    streaks = [line for line in figure.axes[0].get_lines() if line.get_linestyle() != "None"]
    a, b = streaks[0].get_xydata()[:2]
    assert np.hypot(*(b - a)) == pytest.approx(90.0)
    assert np.arctan2(*(b - a)[::-1]) == pytest.approx(0.5)


def test_a_crowded_frame_is_cut_and_says_so(run):
    figure, drawn = frame_figure(run, "crowded_000", "default")
    title = figure.get_suptitle()
    assert "the middle" in title
    assert "of 320 × 192 px" in title
    left, right = figure.axes[0].get_xlim()
    assert right - left in (256.0, 128.0)
    points = drawn[drawn["kind"] == "point"]
    assert points["x"].between(left, right).all()
    assert drawn["panel"].value_counts().max() <= 500


def test_missing_files_are_said_in_their_panel(tmp_path):
    path = write_run(tmp_path / "r", groups=("a",), frames_per_group=1, pairs=False, previews=False)
    (path / "truth" / "a_000.parquet").unlink()
    figure, drawn = frame_figure(load_run(path), "a_000")
    said = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert len(drawn) == 0
    assert "no preview in the run folder; no truth in the run folder" in said
    assert said.count("no preview in the run folder; no pairs or catalogue in the run folder") == 3


def test_pairs_that_point_past_their_catalogue_are_refused(tmp_path):
    path = write_run(tmp_path / "r", groups=("a",), frames_per_group=1, points=("default",))
    catalog = path / "catalogs" / "sep" / "a_000.parquet"
    pd.read_parquet(catalog).iloc[:2].to_parquet(catalog)
    with pytest.raises(BadInputError, match="found_index below the 2 rows"):
        frame_marks(load_run(path), "a_000", "sep", "default")


def test_the_same_figure_gives_the_same_bytes(run):
    figure, table = scores_by_group(run.scores)
    first = figure_bytes(figure)
    assert first == figure_bytes(scores_by_group(run.scores)[0])
    assert first.startswith(b"\x89PNG")
    assert len(table) == 3 * 3 * 4


def test_names_in_any_script_and_with_dollars_can_be_drawn(run):
    names = {"neural": "_hidden $x^", "sep": "検出器\x07", "sep-matched": "n" * 200}
    scores = run.scores.assign(detector=run.scores["detector"].map(names))
    figure, _ = scores_by_magnitude(scores)
    assert figure_bytes(figure)
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels[0] == " _hidden $x^"
    assert labels[1] == "検出器?"
    assert len(labels[2]) == 28
    assert len(shorten("n" * 200, 10)) == 10


def test_importing_the_reports_loads_no_matplotlib():
    code = "import sys, skyduel.reports; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


_OTHER = pd.DataFrame({"a": [1.0]})
_PLOTS = [
    (plot_score, (_OTHER, "f1"), "scores: required the table scores"),
    (plot_precision_recall, (_OTHER, _OTHER), "sweep: required the table sweep"),
    (plot_completeness_curve, (_OTHER, _OTHER), "scores: required the table scores"),
    (plot_ideal, (_OTHER,), "ideal: required the table ideal"),
    (plot_reliability, (_OTHER, _OTHER), "reliability: required the table reliability"),
    (plot_purity_choice, (_OTHER,), "choices: required the table purity_choice"),
    (plot_binned_scores, (_OTHER, "snr", "purity"), "facets: required the table facets"),
    (plot_ignore_limit, (_OTHER, "f1"), "limits: required the table ignore_limit"),
    (plot_migration, (_OTHER, "sep"), "migration: required the table migration"),
    (plot_residuals, (_OTHER, "dx", "median"), "astrometry: required the table astrometry"),
    (plot_differences, (_OTHER, ("a", "b"), "f1"), "comparisons: required the table comparisons"),
    (plot_forest, (_OTHER, "f1"), "comparisons: required the table comparisons"),
    (plot_error_kinds, (_OTHER, "false"), "mistakes: required the table mistakes"),
    (plot_error_kinds_by_magnitude, (_OTHER, "sep", "false"),
     "mistakes: required the table mistakes"),
    (plot_galaxies, (_OTHER, "sep"), "galaxies: required the table galaxies"),
    (plot_jia2020, (_OTHER,), "jia2020: required the table jia2020"),
]  # fmt: skip


@pytest.mark.parametrize(("plot", "arguments", "said"), _PLOTS)
def test_a_plot_refuses_another_table(plot, arguments, said):
    with pytest.raises(BadInputError) as error:
        plot(_axis(), *arguments)
    required, _, got = str(error.value).partition("; got ")
    assert required.startswith(f"{plot.__name__}: {said} of a run, with columns detector")
    assert got.startswith("a DataFrame without detector")


def test_a_plot_takes_a_table_without_the_columns_it_does_not_draw(run):
    drawn = plot_score(_axis(), run.scores.drop(columns="interval"), "f1")
    assert drawn.equals(plot_score(_axis(), run.scores, "f1"))
