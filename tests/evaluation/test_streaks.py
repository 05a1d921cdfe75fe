"""Whole catalogues: streaks, fragments, kinds, ignored truths and regions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.evaluation import ScoringRules, pair_catalogs
from skyduel.evaluation.matching.segments import (
    angle_difference,
    point_segment_distance,
    segment_distance,
)

RULES = ScoringRules()


def sources(*rows: tuple, **more) -> Catalog:
    """Rows (x, y) of points or (x, y, length, theta_deg) of streaks."""
    full = [(*r, 0.0, 0.0) if len(r) == 2 else r for r in rows]
    x, y, length, theta = np.array(full, float).reshape(-1, 4).T
    kind = np.where(np.array([len(r) == 4 for r in rows], bool), "streak", "point")
    return Catalog.build(x=x, y=y, length=length, theta=np.deg2rad(theta), kind=kind, **more)


def outcome(pairing) -> tuple[int, int, int, int]:
    """Truths found, missed; detections false, duplicate."""
    return (
        len(pairing.pairs),
        int(pairing.truth_missed.sum()),
        int(pairing.false.sum()),
        int(pairing.duplicate.sum()),
    )


def test_a_streak_in_seven_pieces_is_one_find_and_six_fragments() -> None:
    along = np.deg2rad(30)
    pieces = [
        (200 + t * np.cos(along), 100 + t * np.sin(along), 20.0, 30.0) for t in range(-90, 91, 30)
    ]
    truth = sources((200, 100, 200, 30))
    assert outcome(pair_catalogs(truth, sources(*pieces), RULES)) == (1, 0, 6, 6)
    points = sources(*[p[:2] for p in pieces])
    assert outcome(pair_catalogs(truth, points, RULES)) == (1, 0, 6, 6)


def test_a_trail_across_the_frame_pairs_by_its_line_not_its_centre() -> None:
    truth = sources((256, 300, 1024, -60))
    along = np.deg2rad(-60)
    far = (256 + 400 * np.cos(along), 300 + 400 * np.sin(along), 90.0, -60.0)
    assert outcome(pair_catalogs(truth, sources(far), RULES)) == (1, 0, 0, 0)
    beyond = (256 + 600 * np.cos(along), 300 + 600 * np.sin(along), 90.0, -60.0)
    assert outcome(pair_catalogs(truth, sources(beyond), RULES)) == (0, 1, 1, 0)


@pytest.mark.parametrize(("turn", "found"), [(0, 1), (10, 1), (10.1, 0), (180, 1), (-90, 0)])
def test_the_angle_is_gated_modulo_half_a_turn(turn: float, found: int) -> None:
    truth, seen = sources((50, 80, 12, 85)), sources((50, 80, 12, 85 + turn))
    assert outcome(pair_catalogs(truth, seen, RULES))[0] == found


def test_a_point_may_stand_for_a_streak_unless_kinds_must_agree() -> None:
    truth, seen = sources((50, 80, 40, 0)), sources((62, 81))
    assert outcome(pair_catalogs(truth, seen, RULES)) == (1, 0, 0, 0)
    assert outcome(pair_catalogs(truth, seen, ScoringRules(require_kind=True))) == (0, 1, 1, 0)
    # A streak where a star is: by centres.
    assert outcome(pair_catalogs(sources((5, 8)), sources((6, 8, 9, 40)), RULES)) == (1, 0, 0, 0)
    assert outcome(pair_catalogs(sources((5, 8)), sources((15, 8, 30, 0)), RULES)) == (0, 1, 1, 0)


def test_like_kinds_pair_before_unlike_ones() -> None:
    # The star on the trail is nearer to the trail than to its own place.
    truth = sources((50, 80, 40, 0), (55, 81))
    seen = sources((50, 81.5, 38, 0), (55, 80.1))
    pairs = pair_catalogs(truth, seen, RULES).pairs
    assert pairs.found_index.tolist() == [0, 1]
    # And where only one can be had, the point goes to the star: two truths, one pair.
    pairing = pair_catalogs(truth, sources((55, 80.1)), RULES)
    assert pairing.pairs.truth_index.tolist() == [1]


def test_ignored_truths_are_paired_last_and_excuse_one_detection_each() -> None:
    truth = sources((10, 5), (11, 5), ignore=[True, False])
    # The detection sits on the ignored truth, but the one that counts may have it.
    pairing = pair_catalogs(truth, sources((10, 5)), RULES)
    assert outcome(pairing) == (1, 0, 0, 0)
    pairing = pair_catalogs(truth, sources((10, 5), (11, 5), (10.5, 5.5)), RULES)
    assert pairing.found_ignored.sum() == 1
    assert outcome(pairing) == (1, 0, 1, 1)


def test_an_ignored_streak_excuses_all_its_fragments() -> None:
    truth = sources((50, 80, 40, 0), ignore=[True])
    pairing = pair_catalogs(truth, sources((40, 80), (50, 81), (60, 79.5), (60, 95)), RULES)
    assert pairing.found_ignored.tolist() == [True, True, True, False]
    assert outcome(pairing) == (0, 0, 1, 0)
    assert len(pairing.ignored_pairs) == 1


def test_a_detection_in_an_ignored_region_counts_only_if_paired() -> None:
    truth = sources((10, 5))
    seen = sources((10, 6), (30, 40), ignore=[True, True])
    pairing = pair_catalogs(truth, seen, RULES)
    assert pairing.right.tolist() == [True, False]
    assert pairing.found_ignored.tolist() == [False, True]


def test_the_threshold_cuts_before_pairing() -> None:
    truth = sources((10, 5))
    seen = sources((10, 5), (11, 5), (30, 30), score=[0.2, 0.9, np.nan])
    assert pair_catalogs(truth, seen, RULES, threshold=0.9).pairs.found_index.tolist() == [1]
    assert pair_catalogs(truth, seen, RULES, threshold=0.2).pairs.found_index.tolist() == [0]
    assert outcome(pair_catalogs(truth, seen, RULES, threshold=0.5)) == (1, 0, 0, 0)
    assert outcome(pair_catalogs(truth, seen, RULES, threshold=-np.inf)) == (1, 0, 2, 1)


def test_the_pairs_table_has_every_truth_and_every_free_detection_once() -> None:
    truth = sources((10, 5), (90, 5), (50, 50), (70, 70), ignore=[False, False, True, True])
    seen = sources((10, 6), (50, 50), (33, 3), (34, 60), (1, 1), ignore=[0, 0, 0, 1, 0],
                   score=[1, 1, 1, 1, 0.0])  # fmt: skip
    table = pair_catalogs(truth, seen, RULES, threshold=0.5).to_table()
    assert " ".join(table["outcome"]) == "found missed ignored ignored false ignored"
    assert table["truth_index"].tolist() == [0, 1, 2, 3, -1, -1]
    assert table["found_index"].tolist() == [0, -1, 1, -1, 2, 3]
    assert table["separation_px"].notna().tolist() == [True, False, True, False, False, False]


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=40)
def test_row_order_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)

    def some(n: int) -> Catalog:
        streak = rng.random(n) < 0.3
        return Catalog.build(
            x=rng.integers(0, 25, n).astype(float),
            y=rng.integers(0, 12, n).astype(float),
            kind=np.where(streak, "streak", "point"),
            length=np.where(streak, rng.uniform(3, 30, n), 0),
            theta=np.where(streak, rng.choice([0, 0.1, 1.5], n), 0),
            mag=rng.random(n),
            ignore=rng.random(n) < 0.3,
        )

    truth, found = some(17), some(23)
    p, q = rng.permutation(17), rng.permutation(23)
    one = pair_catalogs(truth, found, RULES)
    two = pair_catalogs(truth.select(p), found.select(q), RULES)
    for name in ("truth_found", "truth_ignored"):
        np.testing.assert_array_equal(getattr(one, name)[p], getattr(two, name))
    for name in ("right", "false", "found_ignored", "duplicate"):
        np.testing.assert_array_equal(getattr(one, name)[q], getattr(two, name))
    assert not (one.right & one.found_ignored).any()
    assert (one.right | one.found_ignored | one.false).all()


def test_segment_distances_against_dense_sampling() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.uniform([0, 0, 1, -2], [60, 60, 40, 2], (2, 50, 4))
    t = np.linspace(-0.5, 0.5, 2001)

    def dots(s: np.ndarray, at: np.ndarray) -> np.ndarray:
        x, y, length, theta = s
        return np.column_stack([x + at * length * np.cos(theta), y + at * length * np.sin(theta)])

    def nearest(points: np.ndarray, s: np.ndarray) -> np.ndarray:
        gap = points[:, None] - dots(s, t)[None]
        return np.sqrt((gap**2).sum(-1)).min(1)

    for one, two in zip(a, b, strict=True):
        short, long = (one, two) if one[2] < two[2] else (two, one)
        want = nearest(dots(short, np.linspace(-0.5, 0.5, 33)), long).mean()
        # 2000 steps along at most 40 px: a dot lies within 0.01 px of any point.
        assert segment_distance(*one, *two) == pytest.approx(want, abs=0.011)
        assert segment_distance(*two, *one) == segment_distance(*one, *two)
        assert point_segment_distance(30.0, 20.0, *one) == pytest.approx(
            nearest(np.array([[30.0, 20.0]]), one)[0], abs=0.011
        )


def test_angles_are_undirected() -> None:
    got = angle_difference([0.0, 3.1, -1.5, 0.2], [np.pi, 0.0, 1.5, -0.3])
    np.testing.assert_allclose(got, [0, np.pi - 3.1, np.pi - 3.0, 0.5], atol=1e-12)
