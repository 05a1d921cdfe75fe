"""The gallery shows the listed errors, each with the cut-out at its position."""

import base64
import io
import re

import numpy as np
import pandas as pd
import pytest
from helpers.browser import act, needs_browser
from helpers.synthetic_error_kinds import add_mistakes
from helpers.synthetic_run import write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skyduel.evaluation.scoring.table_columns import FALSE_KINDS, MISSED_KINDS
from skyduel.reports.error_kinds import ERROR_KINDS
from skyduel.reports.page import gallery as module
from skyduel.reports.page.cutouts import CUT_PX
from skyduel.reports.page.gallery import choose_errors, gallery
from skyduel.reports.page.interactive import interactive
from skyduel.run_folder import load_run

#: What fine compression may change in a picture: a fifth of the noise [grey levels].
LOSS = 0.21 * 255 / (np.arcsinh(30) + np.arcsinh(2))
SETTINGS = {"detectors": ("neural", "sep"), "points": ("default", "purity95")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("gallery") / "run"
    write_run(path, groups=("sparse", "dirty"), frames_per_group=2, n_truth=60, **SETTINGS)
    return load_run(add_mistakes(path))


def cuts_of(shown):
    return [(k, cut) for k in shown.kinds for _, _, cuts in k.rows for cut in cuts]


def cell(shown, cut):
    """Return the pixels of a cut-out, first row at the bottom."""
    uri = next(s[3] for s in shown.sheets if s[0] == cut.detector)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    sheet = np.asarray(picture.convert("L"), dtype=float)
    u, v, width, height = map(int, cut.view_box.split())
    assert (width, height) == (CUT_PX, CUT_PX)
    return sheet[v : v + height, u : u + width][::-1]


def differs(cut, wanted):
    """Return the root mean square of what compression changed, in grey levels."""
    return float(np.sqrt(np.mean((cut - wanted) ** 2)))


def place_of(cut):
    return tuple(map(float, re.fullmatch(r"x (-?[\d.]+), y (-?[\d.]+)", cut.where).groups()))


def write_mistakes(path, *rows):
    """Write a run's list of mistakes: (side, kind, frame, truth row, found row, x, y, snr)."""
    columns = ["side", "kind", "frame", "truth_index", "found_index", "x", "y", "snr"]
    table = pd.DataFrame(rows, columns=columns).assign(
        detector="sep", point="default", group="all", mag=20.0, score=0.5
    )
    (path / "analyses").mkdir(exist_ok=True)
    table.to_parquet(path / "analyses" / "mistake_sources.parquet")


def test_every_kind_has_a_name_and_a_rule_on_its_sides():
    for side, kinds in (("missed", MISSED_KINDS), ("false", FALSE_KINDS)):
        assert {name for name, kind in ERROR_KINDS.items() if kind.rule(side)} == set(kinds)
    assert all(kind.label for kind in ERROR_KINDS.values())


def _sources(rows):
    columns = ["detector", "side", "kind", "frame", "truth_index", "snr"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(score=-table["snr"], found_index=-1, point="default", group="all")


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.sampled_from(["missed", "false"]),
            st.sampled_from("kl"),
            st.sampled_from("xyz"),
            st.integers(0, 6),
            st.sampled_from([1.0, 2.0, 3.0, np.nan]),
        ),
        max_size=40,
    ),
    st.integers(1, 7),
)
def test_the_choice_follows_its_rule(rows, per_kind):
    sources = _sources(rows)
    chosen = choose_errors(sources, "default", per_kind)
    assert list(chosen.columns) == list(sources.columns)
    # One by one: clearest first, two of a frame before any third.
    wanted = []
    for key in {r[:3] for r in rows}:
        seen, of = set(), []
        for n, r in enumerate(rows):
            if r[:3] == key and r[3:5] not in seen:
                seen.add(r[3:5])
                clear = r[5] if key[1] == "missed" else -r[5]
                of.append((-clear if clear == clear else np.inf, n, r))
        of.sort(key=lambda entry: entry[:2])
        first, later, number = [], [], {}
        for _, n, r in of:
            number[r[3]] = number.get(r[3], 0) + 1
            (first if number[r[3]] <= 2 else later).append(n)
        wanted += (first + later)[:per_kind]
    assert sorted(chosen.index) == sorted(wanted)
    again = choose_errors(sources, "default", per_kind)
    assert list(again.index) == list(chosen.index)


