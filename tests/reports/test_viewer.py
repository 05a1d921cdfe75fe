"""The frame viewer has the data of the run, and works in a browser."""

import base64
import gzip
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from helpers.browser import act, needs_browser
from helpers.synthetic_error_kinds import add_mistakes
from helpers.synthetic_run import write_run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from skyduel.core import BadInputError
from skyduel.reports.page import mask_layers
from skyduel.reports.page import viewer as module
from skyduel.reports.page.interactive import interactive
from skyduel.reports.page.viewer import choose_frames, even_cap, safe_json, viewer
from skyduel.run_folder import load_run
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.match_outcomes import outcomes_of
from skyduel.run_folder.previews import STRETCH, write_mask

EVIL = "</script><script>alert('x')</script><!--"
MASK = np.zeros((192, 320), dtype=bool)
MASK[150:, 40:100] = True
MASK[7, 313] = True
SETTINGS = {"detectors": ("neural", "sep"), "points": ("default", "purity95")}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("viewer") / "run"
    write_run(path, groups=("sparse", "dirty"), frames_per_group=2, n_truth=60, **SETTINGS)
    write_mask(np.packbits(MASK, axis=1), 320, RunPaths(path).mask("sparse_000"))
    return load_run(add_mistakes(path))


def unpacked_kinds(frame):
    return json.loads(gzip.decompress(base64.b64decode(frame["kinds"])))


def unpack(frame, nowhere):
    """Read a frame's arrays as the script does."""
    raw, at = gzip.decompress(base64.b64decode(frame["data"])), 0

    def take(kind, n):
        nonlocal at
        size = np.dtype(kind).itemsize
        planes = np.frombuffer(raw, np.uint8, n * size, at).reshape(size, n)
        at += planes.nbytes
        return np.ascontiguousarray(planes.T).view(kind).ravel()

    tables = [{"snr": take("<f4", n), "score": take("<f4", n)} for n in frame["rows"]]
    for table, n in zip(tables, frame["rows"], strict=True):
        table |= {key: take("<u2", n) for key in ("x", "y", "mag", "length", "theta")}
    n_truth = frame["rows"][0]
    partners = {tuple(at): take("<u2", n_truth) for at in frame["has"]}
    for table, n in zip(tables, frame["rows"], strict=True):
        table["streak"] = take("u1", n)
    outcomes = {
        (d, p): (take("u1", n_truth), take("u1", frame["rows"][d + 1])) for d, p in frame["has"]
    }
    assert at == len(raw)
    for table in tables:
        for key, step, zero in (("x", frame["step"], 256), ("y", frame["step"], 256)):
            table[key] = np.where(table[key] == nowhere, np.nan, table[key] * step - zero)
        table["mag"] = np.where(table["mag"] == nowhere, np.nan, table["mag"] * 0.001 - 15)
    return tables, partners, outcomes


def test_the_catalogues_come_back_as_they_were(run):
    data = json.loads(viewer(run, "purity95").data)
    assert data["detectors"] == ["neural", "sep"]
    assert data["points"] == [["default", "own default"], ["purity95", "equal purity 0.95"]]
    assert data["start"] == 1
    assert [f["name"] for f in data["frames"]] == list(run.scored_frames)
    frame = data["frames"][2]
    tables, partners, outcomes = unpack(frame, data["nowhere"])
    truth, found = run.truth(frame["name"]), run.catalog("sep", frame["name"])
    got = {p: run.pairs("sep", q, frame["name"]) for p, q in enumerate(run.points)}
    wanted = {p: outcomes_of(t, len(truth), len(found), "") for p, t in got.items()}
    assert frame["step"] == 0.05
    assert np.abs(tables[0]["x"] - truth["x"]).max() <= 0.02501
    assert np.abs(tables[0]["y"] - truth["y"]).max() <= 0.02501
    assert np.abs(tables[0]["mag"] - truth["mag"]).max() <= 0.000501
    assert tables[0]["streak"].tolist() == [1] + [0] * (len(truth) - 1)
    assert tables[0]["length"][0] == 900
    assert tables[0]["theta"][0] * np.pi / 65534 == pytest.approx(0.5, abs=1e-4)
    # Only rows that some operating point keeps are there.
    kept = np.flatnonzero(np.any([w.found > 0 for w in wanted.values()], axis=0))
    assert len(kept) == frame["rows"][2]
    assert np.abs(tables[2]["x"] - found["x"].to_numpy()[kept]).max() <= 0.02501
    for p, w in wanted.items():
        assert (outcomes[1, p][0] == w.truth).all()
        assert (outcomes[1, p][1] == w.found[kept]).all()
        paired = partners[1, p] != data["nowhere"]
        assert (paired == (w.partner >= 0)).all()
        assert (kept[partners[1, p][paired]] == w.partner[paired]).all()
    assert (wanted[0].truth == 2).sum() > 5


