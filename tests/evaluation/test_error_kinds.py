"""Each error has one kind, the first in order, and the kinds add up to the totals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import Catalog, Frame, forced_photometry, pixel_features
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses.error_kinds import (
    FrameErrors,
    classify,
    error_kind_table,
    error_source_table,
)
from skyduel.evaluation.scoring.table_columns import (
    ERROR_KIND_COLUMNS,
    ERROR_SOURCE_COLUMNS,
    FALSE_KINDS,
    MISSED_KINDS,
)
from skyduel.simulation import SceneSettings, simulate

RULES = ScoringRules()
EDGES = (14.0, 17.0, 20.0)
SHAPE = (300, 400)
FWHM = 2.5


def scored(
    truth: dict[str, object],
    found: dict[str, object],
    *,
    rules: ScoringRules = RULES,
    fwhm: float | None = FWHM,
    threshold: float | None = None,
) -> FrameScore:
    source = FrameInput(
        frame="made",
        truth=apply_ignore(Catalog.build(**truth), SHAPE, None, None, rules),
        found=Catalog.build(**found) if found else Catalog.empty(),
        fwhm=fwhm,
        shape=SHAPE,
    )
    return score_frame(source, rules, EDGES, threshold=threshold)


def kinds(*args: object, rules: ScoringRules = RULES, **options: object) -> FrameErrors:
    return classify(scored(*args, rules=rules, **options), rules)


def one_truth(**more: object) -> dict[str, object]:
    """A point at (200, 150), S/N 30, with pixels as those of a star."""
    return {"x": [200.0], "y": [150.0], "snr": [30.0], "mag": [18.0]} | more


NOTHING: dict[str, object] = {}


def test_a_plain_miss_is_other_and_a_faint_one_is_faint() -> None:
    assert list(kinds(one_truth(), NOTHING).missed_kind) == ["other"]
    assert list(kinds(one_truth(snr=[4.9]), NOTHING).missed_kind) == ["faint"]
    assert list(kinds(one_truth(snr=[np.nan]), NOTHING).missed_kind) == ["other"]


@pytest.mark.parametrize(
    ("distance", "snr", "kind"),
    [(3.5, 60.0, "blended"), (3.5, 20.0, "other"), (4.0, 60.0, "other"), (3.5, np.nan, "blended")],
)
def test_blended_is_near_something_brighter(distance: float, snr: float, kind: str) -> None:
    truth = one_truth(x=[200.0, 200.0 + distance], y=[150.0] * 2, snr=[30.0, snr], mag=[18.0] * 2)
    got = kinds(truth, {"x": [200.0 + distance], "y": [150.0], "score": [9.0]})
    assert dict(zip(got.missed, got.missed_kind, strict=True))[0] == kind


def test_a_miss_whose_only_candidate_is_a_neighbours_is_blended() -> None:
    truth = one_truth(x=[200.0, 203.9], y=[150.0] * 2, snr=[30.0, 20.0], mag=[18.0] * 2)
    got = kinds(truth, {"x": [202.0], "y": [150.0], "score": [9.0]})
    assert list(got.missed_kind) == ["blended"]


def test_a_halo_hides_what_is_far_fainter() -> None:
    x = [200.0, 208.0]
    for snr, kind in ((40.0, "halo"), (250.0, "other")):
        truth = one_truth(x=x, y=[150.0] * 2, snr=[snr, 2000.0], mag=[18.0, 14.0])
        got = kinds(truth, {"x": [208.0], "y": [150.0], "score": [9.0]})
        assert list(got.missed_kind) == [kind]
    got = kinds(one_truth(x=[200.0], snr=[2000.0]), {"x": [200.0, 208.0], "y": [150.0, 152.0]})
    assert list(got.false_kind) == ["halo"]


def test_edges_places_and_spikes() -> None:
    assert list(kinds(one_truth(x=[1.9]), NOTHING).missed_kind) == ["edge"]
    got = kinds(one_truth(), {"x": [203.0, 397.6], "y": [150.0, 80.0]})
    assert list(got.missed_kind) == ["wrong_place"]
    assert list(got.false_kind) == ["wrong_place", "edge"]
    faint = kinds(one_truth(snr=[3.0]), {"x": [203.0], "y": [150.0]})
    assert (list(faint.missed_kind), list(faint.false_kind)) == (["faint"], ["other"])
    bright = one_truth(snr=[5000.0])
    got = kinds(bright, {"x": [200.0, 201.0, 226.0], "y": [150.0, 178.0, 176.0]})
    assert list(got.false_kind) == ["spike", "other"]


def test_the_edge_of_a_mask_is_an_edge() -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[100:200, :150] = True
    rng = np.random.default_rng(4)
    frame = Frame(data=rng.normal(100, 5, SHAPE), mask=mask, name="made", fwhm=4.0)
    # The masked pixels end at x = 149.5: stars 3 and 20 px from there, and 3.9 and 4.1 px.
    x = [152.5, 169.5, 153.4, 153.6]
    truth = {"x": x, "y": [110.0, 130.0, 150.0, 170.0], "snr": [30.0] * 4, "mag": [18.0] * 4}
    measured = pixel_features(frame, Catalog.build(**truth))
    kept = {name: measured[name] for name in (*truth, "mask_distance")}
    lost = kinds(kept, NOTHING, fwhm=4.0)
    assert list(lost.missed_kind) == ["edge", "other", "edge", "other"]
    wrong = kinds({"x": [300.0], "y": [250.0]}, kept, fwhm=4.0)
    assert list(wrong.false_kind) == ["edge", "other", "edge", "other"]
    # A run of an older version has no such column.
    assert list(kinds(truth, NOTHING, fwhm=4.0).missed_kind) == ["other"] * 4


def test_wrong_places_are_one_to_one() -> None:
    got = kinds(
        one_truth(), {"x": [203.0, 197.0, 200.0], "y": [150.0, 150.0, 153.5], "score": [1.0] * 3}
    )
    assert list(got.missed_kind) == ["wrong_place"]
    # The other one is on the star's shoulder, and the last too far.
    assert list(got.false_kind) == ["wrong_place", "split", "split"]


def test_the_shoulder_and_the_core_of_a_star_are_split() -> None:
    got = kinds(one_truth(), {"x": [200.0, 201.0, 203.5, 204.0], "y": [150.0] * 4})
    assert list(got.false_kind) == ["split", "split", "other"]


def test_wrong_kind_is_another_kind_on_it() -> None:
    rules = ScoringRules(require_kind=True)
    found = {"x": [200.5, 60.0], "y": [150.0, 40.0], "kind": ["streak", "streak"],
             "length": [20.0, 30.0], "theta": [0.3, 0.0]}  # fmt: skip
    got = kinds(one_truth(), found, rules=rules)
    assert list(got.missed_kind) == ["wrong_kind"]
    assert list(got.false_kind) == ["wrong_kind", "other"]
    # Under the streak, far from its centre: also without asking for like kinds.
    got = kinds(one_truth(x=[209.0]), {k: v[:1] for k, v in found.items()} | {"theta": [0.0]})
    assert (list(got.missed_kind), list(got.false_kind)) == (["wrong_kind"], ["wrong_kind"])


def test_streaks_their_fragments_and_wrong_angles() -> None:
    streak = {"x": [200.0], "y": [150.0], "kind": ["streak"], "length": [60.0], "theta": [0.5]}
    at = np.array([-25.0, 0.0, 25.0])
    pieces = {"x": 200 + at * np.cos(0.5), "y": 150 + at * np.sin(0.5)}
    got = kinds(streak, pieces)
    assert got.missed.size == 0
    assert list(got.false_kind) == ["streak_fragment"] * 2
    turned = streak | {"theta": [1.2], "length": [4.0]}
    got = kinds(streak, turned)
    assert list(got.missed_kind) == ["wrong_place"]
    assert list(got.false_kind) == ["streak_fragment"]
    on = one_truth(x=[200.0, 210.0], y=[150.0] * 2, snr=[40.0, 50.0], mag=[np.nan, 17.0],
                   kind=["streak", "point"], length=[60.0, 0.0], theta=[0.0, 0.0])  # fmt: skip
    assert list(kinds(on, NOTHING).missed_kind) == ["other", "blended"]


def pixels(**more: object) -> dict[str, object]:
    """A false detection's facts: as a star's, S/N 8 in the aperture."""
    facts = {"sharpness": [0.4], "peak_snr": [30.0], "line_flux": [0.0], "line_flux_err": [10.0],
             "aper_flux": [800.0], "aper_flux_err": [100.0], "aper_mag": [18.0]}  # fmt: skip
    return {"x": [100.0], "y": [80.0], "score": [5.0]} | facts | more


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, "other"),
        ({"aper_flux": [499.0]}, "noise"),
        ({"aper_flux": [-3.0]}, "noise"),
        ({"aper_flux_err": [np.nan]}, "other"),
        ({"sharpness": [0.95]}, "cosmic_ray"),
        ({"sharpness": [0.95], "peak_snr": [4.0]}, "other"),
        ({"line_flux": [210.0]}, "bad_line"),
        ({"line_flux": [190.0]}, "other"),
        ({"line_flux": [210.0], "line_flux_err": [60.0]}, "other"),
        ({"line_flux": [-500.0]}, "other"),
        ({"sharpness": [np.nan], "peak_snr": [np.nan]}, "other"),
    ],
)
def test_what_the_pixels_say_of_a_false_detection(change: dict[str, object], kind: str) -> None:
    assert list(kinds(NOTHING_TRUE, pixels(**change)).false_kind) == [kind]


NOTHING_TRUE: dict[str, object] = {"x": [], "y": []}


def test_the_pixels_excuse_a_miss_too() -> None:
    for change in ({"sharpness": [0.95]}, {"line_flux": [-500.0]}, {"line_flux": [500.0]}):
        facts = {k: v for k, v in pixels(**change).items() if k not in ("x", "y", "score")}
        assert list(kinds(one_truth(**facts), NOTHING).missed_kind) == ["artefact"]


def test_without_a_known_seeing_the_frames_own_stars_tell_how_sharp_stars_are() -> None:
    n = 9
    stars = {
        "x": np.linspace(20, 380, n), "y": np.linspace(30, 270, n), "mag": np.full(n, 17.0),
        "snr": np.full(n, 100.0), "sharpness": np.linspace(0.3, 0.4, n),
        "peak_snr": np.full(n, 50.0),
    }  # fmt: skip
    sharp = pixels(sharpness=[0.8], x=[250.0], y=[40.0])
    assert list(kinds(stars, sharp, fwhm=None).false_kind) == ["cosmic_ray"]
    few = {k: v[:2] for k, v in stars.items()}
    assert list(kinds(few, sharp, fwhm=None).false_kind) == ["other"]
    assert list(kinds(few, sharp, fwhm=2.5).false_kind) == ["cosmic_ray"]


def test_a_truth_without_sn_is_judged_by_its_magnitude_and_the_noise_of_the_aperture() -> None:
    rng = np.random.default_rng(8)
    mag = np.concatenate([np.linspace(14, 18, 20), np.full(40, 21.0), [20.3, 19.0]])
    flux = 10 ** (-0.4 * (mag - 25.0)) + rng.normal(0, 5.0, mag.size)
    truth = {
        "x": rng.uniform(20, 380, mag.size), "y": rng.uniform(20, 280, mag.size), "mag": mag,
        "aper_flux": flux, "aper_flux_err": np.full(mag.size, 15.0),
    }  # fmt: skip
    got = kinds(truth, NOTHING)
    # flux 76 and 251 over noise 15: S/N 5.05 and 16.7; 40 over 15 is 2.7
    assert got.missed_snr[-2:] == pytest.approx([5.05, 16.7], rel=0.05)
    assert (got.missed_kind[20:60] == "faint").all()
    assert got.missed_kind[-1] != "faint"


def random_frame(seed: int, crowd: int, streaks: int) -> FrameScore:
    rng = np.random.default_rng(seed)
    n, m = crowd, int(rng.integers(0, 2 * crowd + 1))
    x, y = rng.uniform(0, 60, n), rng.uniform(0, 45, n)
    kind = np.where(np.arange(n) < streaks, "streak", "point")
    snr = 10 ** rng.uniform(0, 3.7, n)
    facts = lambda k: {  # noqa: E731
        "sharpness": rng.uniform(0, 1, k), "peak_snr": rng.uniform(2, 40, k),
        "line_flux": rng.normal(0, 100, k), "line_flux_err": np.full(k, 10.0),
        "aper_flux": rng.normal(200, 300, k), "aper_flux_err": np.full(k, 30.0),
        "aper_mag": np.where(rng.random(k) < 0.1, np.nan, rng.uniform(13, 22, k)),
    }  # fmt: skip
    truth = Catalog.build(x=x, y=y, mag=rng.uniform(13, 22, n), snr=snr, kind=kind,
                          length=np.where(kind == "streak", 20.0, 0.0),
                          theta=rng.uniform(-1.5, 1.5, n), **facts(n))  # fmt: skip
    found = Catalog.build(x=rng.uniform(0, 60, m), y=rng.uniform(0, 45, m),
                          score=rng.exponential(5, m),
                          kind=np.where(rng.random(m) < 0.1, "streak", "point"),
                          length=rng.uniform(0, 25, m), theta=rng.uniform(-1.5, 1.5, m),
                          **facts(m))  # fmt: skip
    rules = ScoringRules(require_kind=bool(seed % 2))
    source = FrameInput(frame=f"f{seed}", truth=apply_ignore(truth, (45, 60), None, None, rules),
                        found=found, fwhm=FWHM, shape=(45, 60))  # fmt: skip
    return score_frame(source, rules, EDGES, threshold=2.0)


@given(seed=st.integers(0, 10**6), crowd=st.integers(0, 40), streaks=st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_kinds_add_up_to_the_totals_in_every_bin(seed: int, crowd: int, streaks: int) -> None:
    frames = [random_frame(seed, crowd, streaks), random_frame(seed + 2, 7, 0)]
    rules = ScoringRules(require_kind=bool(seed % 2))
    table = error_kind_table(frames, rules, EDGES)
    assert list(table.columns) == list(ERROR_KIND_COLUMNS)
    counts = sum((f.counts for f in frames[1:]), frames[0].counts)
    for side, totals, every in (
        ("missed", counts.truths - counts.truths_found, MISSED_KINDS),
        ("false", counts.false, FALSE_KINDS),
    ):
        rows = table[table["side"] == side]
        assert list(rows[rows["bin"] == -2]["kind"]) == list(every)
        assert rows[rows["bin"] == -2]["n"].sum() == totals.sum()
        per_bin = rows[rows["bin"] != -2].groupby("bin")["n"].sum()
        for entry, n in enumerate(totals):
            assert per_bin.get(entry - 1, 0) == n
        if totals.sum():
            assert rows[rows["bin"] == -2]["share"].sum() == pytest.approx(1.0)
    for f in frames:
        m = classify(f, rules)
        np.testing.assert_array_equal(m.missed, np.flatnonzero(f.pairing.truth_missed))
        np.testing.assert_array_equal(m.false, np.flatnonzero(f.pairing.false))
        assert set(m.missed_kind) <= set(MISSED_KINDS)
        assert set(m.false_kind) <= set(FALSE_KINDS)


def test_the_order_of_rows_does_not_matter() -> None:
    score = random_frame(12, 60, 2)
    source = score.source
    order = np.random.default_rng(0).permutation(len(source.found))
    turn = np.random.default_rng(1).permutation(len(source.truth))
    other = FrameInput(frame="f", truth=source.truth.select(turn), found=source.found.select(order),
                       fwhm=FWHM, shape=source.shape)  # fmt: skip
    a, b = error_kind_table([score], RULES, EDGES), error_kind_table(
        [score_frame(other, RULES, EDGES, threshold=2.0)], RULES, EDGES
    )  # fmt: skip
    pd.testing.assert_frame_equal(a, b)


def test_sources_are_the_clearest_of_each_kind() -> None:
    frames = [random_frame(k, 60, 1) for k in (4, 6)]
    table = error_source_table(frames, RULES, EDGES)
    assert list(table.columns) == list(ERROR_SOURCE_COLUMNS)
    counts = (
        error_kind_table(frames, RULES, EDGES).query("bin == -2").set_index(["side", "kind"])["n"]
    )
    sizes = table.groupby(["side", "kind"]).size()
    for key, n in counts.items():
        assert sizes.get(key, 0) == min(n, 12)
    by_frame = {f.source.frame: f for f in frames}
    for row in table.itertuples():
        source = by_frame[row.frame].source
        at, catalog = (
            (row.truth_index, source.truth) if row.side == "missed" else
            (row.found_index, source.found)
        )  # fmt: skip
        assert (row.x, row.y) == (catalog["x"][at], catalog["y"][at])
    noise = table[(table["side"] == "false") & (table["kind"] == "noise")]
    assert noise["score"].is_monotonic_decreasing
    assert len(error_source_table([], RULES, EDGES)) == 0
    assert error_kind_table([], RULES, EDGES)["n"].sum() == 0


ARTEFACTS = {
    "cosmic_ray": {"cosmic_rays": 600.0, "fwhm": 2.6},
    "bad_line": {"bad_columns": 6.0, "fwhm": 2.6},
}


@pytest.mark.parametrize("kind", ARTEFACTS)
def test_known_artefacts_get_their_kind(kind: str) -> None:
    """Peaks above 6 sigma that lie on no star: most are what was put into the frame."""
    settings = SceneSettings(ny=256, nx=320, density=200 / 512**2, **ARTEFACTS[kind])
    frame, truth = simulate(settings, np.random.default_rng(2))
    sigma = settings.sky_sigma
    near = np.zeros(frame.shape, bool)
    for x, y, snr in zip(truth["x"], truth["y"], truth["snr"], strict=True):
        if snr > 2:
            r = 6 if snr < 50 else 20
            near[max(int(y) - r, 0) : int(y) + r + 2, max(int(x) - r, 0) : int(x) + r + 2] = True
    ys, xs = np.nonzero((frame.data - np.median(frame.data) > 6 * sigma) & ~near)
    found = Catalog.build(x=xs.astype(float), y=ys.astype(float), score=np.ones(xs.size))
    rules = ScoringRules()
    source = FrameInput(
        frame="f",
        truth=pixel_features(frame, forced_photometry(frame, apply_ignore(
            truth, frame.shape, None, None, rules))),
        found=pixel_features(frame, forced_photometry(frame, found)),
        fwhm=frame.fwhm, shape=frame.shape,
    )  # fmt: skip
    got = classify(score_frame(source, rules, EDGES), rules)
    assert got.false.size > 60
    assert np.mean(got.false_kind == kind) > 0.85
