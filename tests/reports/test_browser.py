"""The whole page of a run with every analysis: its numbers, its accessibility, and in a browser."""

import math
import re
import subprocess
from dataclasses import asdict
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_run import write_run

from skyduel.core.errors import BadInputError
from skyduel.evaluation.number_text import format_number
from skyduel.reports import write_pdf, write_report
from skyduel.reports.page import pdf as pdf_module
from skyduel.reports.page.pdf import BROWSERS, browser_command, find_browser
from skyduel.run_folder import load_run

VOID = {"meta", "img", "br", "hr", "link", "input", "use", "path"}
BROWSER = find_browser()
needs_browser = pytest.mark.skipif(BROWSER is None, reason=f"none of {', '.join(BROWSERS)}")
TEMPLATES = ROOT / "reports" / "templates"


class _Outline(HTMLParser):
    """Collects headings, tags with attributes and their parents, and numbers with their text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.headings, self.tags, self.numbers = [], [], []
        self._open, self._value, self._heading = [], None, None
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes, tuple(self._open)))
        if re.fullmatch("h[1-6]", tag):
            self._heading = [int(tag[1]), ""]
        if tag == "data":
            self._value = float(attributes["value"])
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs), tuple(self._open)))

    def handle_endtag(self, tag):
        if tag in self._open:
            del self._open[len(self._open) - 1 - self._open[::-1].index(tag) :]
        if self._heading and tag == f"h{self._heading[0]}":
            self.headings.append(tuple(self._heading))
            self._heading = None
        if tag == "data":
            self._value = None

    def handle_data(self, data):
        if self._heading:
            self._heading[1] += data.strip()
        if self._value is not None:
            self.numbers.append((self._value, data))


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    settings = {"detectors": ("neural", "sep"), "groups": ("dirty",), "points": ("default",)}
    path = write_run(
        tmp_path_factory.mktemp("runs") / "whole", frames_per_group=1, n_truth=40, **settings
    )
    write_analyses(path, ("neural", "sep"), ("all", "dirty"), ("default",))
    page = write_report(path)
    return load_run(path), page, _Outline(page.read_text(encoding="utf-8"))


def test_every_number_in_the_tables_is_one_of_the_runs(reported):
    run, _, outline = reported
    held = {float(len(run.frames)), 1.0}  # the tally of frames by split and group
    names = "ideal mistakes calibration_error purity_choice astrometry facets ignore_limit chance "
    names += "galaxies suspects"
    tables = [run.scores, run.limits, run.comparisons, run.analysis("average_precision")]
    tables += [run.analysis(name) for name in names.split()]
    for table in tables:
        held |= set(table.select_dtypes("number").to_numpy(dtype=float).ravel())
    for keys in (["point", "detector"], ["point", "detector", "frame"]):
        sums = run.counts.groupby(keys).sum(numeric_only=True)
        held |= set(sums.to_numpy(dtype=float).ravel())
        held |= set((sums["truths"] - sums["truths_found"]).astype(float))
        held |= set((sums["detections"] - sums["detections_right"]).astype(float))
    for detector in run.record.detectors:
        held |= {float(v) for v in asdict(detector).values() if isinstance(v, int | float)}
    held = {float(f"{value:.10g}") for value in held}  # as many digits as the CSV files have
    finite = [(v, said) for v, said in outline.numbers if np.isfinite(v)]
    assert len(finite) > 600
    for value, said in finite:
        assert value in held
        if said == "< 0.001":
            assert value < 0.0005
        else:
            assert said == format_number(value, len(said.partition(".")[2]))
    assert {said for v, said in outline.numbers if np.isnan(v)} <= {"–"}


def test_headings_go_down_one_step_at_a_time_and_are_named(reported):
    headings = reported[2].headings
    levels = [level for level, _ in headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert all(said for _, said in headings)


def test_everything_has_a_name_and_a_place(reported):
    outline = reported[2]
    ids = [a["id"] for _, a, _ in outline.tags if "id" in a]
    assert len(ids) == len(set(ids))
    there = set(ids)
    labelled = {a.get("for") for t, a, _ in outline.tags if t == "label"}
    tags = {t for t, _, _ in outline.tags}
    assert {"header", "nav", "main"} <= tags
    for tag, a, parents in outline.tags:
        for reference in ("aria-labelledby", "aria-describedby", "aria-controls"):
            assert set(a.get(reference, "").split()) <= there
        if a.get("href", "").startswith("#"):
            assert a["href"][1:] in there
        if tag == "section":
            assert "aria-labelledby" in a or "aria-label" in a
        if tag in ("input", "select", "button", "canvas"):
            named = a.get("aria-label") or a.get("aria-labelledby") or a.get("title")
            by_label = a.get("id") in labelled or "label" in parents
            assert named or by_label or tag in ("button", "canvas"), a
        if a.get("role") == "region":
            assert a.get("aria-label") or a.get("aria-labelledby")
    regions = [a["aria-label"] for _, a, _ in outline.tags if a.get("role") == "region"]
    assert len(regions) == len(set(regions))  # else a reader could not tell them apart
    first = next(a for t, a, _ in outline.tags if t == "a")
    assert first["href"] == "#main"  # the skip link
    listed = [a["href"][1:] for t, a, p in outline.tags if t == "a" and "nav" in p and "href" in a]
    sections = [a["id"] for t, a, _ in outline.tags if t == "section" and "id" in a]
    assert listed == sections  # the contents name every section, in order
    assert sections[:2] == ["answer", "verdict"]
    assert {"differences", "ideal", "mistakes", "calibration", "measures", "paper"} <= set(sections)


def _luminance(color):
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def _contrast(a, b):
    high, low = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_stands_out_from_what_it_is_written_on_by_day_and_night():
    assert _contrast("#000000", "#ffffff") == pytest.approx(21.0)
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    blocks = re.findall(r":root \{([^}]*)\}", css)
    assert len(blocks) == 2
    for block in blocks:
        colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for ink in ("ink", "soft", "link", "warn"):
            for paper in ("paper", "band", "warn-band"):
                if (ink == "warn") == (paper == "warn-band") or ink in ("ink", "link"):
                    assert _contrast(colors[ink], colors[paper]) >= 4.5, (ink, paper)


def test_the_page_is_small(reported):
    assert reported[1].stat().st_size < 6e6


def _browse(page, tmp_path, *more):
    command = browser_command(BROWSER, tmp_path / "profile")
    command += [*more, "--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000"]
    return subprocess.run(
        [*command, page.as_uri()], capture_output=True, timeout=1200, check=False, text=True
    )


# What the browser asks for on its own account, whatever the page.
_ITS_OWN = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gvt1|gstatic)\.com[:/]")


def _asked_for(log):
    urls = re.findall(r'"url":"((?:https?|wss?|ftp):[^"]*)"', log.read_text(errors="replace"))
    return {u for u in urls if not _ITS_OWN.match(u)}


@needs_browser
def test_the_browser_has_no_complaint_and_asks_for_nothing(reported, tmp_path):
    log = tmp_path / "net.json"
    done = _browse(reported[1], tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert "</html>" in done.stdout
    assert [x for x in done.stderr.splitlines() if ":CONSOLE" in x] == []
    assert _asked_for(log) == set()
    # The same watch sees a page that does complain and ask.
    bad = tmp_path / "bad.html"
    bad.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.log(1)</script>")
    done = _browse(bad, tmp_path, "--dump-dom", f"--log-net-log={log}")
    assert ":CONSOLE" in done.stderr
    assert _asked_for(log) == {"http://127.0.0.1:9/x.png"}


@needs_browser
def test_the_page_prints(reported):
    made = write_pdf(reported[1])
    assert made == reported[1].parent / "report.pdf"
    assert made.read_bytes().startswith(b"%PDF-")
    assert made.stat().st_size > 50_000


def test_without_a_browser_the_error_says_which_would_do(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf_module.shutil, "which", lambda _: None)
    assert find_browser() is None
    with pytest.raises(BadInputError, match=r"PDF: required one of these programs.*chromium.*none"):
        write_pdf(tmp_path / "index.html")
    with pytest.raises(BadInputError, match="required a report's page"):
        write_pdf(tmp_path / "index.html", browser="/bin/true")
    (tmp_path / "index.html").write_text("<p>page</p>")
    with pytest.raises(BadInputError, match="required a browser that prints"):
        write_pdf(tmp_path / "index.html", browser="/bin/false")
    assert not (tmp_path / "report.pdf").exists()


def test_no_number_is_written_with_more_digits_than_it_has(reported):
    for value, said in reported[2].numbers:
        if math.isfinite(value) and said.replace("−", "").replace(".", "").isdigit():
            assert abs(float(said.replace("−", "-")) - value) <= 0.5000001 * 10 ** -len(
                said.partition(".")[2]
            )
