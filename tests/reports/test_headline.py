"""The headline states what the run can tell, and no more; pitfalls are found and said."""

import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.browser import act, needs_browser
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_run import write_run
from rich.console import Console

from skyduel.cli.terminal_summary import run_summary
from skyduel.reports import cautions, markdown, write_report
from skyduel.reports.page.html_page import page_html
from skyduel.reports.page.markdown_report import markdown_cell
from skyduel.reports.sections.analyses.ideal_observer import IDEAL_OBSERVER
from skyduel.reports.sections.answer import answer_data, answer_table
from skyduel.reports.sections.differences import DIFFERENCES
from skyduel.reports.style import detector_styles
from skyduel.reports.tables.run_tables import interval
from skyduel.reports.tables.slivers import differences_told, ideal_told, limits_told, slivers
from skyduel.reports.text.headline import headline, pair_statement
from skyduel.reports.text.no_break import no_break
from skyduel.reports.text.paired_sentences import paired_sentences
from skyduel.reports.text.pitfalls import repeats
from skyduel.run_folder import load_run

GROUPS = ("dirty", "sparse")
SETTINGS = {"detectors": ("neural", "sep"), "groups": GROUPS, "frames_per_group": 2}


def _comparison(group, quantity, point, delta, half, p):
    return {
        "detector_a": "neural", "detector_b": "sep", "point": point, "group": group, "bin": -2,
        "bin_lo": np.nan, "bin_hi": np.nan, "quantity": quantity, "value_a": 1.0,
        "value_b": 1.0 - delta, "delta": delta, "lo": delta - half, "hi": delta + half,
        "n_both": 1, "n_a_only": 1, "n_b_only": 1, "n_neither": 1, "p": p, "p_holm": p,
        "interval": "bootstrap", "n_frames": 4,
    }  # fmt: skip


def _compared(run, *rows):
    """Return a run with these comparisons; a fresh object, for what is remembered of one."""
    made = replace(run)
    made.__dict__["comparisons"] = pd.DataFrame([_comparison(*row) for row in rows])
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(write_run(tmp_path_factory.mktemp("runs") / "headline", **SETTINGS))


LIMITS = (
    ("all", "m50", "purity95", 0.2, 0.1, 0.001),
    ("dirty", "m50", "purity95", 0.35, 0.2, 0.01),
    ("sparse", "m50", "purity95", 0.05, 0.2, 0.6),
)


def test_the_difference_in_limits_is_stated_where_it_is_shown(run):
    assert headline(_compared(run, *LIMITS)) == (
        "neural finds sources 0.35 mag [0.15, 0.55] fainter than sep at 95 % purity on 4 "
        "dirty frames; elsewhere no difference is shown (4 frames in all)."
    )
    turned = [(g, q, p, -d, h, sig) for g, q, p, d, h, sig in LIMITS]
    assert headline(_compared(run, *turned)).startswith(
        "sep finds sources 0.35 mag [0.15, 0.55] fainter than neural at 95 % purity on 4 dirty"
    )


def test_without_any_shown_difference_that_is_the_answer(run):
    rows = [(g, q, p, d, h, 0.5) for g, q, p, d, h, _ in LIMITS]
    assert headline(_compared(run, *rows)) == (
        "No difference between neural and sep is shown at 95 % purity "
        "(Δm50 = 0.20 mag [0.10, 0.30] over 4 frames; with fewer than 20, intervals are rough)."
    )


def test_a_zero_width_interval_decides_nothing(run):
    rows = [(g, q, p, 0.0, 0.0, 1.0) for g, q, p, *_ in LIMITS]
    scores = (("all", "f1", "calibrated", 0.1, 0.05, 0.001),
              ("dirty", "f1", "calibrated", 0.12, 0.05, 0.001),
              ("sparse", "f1", "calibrated", 0.11, 0.05, 0.001))  # fmt: skip
    assert headline(_compared(run, *rows, *scores)) == (
        "neural has a higher F1 than sep by 0.120 [0.070, 0.170] at their calibrated thresholds "
        "on 4 dirty frames and 0.110 [0.060, 0.160] on 4 sparse frames."
    )


def _cut(run, group, found):
    """Return a run whose detector sep keeps few sources at equal purity in a group."""
    s = run.scores.copy()
    rows = (s["detector"] == "sep") & (s["point"] == "purity95") & (s["group"] == group)
    s.loc[rows & (s["quantity"] == "completeness") & (s["bin"] == -2), "k"] = found
    return replace(run, scores=s)