def test_the_pictures_are_the_previews(run):
    got = viewer(run, "default")
    data, pictures = json.loads(got.data), {f"#{p.id}": p.uri for p in got.pictures}
    assert [p.frame for p in got.pictures] == list(got.frames)
    for frame in data["frames"][:2]:
        head, _, body = pictures[frame["image"]].partition(",")
        assert head in ("data:image/webp;base64", "data:image/png;base64")
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("L"), float)
        wanted = 255 * run.preview(frame["name"])[::-1]
        assert picture.shape == (frame["ny"], frame["nx"]) == (192, 320)
        # "About two fifths of the noise", as the page says: in grey levels a sigma, at zero.
        noise = 255 / (np.arcsinh(STRETCH[1]) - np.arcsinh(STRETCH[0]))
        assert np.sqrt(np.mean((picture - wanted) ** 2)) < 0.42 * noise


def test_a_frame_too_large_is_reduced_and_the_page_says_so(run, monkeypatch):
    monkeypatch.setattr(module, "MOST_PIXELS", 4 * 192 * 320 // 8)
    got = viewer(run, "default")
    frame = json.loads(got.data)["frames"][0]
    assert (frame["nx"], frame["ny"], frame["factor"]) == (320, 192, 3)
    picture = Image.open(io.BytesIO(base64.b64decode(got.pictures[0].uri.partition(",")[2])))
    assert picture.size == (107, 64)
    assert any("4 pictures of large frames: shown smaller" in n for n in got.notes)


def test_too_many_rows_are_cut_evenly_and_the_page_says_so(run, monkeypatch):
    whole = json.loads(viewer(run, "default").data)
    monkeypatch.setattr(module, "MOST_ROWS", 20 * 12)
    got = viewer(run, "default")
    data = json.loads(got.data)
    assert all(rows == [20, 20, 20] for rows in (f["rows"] for f in data["frames"]))
    lost = sum(sum(f["rows"]) for f in whole["frames"]) - 20 * 12
    assert any(n.startswith(f"{lost} rows of catalogues are left out") for n in got.notes)
    frame = data["frames"][0]
    tables, partners, _ = unpack(frame, data["nowhere"])
    truth = run.truth(frame["name"])
    # The listed mistakes stay; the others are the brightest.
    listed = {row for _, _, is_truth, row, _ in unpacked_kinds(frame) if is_truth}
    rest = [i for i in range(20) if i not in listed]
    assert 0 < len(rest) < 20
    assert np.sort(tables[0]["mag"][rest]).max() <= np.sort(truth["mag"])[19] + 0.001
    for at, rows in partners.items():
        paired = rows != data["nowhere"]
        assert rows[paired].max(initial=0) < 20
        found = tables[at[0] + 1]
        gap = np.hypot(
            tables[0]["x"][paired] - found["x"][rows[paired]],
            tables[0]["y"][paired] - found["y"][rows[paired]],
        )
        assert gap.max(initial=0) < 0.1


@settings(max_examples=60)
@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 200))
def test_an_even_cap_is_the_greatest_that_fits(sizes, most):
    cap = even_cap(sizes, most)
    assert sum(min(n, cap) for n in sizes) <= most
    if sum(sizes) <= most:
        assert cap == max(sizes, default=0)
    else:
        assert sum(min(n, cap + 1) for n in sizes) > most


