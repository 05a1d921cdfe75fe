"""Figures and tables of a run's analyses show the values of its tables."""

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic_analyses import FALSE, MISSED, write_analyses
from helpers.synthetic_run import DETECTORS, GROUPS, N_BINS, write_run
from matplotlib.figure import Figure

from skyduel.reports import (
    detector_styles,
    markdown,
    plot_differences,
    plot_error_kinds,
    plot_forest,
    plot_ideal,
    plot_reliability,
)
from skyduel.reports.error_kinds import ERROR_KINDS
from skyduel.reports.figures.binned_scores import binned_scores_overview, ignore_limits, migrations
from skyduel.reports.figures.calibration import purity_choices, reliability_diagrams
from skyduel.reports.figures.differences import (
    differences_by_group,
    differences_by_magnitude,
    overall_rows,
    pairs_shown,
)
from skyduel.reports.figures.error_kinds import error_kinds_by_group, error_kinds_by_magnitude
from skyduel.reports.figures.galaxies import galaxy_completeness, plot_galaxies
from skyduel.reports.figures.ideal_observer import (
    completeness_and_ideal,
    completeness_curves,
    fitted_completeness,
    ideal_distance,
)
from skyduel.reports.figures.jia2020 import jia2020_layout
from skyduel.reports.figures.residuals import residuals
from skyduel.reports.page.markdown_report import markdown_cell
from skyduel.reports.sections.all_sections import SECTIONS, report_figures
from skyduel.reports.sections.analyses.binned_scores import binned_scores_table
from skyduel.reports.sections.analyses.calibration import calibration_table, purity_table
from skyduel.reports.sections.analyses.chance_matches import chance_table
from skyduel.reports.sections.analyses.error_kinds import error_kinds_table
from skyduel.reports.sections.analyses.galaxies import GALAXIES, galaxies_table
from skyduel.reports.sections.analyses.ideal_observer import IDEAL_OBSERVER, ideal_table
from skyduel.reports.sections.analyses.residuals import residuals_table
from skyduel.reports.sections.analyses.snr_limit import ignore_table
from skyduel.reports.sections.depth import shape_table
from skyduel.reports.sections.precision_recall import precision_table
from skyduel.reports.text.paired_sentences import differences_table, paired_sentences
from skyduel.reports.text.verdict import verdict
from skyduel.run_folder import load_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = write_run(tmp_path_factory.mktemp("runs") / "all", frames_per_group=1, n_truth=9)
    return load_run(write_analyses(path))


def _axis():
    return Figure().subplots()


def _marks(ax):
    """Return every marker that stands on an axis, rounded."""
    return {
        (round(float(x), 6), round(float(y), 6))
        for line in ax.get_lines()
        if line.get_marker() not in ("None", "", None)
        for x, y in np.asarray(line.get_xydata(), dtype=float)
    }


def _held(ax, x, y):
    wanted = {
        (round(a, 6), round(b, 6))
        for a, b in zip(x.astype(float), y.astype(float), strict=True)
        if np.isfinite([a, b]).all()
    }
    assert wanted
    assert wanted <= _marks(ax)


def test_completeness_stands_beside_the_ideal_observer(run):
    ideal, ax = run.analysis("ideal"), _axis()
    drawn = plot_ideal(ax, ideal, group="dirty", point="calibrated")
    table = ideal[
        (ideal["group"] == "dirty")
        & (ideal["point"] == "calibrated")
        & (ideal["match"] == "false_rate")
        & (ideal["bin"] >= 0)
    ]
    assert len(drawn) == len(table) == 3 * N_BINS
    merged = drawn.merge(table, on=["detector", "bin"], suffixes=("", "_table"))
    for column in ("found", "found_lo", "ideal", "n"):
        np.testing.assert_array_equal(merged[column], merged[f"{column}_table"])
    _held(ax, drawn["x"], drawn["found"])
    dashed = [line for line in ax.get_lines() if line.get_linestyle() == "--"]
    assert len(dashed) == 3
    for line, (name, style) in zip(dashed, detector_styles(DETECTORS).items(), strict=True):
        mine = drawn[drawn["detector"] == name]
        np.testing.assert_array_equal(line.get_ydata(), mine["ideal"])
        assert line.get_color() == style.color
    figure, data = completeness_and_ideal(ideal, point="default")
    assert [ax.get_title() for ax in figure.axes] == ["all groups", *GROUPS]
    assert len(data) == 4 * 3 * N_BINS