def test_groups_widen_the_choice_only_where_they_share_the_threshold():
    rows = [("a", "missed", "k", "x", 1, 5.0), ("a", "missed", "k", "y", 2, 4.0)]
    sources = _sources(rows)
    sources["group"] = ["all", "sparse"]
    assert list(choose_errors(sources, "default")["frame"]) == ["x", "y"]
    pure = sources.assign(point="purity95")
    assert list(choose_errors(pure, "purity95")["frame"]) == ["x"]
    assert len(choose_errors(pure, "default")) == 0


def test_a_cut_out_is_of_its_place(run):
    shown = gallery(run, "default")
    assert shown.n_cuts == len(cuts_of(shown)) > 20
    assert sum(shown.frames.values()) == shown.n_cuts
    sides = set()
    for kind, cut in cuts_of(shown):
        x, y = place_of(cut)
        name, table = (
            ("missed", run.truth(cut.frame))
            if kind.side == "missed"
            else ("false", run.catalog(run.detectors[cut.detector], cut.frame))
        )
        gap = np.hypot(table["x"] - x, table["y"] - y).to_numpy()
        source = table.iloc[gap.argmin()]
        assert gap.min() < 0.08
        assert f"mag {source['mag']:.2f}" in cut.facts
        x, y = source["x"], source["y"]
        if cut.across == CUT_PX:
            whole = np.pad(255 * run.preview(cut.frame), CUT_PX)
            row, column = round(y) + CUT_PX - 24, round(x) + CUT_PX - 24
            wanted = whole[row : row + CUT_PX, column : column + CUT_PX]
            assert differs(cell(shown, cut), wanted) < LOSS
        sides.add(kind.side)
        # Its own mark is in the middle of its square, pixel centres counted.
        left, top = map(int, cut.view_box.split()[:2])
        points = re.search(f'class="p-{name}" points="([^"]*)"', cut.marks)
        centres = np.array(points[1].split() if points else [], dtype=float).reshape(-1, 2)
        u = left + (x - round(x) + 24.5)
        v = top + CUT_PX - (y - round(y) + 24.5)
        assert cut.across > CUT_PX or np.hypot(*(centres - [u, v]).T).min() < 0.15
    assert sides == {"missed", "false"}


def test_beyond_the_frame_is_black_and_a_streak_is_shown_whole(tmp_path):
    path = write_run(tmp_path / "r", groups=("a",), frames_per_group=1, n_truth=9, **SETTINGS)
    truth = load_run(path).truth("a_000")
    streak = truth.loc[0, ["x", "y"]].tolist()
    write_mistakes(
        path,
        ("missed", "edge", "a_000", 3, -1, 1.0, 190.0, 9.0),
        ("missed", "other", "a_000", 0, -1, *streak, 50.0),
        ("false", "noise", "a_000", -1, 0, np.float64(318.6), 4.4, 3.0),
    )
    run = load_run(path)
    shown = gallery(run, "default")
    edge, whole, corner = (cut for _, cut in cuts_of(shown))
    pixels, preview = cell(shown, edge), 255 * run.preview("a_000")
    assert pixels[:, :21].max() < LOSS
    assert pixels[28:].max() < LOSS
    assert differs(pixels[:26, 23:], preview[166:192, :25]) < LOSS
    assert differs(cell(shown, corner)[20:, :25], preview[:28, 295:320]) < LOSS
    assert whole.across == 4 * CUT_PX  # 90 px long, and twice the side would cut its ends
    assert "zoom=2&" in whole.place
    assert edge.across == CUT_PX
    assert "pick=found" in corner.place
    # Nothing says how many there are.
    assert {n for k in shown.kinds for _, _, n in k.counts} == {None}


def test_many_kinds_share_the_space(run, monkeypatch):
    monkeypatch.setattr(module, "MOST_CUTS", 16)
    shown = gallery(run, "default")
    assert shown.per_kind == 2
    assert shown.n_cuts == 16
    assert "Up to 2 of each detector and kind" in shown.rule