def test_frames_are_chosen_by_the_rule(run):
    names = run.scored_frames
    assert names == ("sparse_000", "sparse_001", "dirty_000", "dirty_001")
    assert choose_frames(run, {}) == (names, "All 4 scored frames are here.")
    chosen, rule = choose_frames(run, {"sparse_001": 1, "dirty_001": 3}, most=3)
    assert chosen == ("sparse_000", "dirty_000", "dirty_001")
    assert rule.startswith("3 of the 4 scored frames")
    assert choose_frames(run, {}, most=3)[0] == ("sparse_000", "sparse_001", "dirty_000")


@settings(max_examples=40)
@given(st.text() | st.sampled_from([EVIL, "]]>", "\u2028", "&lt;"]))
def test_json_in_a_script_cannot_leave_it(text):
    written = safe_json({text: [text]})
    assert json.loads(written) == {text: [text]}
    assert not set("<>&\u2028") & set(written)


def layer_pixels(layer):
    raw = base64.b64decode(layer["image"].removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(raw)) as picture:
        assert picture.mode == "1"
        return np.asarray(picture)


def test_masks_are_layers_of_their_frames(run, tmp_path, monkeypatch):
    got = viewer(run, "default")
    assert [layer.key for layer in got.layers] == ["mask"]
    frames = json.loads(got.data)["frames"]
    assert [list(f["layers"]) for f in frames] == [["mask"], [], [], []]
    layer = frames[0]["layers"]["mask"]
    assert layer["factor"] == 1
    np.testing.assert_array_equal(layer_pixels(layer), MASK[::-1])
    # A coarse one has every block that holds a masked pixel, from the picture's corner.
    coarse = mask_layers.layers_of(run, "sparse_000", 32, 1e6)["mask"]
    blocks = MASK[::-1].reshape(6, 32, 10, 32).any(axis=(1, 3))
    np.testing.assert_array_equal(layer_pixels(coarse), blocks)
    # Scattered pixels hardly compress: the layer is made coarser until it fits.
    noise = np.random.default_rng(0).random((192, 320)) < 0.3
    write_mask(np.packbits(noise, axis=1), 320, RunPaths(tmp_path).mask("a"))
    other = replace(run, path=tmp_path)
    fine = mask_layers.layers_of(other, "a", 1, 1e6)["mask"]
    np.testing.assert_array_equal(layer_pixels(fine), noise[::-1])
    small = mask_layers.layers_of(other, "a", 1, 2000)["mask"]
    assert len(small["image"]) <= 2000 < len(fine["image"])
    assert small["factor"] > 1
    # Nothing masked: no file, and an older one goes.
    write_mask(np.zeros((192, 40), np.uint8), 320, RunPaths(tmp_path).mask("a"))
    assert mask_layers.layers_of(other, "a", 1, 2000) == {}


def test_sources_outside_and_undefined_ones_have_no_place(tmp_path):
    path = tmp_path / "r"
    write_run(path, groups=("a",), frames_per_group=1, n_truth=9, previews=False, **SETTINGS)
    truth = pd.read_parquet(path / "truth" / "a_000.parquet")
    truth.loc[2, ["x", "y", "mag"]] = [1e6, np.nan, np.inf]
    truth.to_parquet(path / "truth" / "a_000.parquet")
    data = json.loads(viewer(load_run(path), "default").data)
    frame = data["frames"][0]
    table = unpack(frame, data["nowhere"])[0][0]
    assert frame["image"] is None
    assert np.isnan([table["x"][2], table["y"][2], table["mag"][2]]).all()
    assert np.isfinite(table["x"][[0, 1, 3]]).all()
    assert np.isnan(table["snr"]).all()  # this truth states none


