"""All numbers of the page, the verdict and the summaries are those of the tables."""

import pickle
import re
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic_run import DETECTORS, GROUPS, N_BINS, write_run
from hypothesis import given
from hypothesis import strategies as st

from skyduel.evaluation.number_text import format_number
from skyduel.reports import cautions, markdown, summary_table, write_report
from skyduel.reports.page.html_page import page_html
from skyduel.reports.page.markdown_report import markdown_cell
from skyduel.reports.tables.run_tables import (
    bins_table,
    counts_table,
    frames_table,
    scores_table,
)
from skyduel.reports.text.verdict import leaders_table, rank, ranking_sentence, verdict
from skyduel.run_folder import load_run

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "hr", "link", "input"}


class _Page(HTMLParser):
    """Collects tags with attributes, tables as lists of cell texts, ids, and the nesting."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.ids, self.data, self.tables = [], [], [], []
        self.open, self.faults = [], []
        self._cell = self._value = None
        self.feed(source)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th", "caption"):
            self._cell = ""
        elif tag == "data":
            self._value = attributes["value"]

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)
        if tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append(self._cell.strip())
            self._cell = None
        elif tag == "caption":
            self.tables[-1]["caption"] = self._cell.strip()
            self._cell = None
        elif tag == "data":
            self._value = None

    def handle_data(self, data):
        if self._cell is not None:
            self._cell += data
        if self._value is not None:
            self.data.append((float(self._value), data))

    def table(self, caption):
        return next(t["rows"] for t in self.tables if t["caption"] == caption)


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    path = write_run(tmp_path_factory.mktemp("runs") / "page", frames_per_group=2, n_truth=40)
    page = write_report(path)
    return load_run(path), page


@pytest.fixture(scope="module")
def page(reported):
    return _Page(reported[1].read_text(encoding="utf-8"))


def _score(run, quantity, detector, point="default", group="all", number=-2):
    s = run.scores
    return s[
        (s["quantity"] == quantity)
        & (s["detector"] == detector)
        & (s["point"] == point)
        & (s["group"] == group)
        & (s["bin"] == number)
    ].iloc[0]


def _shown(row):
    if np.isnan(row["value"]):
        return "–"
    return f"{row['value']:.3f} ({row['lo']:.3f}–{row['hi']:.3f})"


def test_the_page_needs_nothing_from_outside(reported, page):
    source = reported[1].read_text(encoding="utf-8")
    source = re.sub(r"data:image/(png|webp);base64,[A-Za-z0-9+/=]+", "", source)
    source = re.sub(r'"data":"[A-Za-z0-9+/=]+"', "", source)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", source, flags=re.I)
    assert not [t for t, _ in page.tags if t in ("link", "iframe", "object")]
    assert not [a for t, a in page.tags if t == "script" and set(a) - {"type", "id"}]
    for _, attributes in page.tags:
        for name in ("src", "href"):
            value = attributes.get(name)
            assert value is None or re.match(r"data:image/(png|webp);base64,|#|figures/", value)
    links = [a["href"] for t, a in page.tags if a.get("href", "").startswith("figures/")]
    assert len(links) == 2 * 13
    for link in links:
        assert (reported[1].parent / link).is_file()


def test_a_figure_on_the_page_has_the_fonts_of_its_file(reported):
    source = reported[1].read_text(encoding="utf-8")
    for start in re.findall(r'<div class="canvas"[^>]*><svg [^>]*>', source):
        assert 'font-size="9"' in start
        assert "font-family=" in start


def test_the_page_is_well_formed_and_accessible(page):
    assert page.faults == []
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert ("html", {"lang": "en"}) in page.tags
    targets = {a["href"][1:] for _, a in page.tags if a.get("href", "").startswith("#")}
    assert targets <= set(page.ids)
    for tag, attributes in page.tags:
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if tag == "img":
            assert len(attributes["alt"]) > 20
        if tag == "svg" and attributes.get("aria-hidden") != "true":
            assert attributes["role"] == "img"
            assert len(attributes["aria-label"]) > 20
    figures = [a for t, a in page.tags if t == "figure" and a.get("id", "").startswith("figure-")]
    assert len(figures) == 1 + 2 + 3 + 3 + 1 + 3


def test_every_number_on_the_page_is_one_of_the_tables(reported, page):
    run, _ = reported
    held = set()
    for table in (run.scores, run.limits):
        numbers = table.select_dtypes("number").to_numpy(dtype=float).ravel()
        held |= set(numbers[np.isfinite(numbers)])
    columns = ["truths", "truths_found", "detections", "detections_right", "duplicates"]
    columns += ["truths_ignored", "detections_ignored"]
    for keys in (["point", "detector"], ["point", "detector", "frame"]):
        sums = run.counts.groupby(keys)[columns].sum()
        held |= set(sums.to_numpy(dtype=float).ravel())
        held |= set((sums["truths"] - sums["truths_found"]).astype(float))
        held |= set((sums["detections"] - sums["detections_right"]).astype(float))
    for detector in run.record.detectors:
        held |= {float(v) for v in asdict(detector).values() if isinstance(v, int | float)}
    held |= {float(len(run.frames)), 2.0}  # frames of a split, frames of a group
    held = {float(f"{value:.10g}") for value in held}  # as many digits as the CSV files have
    finite = [(value, shown) for value, shown in page.data if np.isfinite(value)]
    assert len(finite) > 1000
    for value, shown in finite:
        assert value in held
        digits = len(shown.partition(".")[2])
        assert shown == format_number(value, digits)
    assert {shown for value, shown in page.data if np.isnan(value)} == {"–"}


def test_the_score_tables_hold_the_right_numbers_in_the_right_cells(reported, page):
    run, _ = reported
    rows = page.table("Scores over all frames and magnitudes")
    assert rows[0][2:6] == ["Completeness (recall)", "Purity (precision)", "F1", "F2"]
    assert len(rows) == 1 + 9
    for row in rows[1:4]:
        for cell, quantity in zip(row[2:6], ("completeness", "purity", "f1", "f2"), strict=True):
            assert cell == _shown(_score(run, quantity, row[1]))
    rows = page.table("Scores by magnitude, operating point: calibrated")
    assert len(rows) == 1 + 3 * (N_BINS + 3)
    at = next(r for r in rows if r[:2] == ["20–21", "sep"])
    assert at[2] == _shown(_score(run, "completeness", "sep", "calibrated", number=5))
    assert at[4] == _shown(_score(run, "purity", "sep", "calibrated", number=5))
    assert rows[1][0] == "< 15"
    assert rows[-1][0] == "no magnitude"
    rows = page.table("Scores by group")
    assert {r[0] for r in rows[1:]} == set(GROUPS)


def test_frames_are_counted_one_by_one(reported, page):
    run, _ = reported
    rows = page.table("Frame by frame, operating point: calibrated")
    assert len(rows) == 1 + 6
    c = run.counts
    cell = c[(c["frame"] == rows[1][0]) & (c["point"] == "calibrated") & (c["detector"] == "sep")]
    found, wrong = cell["truths_found"].sum(), cell["detections"].sum()
    wrong -= cell["detections_right"].sum()
    at = rows[0].index("sep: found")
    assert rows[1][at : at + 2] == [str(found), str(wrong)]


def test_every_figure_is_on_disk_with_its_numbers(reported):
    run, page = reported
    figures = page.parent / "figures"
    names = {p.stem for p in figures.iterdir()}
    assert len(names) == 13
    for name in names:
        assert {p.suffix for p in figures.glob(f"{name}.*")} == {".svg", ".csv"}
    drawn = pd.read_csv(figures / "scores_by_magnitude-default.csv")
    row = drawn[(drawn["detector"] == "sep") & (drawn["quantity"] == "f2") & (drawn["bin"] == 5)]
    wanted = _score(run, "f2", "sep", number=5)["value"]
    assert row["value"].iloc[0] == pytest.approx(wanted, rel=1e-9)
    assert not [p for p in page.parent.rglob("*") if p.name.startswith(".")]


def test_pictures_of_figures_are_written_when_asked_for_and_else_removed(tmp_path):
    settings = {"detectors": ("neural",), "groups": ("a",), "points": ("default",)}
    path = write_run(tmp_path / "r", frames_per_group=1, n_truth=9, **settings)
    page = write_report(path, png=True)
    names = {p.stem for p in page.parent.glob("figures/*.svg")}
    pictures = list(page.parent.glob("figures/*.png"))
    assert {p.stem for p in pictures} == names
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in pictures)
    assert page.read_text(encoding="utf-8").count('.png"') == len(names)
    assert ".png" not in write_report(path).read_text(encoding="utf-8")
    assert not list(page.parent.glob("figures/*.png"))


def test_drawing_twice_gives_the_same_bytes(tmp_path):
    settings = {"detectors": ("neural",), "groups": ("a",), "points": ("default",)}
    path = write_run(tmp_path / "r", frames_per_group=1, n_truth=9, **settings)
    report = write_report(path).parent
    first = {p: p.read_bytes() for p in report.rglob("*") if p.is_file()}
    assert write_report(path) == report / "index.html"
    assert {p: p.read_bytes() for p in report.rglob("*") if p.is_file()} == first


class OtherProcess(Executor):
    """Calls what could be called in another process, or loses it."""

    def __init__(self, *, lost=False):
        self.lost, self.calls = lost, 0

    def submit(self, fn, /, *args, **kwargs):
        self.calls += 1
        future = Future()
        if self.lost:
            future.set_exception(BrokenProcessPool("killed"))
        else:
            function, given, options = pickle.loads(pickle.dumps((fn, args, kwargs)))
            future.set_result(pickle.loads(pickle.dumps(function(*given, **options))))
        return future


def test_a_report_made_by_two_processes_has_the_same_bytes(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, n_truth=9, groups=("a",))
    report = write_report(path).parent
    first = {p: p.read_bytes() for p in report.rglob("*") if p.is_file()}
    for pool in (OtherProcess(), OtherProcess(lost=True)):
        for written in first:
            written.unlink()
        write_report(path, pool=pool)
        assert pool.calls == 1
        assert {p: p.read_bytes() for p in report.rglob("*") if p.is_file()} == first


def test_what_comes_from_files_is_escaped(tmp_path):
    path = write_run(
        tmp_path / "r",
        detectors=("neural", EVIL),
        groups=("a", EVIL),
        points=("default",),
        frames_per_group=1,
        suffix=EVIL,
        n_truth=9,
        previews=False,
        failures=(
            {"frame": f"f{EVIL}", "detector": EVIL, "reason": f"a | b {EVIL}\nnext"},
            {"frame": "g", "detector": None, "reason": "truncated"},
        ),
    )
    source = write_report(path).read_text(encoding="utf-8")
    assert "<script>alert" not in source
    page = _Page(source)
    assert page.faults == []
    rows = page.table("Failures")
    assert rows[1][:2] == [f"f{EVIL}", EVIL]
    assert rows[2][1] == "(the frame could not be read)"
    report = (path / "report" / "report.md").read_text(encoding="utf-8")
    assert "<script" not in report
    line = next(x for x in report.splitlines() if "next" in x)
    assert line.replace("\\|", "").count("|") == 4
    assert source.index('id="failures"') < source.index('id="scores"')


@pytest.mark.parametrize(
    "settings",
    [
        {"detectors": ("neural",), "blind": ("neural",), "points": ("default",)},
        {"detectors": ("neural", "sep"), "blind": ("neural", "sep"), "groups": ("a", "b")},
        {"detectors": tuple("abcde"), "pairs": False, "previews": False},
        {"groups": ("all",), "points": ("default", "purity95")},
    ],
    ids=["one blind", "all blind", "five, no pairs", "group all"],
)
def test_odd_runs_have_a_page(tmp_path, settings):
    settings = {"groups": ("only",), "frames_per_group": 1, "n_truth": 12} | settings
    path = write_run(tmp_path / "r", **settings)
    run = load_run(path)
    page = _Page(page_html(run, []))
    assert page.faults == []
    assert summary_table(run)["detector"].nunique() == len(run.detectors)
    assert markdown(run).startswith("# r\n")


def test_a_run_without_sweep_and_limits_has_a_report(tmp_path):
    settings = {"detectors": ("sep",), "groups": ("a",), "points": ("default",)}
    path = write_run(tmp_path / "r", frames_per_group=1, n_truth=9, **settings)
    for name in ("sweep", "limits"):
        (path / f"{name}.parquet").unlink()
    source = write_report(path).read_text(encoding="utf-8")
    assert "limits.parquet is not in the run folder" in source
    assert "The run folder has no limits." in source


def test_few_frames_failures_and_no_calibration_are_said(tmp_path, reported):
    assert any("Only 6 frames were scored" in c for c in cautions(reported[0]))
    assert not any("calibrated" in c for c in cautions(reported[0]))
    path = write_run(
        tmp_path / "r",
        groups=("a",),
        points=("default",),
        frames_per_group=20,
        n_truth=3,
        previews=False,
        failures=({"frame": "a_001", "detector": "sep", "reason": "x"},),
    )
    said = " ".join(cautions(load_run(path)))
    assert "fewer than 20" not in said
    assert "1 failure happened" in said
    assert "“complete with failures”" in said
    assert "no calibrated operating point" in said


def _table(*rows):
    return pd.DataFrame(rows, columns=["detector", "value", "lo", "hi"])


def test_ranking_follows_its_rules():
    ranking = rank(
        _table(("a", 0.5, 0.4, 0.6), ("b", 0.8, 0.7, 0.9), ("c", np.nan, np.nan, np.nan))
    )
    assert ranking.leaders == ("b",)
    assert ranking.clear
    assert ranking.undefined == ("c",)
    assert ranking_sentence(ranking, "Highest F1") == (
        "Highest F1: b 0.800 (0.700–0.900). Then a 0.500 (0.400–0.600) (intervals apart). "
        "Undefined: c."
    )
    touching = rank(_table(("a", 0.5, 0.4, 0.7), ("b", 0.8, 0.7, 0.9)))
    assert not touching.clear
    assert "intervals overlap" in ranking_sentence(touching, "F1")
    equal = rank(_table(("a", 0.5, 0.4, 0.7), ("b", 0.5, 0.4, 0.7)))
    assert equal.leaders == ("a", "b")
    assert not equal.clear
    assert "(equal)" in ranking_sentence(equal, "F1")
    bare = rank(_table(("a", 0.5, np.nan, np.nan), ("b", 0.1, 0.0, 0.2)))
    assert not bare.clear
    assert "no interval to compare" in ranking_sentence(bare, "F1")
    lowest = rank(
        pd.DataFrame({"detector": ["a", "b"], "s": [5, 4], "s_lo": [5, 4], "s_hi": [5, 4]}),
        "s",
        higher=False,
    )
    assert lowest.leaders == ("b",)
    assert ranking_sentence(rank(_table()), "F1") == "F1: undefined for every detector."


@given(st.permutations(["neural", "sep", "sep-matched"]), st.lists(st.floats(0, 1), min_size=3))
def test_the_name_gives_no_advantage(names, values):
    plain = rank(_table(*((n, v, v, v) for n, v in zip("abc", values, strict=False))))
    named = rank(_table(*((n, v, v, v) for n, v in zip(names, values, strict=False))))
    rename = dict(zip("abc", names, strict=True))
    assert named.leaders == tuple(rename[d] for d in plain.leaders)
    assert named.clear == plain.clear


def test_the_verdict_says_who_loses_too(tmp_path, reported):
    run, _ = reported
    headline = verdict(run)[0].sentences
    best = max(DETECTORS, key=lambda d: _score(run, "f1", d, "calibrated")["value"])
    assert headline[0].startswith(f"{best} has the highest overall F1 (operating point: calib")
    for detector in DETECTORS:
        assert any(s.startswith(f"{detector} has the highest F1 in") for s in headline)
    faint = verdict(run)[1].sentences
    assert len(faint) == len(DETECTORS) + 1
    assert faint[0].startswith("neural has the lowest such S/N in 3 of 3 groups")
    assert "a group with many false detections" in faint[-1]
    # The same rules speak for the other side when the numbers do.
    path = write_run(tmp_path / "r", blind=("neural",), frames_per_group=1, previews=False)
    text = " ".join(s for section in verdict(load_run(path)) for s in section.sentences)
    assert "sep-matched has the highest overall F1" in text
    assert "neural has the highest F1 in 0 of 3 groups" in text
    assert "Undefined: neural" in text
    assert "neural" in leaders_table(load_run(path)).rows[0][2].text


def test_frames_that_stand_twice_in_the_counts_are_summed_once(reported):
    run, _ = reported
    counts = run.counts
    again = counts[counts["point"] == "purity95"].assign(group="all")
    twice = type(run)(
        run.path, run.record, pd.concat([counts, again]), run.scores, run.sweep, run.limits
    )
    assert counts_table(twice) == counts_table(run)
    assert frames_table(twice, "purity95") == frames_table(run, "purity95")


def test_a_detector_without_a_frame_shows_a_dash_there(reported):
    run, _ = reported
    gone = (run.counts["detector"] == "sep") & (run.counts["frame"] == "dirty_000")
    less = type(run)(run.path, run.record, run.counts[~gone], run.scores, run.sweep, run.limits)
    table = frames_table(less, "default")
    row = next(r for r in table.rows if r[0].text == "dirty_000")
    at = table.columns.index("sep: found")
    assert [c.text for c in row[at : at + 2]] == ["–", "–"]
    assert row[2].text != "–"


def test_the_summary_is_the_table(reported):
    run, _ = reported
    summary = summary_table(run)
    assert len(summary) == 9
    row = summary[(summary["detector"] == "sep") & (summary["point"] == "purity95")].iloc[0]
    for quantity in ("completeness", "purity", "f1", "f2", "false_per_mpix"):
        wanted = _score(run, quantity, "sep", "purity95")
        assert (row[quantity], row[f"{quantity}_lo"]) == (wanted["value"], wanted["lo"])
    assert row["truths"] == _score(run, "completeness", "sep", "purity95")["n"]
    assert len(summary_table(run, "crowded")) == 9
    assert len(summary_table(run, "nowhere")) == 0


def test_numbers_are_written_as_numbers():
    assert format_number(0.12345, 3) == "0.123"
    assert format_number(-0.0001, 2) == "0.00"
    assert format_number(-1.5, 1) == "−1.5"
    assert format_number(float("nan"), 3) == "–"
    assert format_number(float("inf"), 3) == "infinite"


@given(st.text())
def test_a_markdown_cell_cannot_leave_its_cell(text):
    cell = markdown_cell(text)
    assert "\n" not in cell
    assert "<" not in cell
    assert not re.search(r"(?<!\\)(?:\\\\)*\|", cell)


def test_tables_name_their_rows(reported):
    run, _ = reported
    assert scores_table(run, ["all"], "x").columns[:2] == ("Operating point", "Detector")
    assert scores_table(run, ["all", "dirty"], "x").columns[0] == "Group"
    assert len(bins_table(run, "default", "sparse").rows) == 3 * (N_BINS + 3)