def test_the_distance_from_the_ideal_is_the_tables(run):
    ideal = run.analysis("ideal")
    _, data = ideal_distance(ideal, points=["default"])
    table = ideal[
        (ideal["bin"] == -2) & (ideal["match"] == "false_rate") & (ideal["point"] == "default")
    ]
    np.testing.assert_array_equal(data["distance_mag"], table["distance_mag"])
    np.testing.assert_array_equal(data["distance_hi"], table["distance_hi"])


def test_without_an_ideal_observer_its_section_draws_nothing(tmp_path):
    path = tmp_path / "run"
    write_run(path, frames_per_group=1, n_truth=9)
    write_analyses(path)
    assert len(list(IDEAL_OBSERVER.figures(load_run(path), {}))) == 2
    file = path / "analyses" / "ideal.parquet"
    table = pd.read_parquet(file).assign(ideal=np.nan, distance_mag=np.nan)
    table.to_parquet(file)
    bare = load_run(path)
    assert not list(IDEAL_OBSERVER.figures(bare, {}))
    assert {row[3].text for row in ideal_table(bare).rows} == {"–"}


def test_a_fitted_curve_goes_through_what_the_limits_state():
    for floor, ceiling, width in ((0.0, 1.0, 0.3), (0.2, 0.95, 0.5), (0.01, 0.6, 0.1)):
        shape = {"m50": 21.3, "width_mag": width, "floor": floor, "ceiling": ceiling}
        assert fitted_completeness(21.3, **shape) == pytest.approx(0.5)
        assert fitted_completeness(-50.0, **shape) == pytest.approx(ceiling)
        assert fitted_completeness(90.0, **shape) == pytest.approx(floor)
    # A fit of a run: the curve that its m50, width, floor and ceiling give crosses 0.9 at its m90.
    fit = {"m50": 19.607744, "width_mag": 0.389117, "floor": 0.079533, "ceiling": 0.992569}
    assert fitted_completeness(18.697138, **fit) == pytest.approx(0.9, abs=1e-5)
    never = {"m50": np.nan, "width_mag": 0.3, "floor": 0.0, "ceiling": 0.4}
    assert np.isnan(fitted_completeness([20.0, 21.0], **never)).all()


def test_completeness_curves_hold_bins_and_limits(run):
    figure, data = completeness_curves(run.scores, run.limits, point="default")
    assert len(figure.axes) == 4
    m50 = data[data["what"] == "m50"].merge(
        run.limits, on=["detector", "point", "group"], suffixes=("", "_table")
    )
    assert len(m50) == 12
    np.testing.assert_array_equal(m50["mag"], m50["m50"])
    np.testing.assert_array_equal(m50["lo"], m50["m50_lo"])
    assert (data["what"] == "bin").sum() == 4 * 3 * N_BINS


def test_a_difference_has_the_better_ones_colour_and_is_full_where_shown(run):
    ax, pair = _axis(), ("neural", "sep")
    drawn = plot_differences(ax, run.comparisons, pair, "f1", point="default")
    assert len(drawn) == N_BINS
    _held(ax, drawn["mag"], drawn["delta"])
    styles = detector_styles(DETECTORS)
    for line in ax.get_lines():
        if line.get_marker() not in ("o", "s"):
            continue
        for y in np.atleast_1d(line.get_ydata()):
            row = drawn[np.isclose(drawn["delta"], y)].iloc[0]
            style = styles["neural" if y > 0 else "sep"]
            assert line.get_color() == style.color
            assert (line.get_markerfacecolor() == style.color) == (row["p_holm"] < 0.05)