def test_a_sliver_of_a_catalogue_gives_no_number(run):
    assert slivers(run) == ()
    less = _cut(run, "dirty", 3)
    (cut,) = slivers(less)
    assert (cut.detector, cut.group, cut.point, cut.found) == ("sep", "dirty", "purity95", 3)
    assert cut.elsewhere > 20
    said = headline(_compared(less, *LIMITS))
    assert "0.35" not in said
    assert said.endswith(f"on dirty frames 95 % purity leaves sep only 3 of {cut.truths} sources.")


def test_a_sliver_everywhere_moves_the_headline_to_another_operating_point(run):
    less = _cut(_cut(_cut(run, "dirty", 3), "sparse", 2), "all", 5)
    scores = [(g, "f1", "calibrated", 0.1, 0.05, 0.001) for g in ("all", *GROUPS)]
    said = headline(_compared(less, *LIMITS, *scores))
    assert said.startswith("neural has a higher F1 than sep by 0.100 [0.050, 0.150]")
    assert re.search(r"\(95 % purity leaves sep only 5 of \d+ sources\)\.$", said)
    assert any("keeps only 5 of" in line for line in cautions(less))
    at = answer_table(less).columns.index("m50 at 95 % purity")
    assert [row[at].text == "–" for row in answer_table(less).rows] == [False, True]


def test_a_limit_of_a_sliver_is_shown_nowhere(run):
    # Its interval need not even hold it: 169.63 [168.70, 169.62] was printed.
    less = _cut(_cut(run, "all", 5), "dirty", 3)
    limits = less.limits.copy()
    rows = (limits["detector"] == "sep") & (limits["point"] == "purity95")
    rows &= limits["group"].isin(["all", "dirty"])
    assert rows.sum() == 2
    names = ["snr50", "m50", "snr90", "m90", "width_mag"]
    limits.loc[rows, [f"{c}{end}" for c in names for end in ("", "_lo", "_hi")]] = 169.63
    less = replace(less, limits=limits)
    told = limits_told(less)
    assert told.loc[rows, names].isna().all(axis=None)
    pd.testing.assert_frame_equal(told[~rows], limits[~rows])
    with Console(width=200, file=io.StringIO()) as console:
        console.print(run_summary(less))
    for said in (console.file.getvalue(), markdown(less), page_html(less, [])):
        assert "169.6" not in said


def test_what_compares_a_limit_of_a_sliver_is_shown_nowhere(tmp_path):
    path = write_run(tmp_path / "run", **SETTINGS)
    run = load_run(write_analyses(path, SETTINGS["detectors"], ("all", *GROUPS)))
    less = _cut(run, "dirty", 3)
    ideal, table = run.analysis("ideal").copy(), run.comparisons.copy()
    places = (table["point"] == "purity95") & (table["group"] == "dirty")
    is_sep = {side: table[f"detector_{side}"] == "sep" for side in "ab"}
    of_limits = places & table["quantity"].isin(["m50", "snr50"]) & (is_sep["a"] | is_sep["b"])
    for side, of in is_sep.items():
        table.loc[of_limits & of, f"value_{side}"] = 169.63
    told_by = ["delta", "lo", "hi", "p", "p_holm"]
    table.loc[of_limits, told_by] = 169.63
    cut = (
        (ideal["detector"] == "sep") & (ideal["point"] == "purity95") & (ideal["group"] == "dirty")
    )
    names = ["snr50", "distance_mag", "distance_lo", "distance_hi"]
    ideal.loc[cut, names] = 169.63
    assert cut.any()
    assert of_limits.any()
    less.__dict__["comparisons"] = table
    less.__dict__["_analyses"] = {"ideal": ideal}

    told = ideal_told(less)
    assert told.loc[cut, names].isna().all(axis=None)
    pd.testing.assert_frame_equal(told[~cut], ideal[~cut])
    assert told.loc[cut, "found"].equals(ideal.loc[cut, "found"])
    told = differences_told(less)
    assert told.loc[of_limits, told_by].isna().all(axis=None)
    for side, of in is_sep.items():
        assert (told.loc[of_limits, f"value_{side}"].isna() == of[of_limits]).all()
    pd.testing.assert_frame_equal(told[~of_limits], table[~of_limits])

    assert "169.6" not in markdown(less)
    for section in (IDEAL_OBSERVER, DIFFERENCES):
        for spec in section.figures(less, detector_styles(less.detectors)):
            _, drawn = spec.draw()
            assert not (drawn.select_dtypes("number") == 169.63).any(axis=None), spec.name
            assert len(drawn), spec.name


