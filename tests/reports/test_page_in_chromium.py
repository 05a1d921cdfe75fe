"""The pages of a run and of `diff` at a desk, on a phone, on paper, by keyboard, and by axe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import needs_browser
from helpers.chromium import Chromium, axe_violations
from helpers.command_line import skyduel
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_error_kinds import add_mistakes
from helpers.synthetic_run import write_run

from skyduel.core import Catalog, write_catalog, write_frame
from skyduel.reports import write_report
from skyduel.run_folder import load_run
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.previews import write_mask
from skyduel.run_folder.show_page import inline_page
from skyduel.simulation import SceneSettings, simulate

pytestmark = needs_browser

DESK, PHONE, PAPER = {"width": 1280, "height": 900}, {"width": 390, "height": 844}, 718
OPEN_ALL = """
for (const part of document.querySelectorAll("details")) part.open = true;
new Promise((done) => setTimeout(done, 800))
"""
#: What sticks out of the page to the right, other than inside something that scrolls.
TOO_WIDE = """
[...document.querySelectorAll("main *")].filter((e) => {
  if (e.closest(".scroll, .canvas, .wide, svg, .g-sheets")) return false;
  return e.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
}).slice(0, 3).map((e) => e.outerHTML.slice(0, 120))
"""
#: Captions of tables that have to be scrolled sideways.
SCROLLED = """
[...document.querySelectorAll(".scroll")].filter((e) => e.scrollWidth > e.clientWidth + 1)
  .map((e) => e.querySelector("caption").textContent)
"""
#: On how many lines each interval of a table stands.
LINES = """
[...document.querySelectorAll("td .whole")]
  .map((e) => new Set([...e.getClientRects()].map((box) => Math.round(box.top))).size)
"""
FOCUSED = """
(() => {
  const e = document.activeElement;
  const box = e.getBoundingClientRect();
  return {
    tag: e.tagName.toLowerCase(), text: (e.textContent || "").trim().slice(0, 60), id: e.id,
    seen: box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight,
    ring: getComputedStyle(e).outlineStyle !== "none" || !!e.closest("#v-stage"),
    open: e.parentElement && e.parentElement.open,
    after: !!(e.compareDocumentPosition(window.last || document.body) & 2) || !window.last,
  };
})()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {"detectors": ("neural", "sep"), "groups": ("dirty",), "points": ("default",)}
    path = write_run(tmp_path_factory.mktemp("runs") / "r", frames_per_group=1, n_truth=40,
                     **settings)  # fmt: skip
    add_mistakes(path)
    write_analyses(path, ("neural", "sep"), ("all", "dirty"), ("default",))
    mask = np.zeros((192, 320), dtype=bool)
    mask[150:, 40:100] = True
    write_mask(np.packbits(mask, axis=1), 320, RunPaths(path).mask(load_run(path).scored_frames[0]))
    return write_report(path)