def test_the_forest_takes_the_interval_over_frames(run):
    rows = overall_rows(run.comparisons, "default")
    assert len(rows) == 3 * 4 * 6
    assert set(rows["interval"]) == {"bootstrap"}
    ax = _axis()
    drawn = plot_forest(ax, run.comparisons, "completeness", point="default")
    assert drawn["y"].tolist() == list(range(12))
    _held(ax, drawn["delta"], drawn["y"])
    _, data = differences_by_group(run.comparisons, point="default")
    assert set(data["quantity"]) == {"completeness", "purity", "f1", "m50"}
    _, data = differences_by_magnitude(run.comparisons, point="default")
    assert len(data) == 3 * 3 * N_BINS


def test_of_many_pairs_those_of_the_first_are_shown():
    names = [f"d{i}" for i in range(8)]
    table = pd.DataFrame(
        [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]],
        columns=["detector_a", "detector_b"],
    )
    assert pairs_shown(table) == [("d0", n) for n in names[1:]]
    assert len(pairs_shown(table[table["detector_a"].isin(["d5", "d6"])])) == 3


def test_mistakes_are_stacked_in_one_order_and_end_at_one(run):
    ax = _axis()
    drawn = plot_error_kinds(ax, run.analysis("mistakes"), "false", point="calibrated")
    assert len(drawn) == 4 * 3 * len(FALSE)
    ends = drawn["left"] + drawn["share"]
    np.testing.assert_allclose(ends.groupby(drawn["y"]).max(), 1.0)
    order = list(ERROR_KINDS)
    for _, bar in drawn.groupby("y"):
        kinds = bar.sort_values("left")["kind"]
        assert list(kinds) == sorted(kinds, key=order.index)
    widths = sorted(round(p.get_width(), 6) for p in ax.patches if 0 < p.get_width() < 0.9)
    assert widths[: len(drawn)] == sorted(drawn["share"].round(6))
    figure, _ = error_kinds_by_group(run.analysis("mistakes"), point="default")
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == [ERROR_KINDS[k].label for k in ERROR_KINDS if k in {*MISSED, *FALSE}]
    _, data = error_kinds_by_magnitude(run.analysis("mistakes"), point="default")
    assert len(data) == 2 * 2 * 3 * 4
    assert data["n"].sum() == 2 * 2 * 3 * 100


def test_reliability_leaves_out_scores_that_are_no_probability(run):
    ax, errors = _axis(), run.analysis("calibration_error")
    drawn = plot_reliability(ax, run.analysis("reliability"), errors, group="dirty")
    assert set(drawn["detector"]) == {"neural", "sep-matched"}
    _held(ax, drawn["predicted"], drawn["right"])
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    ece = errors[(errors["group"] == "dirty") & (errors["detector"] == "neural")]["ece"].iloc[0]
    assert said[0] == f"neural: ECE {ece:.3f}, n 400"
    _, data = reliability_diagrams(run.analysis("reliability"), errors)
    assert len(data) == 4 * 2 * 10


def test_galaxies_stand_by_size_and_magnitude(run):
    ax, table = _axis(), run.analysis("galaxies")
    drawn = plot_galaxies(ax, table, "sep", group="dirty")
    rows = drawn.set_index(["kind", "size_bin", "bin"])
    assert len(rows) == 8
    # Sizes upwards, points below them, all galaxies above.
    order = (("point", -2, 3), ("galaxy", 4, 3), ("galaxy", 6, 3), ("galaxy", -2, 3))
    heights = [rows.loc[key, "row"] for key in order]
    assert heights == sorted(heights)
    assert heights[1:3] == [0, 1]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["points", "2–3", "4–6", "all galaxies"]
    written = {(t.get_position(), t.get_text()) for t in ax.texts}
    for row in drawn.to_dict("records"):
        assert ((row["bin"], row["row"] + 0.14), f"{row['value']:.2f}") in written
        assert ((row["bin"], row["row"] - 0.26), str(row["n"])) in written
    shades = {b.get_facecolor(): None for b in ax.patches}
    assert len(shades) == drawn["value"].nunique()


