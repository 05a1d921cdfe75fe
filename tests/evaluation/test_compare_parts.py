"""A comparison of a few frames, every number of it against counting and resampling in loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.comparison.compare import (
    ComparisonSample,
    _narrow,
    compare,
    compare_all,
    comparison_sample,
)
from skyduel.evaluation.comparison.possible_intervals import within_possible
from skyduel.evaluation.scoring.depth import Limit
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.table_columns import COMPARISON_COLUMNS
from skyduel.evaluation.statistics.intervals import frame_weights
from skyduel.evaluation.statistics.paired_tests import frame_interval, holm, mcnemar, newcombe

RULES = ScoringRules(n_bootstrap=30, seed=5)
EDGES = (14.0, 16.0)
BINS = (-1, 0, 1, 2, -2)
NAN = float("nan")
#: Truths of five frames, as (bin, found by A, found by B).
TRUTHS = [
    [(0, 1, 1), (0, 1, 0), (0, 1, 0), (0, 0, 0), (1, 1, 0)],
    [(0, 1, 0), (0, 0, 1), (0, 1, 1)],
    [(0, 1, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1), (1, 1, 0)],
    [(0, 0, 0), (0, 1, 0), (2, 0, 1)],
    [],
]
#: False detections of A and of B in each frame, by bin.
FALSE = {
    "a": [[0], [1, 1], [], [0, 2], []],
    "b": [[0, 0, 1], [1], [0, 1, 1], [], [1]],
}


def limit(value: float, seed: int, n_units: int) -> Limit:
    draws = np.random.default_rng(seed).normal(value, 0.1, RULES.n_bootstrap)
    return Limit(value, NAN, NAN, draws, n_units)


def made(name: str, frames: range = range(5), **changes: object) -> ComparisonSample:
    """Return the sample of A or of B; every truth that is found is measured in its own bin."""
    which = "ab".index(name) + 1
    counts = np.zeros((len(frames), 4, 4), dtype=np.int64)
    entry, found = [], []
    for row, k in enumerate(frames):
        for truth in TRUTHS[k]:
            counts[row, :, truth[0] + 1] += np.array([1, *[truth[which]] * 3])
            entry.append(truth[0] + 1)
            found.append(bool(truth[which]))
        for bin_ in FALSE[name][k]:
            counts[row, 2, bin_ + 1] += 1
    fields = {
        "frames": tuple(f"frame {k}" for k in frames), "edges": EDGES, "counts": counts,
        "entry": np.array(entry), "found": np.array(found),
        "m50": limit(15.0 + which, which, 2 + which), "snr50": limit(6.0 - which, 9 + which, 5),
    }  # fmt: skip
    return ComparisonSample(**(fields | changes))


def scores(counts: np.ndarray) -> dict[str, list[float]]:
    """Return each metric by bin and of all bins, of counts of shape (4, 4) by the formulae."""
    out: dict[str, list[float]] = {q: [] for q in ("completeness", "purity", "f1", "f2", "jaccard")}
    for t, f, d, r in counts.T.tolist():
        c, p = f / t if t else NAN, r / d if d else NAN
        out["completeness"].append(c)
        out["purity"].append(p)
        out["f1"].append(2 * p * c / (p + c) if p + c else p + c)
        out["f2"].append(5 * p * c / (4 * p + c) if p + c else p + c)
        out["jaccard"].append(1 / (1 / p + 1 / c - 1) if p > 0 and c > 0 else p * c)
    t, f, d, r = counts.sum(axis=1).tolist()
    either = t + d - f
    whole = (
        f / t if t else NAN,
        r / d if d else NAN,
        2 * f / (t + d) if either else NAN,
        5 * f / (4 * t + d) if either else NAN,
        f / either if either else NAN,
    )
    for name, value in zip(out, whole, strict=True):
        out[name].append(value)
    return out


def rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["quantity", "interval", "bin"]).sort_index()


#: Frames with a truth, with a detection of either, and with one or the other, by bin.
WITH_TRUTH, WITH_DETECTION = (0, 4, 2, 1, 4), (0, 4, 4, 1, 5)
CONTRIBUTING = {
    "completeness": WITH_TRUTH,
    "purity": WITH_DETECTION,
    **dict.fromkeys(("f1", "f2", "jaccard"), (0, 4, 2, 1, 5)),
}


def test_every_row_is_that_of_loops() -> None:
    a, b = made("a"), made("b")
    table = compare(a, b, RULES)
    weights = frame_weights(5, RULES.n_bootstrap, RULES.seed)
    of_a, of_b = (scores(s.counts.sum(axis=0)) for s in (a, b))
    draws = [
        [scores(np.einsum("n,nij->ij", w, s.counts)) for w in weights] for s in (a, b)
    ]  # fmt: skip
    told = rows(table)
    assert table["bin"].tolist() == [*BINS, -2, *BINS * 4, -2, -2]
    for name, frames in CONTRIBUTING.items():
        for k in (4,) if name == "completeness" else range(5):
            row = told.loc[(name, "bootstrap", BINS[k])]
            delta = of_a[name][k] - of_b[name][k]
            spread = np.array([[x[name][k] - y[name][k]] for x, y in zip(*draws, strict=True)])
            lo, hi, p = (float(v[0]) for v in frame_interval([delta], spread, frames[k], 0.95))
            expected = [of_a[name][k], of_b[name][k], delta, lo, hi, p]
            got = row[["value_a", "value_b", "delta", "lo", "hi", "p"]].astype(float)
            np.testing.assert_allclose(got, expected, atol=1e-12, err_msg=f"{name} {BINS[k]}")
            assert row["n_frames"] == frames[k], (name, BINS[k])
            assert row[["n_both", "n_a_only", "n_b_only", "n_neither"]].isna().all()
        interval = "newcombe" if name == "completeness" else "bootstrap"
        p = told.loc[(name, interval), "p"].loc[list(BINS)].to_numpy()
        corrected = told.loc[(name, interval), "p_holm"].loc[list(BINS)]
        np.testing.assert_allclose(corrected, [*holm(p[:4]), p[4]])
    assert np.isfinite(told.loc[("f1", "bootstrap", 0), "p"])


def test_outcomes_are_those_of_the_truths() -> None:
    told = rows(compare(made("a"), made("b"), RULES)).loc[("completeness", "newcombe")]
    truths = [t for frame in TRUTHS for t in frame]
    for bin_, frames in zip(BINS, WITH_TRUTH, strict=True):
        here = [t[1:] for t in truths if bin_ in (-2, t[0])]
        pairs = [here.count(o) for o in ((1, 1), (1, 0), (0, 1), (0, 0))]
        row = told.loc[bin_]
        assert row[["n_both", "n_a_only", "n_b_only", "n_neither"]].tolist() == pairs
        assert row["n_frames"] == frames
        lo, hi = newcombe(*pairs, 0.95)
        p = mcnemar(pairs[1], pairs[2]) if here else NAN
        np.testing.assert_allclose([row["lo"], row["hi"], row["p"]], [lo, hi, p])
    assert told.loc[-2, ["n_both", "n_a_only", "n_b_only", "n_neither"]].sum() == 16


def test_limits_are_compared_by_their_own_resamples() -> None:
    a, b = made("a"), made("b")
    table = compare(a, b, RULES).set_index("quantity")
    for name, n in (("m50", 3), ("snr50", 5)):
        one, other = getattr(a, name), getattr(b, name)
        delta = one.value - other.value
        lo, hi, p = frame_interval([delta], (one.samples - other.samples)[:, None], [n], 0.95)
        row = table.loc[name]
        got = row[["value_a", "value_b", "delta", "lo", "hi", "p", "p_holm"]].astype(float)
        np.testing.assert_allclose(got, [one.value, other.value, delta, lo[0], hi[0], p[0], p[0]])
        assert (row["n_frames"], row["bin"], row["interval"]) == (n, -2, "bootstrap")
        assert np.isfinite(row["p"])


@pytest.mark.parametrize("samples", [np.zeros(0), np.zeros(RULES.n_bootstrap - 1)])
def test_limits_without_the_same_resamples_have_no_interval(samples: np.ndarray) -> None:
    a, b = made("a"), made("b")
    for one, other in ((a, replace(b, m50=replace(b.m50, samples=samples))),
                       (replace(a, m50=replace(a.m50, samples=samples)), b)):  # fmt: skip
        row = compare(one, other, RULES).set_index("quantity").loc["m50"]
        assert row["delta"] == pytest.approx(-1.0)
        assert row[["lo", "hi", "p", "p_holm"]].isna().all()
        assert row["n_frames"] == 3


def test_of_an_unknown_limit_the_frames_with_truths_are_told() -> None:
    a = made("a", m50=Limit(NAN, NAN, NAN))
    for table in (compare(a, made("b"), RULES), compare(made("b"), a, RULES)):
        row = table.set_index("quantity").loc["m50"]
        assert row[["delta", "lo", "hi", "p"]].isna().all()
        assert row["n_frames"] == 4


def test_two_frames_have_intervals_and_one_has_none() -> None:
    two = rows(compare(made("a", range(2)), made("b", range(2)), RULES))
    assert np.isfinite(two.loc[("f1", "bootstrap", -2), ["lo", "hi", "p"]].astype(float)).all()
    one = rows(compare(made("a", range(1)), made("b", range(1)), RULES))
    assert one.loc[("f1", "bootstrap", -2), ["lo", "hi", "p"]].isna().all()
    assert one.loc[("f1", "bootstrap", -2), "n_frames"] == 1


def test_blocks_count_as_the_frames_that_they_are_of() -> None:
    # The five units as blocks of two frames.
    a, b = (made(n, interval="block bootstrap", frames=range(5)) for n in "ab")
    a, b = (replace(s, frames=("one", "two")) for s in (a, b))
    plain, blocks = compare(made("a"), made("b"), RULES), compare(a, b, RULES)
    assert set(blocks["interval"]) == {"newcombe", "block bootstrap"}
    assert blocks["n_frames"].tolist() == [2 if n else 0 for n in plain["n_frames"]]
    assert {0, 2} == set(blocks["n_frames"])
    # The spread is that of the units all the same.
    np.testing.assert_array_equal(blocks["hi"], plain["hi"])


def nothing(**changes: object) -> ComparisonSample:
    """Return the sample of a detector that never gets to the operating point."""
    unknown = Limit(NAN, NAN, NAN)
    empty = ComparisonSample(
        (), EDGES, np.zeros((0, 4, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, bool),
        unknown, unknown,
    )  # fmt: skip
    return replace(empty, **changes)


@pytest.mark.parametrize("turned", [False, True])
def test_beside_a_detector_without_the_point_only_values_are_told(turned: bool) -> None:
    b = made("b", interval="block bootstrap")
    pair = (b, nothing()) if turned else (nothing(), b)
    for table in (
        compare(*pair, RULES),
        compare_all({("x", "p", "all"): pair[0], ("y", "p", "all"): pair[1]}, RULES),
    ):
        assert set(table) - {"detector_a", "detector_b", "point", "group"} == set(
            COMPARISON_COLUMNS[4:]
        )
        assert table["quantity"].tolist() == [
            "completeness", "completeness", "purity", "f1", "f2", "jaccard", "m50", "snr50",
        ]  # fmt: skip
        assert (table["bin"] == -2).all()
        assert table[["delta", "lo", "hi", "p", "p_holm"]].isna().all(axis=None)
        assert (table["n_frames"] == 0).all()
        assert table["interval"].tolist() == ["newcombe", *["block bootstrap"] * 7]
        known, unknown = ("value_a", "value_b") if turned else ("value_b", "value_a")
        expected = [v[-1] for v in scores(b.counts.sum(axis=0)).values()]
        assert table[known].tolist()[1:6] == pytest.approx(expected)
        assert table[known].tolist()[6:] == [17.0, 4.0]
        assert table[unknown].isna().all()
        assert (table[["n_both", "n_a_only", "n_b_only", "n_neither"]].iloc[0] == 0).all()
    with pytest.raises(BadInputError, match=r"bin edges \(1.0, 2.0\)"):
        compare(replace(pair[0], edges=(1.0, 2.0)), pair[1], RULES)


def test_what_cannot_be_compared_is_named() -> None:
    a, b = made("a"), made("b")
    with pytest.raises(BadInputError, match=r"the same frames for both; got 'frame 4' in one"):
        compare(a, made("b", range(4)), RULES)
    with pytest.raises(BadInputError, match=r"the same frames for both; got another order"):
        compare(a, replace(b, frames=b.frames[::-1]), RULES)
    with pytest.raises(BadInputError, match=r"bin edges \(14.0, 16.0\); got bin edges \(14.0, 17"):
        compare(a, replace(b, edges=(14.0, 17.0)), RULES)
    swapped = b.entry.copy()
    swapped[[0, 4]] = swapped[[4, 0]]
    with pytest.raises(BadInputError, match="the same truth for both"):
        compare(a, replace(b, entry=swapped), RULES)
    # As many truths in each bin, but in other frames.
    moved = b.counts.copy()
    moved[[0, 2], 0] = moved[[2, 0], 0]
    with pytest.raises(BadInputError, match="the same truth for both"):
        compare(a, replace(b, counts=moved), RULES)


def test_points_and_groups_are_compared_apart_and_corrected_over_groups() -> None:
    samples = {
        (d, point, group): made(d, frames, interval=interval)
        for point, interval in (("p", "bootstrap"), ("q", "block bootstrap"))
        for group, frames in (("t", range(2)), ("all", range(5)), ("s", range(3)))
        for d in ("b", "a")
    }
    table = compare_all(samples, RULES)
    places = table[["detector_a", "detector_b", "point", "group"]].drop_duplicates()
    assert places.to_numpy().tolist() == [
        ["b", "a", point, group] for point in "pq" for group in ("t", "all", "s")
    ]
    expected = pd.concat(
        [
            compare(samples["b", p, g], samples["a", p, g], RULES)
            for p in "pq" for g in ("t", "all", "s")
        ],
        ignore_index=True,
    )  # fmt: skip
    whole = table["bin"] == -2
    same = [c for c in expected if c != "p_holm"]
    pd.testing.assert_frame_equal(table[same], expected[same])
    by_bin = ~whole | (table["group"] == "all")
    np.testing.assert_array_equal(table["p_holm"][by_bin], expected["p_holm"][by_bin])
    for _, group in table[whole & (table["group"] != "all")].groupby(
        ["point", "quantity", "interval"]
    ):
        np.testing.assert_array_equal(group["p_holm"], holm(group["p"]))
        assert len(group) == 2
    assert compare_all({}, RULES).columns.tolist() == table.columns.tolist()
    assert table.columns.tolist() == list(COMPARISON_COLUMNS)


def test_samples_are_named_by_detector_point_and_group() -> None:
    for key in (("a", "p"), ("a", "p", "all", "x"), "abc"):
        with pytest.raises(BadInputError, match=r"keys \(detector, point, group\); got"):
            compare_all({key: made("a")}, RULES)
    right = ("a", "p", "all")
    with pytest.raises(BadInputError, match=r"'all'\)\]: required a ComparisonSample; got str"):
        compare_all({right: "x"}, RULES)
    assert compare_all({right: made("a")}, RULES).empty


def test_a_difference_is_cut_at_one_where_the_score_ends_there() -> None:
    wide = pd.DataFrame({"quantity": ["purity", "m50"], "lo": [-1.5, -1.5], "hi": [1.5, 1.5]})
    cut = within_possible(wide)
    assert cut[["lo", "hi"]].to_numpy().tolist() == [[-1.0, 1.0], [-1.5, 1.5]]
    assert within_possible(wide[:0]).columns.tolist() == wide.columns.tolist()


def test_a_difference_of_an_unknown_score_stays() -> None:
    """A run of a newer version may have scores that this one does not know."""
    wide = pd.DataFrame({"quantity": ["newer", "purity"], "lo": [-1.5, -1.5], "hi": [2.5, 1.5]})
    assert within_possible(wide)[["lo", "hi"]].to_numpy().tolist() == [[-1.5, 2.5], [-1.0, 1.0]]


# --- what a detector amounts to -------------------------------------------------------------


def scored(found_x: list[float]) -> FrameScore:
    """Score a frame of three truths that count and one that does not, 30 px apart."""
    truth = Catalog.build(
        x=[30.0, 60.0, 90.0, 120.0], y=[30.0] * 4, mag=[15.0, 13.0, NAN, 15.5],
        ignore=[False, False, False, True],
    )  # fmt: skip
    found = Catalog.build(x=found_x, y=[30.0] * len(found_x), mag=[15.0] * len(found_x))
    return score_frame(
        FrameInput(frame=f"of {len(found_x)}", truth=truth, found=found, mpix=0.1), RULES, EDGES
    )


def test_a_sample_keeps_the_counts_and_the_outcome_of_each_truth() -> None:
    frames = [scored([30.0, 90.0, 120.0, 200.0]), scored([60.0])]
    limits = Limit(1.0, NAN, NAN), Limit(2.0, NAN, NAN)
    made_of = comparison_sample(frames, EDGES, RULES, limits=limits)
    assert made_of.frames == ("of 4", "of 1")
    assert made_of.edges == EDGES
    assert made_of.entry.tolist() == [1, 0, 3] * 2
    assert made_of.found.tolist() == [True, False, True, False, True, False]
    assert made_of.found.dtype == bool
    assert made_of.counts.tolist() == [
        [[1, 1, 0, 1], [0, 1, 0, 1], [0, 3, 0, 0], [0, 2, 0, 0]],
        [[1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]],
    ]
    assert made_of.counts.dtype == made_of.entry.dtype == np.uint8
    assert (made_of.snr50, made_of.m50) == limits
    assert made_of.interval == "bootstrap"
    own = comparison_sample(frames, EDGES, RULES)
    assert np.isnan([own.snr50.value, own.m50.value]).all()


def test_counts_are_kept_in_the_smallest_type_that_holds_them() -> None:
    for most, dtype in ((255, np.uint8), (256, np.uint16), (70_000, np.uint32)):
        kept = _narrow(np.array([0, most]))
        assert kept.tolist() == [0, most]
        assert kept.dtype == dtype
    assert _narrow(np.zeros(0, dtype=np.int64)).size == 0