def test_pairs_that_point_beyond_their_tables_are_refused(tmp_path):
    path = tmp_path / "r"
    write_run(path, groups=("a",), frames_per_group=1, n_truth=9, previews=False, **SETTINGS)
    where = path / "pairs" / "sep" / "default" / "a_000.parquet"
    pairs = pd.read_parquet(where)
    pairs.assign(found_index=pairs["found_index"] + 500).to_parquet(where)
    with pytest.raises(BadInputError, match=r"pairs of sep on a_000: .*found_index"):
        viewer(load_run(path), "default")
    pairs.assign(outcome="maybe").to_parquet(where)
    with pytest.raises(BadInputError, match="an outcome of found, missed"):
        viewer(load_run(path), "default")


def test_a_run_with_nothing_to_look_at_has_no_viewer(tmp_path):
    path = tmp_path / "r"
    write_run(path, groups=("a",), frames_per_group=1, n_truth=9, previews=False, **SETTINGS)
    for name in ("truth", "catalogs", "pairs"):
        shutil.rmtree(path / name)
    run = load_run(path)
    assert viewer(run, "default") is None
    assert interactive(run, "default").scripts == ()


# ---------------------------------------------------------------------------------------------
# In a browser.


def outcome_counts(run, detector, point, frame):
    truth, found = run.truth(frame), run.catalog(detector, frame)
    got = outcomes_of(run.pairs(detector, point, frame), len(truth), len(found), "")
    keys = (("found", 1), ("missed", 2), ("tignored", 3))
    counts = {key: int((got.truth == code).sum()) for key, code in keys}
    keys = (("right", 1), ("false", 2), ("dignored", 3))
    return counts | {key: int((got.found == code).sum()) for key, code in keys}