def test_the_section_on_galaxies_is_there_with_galaxies_only(run, tmp_path):
    assert [f.name for f in GALAXIES.figures(run, {})] == ["galaxies-calibrated"]
    told = galaxies_table(run, "default")
    shown = {row[1].text: row for row in told.rows if row[0].text == "all"}
    assert list(shown) == ["all galaxies", "2–3", "4–6", "points"]
    # neural does not tell them apart, which is no number.
    at = told.columns.index("neural")
    assert shown["points"][at + 2].text == "–"
    assert shown["points"][told.columns.index("sep") + 2].text.startswith("0.500")
    bare = load_run(write_run(tmp_path / "bare", frames_per_group=1, n_truth=9))
    assert not list(GALAXIES.figures(bare, {}))
    assert galaxies_table(bare, "default") is None
    assert not GALAXIES.tables(bare)


@pytest.mark.parametrize(
    ("draw", "name", "n"),
    [
        (purity_choices, "purity_choice", 4 * 3 * 3 * 2),
        (lambda t: ignore_limits(t, point="default"), "ignore_limit", 3 * 4),
        (lambda t: migrations(t, point="default"), "migration", 3 * 4),
        (lambda t: galaxy_completeness(t, point="default"), "galaxies", 3 * 4 * 2),
        (lambda t: residuals(t, point="default"), "astrometry", 2 * 3 * 3 * 3),
        (lambda t: binned_scores_overview(t, point="default"), "facets", 3 * (3 + 2 + 3 + 3 + 2)),
    ],
)
def test_a_figure_returns_the_rows_of_its_table(run, draw, name, n):
    table = run.analysis(name)
    figure, data = draw(table)
    assert len(data) == n
    assert figure.get_suptitle()
    value = next(c for c in ("value", "purity", "n") if c in data)
    numbers = table.select_dtypes("number").to_numpy(dtype=float).ravel()
    assert set(data[value].dropna().astype(float)) <= set(numbers)
    for ax in figure.axes:
        assert ax.get_xlabel() or ax.get_title() or not ax.get_visible()


def test_the_points_of_binned_scores_are_their_values(run):
    from skyduel.reports import plot_binned_scores

    ax = _axis()
    drawn = plot_binned_scores(ax, run.analysis("facets"), "snr", "completeness", point="default")
    _held(ax, drawn["x"], drawn["value"])
    drawn = plot_binned_scores(_axis(), run.analysis("facets"), "kind", "purity", point="default")
    assert "unknown" not in set(drawn["label"])


def test_the_papers_layout_has_published_values_and_says_it_is_unsound(run):
    figure, data = jia2020_layout(run.analysis("jia2020"), run.scores, point="default")
    assert len(figure.axes) == 4
    assert "unsound" in figure.get_suptitle()
    published = [
        line
        for ax in figure.axes[:2]
        for line in ax.get_lines()
        if line.get_marker() in ("*", "P") and np.isfinite(line.get_ydata()).any()
    ]
    assert len(published) == 2 * 2 * 2
    paper = data[data["measure"] == "jia2020"]
    assert (paper["mag"] == paper["bin_hi"]).all()
    sound = data[data["measure"] == "sound"]
    assert len(sound) == 4 * 3 * N_BINS


def test_every_figure_of_a_full_run_can_be_drawn_and_an_empty_one_lacks_them(run, tmp_path):
    named = [figure.name for _, figure in report_figures(run)]
    there = set(named)
    assert len(there) == len(named)
    assert {"ideal_distance", "reliability", "purity_choice"} <= there
    bare = load_run(write_run(tmp_path / "bare", frames_per_group=1, n_truth=5, previews=False))
    few = {figure.name for _, figure in report_figures(bare)}
    assert few < there
    assert "reliability" not in few
    assert paired_sentences(bare, "default") == ()


def test_every_analysis_of_a_run_has_a_section_with_a_table_or_a_figure(run, tmp_path):
    bare = load_run(write_run(tmp_path / "bare", frames_per_group=1, n_truth=5, previews=False))
    styles = detector_styles(DETECTORS)
    optional = {
        "ideal", "differences", "mistakes", "calibration", "measures", "binnings", "ignore",
        "chance", "paper", "galaxies",
    }  # fmt: skip
    names = [section.name for section in SECTIONS]
    assert len(names) == len(set(names))
    assert optional < set(names)
    for section in SECTIONS:
        if section.name in optional:
            assert not section.shown_when_empty
            assert [*section.tables(run), *section.figures(run, styles)], section.name
            assert not [*section.tables(bare), *section.figures(bare, styles)], section.name