@pytest.fixture(scope="module")
def difference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diff")
    settings = SceneSettings(ny=160, nx=200, sky=200.0, density=2e-3, min_snr=8.0)
    frame, truth = simulate(settings, np.random.default_rng(2), "field")
    write_frame(frame, folder / "field.fits", dtype="uint16")
    for name, keep in (("a", slice(0, None, 2)), ("b", slice(0, 40))):
        rows = {k: truth[k][keep] for k in ("x", "y", "mag")}
        write_catalog(Catalog.build(**rows, score=np.ones(rows["x"].size)), folder / f"{name}.csv")
    words = ("diff", folder / "a.csv", folder / "b.csv", "--frame", folder / "field.fits")
    assert skyduel(*words, "--out", folder / "out") == 0
    (made,) = (folder / "out").glob("*.html")
    return made


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.mark.parametrize("which", ["page", "difference"])
def test_axe_finds_nothing(which: str, browser: Chromium, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(which)
    for window, dark, rules in (
        (DESK, False, "{}"),
        (DESK, True, "{runOnly: ['color-contrast', 'link-in-text-block']}"),
        (PHONE, False, "{rules: {'color-contrast': {enabled: false}}}"),  # as on the desk
    ):
        browser.open(file, **window, dark=dark)
        if not dark:  # the folded parts have the colours of the others
            browser.run(OPEN_ALL)
        assert axe_violations(browser, rules) == [], (window, dark)


def test_axe_sees_a_page_that_is_wrong(browser: Chromium, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    pale = '<p style="color:#bbb;background:#fff">pale</p>'
    bad.write_text(
        f'<!doctype html><html lang="en"><title>t</title><main><h1>h</h1><img src="data:,">{pale}'
    )
    browser.open(bad, **DESK)
    found = [json.loads(line)[0] for line in axe_violations(browser)]
    assert {"image-alt", "color-contrast"} <= set(found)


@pytest.mark.parametrize("which", ["page", "difference"])
def test_a_phone_shows_the_answer_first_and_nothing_sticks_out(
    which: str, browser: Chromium, request: pytest.FixtureRequest
) -> None:
    browser.open(request.getfixturevalue(which), **PHONE)
    assert browser.run("innerWidth") == 390
    first = "p.headline" if which == "page" else "main > p"
    assert browser.run(f"document.querySelector('{first}').getBoundingClientRect().bottom") < 844
    browser.run(OPEN_ALL)
    assert browser.run(TOO_WIDE) == []
    assert browser.run("document.documentElement.scrollWidth") == 390


def test_a_desk_shows_whole_tables_with_intervals_in_one_piece(
    page: Path, browser: Chromium
) -> None:
    browser.open(page, **DESK)
    browser.run(OPEN_ALL)
    assert browser.run(SCROLLED) == []
    assert set(browser.run(LINES)) == {1}


def test_the_keyboard_reaches_everything_in_order(page: Path, browser: Chromium) -> None:
    browser.open(page, **DESK)
    browser.press("Tab")
    at = browser.run(FOCUSED)
    assert (at["text"], at["seen"]) == ("Skip to the report", True)
    browser.press("Enter")
    assert browser.run("location.hash") == "#main"
    # From there on past the contents.
    names = []
    for _ in range(60):
        browser.run("window.last = document.activeElement")
        browser.press("Tab")
        at = browser.run(FOCUSED)
        if at["tag"] == "body":
            break
        assert at["seen"], at
        assert at["ring"], at
        names.append(at["text"] if at["tag"] == "summary" else at["tag"])
    assert names.count("svg") == 2  # the two panels of the figure
    assert "Contents" not in names
    titles = browser.run("[...document.querySelectorAll('details.fold > summary')]"
                         ".map((e) => e.textContent.trim())")  # fmt: skip
    assert [n for n in names if n in titles] == titles

    # A folded section opens and closes by Enter, and its content is then reached.
    browser.run("document.querySelector('#viewer > details').open = false;"
                "document.querySelector('#viewer summary').focus()")  # fmt: skip
    browser.press("Enter")
    assert browser.run("document.querySelector('#viewer > details').open") is True
    reached = set()
    for _ in range(30):
        browser.press("Tab")
        reached.add(browser.run("document.activeElement.id"))
    assert {"v-frame", "v-canvas", "v-show-missed", "v-layer-mask", "v-white", "v-next"} <= reached
    browser.run("document.querySelector('#viewer summary').focus()")
    browser.press("Enter")
    assert browser.run("document.querySelector('#viewer > details').open") is False


def test_on_paper_everything_is_open_and_fits(page: Path, browser: Chromium) -> None:
    browser.open(page, width=PAPER, height=1000)
    browser.run("dispatchEvent(new Event('beforeprint'))")
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.run("getComputedStyle(document.querySelector('nav')).display") == "none"
    hidden = browser.run(
        "[...document.querySelectorAll('main section h2, main section table caption, main "
        "section > details > p')].filter((e) => !e.closest('#viewer, [hidden]') && "
        "!e.getClientRects().length).map((e) => e.textContent.slice(0, 60))"
    )
    assert hidden == []
    assert browser.run(TOO_WIDE) == []
    printed = browser.pdf()
    n_pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert printed.startswith(b"%PDF-")
    assert 5 < n_pages < 60


def test_inside_a_notebook_links_stay_inside(page: Path, browser: Chromium, tmp_path: Path) -> None:
    book = tmp_path / "book.html"
    source = page.read_text(encoding="utf-8")
    # The frame is closed to scripts of the notebook, so the page itself reports where it is.
    spy = ("addEventListener('message', () => { document.querySelector('nav a[href=\"#limits\"]')"
           ".click(); setTimeout(() => parent.postMessage([document.title, location.hash, "
           "document.querySelector('#limits details').open], '*'), 500); });")  # fmt: skip
    source = re.sub(r"; script-src [^\"]*", "; script-src 'unsafe-inline'", source)
    source = source.replace("</body>", f"<script>{spy}</script></body>")
    book.write_text(f"<!doctype html><title>book</title>{inline_page(source, 500)}")
    browser.open(book, **DESK)
    said = browser.run(
        "new Promise((done) => { addEventListener('message', (e) => done(e.data)); "
        "document.querySelector('iframe').contentWindow.postMessage('go', '*'); })"
    )
    assert said[0].endswith("detectors compared")
    assert said[1:] == ["#limits", True]
