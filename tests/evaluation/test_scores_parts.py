"""The table of scores against sums in loops, and what a frame's score is made of."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import (
    FrameInput,
    ScoringRules,
    choose_edges,
    pair_catalogs,
    score_frame,
    score_table,
)
from skyduel.evaluation.matching.candidates import find_candidates
from skyduel.evaluation.scoring.counts import Counts, count
from skyduel.evaluation.scoring.metrics import METRICS, f_beta, f_from_counts
from skyduel.evaluation.statistics.intervals import (
    bootstrap_interval,
    frame_weights,
    jeffreys,
    poisson,
    wilson,
)

EDGES = (15.0, 17.0, 19.0)
NAN = float("nan")


def random_counts(seed: int) -> Counts:
    rng = np.random.default_rng(seed)
    truths = rng.integers(0, 12, 5) * (rng.random(5) < 0.8)
    found = rng.binomial(truths, 0.8)
    right = np.roll(found, 1)
    more = rng.integers(0, 9, (3, 5))
    return Counts(EDGES, truths, found, right + rng.poisson(2, 5), right, *more)


def f1_by_hand(sums: np.ndarray) -> np.ndarray:
    """Return F1 of each bin, and last of all together, of sums of shape (4, 5)."""
    truths, found, detections, right = sums.astype(float)
    with np.errstate(invalid="ignore"):
        bins = f_beta(right / detections, found / truths, 1.0)
    return np.append(bins, f_from_counts(found.sum(), truths.sum(), detections.sum(), 1.0))


def numbers(c: Counts) -> np.ndarray:
    return np.stack([c.truths, c.truths_found, c.detections, c.detections_right])


@pytest.mark.parametrize("interval", ["wilson", "jeffreys"])
@pytest.mark.parametrize(("n", "blocks"), [(1, 0), (2, 0), (7, 0), (1, 9)])
def test_every_row_of_the_table(interval: str, n: int, blocks: int) -> None:
    rules = ScoringRules(n_bootstrap=50, seed=3, confidence=0.8, proportion_interval=interval)
    frames = [random_counts(k) for k in range(n)]
    units = [random_counts(100 + k) for k in range(blocks)]
    mpix = [0.5 + k for k in range(n)]
    table = score_table(frames, mpix, EDGES, rules, units or None)
    stack = np.stack([numbers(f) for f in frames])
    sums = stack.sum(axis=0)
    both = np.concatenate([sums, sums.sum(axis=1, keepdims=True)], axis=1)
    assert list(dict.fromkeys(table["quantity"])) == [m.name for m in METRICS]
    assert (table["n_frames"] == n).all()
    rows = dict(list(table.groupby("quantity")))
    for row in rows.values():
        assert row["bin"].tolist() == [-1, 0, 1, 2, 3, -2]
        np.testing.assert_array_equal(row["bin_lo"], [-np.inf, *EDGES, NAN, NAN])
        np.testing.assert_array_equal(row["bin_hi"], [*EDGES, np.inf, NAN, NAN])
    ends = {"wilson": wilson, "jeffreys": jeffreys}[interval]
    for name, k, of in (("completeness", 1, 0), ("purity", 3, 2)):
        assert rows[name]["k"].tolist() == both[k].tolist()
        assert rows[name]["n"].tolist() == both[of].tolist()
        np.testing.assert_allclose(rows[name][["lo", "hi"]].T, ends(both[k], both[of], 0.8))
        assert set(rows[name]["interval"]) == {interval}
    false = both[2] - both[3]
    rate = rows["false_per_mpix"]
    np.testing.assert_allclose(rate["value"], false / sum(mpix))
    np.testing.assert_allclose(rate[["lo", "hi"]].T, np.array(poisson(false, 0.8)) / sum(mpix))
    assert rate["k"].tolist() == false.tolist()
    assert rate["n"].tolist() == [sum(mpix)] * 6
    assert set(rate["interval"]) == {"poisson"}
    # F1 is resampled: frames, or blocks in their place.
    f1, value = rows["f1"], f1_by_hand(sums)
    np.testing.assert_allclose(f1["value"], value)
    assert set(f1["interval"]) == {"block bootstrap" if blocks else "bootstrap"}
    drawn = np.stack([numbers(f) for f in units]) if blocks else stack
    if len(drawn) < 2:
        assert f1[["lo", "hi"]].isna().all(axis=None)
        return
    weights = frame_weights(len(drawn), 50, 3)
    samples = np.array([f1_by_hand(np.tensordot(w, drawn, 1)) for w in weights])
    told = drawn.astype(bool)
    contributing = [
        min(told[:, 0, b].sum(), told[:, 2, b].sum()) for b in range(5)
    ] + [(told[:, 0].any(axis=1) | told[:, 2].any(axis=1)).sum()]  # fmt: skip
    lo, hi = bootstrap_interval(value, samples, 0.8, contributing)
    np.testing.assert_allclose(f1["lo"], np.clip(lo, 0, 1))
    np.testing.assert_allclose(f1["hi"], np.clip(hi, 0, 1))
    assert np.isfinite(lo).sum() >= (1 if n == 2 else 3)


def test_an_interval_of_two_frames_is_cut_at_what_is_possible() -> None:
    ten, none = np.array([0, 10, 0, 0, 0]), np.zeros(5, dtype=int)
    frames = [Counts(EDGES, ten, hit, ten, hit, none, none, none) for hit in (ten, none)]
    table = score_table(frames, [1.0, 1.0], EDGES, ScoringRules(n_bootstrap=50))
    rows = table[(table["quantity"] == "f1") & table["bin"].isin([0, -2])]
    assert rows[["value", "lo", "hi"]].to_numpy().tolist() == [[0.5, 0.0, 1.0]] * 2


def test_without_frames_the_area_is_none() -> None:
    table = score_table([], [], EDGES, ScoringRules())
    assert (table["n_frames"] == 0).all()
    assert table.loc[table["quantity"] == "false_per_mpix", "n"].tolist() == [0.0] * 6
    assert table["value"].isna().all()


def test_what_the_table_requires() -> None:
    one = random_counts(1)
    for arguments, says in (
        (([None], [1.0], EDGES), r"score_table: frames\[0\]: required a Counts"),
        (
            ([one], [1.0], EDGES, ScoringRules(), [None]),
            r"score_table: blocks\[0\]: required a Counts",
        ),
        (([one], [1.0, 2.0], EDGES), r"score_table: mpix: required one area of each of 1 frames"),
    ):
        with pytest.raises(BadInputError, match=says):
            score_table(*arguments[:3], *(arguments[3:] or (ScoringRules(),)))


def some(n: int, seed: int, **more: object) -> Catalog:
    rng = np.random.default_rng(seed)
    return Catalog.build(
        x=rng.uniform(0, 30, n), y=rng.uniform(0, 30, n), mag=rng.uniform(14, 20, n), **more
    )


def test_a_frame_is_scored_at_a_threshold_with_its_own_candidates() -> None:
    truth = some(40, 1)
    score = np.append(np.random.default_rng(3).random(49), NAN)
    found = some(50, 2, score=score, aper_mag=np.random.default_rng(4).uniform(14, 20, 50))
    source = FrameInput(frame="a", truth=truth, found=found, fwhm=2.0)
    rules = ScoringRules(radius_fwhm=2.0)
    assert source.candidates(rules).radius_px == 4.0
    for threshold in (None, 0.5, -np.inf):
        got = score_frame(source, rules, EDGES, threshold=threshold)
        pairing = pair_catalogs(truth, found, rules, fwhm=2.0, threshold=threshold)
        assert got.pairing.pairs.found_index.tolist() == pairing.pairs.found_index.tolist()
        assert got.threshold == threshold
        assert got.source is source
        offset = got.zero_point.offset_mag
        assert got.counts == count(truth, found, pairing, EDGES, offset_mag=offset)
        assert got.candidates.radius_px == 4.0
    # Candidates that are given are used, here those of a smaller radius.
    near = find_candidates(truth, found, ScoringRules(radius_px=0.5))
    got = score_frame(source, rules, EDGES, candidates=near)
    assert len(got.pairing.pairs) == len(
        pair_catalogs(truth, found, ScoringRules(radius_px=0.5)).pairs
    )
    assert got.candidates is near


def test_what_a_frame_requires() -> None:
    empty = Catalog.empty()
    for name, value in (("truth", [1.0]), ("found", None), ("mpix", "1")):
        with pytest.raises(BadInputError, match=f"FrameInput: {name}: required"):
            FrameInput(**{"frame": "a", "truth": empty, "found": empty} | {name: value})
    plain = FrameInput(frame="a", truth=empty, found=empty)
    assert np.isnan(plain.mpix)
    assert (plain.group, plain.split, plain.cuts) == ("all", "test", {})


def of_mags(mag: list[float], frame: str, **more: object) -> FrameInput:
    ignore = {"ignore": more.pop("ignore")} if "ignore" in more else {}
    n = len(mag)
    truth = Catalog.build(x=np.arange(n), y=np.zeros(n), mag=mag, **ignore)
    return FrameInput(frame=frame, truth=truth, found=Catalog.empty(), **more)


def test_edges_are_chosen_from_the_truth_of_the_test_frames_that_counts() -> None:
    rules = ScoringRules()
    dim = of_mags([40.0, 45.0], "c", split="calibration")
    one = of_mags([15.2, 45.0, 17.1], "a", ignore=[False, True, False])
    other = of_mags([40.0], "d", split="validation")
    assert choose_edges([dim, other, one], rules) == tuple(np.round(np.arange(15.2, 17.3, 0.2), 9))
    # The same frame of another detector is not counted again, another frame is.
    again = of_mags([40.0], "a")
    assert choose_edges([one, again], rules) == choose_edges([one], rules)
    more = choose_edges([one, of_mags([24.9], "b")], rules)
    assert more == tuple(np.arange(15.0, 26.0))
    assert choose_edges([dim], rules) == (0.0, 1.0)
    assert choose_edges([one], ScoringRules(bins="3:5:1")) == (3.0, 4.0, 5.0)
    with pytest.raises(BadInputError, match="choose_edges: sources: required a FrameInput"):
        choose_edges([one.truth], rules)