def test_the_markdown_holds_the_summaries_of_the_sections_in_the_order_of_the_page(run):
    captions = [table.caption for section in SECTIONS for table in section.summary(run)]
    assert captions[0] == "Who leads in each group"
    lines = markdown(run).splitlines()
    at = [lines.index(f"## {markdown_cell(caption)}") for caption in captions]
    assert at == sorted(at)
    assert len(at) == 8


def test_the_verdict_tells_pairs_first_and_how_surely(run):
    told = paired_sentences(run, "calibrated", ("neural",))
    assert len(told) == 3
    assert all(s.endswith(".") for s in told)
    assert all("12 frames" in s for s in told)
    answer = verdict(run)[0].sentences
    assert answer[0].startswith(("neural", "sep"))
    assert "highest overall F1" in answer[0]
    assert answer[1:] == told


def _numbers(table):
    return [
        (value, piece)
        for row in table.rows
        for cell in row
        for piece, value in cell.parts
        if value is not None and np.isfinite(value)
    ]


def test_the_tables_hold_the_analyses_numbers_and_no_other(run):
    tables = {
        "comparisons": [differences_table(run, "default")],
        "ideal": [ideal_table(run)],
        "mistakes": [error_kinds_table(run, "default", s) for s in ("missed", "false")],
        "calibration_error": [calibration_table(run)],
        "purity_choice": [purity_table(run)],
        "astrometry": [residuals_table(run, "default")],
        "facets": [binned_scores_table(run, "default", q) for q in ("completeness", "purity")],
        "galaxies": [galaxies_table(run, "default")],
        "ignore_limit": [ignore_table(run, "default")],
        "chance": [chance_table(run)],
        "average_precision": [precision_table(run)],
        "limits": [shape_table(run)],
    }
    of = {"comparisons": run.comparisons, "limits": run.limits}
    for name, made in tables.items():
        source = of.get(name, run.analysis(name))
        held = set(source.select_dtypes("number").to_numpy(dtype=float).ravel())
        for table in made:
            shown = _numbers(table)
            assert shown, name
            assert {v for v, _ in shown} <= held
            assert all(len(row) == len(table.columns) for row in table.rows)


def test_a_tables_number_stands_in_its_row_and_column(run):
    table = differences_table(run, "default")
    row = next(r for r in table.rows if [c.text for c in r[:2]] == ["dirty", "neural − sep"])
    source = overall_rows(run.comparisons, "default")
    for quantity, cell in zip(
        ("completeness", "purity", "f1", "f2", "m50", "snr50"), row[2:], strict=True
    ):
        line = source[
            (source["detector_a"] == "neural")
            & (source["detector_b"] == "sep")
            & (source["group"] == "dirty")
            & (source["quantity"] == quantity)
        ].iloc[0]
        values = [v for _, v in cell.parts if v is not None]
        assert values == [line[c] for c in ("delta", "lo", "hi", "p_holm")]
    table = error_kinds_table(run, "default", "false")
    at = table.columns.index("Cosmic ray or hot pixel")
    assert {row[at].text for row in table.rows} == {"10"}
    table = precision_table(run)
    row = next(r for r in table.rows if [c.text for c in r[:2]] == ["dirty", "boxes, IoU 0.5"])
    ap = run.analysis("average_precision")
    line = ap[
        (ap["group"] == "dirty") & (ap["method"] == "coco50") & (ap["detector"] == "sep")
    ].iloc[0]
    assert row[table.columns.index("sep")].parts[0][1] == line["value"]


def test_a_run_without_an_analysis_has_no_table(tmp_path):
    path = write_run(tmp_path / "r", groups=("a",), frames_per_group=1, n_truth=5, previews=False)
    bare = load_run(path)
    for make in (ideal_table, calibration_table, purity_table, chance_table, shape_table):
        assert make(bare) is None
    assert error_kinds_table(bare, "default", "missed") is None
    assert binned_scores_table(bare, "default", "purity") is None