def test_kinds_are_counted_ordered_and_opened_by_rule(run):
    shown = gallery(run, "default")
    names = [k.name for k in shown.kinds]
    assert names == ["missed-blended", "missed-other", "false-split", "false-other"]
    assert [k.opened for k in shown.kinds] == [False, True, False, True]
    mistakes = run.analysis("mistakes")
    for kind in shown.kinds:
        rows = mistakes[(mistakes["side"] == kind.side) & (mistakes["kind"] == kind.kind)]
        rows = rows[rows["point"] == "default"].set_index("detector")["n"]
        assert {name: n for _, name, n in kind.counts} == rows.to_dict()


def test_without_previews_there_are_marks_and_without_mistakes_nothing(tmp_path):
    path = tmp_path / "r"
    write_run(path, groups=("a",), frames_per_group=1, n_truth=30, previews=False, **SETTINGS)
    assert gallery(load_run(path), "default") is None
    shown = gallery(load_run(add_mistakes(path)), "default")
    assert all(re.search('class="[mp]-(missed|false)"', c.marks) for _, c in cuts_of(shown))
    assert gallery(load_run(path), "nowhere") is None


def test_scripts_can_stand_in_a_page(run):
    scripts = interactive(run, "default").scripts
    assert len(scripts) == 5
    for script in scripts:
        assert script.startswith('"use strict";')
        assert not re.search(r"</|<!--|\beval\b|new Function|https?:|fetch\(|import\(", script)


@needs_browser
def test_filters_and_the_way_into_the_viewer(run, tmp_path):
    out = act(
        run,
        """
  const root = by("gallery");
  const press = async (set, value) => {
    root.querySelector(`button[data-set=${set}][value="${value}"]`).click();
    await wait(50);
  };
  const kinds = () => [...root.querySelectorAll("details.g-kind")].filter((e) => !e.hidden);
  const rows = () => kinds().flatMap((k) => [...k.querySelectorAll(".g-row:not([hidden])")]);
  const seen = () => ({
    detectors: [...new Set(rows().map((e) => e.dataset.detector))],
    kinds: kinds().map((e) => e.dataset.kind),
    open: kinds().filter((e) => e.open).map((e) => e.dataset.kind),
    said: root.querySelector(".g-said").textContent,
  });
  out.all = seen();
  await press("detector", "1"); out.sep = seen();
  await press("side", "false"); out.false = seen();
  const select = root.querySelector("select");
  select.value = "false-split";
  select.dispatchEvent(new Event("change")); await wait(50); out.split = seen();
  const link = root.querySelector("details[data-kind=false-split] .g-row[data-detector='1'] a");
  out.place = link.dataset.place;
  link.click(); await wait(1200);
  out.frame = canvas.dataset.frame; out.detector = by("v-detector").value;
  out.said = by("v-said").textContent; out.focus = document.activeElement.id;
  out.centre = await place();
        """,
        tmp_path,
    )
    shown = gallery(run, "default")
    names = [k.name for k in shown.kinds]
    assert out["all"]["detectors"] == ["0", "1"]
    assert out["all"]["kinds"] == names
    assert out["all"]["open"] == ["missed-other", "false-other"]
    assert out["all"]["said"] == f"{shown.n_cuts} cut-outs"
    of_sep = [(k, c) for k, c in cuts_of(shown) if c.detector == 1]
    assert out["sep"]["detectors"] == ["1"]
    assert out["sep"]["said"] == f"{len(of_sep)} cut-outs"
    assert out["false"]["kinds"] == ["false-split", "false-other"]
    assert out["split"]["kinds"] == out["split"]["open"] == ["false-split"]
    split = [c for k, c in of_sep if k.name == "false-split"]
    assert out["split"]["said"] == f"{len(split)} cut-outs"
    assert out["place"] == split[0].place
    assert (out["frame"], out["detector"]) == (split[0].frame, "1")
    assert out["said"].startswith("False detection: x ")
    assert "kind of mistake: split of one source" in out["said"]
    assert out["focus"] == "v-canvas"
    x, y = place_of(split[0])
    assert np.hypot(float(out["centre"]["x"]) - x, float(out["centre"]["y"]) - y) < 0.2
