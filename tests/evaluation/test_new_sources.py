"""Sources that earlier lists of positions lack, and the shift between two lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from skyduel.core import BadInputError
from skyduel.evaluation.matching.matching import pair
from skyduel.evaluation.matching.new_sources import EarlierPositions, seen_before
from skyduel.evaluation.matching.pixel_shift import _brightest, estimate_shift

SQUARE = np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 40.0], [0.0, 40.0]])


def test_a_source_is_counted_in_every_list_that_has_it() -> None:
    xy = np.array([[10.0, 10.0], [30.0, 20.0], [55.0, 35.0]])
    first = EarlierPositions(np.array([[10.0, 12.0], [30.0, 22.001], [30.0, 17.9]]), SQUARE)
    second = EarlierPositions(np.array([[10.5, 10.0], [54.0, 35.0], [np.nan, 3.0]]), SQUARE)
    seen, covered = seen_before(xy, [first, second], 2.0)
    assert seen.tolist() == [2, 0, 1]  # 2 px is within, 2.001 px is not
    assert covered.tolist() == [2, 2, 2]


def test_two_rows_at_one_star_are_both_known() -> None:
    xy = np.array([[10.0, 10.0], [10.8, 10.0]])
    seen, _ = seen_before(xy, [EarlierPositions(np.array([[10.2, 10.0]]))], 2.0)
    assert seen.tolist() == [1, 1]


def test_a_much_fainter_row_is_another_source() -> None:
    xy = np.array([[10.0, 10.0], [30.0, 20.0], [50.0, 30.0], [50.0, 10.0]])
    flux = np.array([90.0, 90.0, np.nan, 90.0])
    earlier = EarlierPositions(
        np.vstack([[[np.nan, 0.0]], xy, xy[:1]]),
        flux=np.array([1e9, 29.9, 30.0, 1.0, np.nan, 29.0]),
    )
    seen, covered = seen_before(xy, [earlier], 2.0, flux=flux, fraction=1 / 3)
    assert seen.tolist() == [0, 1, 1, 1]
    assert covered.tolist() == [1, 1, 1, 1]
    assert seen_before(xy, [earlier], 2.0)[0].tolist() == [1, 1, 1, 1]
    # Without a fraction only what is below zero does not count.
    faint = EarlierPositions(xy[:2], flux=np.array([1e-8, -1e-8]))
    assert seen_before(xy[:2], [faint], 2.0, flux=flux[:2])[0].tolist() == [1, 0]


def test_a_position_outside_the_outline_is_not_covered_and_not_seen() -> None:
    xy = np.array([[70.0, 10.0], [59.0, 39.0], [-0.5, 20.0]])
    seen, covered = seen_before(xy, [EarlierPositions(xy, SQUARE)], 1.0)
    assert covered.tolist() == [0, 1, 0]
    assert seen.tolist() == [0, 1, 0]


@given(st.integers(0, 2**32 - 1), st.floats(-np.pi, np.pi))
@settings(max_examples=50, deadline=None)
def test_an_outline_covers_what_its_half_planes_do(seed: int, turn: float) -> None:
    # The oracle: a point is inside a convex polygon if it is left of every side.
    rng = np.random.default_rng(seed)
    c, s = np.cos(turn), np.sin(turn)
    corners = (SQUARE - 20) @ np.array([[c, s], [-s, c]])
    points = rng.uniform(-60, 60, (200, 2))
    ends = np.roll(corners, -1, axis=0)
    sides = [(b - a)[0] * (points - a)[:, 1] - (b - a)[1] * (points - a)[:, 0]
             for a, b in zip(corners, ends, strict=True)]  # fmt: skip
    clear = np.min(np.abs(sides), axis=0) > 1e-6  # not on a side
    inside = np.all(np.array(sides) > 0, axis=0)
    assert (EarlierPositions(points, corners).covers(points) == inside)[clear].all()


def test_empty_lists_are_normal() -> None:
    none = np.zeros((0, 2))
    seen, covered = seen_before(none, [EarlierPositions(SQUARE)], 2.0)
    assert seen.size == covered.size == 0
    assert seen_before(SQUARE, [EarlierPositions(none)], 2.0)[0].tolist() == [0, 0, 0, 0]
    assert seen_before(SQUARE, [], 2.0)[1].tolist() == [0, 0, 0, 0]


def test_a_radius_of_zero_is_refused() -> None:
    with pytest.raises(BadInputError, match="radius_px: required a finite radius > 0"):
        seen_before(SQUARE, [], 0.0)


def stars(seed: int, n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform((0, 0), (900, 600), (n, 2)), 10 ** rng.uniform(1, 4, n)


@pytest.mark.parametrize("by", [(0.0, 0.0), (3.4, -7.2), (-130.0, 140.5)])
def test_a_shift_is_found(by: tuple[float, float]) -> None:
    xy, flux = stars(1)
    rng = np.random.default_rng(2)
    other = xy - by + rng.normal(0, 0.2, xy.shape)
    # A fifth of the sources differs, and fluxes are measured with errors.
    other[::5] = rng.uniform((0, 0), (900, 600), other[::5].shape)
    shift = estimate_shift(xy, flux, other, flux * rng.uniform(0.9, 1.1, flux.size), 2.0)
    assert shift is not None
    assert (shift.dx, shift.dy) == pytest.approx(by, abs=0.15)
    assert shift.votes >= 40
    assert shift.voters == 60


def test_there_is_no_shift_between_different_fields() -> None:
    xy, flux = stars(1)
    assert all(estimate_shift(xy, flux, *stars(seed), 2.0) is None for seed in range(2, 42))


def test_few_sources_have_no_shift() -> None:
    xy, flux = stars(1, 5)
    assert estimate_shift(xy, flux, xy, flux, 2.0) is None
    none = np.zeros((0, 2))
    assert estimate_shift(none, np.zeros(0), none, np.zeros(0), 2.0) is None
    assert estimate_shift(none, np.zeros(0), *stars(1, 9), 2.0) is None


def test_rows_without_a_flux_vote_last() -> None:
    xy, flux = stars(3, 200)
    flux[:100] = np.nan
    shift = estimate_shift(xy, flux, xy[100:] - (4, 5), flux[100:], 2.0)
    assert shift is not None
    assert (shift.dx, shift.dy) == pytest.approx((4, 5))
    assert shift.votes == 60


def test_tiles_share_no_border_and_leave_none_out() -> None:
    # Corners, sides and the inside of four tiles: each position is in just one of them.
    steps = np.arange(0.0, 4.0)
    at = np.array([[x, y] for x in steps for y in steps])
    tile = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    by = [(x, y) for x in (0, 2) for y in (0, 2)]
    covered = [EarlierPositions(at, tile + shift).covers(at) for shift in by]
    assert np.sum(covered, axis=0).tolist() == [1] * 16
    assert EarlierPositions(at, tile).covers(at).sum() == 4
    assert EarlierPositions(at, tile).covers(np.array([[0.0, 1.0], [2.0, 1.0]])).tolist() == [1, 0]
    diamond = np.array([[0.0, -1.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    covered = [EarlierPositions(at, diamond + np.array([x, y])).covers(at + 0.25)
               for x in range(-1, 6) for y in range(-1, 6) if (x + y) % 2 == 0]  # fmt: skip
    assert np.sum(covered, axis=0).tolist() == [1] * 16
    for k, point in enumerate([[0.0, 0.0], [0.5, 0.0], [-0.9, 0.0], [1.1, 0.0], [-1.1, 0.0]]):
        assert EarlierPositions(at, diamond).covers(np.array([point])).tolist() == [k < 3]


def test_the_notch_of_an_outline_is_not_covered() -> None:
    notched = np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 6.0], [6.0, 3.0], [3.0, 6.0], [0.0, 6.0]])
    xy = np.array([[6.0, 5.0], [6.0, 2.0], [1.0, 5.0], [8.5, 5.0], [9.5, 3.0], [-1.0, 3.0]])
    inside = [False, True, True, True, False, False]
    for outline in (notched, notched[::-1]):
        assert EarlierPositions(xy, outline).covers(xy).tolist() == inside


@pytest.mark.parametrize(
    ("n", "same", "votes"), [(6, 6, 6), (7, 6, 6), (7, 5, None), (5, 5, None), (60, 40, 40)]
)
def test_six_votes_at_least_agree(n: int, same: int, votes: int | None) -> None:
    xy, flux = stars(6, 60)
    other = xy[:n] - (30, 20)
    other[same:] = stars(7, n)[0][same:]
    shift = estimate_shift(xy, flux, other, flux[:n], 2.0)
    assert (shift and (shift.votes, shift.voters)) == (votes and (votes, n))


@pytest.mark.parametrize("size", [0.3, 0.4, 0.421, 0.423, 0.425, 0.44, 0.5, 1.0])
def test_a_small_field_needs_more_votes_than_chance_gives(size: float) -> None:
    rng = np.random.default_rng(12)
    xy = rng.uniform(0, (140, 90), (9, 2)) * size
    more = rng.uniform(0, (140, 90), (4, 2)) * size
    other = np.vstack([xy[:8] + np.array([4, 3]), more])
    votes = (xy[:, None] - other[None]).reshape(-1, 2)
    plane = np.prod(votes.max(axis=0) - votes.min(axis=0) + 6)
    chance = 108 * poisson.sf(7, 108 * np.pi * 9 / plane)
    got = estimate_shift(xy, np.ones(9), other, np.ones(12), 3.0)
    assert (got is not None) == (chance <= 1e-6) == (size > 0.424)
    if got is not None:
        assert (got.dx, got.dy) == pytest.approx((-4, -3))
        assert (got.votes, got.voters) == (8, 9)


def refined(first: np.ndarray, second: np.ndarray, rounds: int) -> np.ndarray:
    """Return the difference with the most votes within 2 px, after rounds of medians of pairs."""
    votes = (first[:, None] - second[None]).reshape(-1, 2)
    near = np.hypot(*(votes[:, None] - votes[None]).transpose(2, 0, 1)) <= 2.0
    most = np.flatnonzero(near.sum(axis=1) == near.sum(axis=1).max())
    shift = min(votes[most], key=lambda v: np.hypot(*v))
    for _ in range(rounds):
        pairs = pair(first, second + shift, 2.0)
        shift = np.median(first[pairs.truth_index] - second[pairs.found_index], axis=0)
    return shift


def test_a_shift_is_refined_twice() -> None:
    xy, flux = stars(9, 24)
    other = xy + np.random.default_rng(8).normal(0, 0.9, xy.shape)
    shift = estimate_shift(xy, flux, other, flux, 2.0)
    assert shift is not None
    one, two, three = (refined(xy, other, n) for n in (1, 2, 3))
    assert (shift.dx, shift.dy) == pytest.approx(two)
    assert np.abs(two - one).max() > 1e-3 < np.abs(three - two).max()


def test_of_shifts_with_as_many_votes_the_shortest_is_taken() -> None:
    xy, flux = stars(8, 12)
    both = [(40.0, 30.0), (-3.0, 4.0)]
    for first, second in (both, both[::-1]):
        other = np.vstack([xy - first, xy - second])
        shift = estimate_shift(xy, flux, other, np.tile(flux, 2), 2.0)
        assert shift is not None
        assert (shift.dx, shift.dy) == pytest.approx((-3, 4))


def test_the_brightest_sixty_vote_in_their_order() -> None:
    flux = np.arange(64.0) % 32
    flux[[3, 40, 9]] = np.nan, np.inf, -np.inf
    xy = np.column_stack([np.arange(64.0), np.zeros(64)])
    rank = sorted(range(64), key=lambda k: (-flux[k] if np.isfinite(flux[k]) else np.inf, k))
    assert _brightest(xy, flux)[:, 0].tolist() == rank[:60]