@needs_browser
def test_one_can_walk_through_the_frames(run, tmp_path):
    out = act(
        run,
        """
  out.shown = [by("viewer-off").hidden, by("viewer-on").hidden, canvas.offsetParent !== null];
  out.options = [...by("v-frame").options].map((o) => o.textContent);
  out.first = counts();
  out.label = canvas.getAttribute("aria-label");
  out.idle = location.hash;
  key("+"); out.plus = await place();
  key("ArrowRight"); key("ArrowUp"); out.panned = await place();
  pointer("pointerdown", 200, 200);
  pointer("pointermove", 260, 170);
  pointer("pointerup", 260, 170);
  out.dragged = await place();
  document.activeElement.blur(); out.passing = wheel(100, 100, -200);
  canvas.focus(); out.caught = wheel(100, 100, -200); out.wheeled = await place();
  pointer("pointerdown", 100, 100, { pointerId: 7, pointerType: "touch" });
  pointer("pointerdown", 200, 100, { pointerId: 8, pointerType: "touch" });
  pointer("pointermove", 300, 100, { pointerId: 8, pointerType: "touch" });
  pointer("pointerup", 300, 100, { pointerId: 8, pointerType: "touch" });
  pointer("pointerup", 100, 100, { pointerId: 7, pointerType: "touch" });
  out.pinched = await place();
  key("0"); out.fitted = await place();
  key("n"); out.next = by("v-said").textContent; out.centred = await place();
  key("n"); key("p"); out.again = by("v-said").textContent;
  key("Escape"); out.none = by("v-said").textContent;
  key("0");
  const plain = await pixels();
  by("v-show-found").click(); const without = await pixels();
  by("v-show-found").click(); const back = await pixels();
  key("i"); const inverted = await pixels(); key("i");
  by("v-layer-mask").click(); const unmasked = await pixels();
  by("v-layer-mask").click(); const masked = await pixels();
  by("v-white").value = 120;
  by("v-white").dispatchEvent(new Event("input")); const bright = await pixels();
  choose("v-mode", "linear"); const linear = await pixels();
  by("v-plain").click(); const reset = await pixels();
  out.drawn = [
    plain !== without, plain === back, plain !== inverted, plain !== bright, bright !== linear,
    plain === reset, plain !== unmasked, plain === masked,
  ];
  out.layers = [...document.querySelectorAll("[id^=v-layer-]")].map((e) => e.id);
  out.white = by("v-white").getAttribute("aria-valuetext");
  choose("v-detector", 1); choose("v-point", 1); await wait(200); out.second = counts();
  key("]"); await wait(600);
  out.after = [canvas.dataset.frame, by("v-frame").value]; out.third = counts();
  by("v-sources").open = true; await wait(500);
  out.caption = by("v-caption").textContent;
  out.rows = [...by("v-rows").rows].map((r) => [...r.cells].map((c) => c.textContent));
  by("v-rows").querySelector("button").click(); await wait(200);
  out.fromTable = by("v-said").textContent;
        """,
        tmp_path,
    )
    assert out["shown"] == [True, False, True]
    assert out["options"] == list(run.scored_frames)
    assert out["first"] == outcome_counts(run, "neural", "default", "sparse_000")
    assert f"{out['first']['missed']} missed" in out["label"]
    assert out["idle"] == ""  # the address is left alone until the reader does something
    zoom = float(out["fitted"]["zoom"])
    plus, panned, dragged = (
        {k: float(out[n][k]) for k in ("x", "y", "zoom")} for n in ("plus", "panned", "dragged")
    )
    assert plus["zoom"] == pytest.approx(1.5 * zoom, abs=0.02)
    assert (plus["x"], plus["y"]) == (159.5, 95.5)
    assert panned["x"] > plus["x"] + 10
    assert panned["y"] > plus["y"] + 10
    assert dragged["x"] == pytest.approx(panned["x"] - 60 / panned["zoom"], abs=0.3)
    assert dragged["y"] == pytest.approx(panned["y"] - 30 / panned["zoom"], abs=0.3)
    assert (out["passing"], out["caught"]) == (False, True)
    assert float(out["wheeled"]["zoom"]) == pytest.approx(plus["zoom"] * np.exp(0.5), rel=0.01)
    assert float(out["pinched"]["zoom"]) == pytest.approx(
        2 * float(out["wheeled"]["zoom"]), rel=0.01
    )
    assert out["fitted"]["frame"] == "sparse_000"
    truth, pairs = run.truth("sparse_000"), run.pairs("neural", "default", "sparse_000")
    missed = truth.iloc[pairs.loc[pairs["outcome"] == "missed", "truth_index"]]
    found = run.catalog("neural", "sparse_000")
    false = found.iloc[pairs.loc[pairs["outcome"] == "false", "found_index"]]
    first = pd.concat([missed, false]).sort_values("mag").iloc[0]
    assert f"x {first['x']:.1f}"[:-2] in out["next"]
    assert f"mag {first['mag']:.2f}"[:-1] in out["next"]
    assert float(out["centred"]["x"]) == pytest.approx(first["x"], abs=0.1)
    assert out["again"] == out["next"]
    assert out["none"].startswith("Nothing selected.")
    assert out["drawn"] == [True] * 8
    assert out["layers"] == ["v-layer-mask"]
    assert out["white"] == "30.0 σ"
    assert out["second"] == outcome_counts(run, "sep", "purity95", "sparse_000")
    assert out["after"] == ["sparse_001", "1"]
    assert out["third"] == outcome_counts(run, "sep", "purity95", "sparse_001")
    shown = sum(out["third"][k] for k in ("found", "missed", "right", "false"))
    assert out["caption"].startswith(f"Sources in view: {shown}")
    assert len(out["rows"]) == min(shown, 200)
    assert {r[0] for r in out["rows"][: out["third"]["missed"]]} == {"missed truth"}
    assert out["fromTable"].startswith("Missed truth: x ")


