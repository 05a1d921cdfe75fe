"""Figures and tables of a run's analyses: what is drawn and written is what its tables hold."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from test_reports_folder import DETECTORS, EDGES, GROUPS, N_BINS, POINTS, _wilson, write_run

from reports import (
    completeness_and_ideal,
    completeness_curves,
    differences_by_group,
    differences_by_magnitude,
    facets_overview,
    fitted_completeness,
    ideal_distance,
    ignore_limits,
    load_run,
    migrations,
    mistakes_by_group,
    mistakes_by_magnitude,
    original_layout,
    plot_differences,
    plot_forest,
    plot_ideal,
    plot_mistakes,
    plot_reliability,
    purity_choices,
    reliability_diagrams,
    residuals,
    styles,
    verdict,
)
from reports.analysis_tables import (
    calibration_table,
    chance_table,
    facets_table,
    ideal_table,
    ignore_table,
    mistakes_table,
    precision_table,
    purity_table,
    residuals_table,
    shape_table,
)
from reports.differences import overall_rows, pairs_shown
from reports.drawings import drawings
from reports.mistakes import KINDS
from reports.paired import differences_table, paired_sentences

ALL = (*("all",), *GROUPS)
MISSED = ("faint", "blended", "halo", "other")
FALSE = ("cosmic_ray", "wrong_kind", "noise", "other")


def _edges(number):
    return (np.nan, np.nan) if number == -2 else (EDGES[number], EDGES[number + 1])


def _score(rng, n=None):
    n = int(rng.integers(4, 60)) if n is None else n
    k = int(rng.integers(0, n + 1))
    value, lo, hi = _wilson(k, n)
    return {"value": value, "lo": lo, "hi": hi, "n": n, "k": k}


def _cells(points=POINTS, detectors=DETECTORS, groups=ALL):
    return [
        {"detector": d, "point": p, "group": g} for d in detectors for p in points for g in groups
    ]


def write_analyses(path, detectors=DETECTORS, groups=ALL, points=POINTS):
    """Write a synthetic table of every analysis, and the comparisons, into a run folder."""
    rng = np.random.default_rng(5)
    cells = _cells(points, detectors, groups)
    tables = {}
    tables["ideal"] = [
        c
        | {"match": m, "bin": b, "bin_lo": _edges(b)[0], "bin_hi": _edges(b)[1]}
        | {"threshold": 4.0, "false_per_mpix": 20.0, "purity": 0.9, "ideal": rng.random()}
        | {"tail": 0.5, "snr50_ideal": 4.0, "m50_ideal": 22.0, "snr50": 5.0, "n_frames": 4}
        | {"distance_mag": d, "distance_lo": d - 0.1, "distance_hi": d + 0.1, "beats": False}
        | {f"found{s}": v for s, v in zip(("", "_lo", "_hi"), _wilson(3, 9), strict=True)}
        | {"n": int(rng.integers(2, 40))}
        for c in cells
        for m in ("false_rate", "purity")
        for b in (-2, *range(N_BINS))
        for d in [rng.random()]
    ]
    tables["mistakes"] = [
        c
        | {"side": side, "kind": kind, "bin": b, "bin_lo": _edges(b)[0], "bin_hi": _edges(b)[1]}
        | {"n": 10 * (i + 1), "share": 0.1 * (i + 1), "lo": 0.0, "hi": 1.0}
        for c in cells
        for side, kinds in (("missed", MISSED), ("false", FALSE))
        for b in (-2, 3, 5)
        for i, kind in enumerate(kinds)
    ]
    tables["reliability"] = [
        {"detector": d, "group": g, "score_is": "unknown" if d == "sep" else "probability"}
        | {"binning": how, "bin": -2, "bin_lo": np.nan, "bin_hi": np.nan, "score_bin": i}
        | {"score_lo": i / 10, "score_hi": (i + 1) / 10, "predicted": i / 10 + 0.04}
        | {("right" if k == "value" else k): v for k, v in _score(rng).items()}
        for d in detectors
        for g in groups
        for how in ("equal width", "equal count")
        for i in range(10)
    ]
    tables["calibration_error"] = [
        {"detector": d, "group": g, "score_is": "probability", "bin": -2, "bin_lo": np.nan}
        | {"bin_hi": np.nan, "n": 400, "k": 300, "predicted": 0.7, "right": 0.75}
        | {"ece": float(rng.random() / 9), "ece_chance": 0.01, "ece_equal_count": 0.02}
        | {"ece_equal_count_chance": 0.01, "brier": 0.1, "n_unscored": 0}
        for d in detectors
        if d != "sep"
        for g in groups
    ]
    tables["purity_choice"] = [
        {"detector": d, "group": g, "wanted": w, "chosen_by": how, "threshold": w - 0.2}
        | {"purity_chosen": w, "n_chosen": 90, "completeness": 0.5, "completeness_lo": 0.4}
        | {"completeness_hi": 0.6, "truths": 100, "truths_found": 50}
        | {("purity" if k == "value" else k): v for k, v in _score(rng, 80).items()}
        for d in detectors
        for g in groups
        for w in (0.9, 0.95, 0.99)
        for how in ("calibration", "score")
    ]
    facets = (("snr", "completeness"), ("kind", "completeness"), ("radius", "purity"))
    facets += (("score", "purity"), ("kind", "purity"))
    tables["facets"] = [
        c
        | {"facet": f, "bin": b, "bin_lo": float(b), "bin_hi": float(b + 1), "unit": ""}
        | {"label": ("point", "streak", "unknown")[b] if f == "kind" else ""}
        | {"quantity": q, "n_frames": 4}
        | _score(rng, 0 if f == "kind" and b == 2 else None)
        for c in cells
        for f, q in facets
        for b in range(3)
    ]
    tables["ignore_limit"] = [
        c
        | {"min_snr": s, "truths": int(900 - 100 * s), "truths_found": 300, "truths_ignored": 9}
        | {"detections": 500, "detections_right": 300, "detections_ignored": 8}
        | {"completeness": rng.random(), "purity": rng.random(), "f1": rng.random()}
        for c in cells
        for s in (0.0, 1.0, 2.0, 4.0)
    ]
    tables["migration"] = [
        c
        | {"true_bin": t, "true_lo": EDGES[t], "true_hi": EDGES[t + 1], "measured_bin": m}
        | {"measured_lo": EDGES[m], "measured_hi": EDGES[m + 1], "n": int(rng.integers(1, 99))}
        for c in cells
        for t, m in ((3, 3), (3, 4), (4, 4), (6, 5))
    ]
    tables["astrometry"] = [
        c
        | {"quantity": q, "unit": "px", "by": by, "bin": b, "bin_lo": float(b), "n": 8 + b}
        | {"bin_hi": float(b + 1), "bias": rng.normal(), "scatter": rng.random(), "rms": 1.0}
        for c in cells
        for q, by in (("x", "snr"), ("y", "snr"), ("mag", "mag"))
        for b in (-2, 0, 1, 2)
    ]
    tables["jia2020"] = [
        c
        | {"bin": b, "bin_lo": EDGES[b], "bin_hi": EDGES[b + 1], "mag_plotted": EDGES[b + 1]}
        | {"quantity": q, "value": rng.random(), "truths": 9, "n_frames": 4}
        | {"network": 0.821 if b == 5 else np.nan, "sextractor": 0.7 if b == 5 else np.nan}
        for c in cells
        for b in range(N_BINS)
        for q in ("recall", "precision", "f1", "f2")
    ]
    tables["chance"] = [
        c
        | {"shifts": 8, "n_frames": 4, "truths": 90, "pairs": 60, "chance_pairs": 3.5}
        | {"chance_lo": 2.0, "chance_hi": 5.0, "chance_share": 0.058, "share_lo": 0.03}
        | {"share_hi": 0.08}
        for c in cells
    ]
    tables["average_precision"] = [
        {"detector": d, "group": g, "method": m, "kind": "point", "value": rng.random()}
        | {"truths": 90, "detections": 100, "n_frames": 4}
        for d in detectors
        for g in groups
        for m in ("position", "coco50")
    ]
    comparisons = []
    pairs = [(a, b) for i, a in enumerate(detectors) for b in detectors[i + 1 :]]
    for a, b in pairs:
        for c in _cells(points, ("x",), groups):
            for q in ("completeness", "purity", "f1", "f2", "m50", "snr50"):
                bins = (-2,) if q in ("m50", "snr50") else (-2, *range(N_BINS))
                for number in bins:
                    kinds = ("bootstrap",) if number == -2 or q != "completeness" else ()
                    kinds += ("newcombe",) if q == "completeness" else ()
                    for how in kinds:
                        delta, p = rng.normal(0, 0.1), float(rng.random() ** 4)
                        comparisons.append(
                            {"detector_a": a, "detector_b": b, "point": c["point"]}
                            | {"group": c["group"], "bin": number, "quantity": q}
                            | {"bin_lo": _edges(number)[0], "bin_hi": _edges(number)[1]}
                            | {"value_a": 0.5 + delta, "value_b": 0.5, "delta": delta}
                            | {"lo": delta - 0.05, "hi": delta + 0.05, "n_both": 5.0}
                            | {"n_a_only": 2.0, "n_b_only": 1.0, "n_neither": 3.0, "p": p}
                            | {"p_holm": min(2 * p, 1.0), "interval": how, "n_frames": 12}
                        )
    (path / "analyses").mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_parquet(path / "analyses" / f"{name}.parquet")
    pd.DataFrame(comparisons).to_parquet(path / "comparisons.parquet")
    limits = pd.read_parquet(path / "limits.parquet")
    for name, offset in (("m90", -1.0), ("snr90", 3.0), ("width_mag", 0.0)):
        value = 0.3 if name == "width_mag" else limits[f"{name[:-2]}50"] + offset
        limits[name], limits[f"{name}_lo"], limits[f"{name}_hi"] = value, value - 0.1, value + 0.1
    limits.assign(floor=0.02, ceiling=0.97).to_parquet(path / "limits.parquet")
    return path


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
    for line, (name, look) in zip(dashed, styles(DETECTORS).items(), strict=True):
        mine = drawn[drawn["detector"] == name]
        np.testing.assert_array_equal(line.get_ydata(), mine["ideal"])
        assert line.get_color() == look.color
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
    looks = styles(DETECTORS)
    for line in ax.get_lines():
        if line.get_marker() not in ("o", "s"):
            continue
        for y in np.atleast_1d(line.get_ydata()):
            row = drawn[np.isclose(drawn["delta"], y)].iloc[0]
            look = looks["neural" if y > 0 else "sep"]
            assert line.get_color() == look.color
            assert (line.get_markerfacecolor() == look.color) == (row["p_holm"] < 0.05)


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
    drawn = plot_mistakes(ax, run.analysis("mistakes"), "false", point="calibrated")
    assert len(drawn) == 4 * 3 * len(FALSE)
    ends = drawn["left"] + drawn["share"]
    np.testing.assert_allclose(ends.groupby(drawn["y"]).max(), 1.0)
    order = list(KINDS)
    for _, bar in drawn.groupby("y"):
        kinds = bar.sort_values("left")["kind"]
        assert list(kinds) == sorted(kinds, key=order.index)
    widths = sorted(round(p.get_width(), 6) for p in ax.patches if 0 < p.get_width() < 0.9)
    assert widths[: len(drawn)] == sorted(drawn["share"].round(6))
    figure, _ = mistakes_by_group(run.analysis("mistakes"), point="default")
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == [KINDS[k].label for k in KINDS if k in {*MISSED, *FALSE}]
    _, data = mistakes_by_magnitude(run.analysis("mistakes"), point="default")
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


@pytest.mark.parametrize(
    ("draw", "name", "n"),
    [
        (purity_choices, "purity_choice", 4 * 3 * 3 * 2),
        (lambda t: ignore_limits(t, point="default"), "ignore_limit", 3 * 4),
        (lambda t: migrations(t, point="default"), "migration", 3 * 4),
        (lambda t: residuals(t, point="default"), "astrometry", 2 * 3 * 3 * 3),
        (lambda t: facets_overview(t, point="default"), "facets", 3 * (3 + 2 + 3 + 3 + 2)),
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


def test_a_facets_points_are_its_values(run):
    from reports import plot_facet

    ax = _axis()
    drawn = plot_facet(ax, run.analysis("facets"), "snr", "completeness", point="default")
    _held(ax, drawn["x"], drawn["value"])
    drawn = plot_facet(_axis(), run.analysis("facets"), "kind", "purity", point="default")
    assert "unknown" not in set(drawn["label"])


def test_the_papers_layout_has_published_values_and_says_it_is_unsound(run):
    figure, data = original_layout(run.analysis("jia2020"), run.scores, point="default")
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
    there = {d.name for d in drawings(run)}
    assert len(there) == len(list(drawings(run)))
    assert {"ideal_distance", "reliability", "purity_choice"} <= there
    bare = load_run(write_run(tmp_path / "bare", frames_per_group=1, n_truth=5, previews=False))
    few = {d.name for d in drawings(bare)}
    assert few < there
    assert "reliability" not in few
    assert paired_sentences(bare, "default") == ()


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
        "mistakes": [mistakes_table(run, "default", s) for s in ("missed", "false")],
        "calibration_error": [calibration_table(run)],
        "purity_choice": [purity_table(run)],
        "astrometry": [residuals_table(run, "default")],
        "facets": [facets_table(run, "default", q) for q in ("completeness", "purity")],
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
    table = mistakes_table(run, "default", "false")
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
    assert mistakes_table(bare, "default", "missed") is None
    assert facets_table(bare, "default", "purity") is None
