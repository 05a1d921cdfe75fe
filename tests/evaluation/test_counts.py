"""Counts per bin, their sums, and the zero-point of measured magnitudes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules, pair_catalogs
from skyduel.evaluation.scoring.counts import (
    COUNT_COLUMNS,
    Counts,
    ZeroPoint,
    bin_edges,
    bin_index,
    bin_table,
    count,
    total,
    zero_point_offset,
)

EDGES = (15.0, 16.0, 18.0)
RULES = ScoringRules()


def random_frame(rng: np.random.Generator, n: int = 14, m: int = 19) -> tuple[Catalog, Catalog]:
    def some(k: int, **more) -> Catalog:
        x, y = rng.uniform(0, 25, k), rng.uniform(0, 14, k)
        mag = np.where(rng.random(k) < 0.1, np.nan, rng.uniform(14, 19, k))
        return Catalog.build(x=x, y=y, ignore=rng.random(k) < 0.2, mag=mag, **more)

    return some(n), some(m)


def random_counts(rng: np.random.Generator) -> Counts:
    truth, found = random_frame(rng)
    return count(truth, found, pair_catalogs(truth, found, RULES), EDGES)


def test_bins_are_half_open_and_nothing_falls_between() -> None:
    mag = [-9.0, 14.999, 15.0, 15.999, 16.0, 17.999, 18.0, 99.0, np.nan, np.inf]
    assert bin_index(mag, EDGES).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    table = bin_table(EDGES)
    assert table["bin"].tolist() == [-1, 0, 1, 2, 3]
    assert table["bin_lo"].tolist()[:4] == [-np.inf, 15, 16, 18]
    assert table["bin_hi"].tolist()[:4] == [15, 16, 18, np.inf]
    assert table.loc[4, ["bin_lo", "bin_hi"]].isna().all()


def test_a_worked_frame() -> None:
    truth = Catalog.build(
        x=[5.0, 15, 25, 35, 45], y=[3.0] * 5, mag=[15.5, 15.5, 17, 17, np.nan],
        ignore=[False, False, False, True, False],
    )  # fmt: skip
    # Right (measured in the next bin), duplicate, right, excused, false, false without mag.
    found = Catalog.build(
        x=[5.0, 6, 25, 35, 60, 70], y=[3.0] * 6, aper_mag=[16.2, 14, 16.5, 16.5, 20, np.nan]
    )
    got = count(truth, found, pair_catalogs(truth, found, RULES), EDGES, offset_mag=0.5)
    assert got.truths.tolist() == [0, 2, 1, 0, 1]
    assert got.truths_found.tolist() == [0, 1, 1, 0, 0]
    assert got.detections.tolist() == [1, 0, 2, 1, 1]
    assert got.detections_right.tolist() == [0, 0, 2, 0, 0]
    assert got.truths_ignored.tolist() == [0, 0, 1, 0, 0]
    assert got.detections_ignored.tolist() == [0, 0, 1, 0, 0]
    assert got.duplicates.tolist() == [1, 0, 0, 0, 0]
    assert got.false.tolist() == [1, 0, 0, 1, 1]


@given(st.integers(0, 2**32 - 1))
def test_every_row_is_counted_once(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = random_frame(rng)
    sums = count(truth, found, pair_catalogs(truth, found, RULES), EDGES).sums()
    assert sums["truths"] + sums["truths_ignored"] == len(truth)
    assert sums["detections"] + sums["detections_ignored"] == len(found)
    assert sums["truths_found"] == sums["detections_right"] <= sums["truths"]
    assert sums["duplicates"] <= sums["detections"] - sums["detections_right"]


@given(st.integers(0, 2**32 - 1))
def test_adding_frames_equals_pooling_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [random_frame(rng, 9, 12), random_frame(rng, 7, 5)]
    parts = [count(t, f, pair_catalogs(t, f, RULES), EDGES) for t, f in frames]

    def side_by_side(k: int) -> Catalog:
        # 1000 px apart no pair crosses.
        x = np.concatenate([frames[0][k]["x"], frames[1][k]["x"] + 1000])
        rest = {c: np.concatenate([f[k][c] for f in frames]) for c in ("y", "mag", "ignore")}
        return Catalog.build(x=x, **rest)

    truth, found = side_by_side(0), side_by_side(1)
    assert count(truth, found, pair_catalogs(truth, found, RULES), EDGES) == parts[0] + parts[1]


def test_counts_add_to_zero_and_only_with_their_own_edges() -> None:
    one = random_counts(np.random.default_rng(1))
    assert total([one], EDGES) == one
    assert total([], EDGES) == Counts.zero(EDGES)
    assert (one + one).sums()["truths"] == 2 * one.sums()["truths"]
    with pytest.raises(BadInputError, match="counts: required edges"):
        one + Counts.zero((1.0, 2.0))
    with pytest.raises(BadInputError, match="counts: required edges"):
        total([one, Counts.zero((15.0, 16.0, 19.0))], EDGES)
    with pytest.raises(BadInputError, match="counts: required a Counts; got dict"):
        total([one, {}], EDGES)


def test_counts_are_equal_if_the_edges_and_every_column_are() -> None:
    zero = Counts.zero(EDGES)
    assert zero == Counts.zero(EDGES)
    for other in ((15.0, 16.0, 19.0), (15.0, 15.5, 18.0)):
        assert zero != Counts.zero(other)
    for name in COUNT_COLUMNS:
        assert zero != replace(zero, **{name: np.array([0, 0, 1, 0, 0])})
    assert (zero == 0) is False
    assert zero.n_bins == 2


def test_counts_have_an_entry_for_each_bin() -> None:
    with pytest.raises(BadInputError, match=r"duplicates: required shape \(5,\); got \(4,\)"):
        replace(Counts.zero(EDGES), duplicates=np.zeros(4, dtype=np.int64))


def test_tables_go_there_and_back() -> None:
    rng = np.random.default_rng(2)
    one, two = random_counts(rng), random_counts(rng)
    table = one.to_table(detector="sep", frame="a")
    assert list(table.columns[:5]) == ["detector", "frame", "bin", "bin_lo", "bin_hi"]
    assert Counts.from_table(table) == one
    both = pd.concat([table, two.to_table(detector="sep", frame="b")])
    assert Counts.from_table(both.sample(frac=1, random_state=3)) == one + two
    with pytest.raises(BadInputError, match="no duplicates"):
        Counts.from_table(table.drop(columns="duplicates"))
    with pytest.raises(BadInputError, match=r"bins -1 \.\.\. n\+1"):
        Counts.from_table(table[table["bin"] != 0])
    with pytest.raises(BadInputError, match=r"bins -1 \.\.\. n\+1; got bins \[-1, 0, 1\]"):
        Counts.from_table(table[table["bin"] < 2])
    with pytest.raises(BadInputError, match="at least one row; got none"):
        Counts.from_table(table[:0])
    for edges in ((1.0, 2.0), (1.0, 2.0, 4.0, 7.0)):
        assert Counts.from_table(Counts.zero(edges).to_table()) == Counts.zero(edges)


def test_measured_magnitudes_are_not_moved_unless_told() -> None:
    found = Catalog.build(x=[1.0, 2.0], y=[1.0, 2.0], mag=[15.0, np.nextafter(16.0, 0)])
    counts = count(found, found, pair_catalogs(found, found, RULES), EDGES)
    assert counts.detections.tolist() == [0, 2, 0, 0, 0]
    with pytest.raises(BadInputError, match="finite, ascending edges"):
        count(found, found, pair_catalogs(found, found, RULES), (16.0, 15.0))


@pytest.mark.parametrize(
    "edges", [(1.0,), (2.0, 1.0), (1.0, 1.0), (1.0, np.nan), (1.0, 2.0, np.inf), (1.0, 3.0, 2.0)]
)
def test_edges_must_ascend(edges: tuple[float, ...]) -> None:
    with pytest.raises(BadInputError, match="finite, ascending edges"):
        Counts.zero(edges)


def bright_frame(n: int, **more) -> tuple[Catalog, Catalog]:
    rng = np.random.default_rng(4)
    x, y, mag = np.arange(n) * 30.0, rng.uniform(0, 9, n), rng.uniform(14, 16, n)
    truth = Catalog.build(x=x, y=y, mag=mag, snr=np.full(n, 100.0), **more)
    return truth, Catalog.build(x=x, y=y, aper_mag=mag - 0.3 + rng.normal(0, 0.01, n))


def test_the_zero_point_comes_from_bright_pairs() -> None:
    truth, found = bright_frame(12)
    zero = zero_point_offset(truth, found, pair_catalogs(truth, found, RULES))
    assert zero.offset_mag == pytest.approx(0.3, abs=0.01)
    assert (zero.n, zero.source) == (12, "pairs")


def test_the_zero_point_is_the_same_for_every_detector_where_the_truth_is_measured() -> None:
    truth, found = bright_frame(12)
    truth = truth.with_columns(aper_mag=truth["mag"] + 0.7)
    for seen in (found, found.select(np.arange(2)), Catalog.empty()):
        zero = zero_point_offset(truth, seen, pair_catalogs(truth, seen, RULES))
        assert zero.offset_mag == pytest.approx(-0.7)
        assert (zero.n, zero.source) == (12, "truth")


def test_the_zero_point_leaves_out_crowded_faint_and_ignored_sources() -> None:
    truth, found = bright_frame(13)
    aper = truth["mag"] + 0.1
    aper[:6] += 5.0  # wrong by a lot, each for a reason of its own
    snr, mag, x = truth["snr"].copy(), truth["mag"].copy(), truth["x"].copy()
    snr[:2] = 19.9
    y = truth["y"].copy()
    x[3], y[3] = x[2] + 8, y[2]  # 2 and 3 disturb each other
    truth = truth.with_columns(
        aper_mag=aper, snr=snr, mag=mag, x=x, y=y,
        kind=np.where(np.arange(13) == 4, "streak", "point"), ignore=np.arange(13) == 5,
    )  # fmt: skip
    zero = zero_point_offset(truth, found, pair_catalogs(truth, found, RULES), min_sources=7)
    assert zero.offset_mag == pytest.approx(-0.1, abs=1e-9)
    assert zero.n == 7


def measured(*, min_sources: int = 1, **columns: object) -> ZeroPoint:
    """Return the zero-point of true sources along a line; that of source k is -(k + 1)."""
    n = len(columns["mag"])
    given = {"x": np.arange(n) * 30.0, "y": np.zeros(n), "snr": [99.0] * n} | columns
    aper = np.asarray(columns["mag"]) + np.arange(n) + 1.0
    truth = Catalog.build(aper_mag=aper, **{k: v for k, v in given.items() if v is not None})
    pairing = pair_catalogs(truth, Catalog.empty(), RULES)
    return zero_point_offset(truth, Catalog.empty(), pairing, min_sources=min_sources)


def test_bright_is_an_snr_of_twenty() -> None:
    assert measured(mag=[15.0] * 3, snr=[20.0, np.nextafter(20.0, 0), np.nan]) == ZeroPoint(
        -1.0, 1, "truth"
    )


@pytest.mark.parametrize("snr", [None, [np.nan] * 5])
def test_without_snr_the_brighter_half_is_bright(snr: list[float] | None) -> None:
    # The half of five is three: 14, 15 and 16 mag, the sources 1, 3 and 4.
    assert measured(mag=[18.0, 14, 17, 16, 15], snr=snr) == ZeroPoint(-4.0, 3, "truth")
    assert measured(mag=[], snr=snr and []) == ZeroPoint(0.0, 0, "none")


@pytest.mark.parametrize(
    ("at", "mag", "alone"),
    [
        ((6.0, 8.0), 15.0, False),
        ((6.0, np.nextafter(8.0, 9)), 15.0, True),
        ((0.0, 10.5), 15.0, True),
        ((1.0, 0.0), 18.0, True),
        ((1.0, 0.0), np.nextafter(18.0, 0), False),
        ((1.0, 0.0), np.nan, False),
    ],
)
def test_isolated_is_ten_pixels_from_all_within_three_magnitudes(
    at: tuple[float, float], mag: float, alone: bool
) -> None:
    x, y = zip((0.0, 0.0), at, strict=True)
    got = measured(mag=[15.0, mag], x=x, y=y, snr=[99.0, 1.0])
    assert got == (ZeroPoint(-1.0, 1, "truth") if alone else ZeroPoint(0.0, 0, "none"))


def test_the_fewest_sources_are_five_and_all_of_them_isolated() -> None:
    truth, found = bright_frame(5)
    zero = zero_point_offset(truth, found, pair_catalogs(truth, found, RULES))
    assert (zero.n, zero.source) == (5, "pairs")
    x = np.array([0.0, 30, 60, 90, 99])
    assert measured(mag=[15.0] * 5, x=x, min_sources=5) == ZeroPoint(0.0, 3, "none")


def test_too_few_sources_leave_the_zero_point_alone() -> None:
    truth, found = bright_frame(4)
    zero = zero_point_offset(truth, found, pair_catalogs(truth, found, RULES))
    assert (zero.offset_mag, zero.n, zero.source) == (0.0, 4, "none")


def test_bin_edges_are_a_list_of_ascending_numbers() -> None:
    assert bin_edges([15, 16.5]) == (15.0, 16.5)
    for edges, says in (
        (15.0, r"numbers of shape \(n,\); got shape \(\)"),
        ([[15.0, 16.0]], r"numbers of shape \(n,\); got shape \(1, 2\)"),
        ([16.0, 15.0], "two or more finite, ascending edges"),
        ([15.0], "two or more finite, ascending edges"),
    ):
        with pytest.raises(BadInputError, match=f"bin edges: required {says}"):
            bin_edges(edges)