@needs_browser
def test_an_address_leads_to_its_place_and_hovering_tells(run, tmp_path):
    pairs = run.pairs("sep", "default", "dirty_001")
    truth, found = run.truth("dirty_001"), run.catalog("sep", "dirty_001")
    hit = pairs[(pairs["outcome"] == "found") & (pairs["truth_index"] > 0)]
    others = np.delete(truth[["x", "y"]].to_numpy(), hit["truth_index"].iloc[0], axis=0)
    at = truth.iloc[hit["truth_index"].iloc[0]]
    assert np.hypot(*(others - at[["x", "y"]].to_numpy(float)).T).min() > 1
    place = f"#view&frame=dirty_001&detector=sep&point=default&x={at['x']:.1f}&y={at['y']:.1f}"
    out = act(
        run,
        """
  out.frame = [canvas.dataset.frame, by("v-detector").value, by("v-point").value];
  out.scrolled = Math.round(by("viewer").getBoundingClientRect().top);
  const [u, v] = [canvas.clientWidth / 2, canvas.clientHeight / 2];
  pointer("pointermove", u, v); await wait(100);
  out.tip = [by("v-tip").hidden, by("v-tip").textContent];
  out.readout = by("v-readout").textContent;
  pointer("pointerdown", u, v); pointer("pointerup", u, v); out.said = by("v-said").textContent;
  location.hash = "#view&frame=nowhere"; await wait(300); out.lost = by("v-said").textContent;
        """,
        tmp_path,
        place + "&zoom=20&pick=truth",
    )
    assert out["frame"] == ["dirty_001", "1", "0"]
    assert abs(out["scrolled"]) < 60
    assert out["tip"][0] is False
    assert "right detection" in out["tip"][1].lower() or "found truth" in out["tip"][1].lower()
    said = re.match(r"x ([\d.]+), y ([\d.]+) px, [≈≥≤] ", out["readout"])
    assert float(said[1]) == pytest.approx(at["x"], abs=0.2)
    assert float(said[2]) == pytest.approx(at["y"], abs=0.2)
    mag = found["mag"].iloc[hit["found_index"].iloc[0]]
    assert f"mag {mag:.2f}"[:-1] in out["said"]
    assert out["lost"] == "That frame is not in the viewer: nowhere"


@needs_browser
def test_hostile_names_are_only_text_in_the_browser(tmp_path):
    path = tmp_path / "r"
    detectors = ("neural", f"d{EVIL}")
    small = {"groups": (f"g{EVIL}",), "frames_per_group": 1, "suffix": EVIL, "n_truth": 20}
    write_run(path, detectors=detectors, points=("default",), **small)
    run = load_run(add_mistakes(path))
    out = act(
        run,
        """
  out.scripts = document.scripts.length;
  out.frames = [...by("v-frame").options].map((o) => o.textContent);
  out.detectors = [...by("v-detector").options].map((o) => o.textContent);
  choose("v-detector", 1); await wait(300);
  out.label = canvas.getAttribute("aria-label");
  choose("v-detector", 0); by("v-show-false").click();
  key("n"); out.said = by("v-said").textContent;
  document.querySelector("#gallery a[href]").click(); await wait(800);
  out.frame = canvas.dataset.frame;
        """,
        tmp_path,
    )
    name = run.scored_frames[0]
    assert out["scripts"] == len(interactive(run, "default").scripts) + 2 + 3  # and the page's
    assert out["frames"] == [name]
    assert EVIL in name
    assert out["detectors"] == list(detectors)
    assert EVIL in out["label"]
    assert EVIL in out["said"]  # what the other detector made of it is named
    assert out["frame"] == name
