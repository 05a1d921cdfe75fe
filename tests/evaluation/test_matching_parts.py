"""Each rule of the match at its very edge: positions, gates, ranks and the table of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules, pair, pair_catalogs
from skyduel.evaluation.matching.candidates import (
    Candidates,
    check_radius,
    find_candidates,
    flag,
    match_radii,
    rank_rows,
    within,
)
from skyduel.evaluation.matching.matching import rows_at

RULES = ScoringRules(radius_px=3.0)
NAN = float("nan")


def below(x: float) -> float:
    return float(np.nextafter(x, -np.inf))


def above(x: float) -> float:
    return float(np.nextafter(x, np.inf))


# --- positions --------------------------------------------------------------------------


def test_no_positions_need_no_shape() -> None:
    for nothing in ([], np.zeros((0, 2)), np.zeros((0, 5))):
        assert len(pair(nothing, [[1.0, 2.0]], 1.0)) == 0


@pytest.mark.parametrize(
    ("xy", "says"),
    [
        ([5.0], r"truth positions: required shape \(n, 2\); got shape \(1,\)"),
        ([5.0, 6.0], r"got shape \(2,\)"),
        ([[5.0, 6.0, 7.0]], r"got shape \(1, 3\)"),
        ([[[5.0, 6.0]]], r"got shape \(1, 1, 2\)"),
        ([[0.0, 1.0], [2.0, np.inf], [NAN, 3.0]], r"got \[2.0, inf\] in row 1"),
    ],
)
def test_positions_are_two_finite_columns(xy: list, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        pair(xy, [[1.0, 2.0]], 1.0)


@pytest.mark.parametrize("radius", [0.0, -1.0, NAN, np.inf])
def test_a_radius_is_positive_and_finite(radius: float) -> None:
    with pytest.raises(BadInputError, match=r"radius_px: required a finite radius > 0"):
        check_radius(radius)


def test_the_smallest_radius_is_one() -> None:
    assert check_radius(5e-324) == 5e-324


# --- the table of pairs -------------------------------------------------------------------


def test_a_table_has_the_last_detection_beside_a_missed_truth() -> None:
    truth = Catalog.build(x=[10.0, 50.0], y=[10.0, 50.0])
    found = Catalog.build(x=[90.0, 12.0, 70.0], y=[90.0, 10.0, 70.0], ignore=[True, False, False])
    table = pair_catalogs(truth, found, RULES).to_table()
    assert table["truth_index"].tolist() == [0, 1, -1, -1]
    assert table["found_index"].tolist() == [1, -1, 0, 2]
    assert table["separation_px"].fillna(-1).tolist() == [2.0, -1.0, -1.0, -1.0]
    assert table["outcome"].tolist() == ["found", "missed", "ignored", "false"]


# --- candidates ---------------------------------------------------------------------------


def edges(truth: Catalog, found: Catalog, rules: ScoringRules = RULES) -> list[tuple[int, int]]:
    """Return the candidates in their order."""
    c = find_candidates(truth, found, rules)
    return list(zip(c.truth_index.tolist(), c.found_index.tolist(), strict=True))


def streak(x: float, y: float, length: float, degrees: float = 0.0) -> Catalog:
    return Catalog.build(
        x=[x], y=[y], kind=["streak"], length=[length], theta=[np.deg2rad(degrees)]
    )


def test_candidates_are_in_the_order_of_both_ranks() -> None:
    # Ranks go by x: the truths are 2, 0, 1 and the detections 1, 2, 0, 3.
    truth = Catalog.build(x=[2.0, 0.0, 1.0], y=[5.0] * 3)
    found = Catalog.build(x=[1.1, 1.2, 0.1, 9.0], y=[5.0] * 4)
    c = find_candidates(truth, found, RULES)
    assert c.truth_index.tolist() == [1, 1, 1, 2, 2, 2, 0, 0, 0]
    assert c.found_index.tolist() == [2, 0, 1] * 3
    assert c.truth_rank.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert c.found_rank.tolist() == [0, 1, 2] * 3
    assert c.separation.tolist() == pytest.approx([0.1, 1.1, 1.2, 0.9, 0.1, 0.2, 1.9, 0.9, 0.8])
    assert (c.n_truth, c.n_found, c.radius_px) == (3, 4, 3.0)
    assert c.truth_radius is None


@pytest.mark.parametrize("columns", ["y", "kind", "length", "theta", "mag"])
def test_sources_at_one_place_are_ranked_by_what_tells_them_apart(columns: str) -> None:
    same = {"x": 5.0, "y": 5.0, "kind": "streak", "length": 4.0, "theta": 0.25, "mag": 15.0}
    other = {"y": 5.5, "kind": "point", "length": 4.5, "theta": 0.5, "mag": 15.5}
    rows = [same, same | {columns: other[columns]}]
    # A point has no length and no angle, and comes before a streak.
    expected = [1, 0] if columns == "kind" else [0, 1]
    for order in ([0, 1], [1, 0]):
        truth = Catalog.build(**{name: [rows[k][name] for k in order] for name in same})
        c = find_candidates(truth, Catalog.build(x=[5.0], y=[5.0]), RULES)
        assert [order[i] for i in c.truth_index] == expected


def test_ranks_go_by_the_first_key_then_the_next_then_the_row() -> None:
    x = np.array([3.0, 1, 3, 2, 1, 3, 1])
    y = np.array([5.0, 9, 4, 7, 8, 4, 9])
    # Sorted: (1, 8), (1, 9) twice by row, (2, 7), (3, 4) twice by row, (3, 5).
    assert rank_rows(x, y).tolist() == [6, 1, 4, 3, 0, 5, 2]
    assert rank_rows(np.array([2.0, 1.0, 1.0, 2.0])).tolist() == [2, 0, 1, 3]
    assert rank_rows(np.zeros(0), np.zeros(0)).tolist() == []


def test_the_gate_is_measured_in_both_directions_and_inclusive() -> None:
    a, b = np.array([[1.0, 2.0], [10.0, 2.0]]), np.array([[4.0, 6.0], [7.0, -2.0]])
    i, j, separation = within(a, b, 5.0)
    assert sorted(zip(i.tolist(), j.tolist(), separation.tolist(), strict=True)) == [
        (0, 0, 5.0), (1, 1, 5.0),
    ]  # fmt: skip
    assert within(a, b, below(5.0))[0].size == 0


def test_kinds_must_agree_only_if_told() -> None:
    truth = Catalog.build(x=[5.0, 5.0], y=[5.0, 40.0], kind=["point", "streak"], length=[0.0, 9.0])
    found = Catalog.build(
        x=[5.0, 6.0, 5.0, 6.0], y=[5.0, 5.0, 40.0, 40.0],
        kind=["point", "streak", "point", "streak"], length=[0.0, 7.0, 0.0, 7.0],
    )  # fmt: skip
    c = find_candidates(truth, found, RULES)
    unlike = set(zip(c.truth_index[c.unlike], c.found_index[c.unlike], strict=True))
    assert set(edges(truth, found)) == {(0, 0), (0, 1), (1, 2), (1, 3)}
    assert unlike == {(0, 1), (1, 2)}
    strict = ScoringRules(radius_px=3.0, require_kind=True)
    assert set(edges(truth, found, strict)) == {(0, 0), (1, 3)}


# A streak from (10, 50) to (30, 50).
LINE = streak(20.0, 50.0, 20.0)


@pytest.mark.parametrize(
    ("x", "y", "near"),
    [
        (12.0, 53.0, True), (12.0, above(53.0), False), (28.0, 47.0, True),
        (28.0, below(47.0), False), (33.0, 50.0, True), (above(33.0), 50.0, False),
        (7.0, 50.0, True), (6.999, 50.0, False),
    ],
)  # fmt: skip
def test_a_point_is_gated_by_its_distance_from_the_line(x: float, y: float, near: bool) -> None:
    found = Catalog.build(x=[90.0, x], y=[90.0, y])
    assert edges(LINE, found) == ([(0, 1)] if near else [])


@pytest.mark.parametrize(
    ("seen", "near"),
    [
        (streak(20.0, 53.0, 10.0), True),
        (streak(20.0, above(53.0), 10.0), False),
        # The shorter of the two counts: the line, of which 3 px are beyond the end at 27.
        (streak(12.0, 50.0, 30.0), True),
        (streak(20.0, 50.0, 10.0, 10.0), True),
        (streak(20.0, 50.0, 10.0, 10.0 + 1e-9), True),
        (streak(20.0, 50.0, 10.0, 10.001), False),
        (streak(20.0, 50.0, 10.0, -10.0), True),
        (streak(20.0, 50.0, 10.0, 170.0), True),
        (streak(20.0, 50.0, 10.0, 90.0), False),
        (streak(20.0, 50.0, 0.0, 90.0), True),
        # Of four pixels beyond the end: 0 ... 4 px from it, two on average.
        (streak(32.0, 50.0, 4.0), True),
        (streak(33.0, 50.0, 4.0), True),
        (streak(33.1, 50.0, 4.0), False),
        (streak(33.0, 50.0, 0.0), True),
        (streak(33.01, 50.0, 0.0), False),
    ],
)
def test_a_streak_is_gated_by_distance_and_angle(seen: Catalog, near: bool) -> None:
    assert edges(LINE, seen) == ([(0, 0)] if near else [])


def test_a_true_streak_of_no_length_asks_for_no_angle() -> None:
    assert edges(streak(20.0, 50.0, 0.0), streak(20.0, 52.0, 8.0, 90.0)) == [(0, 0)]
    assert edges(streak(20.0, 50.0, 0.0), streak(20.0, 62.0, 8.0, 90.0)) == []


# --- gates of galaxies --------------------------------------------------------------------


def galaxies(size: list[float], kind: list[str] | None = None) -> Catalog:
    n = len(size)
    return Catalog.build(
        x=np.arange(n) * 100.0, y=np.full(n, 50.0), kind=kind or ["galaxy"] * n, half_light_px=size
    )


def test_only_galaxies_larger_than_the_radius_have_a_gate_of_their_own() -> None:
    kinds = ["galaxy", "galaxy", "point", "galaxy"]
    got = match_radii(galaxies([4.0, 2.0, 9.0, NAN], kinds), 3.0)
    assert got is not None
    assert got.tolist() == [4.0, 3.0, 3.0, 3.0]
    # Without a larger one all have the same.
    assert match_radii(galaxies([3.0, 1.0]), 3.0) is None
    assert match_radii(galaxies([9.0], ["point"]), 3.0) is None
    # However small the radius of the points is, theirs it stays.
    got = match_radii(galaxies([0.75, 9.0], ["galaxy", "point"]), 0.5)
    assert got is not None
    assert got.tolist() == [0.75, 0.5]


@pytest.mark.parametrize("size", [4.0, 4.5, 9.0])
def test_the_gate_of_a_galaxy_is_its_size_inclusive(size: float) -> None:
    truth = galaxies([size, 1.0, 7.25])
    for dx, found_there in ((size, [(0, 0)]), (above(size), [])):
        assert edges(truth, Catalog.build(x=[dx], y=[50.0])) == found_there
    # The others keep theirs beside it.
    seen = Catalog.build(x=[103.0, above(103.0), 207.25, above(207.25)], y=[50.0] * 4)
    assert edges(truth, seen) == [(1, 0), (2, 2)]


def test_streaks_keep_the_radius_beside_galaxies_and_kinds_may_have_to_agree() -> None:
    truth = Catalog.build(
        x=[0.0, 200.0], y=[50.0, 50.0], kind=["galaxy", "streak"],
        length=[0.0, 20.0], half_light_px=[8.0, NAN],
    )  # fmt: skip
    seen = Catalog.build(
        x=[6.0, 5.0, 200.0, 200.0], y=[50.0, 50.0, 53.0, 54.0],
        kind=["point", "streak", "point", "point"], length=[0.0, 9.0, 0.0, 0.0],
    )  # fmt: skip
    assert edges(truth, seen) == [(0, 1), (0, 0), (1, 2)]
    assert edges(truth, seen, ScoringRules(radius_px=3.0, require_kind=True)) == [(0, 0)]


def test_half_the_way_to_its_gate_counts_as_half_the_way_to_any_other() -> None:
    c = find_candidates(
        galaxies([6.0, 1.0]), Catalog.build(x=[3.0, 6.0, 101.5], y=[50.0] * 3), RULES
    )
    assert c.separation.tolist() == [3.0, 6.0, 1.5]
    assert c.compared(slice(None)).tolist() == [1.5, 3.0, 1.5]
    assert c.compared(np.array([2, 0])).tolist() == [1.5, 1.5]


def test_rounding_puts_no_compared_separation_beyond_the_radius() -> None:
    rng = np.random.default_rng(1)
    own = rng.uniform(3, 30, 1000)
    row = np.arange(1000)
    none = np.zeros(1000, dtype=bool)
    c = Candidates(
        truth_index=row, found_index=row, separation=own.copy(), unlike=none, truth_rank=row,
        found_rank=row, radius_px=2.7, truth_ignore=none, truth_streak=none, found_ignore=none,
        truth_radius=own,
    )  # fmt: skip
    assert (own * (2.7 / own) > 2.7).any()
    assert c.compared(slice(None)).max() == 2.7


def test_a_missing_flag_is_false_for_every_row() -> None:
    assert flag(Catalog.build(x=[1.0, 2.0], y=[1.0, 2.0]), "ignore").tolist() == [False, False]
    told = Catalog.build(x=[1.0, 2.0], y=[1.0, 2.0], ignore=[True, False])
    assert flag(told, "ignore").tolist() == [True, False]


def test_scores_are_asked_for_by_one_rule_only_and_of_detections_only() -> None:
    one = Catalog.build(x=[5.0, 6.0], y=[5.0, 5.0], score=[NAN, 0.5])
    none = Catalog.build(x=[5.0], y=[5.0], score=[NAN])
    rules = ScoringRules(radius_px=3.0, pairing="score-first")
    assert edges(none, one, rules) == [(0, 0), (0, 1)]
    assert edges(none, Catalog.empty(), rules) == []
    assert edges(none, none) == [(0, 0)]
    with pytest.raises(BadInputError, match="pairing rule score-first; got no row with a score"):
        find_candidates(none, none, rules)


def test_detections_from_the_threshold_on_take_part() -> None:
    found = Catalog.build(x=[5.0, 6.0, 7.0], y=[5.0] * 3, score=[0.5, below(0.5), NAN])
    assert rows_at(found, 0.5).tolist() == [True, False, False]
    assert rows_at(found, None).tolist() == rows_at(found, -np.inf).tolist() == [True] * 3
    with pytest.raises(BadInputError, match="a score, or None for every row; got NaN"):
        rows_at(found, NAN)


def test_the_surest_detection_has_the_truth_if_the_rule_goes_by_scores() -> None:
    truth = Catalog.build(x=[5.0], y=[5.0])
    found = Catalog.build(x=[5.0, 6.0, 90.0], y=[5.0, 5.0, 90.0], score=[0.2, 0.9, 0.5])
    for rule, taken in (("score-first", 1), ("most-pairs", 0)):
        pairing = pair_catalogs(truth, found, ScoringRules(radius_px=3.0, pairing=rule))
        assert pairing.pairs.found_index.tolist() == [taken]
        assert pairing.duplicate.tolist() == [taken == 1, taken == 0, False]


def test_scores_of_positions_are_one_for_each_detection() -> None:
    found = [[5.0, 5.0], [6.0, 5.0]]
    pairs = pair([[5.0, 5.0]], found, 3.0, rule="score-first", score=[0.2, 0.9])
    assert pairs.found_index.tolist() == [1]
    for wrong in ([0.2], [[0.2, 0.9]], [0.1, 0.2, 0.3]):
        with pytest.raises(BadInputError, match="score: required one for each of 2 detections"):
            pair([[5.0, 5.0]], found, 3.0, rule="score-first", score=wrong)


def test_an_ignored_streak_excuses_each_detection_on_it() -> None:
    ignored = LINE.with_columns(ignore=np.array([True]))
    found = Catalog.build(x=[12.0, 20.0, 28.0, 28.0], y=[51.0, 50.0, 51.0, 60.0])
    pairing = pair_catalogs(ignored, found, RULES)
    assert pairing.ignored_pairs.found_index.tolist() == [1]
    assert pairing.found_ignored.tolist() == [True, True, True, False]
    # With a star on it the detection of the star is not free.
    truth = Catalog.build(
        x=[20.0, 12.0], y=[50.0, 51.0], kind=["streak", "point"], length=[20.0, 0.0],
        ignore=[True, False],
    )  # fmt: skip
    pairing = pair_catalogs(truth, found, RULES)
    assert pairing.right.tolist() == [True, False, False, False]
    assert pairing.found_ignored.tolist() == [False, True, True, False]