def test_one_frame_is_named_and_tells_of_itself_only(run):
    def at(n_frames, p, interval):
        made = _compared(run, ("all", "m50", "purity95", 0.2, 0.1, p))
        table = made.comparisons.assign(interval=interval, n_frames=n_frames)
        made.__dict__["comparisons"] = table
        return headline(replace_groups(made))

    one = at(1, 0.001, "block bootstrap")
    assert one == (
        "neural finds sources 0.20 mag [0.10, 0.30] fainter than sep at 95 % purity over 1 frame, "
        "which tells of this frame only."
    )
    assert at(1, 0.5, "block bootstrap") == (
        "No difference between neural and sep is shown at 95 % purity (Δm50 = 0.20 mag "
        "[0.10, 0.30] over 1 frame, which tells of this frame only)."
    )
    assert at(20, 0.001, "bootstrap").endswith("at 95 % purity over 20 frames.")
    assert at(2, 0.001, "bootstrap").endswith(
        "over 2 frames; with fewer than 20, intervals are rough."
    )


def replace_groups(run):
    """Return a run that has one group, for what is said over all frames."""
    made = replace(run)
    made.__dict__.update(comparisons=run.comparisons, groups=("field",))
    return made


@pytest.mark.parametrize(("n_frames", "wide"), [(2, True), (4, True), (5, False)])
def test_few_frames_are_said_to_leave_wide_intervals(run, n_frames, wide):
    made = replace(run)
    made.__dict__["scored_frames"] = tuple(f"f{k}" for k in range(n_frames))
    (said,) = (line for line in cautions(made) if line.startswith(f"Only {n_frames} frames"))
    assert said.endswith(
        "wide as well: one from 0 to 1 tells nothing." if wide else "the intervals are rough."
    )


def test_an_interval_below_zero_has_no_dash_beside_a_minus_sign():
    shown = {
        (-0.1, -0.98, -0.17): "−0.10 (−0.98 to −0.17)",
        (0.1, -0.004, 0.2): "0.10 (0.00–0.20)",
        (0.1, -0.04, np.nan): "0.10",
        (0.1, 0.05, 0.2): "0.10 (0.05–0.20)",
    }
    for values, said in shown.items():
        row = dict(zip("vab", values, strict=True))
        assert interval(row, ("v", "a", "b"), 2).text == said


def test_a_sentence_begins_with_a_capital_unless_with_a_name(run):
    rows = [(g, "f1", "calibrated", 0.0, 0.0, 1.0) for g in ("all", *GROUPS)]
    (said,) = paired_sentences(_compared(run, *rows), "calibrated")
    assert said.startswith("Undecided between neural and sep: ")
    rows = [(g, "f1", "calibrated", 0.2, 0.1, 0.01) for g in ("all", *GROUPS)]
    (said,) = paired_sentences(_compared(run, *rows), "calibrated")
    assert said.startswith("neural scores higher than sep")


def test_a_group_of_one_frame_is_named_as_one(run):
    made = _compared(run, *LIMITS)
    made.__dict__["comparisons"] = made.comparisons.assign(n_frames=[5, 1, 4])
    assert headline(made) == (
        "neural finds sources 0.35 mag [0.15, 0.55] fainter than sep at 95 % purity on the one "
        "dirty frame; elsewhere no difference is shown (4 frames in all)."
    )


def test_the_pair_may_be_named_in_either_order(run):
    compared = _compared(run, *LIMITS)
    assert pair_statement(compared, "neural", "sep", "purity95", "m50") == pair_statement(
        compared, "sep", "neural", "purity95", "m50"
    )


def _with_hot_pixels(path, truth_too):
    """Put twenty false detections of sep at the same places of every frame."""
    rng = np.random.default_rng(3)
    hot = pd.DataFrame({"x": rng.uniform(0, 319, 20), "y": rng.uniform(0, 191, 20), "mag": 20.0})
    frames = sorted(p.stem for p in (path / "truth").glob("*.parquet"))
    first = pd.read_parquet(path / "truth" / f"{frames[0]}.parquet").reset_index(drop=True)
    for frame in frames:
        at = path / "catalogs" / "sep" / f"{frame}.parquet"
        found = pd.read_parquet(at).reset_index(drop=True)
        for file in (path / "pairs" / "sep" / "calibrated").glob(f"{frame}.parquet"):
            pairs = pd.read_parquet(file)
            more = pd.DataFrame({"truth_index": -1, "found_index": len(found) + np.arange(20)})
            more = more.assign(**{c: np.nan for c in pairs if c not in more}).assign(
                outcome="false"
            )
            pd.concat([pairs, more[list(pairs)]], ignore_index=True).to_parquet(file)
            if truth_too:
                ours = pairs["outcome"] == "found"
                rows = pairs.loc[ours, "found_index"].to_numpy(dtype=int)
                found.loc[rows, ["x", "y"]] = first[["x", "y"]].to_numpy()[: len(rows)]
        pd.concat([found, hot], ignore_index=True).to_parquet(at)
    return load_run(path)


def test_false_detections_at_the_same_pixels_are_found_and_decide_the_headline(tmp_path):
    path = write_run(tmp_path / "hot", **SETTINGS)
    assert repeats(load_run(path)) == ()
    run = _with_hot_pixels(path, truth_too=False)
    (hot,) = repeats(run)
    assert (hot.detector, hot.frames, hot.same_pointing) == ("sep", 4, False)
    assert hot.n > 80
    assert hot.share == pytest.approx(80 / hot.n, abs=0.03)
    said = headline(_compared(run, *LIMITS))
    assert said.startswith("The frames look uncalibrated:")
    assert "of the false detections of sep stand at the same pixels" in said
    assert said.endswith("before the dark is subtracted, as by `skyduel calibrate`.")
    assert any("Subtract the dark" in line for line in cautions(run))


def test_where_the_sources_repeat_too_the_pointing_is_the_same(tmp_path):
    run = _with_hot_pixels(write_run(tmp_path / "same", **SETTINGS), truth_too=True)
    (hot,) = repeats(run)
    assert hot.same_pointing
    assert "neural finds" in headline(_compared(run, *LIMITS))
    assert any("the pointing is the same" in line for line in cautions(run))


def test_page_markdown_and_terminal_open_with_the_headline(run):
    said = headline(run)
    assert markdown(run).splitlines()[2] == f"**{markdown_cell(said)}**"
    assert run_summary(run).renderables[0].plain == said
    page = write_report(run.path).read_text(encoding="utf-8")
    main = page[page.index("<main") :]
    written = re.search(r'<p class="headline">([^<]*)</p>', main)[1]
    assert written == no_break(markdown_cell(said)).replace("\\", "")


def test_the_figure_has_the_scores_of_every_choice(run):
    data = answer_data(run)
    assert data["groups"] == ["all frames", *GROUPS]
    s = run.scores
    for g, group in enumerate(("all", *GROUPS)):
        for p, point in enumerate(run.points):
            for q, quantity in enumerate(("completeness", "purity")):
                for d, detector in enumerate(run.detectors):
                    rows = s[(s["group"] == group) & (s["point"] == point) & (s["bin"] >= 0)
                             & (s["quantity"] == quantity) & (s["detector"] == detector)
                             & np.isfinite(s["bin_lo"]) & np.isfinite(s["bin_hi"])]  # fmt: skip
                    got = data["values"][g][p][q][d]
                    assert len(got) == len(rows) == len(data["bins"])
                    for cell, row in zip(got, rows.sort_values("bin").itertuples(), strict=True):
                        if cell is None:
                            assert np.isnan(row.value)
                        else:
                            assert cell[0] == pytest.approx(row.value, abs=5.1e-5)
                            assert cell[3] == row.n
    json.dumps(data, allow_nan=False)


@needs_browser
def test_the_figure_follows_its_controls(run, tmp_path):
    out = act(
        run,
        """
  const panels = () => by("a-panels").children;
  out.hidden = [by("a-plot").hidden, by("a-static").hidden];
  out.panels = panels().length;
  out.marks = panels()[0].querySelectorAll("g").length;
  const box = by("a-detectors").querySelector("input");
  box.click();
  out.fewer = panels()[0].querySelectorAll("g").length;
  box.click();
  const press = (key) => panels()[0].dispatchEvent(new KeyboardEvent("keydown", { key }));
  press("ArrowRight"); press("ArrowRight");
  out.said = by("a-said").textContent;
  choose("a-group", 1);
  out.group = by("a-said").textContent;
  const folds = [...document.querySelectorAll("details.fold")];
  out.folds = folds.filter((d) => d.open && !d.closest("#viewer, #gallery")).length;
  location.hash = "#scores";
  await wait(300);
  out.opened = by("scores").querySelector("details").open;
""",
        tmp_path,
    )
    assert out["hidden"] == [False, True]
    assert out["panels"] == 2
    assert out["marks"] > out["fewer"] > 0
    data = answer_data(run)
    lo, hi = data["bins"][1]
    cell = data["values"][0][data["start"]][0][0][1]
    assert out["said"].startswith(f"{lo:g}–{hi:g} mag. Completeness (recall): neural {cell[0]:.3f}")
    assert out["group"] != out["said"]
    assert out["folds"] == 0
    assert out["opened"]


def test_numbers_and_their_units_stay_on_one_line():
    said = "0.35 mag [0.15, 0.56] fainter at 95 % purity (ΔF1 = −0.1, S/N 5), 3 stars in 2 frames"
    want = "0.35_mag [0.15,_0.56] fainter at 95_% purity (ΔF1_=_−0.1, S/N_5), 3 stars in 2 frames"
    assert no_break(said) == want.replace("_", "\u00a0")
