"""Sources that earlier lists of positions lack, and the shift between two lists."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError
from skyduel.evaluation.matching.new_sources import EarlierPositions, seen_before
from skyduel.evaluation.matching.pixel_shift import estimate_shift

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


def test_rows_without_a_flux_vote_last() -> None:
    xy, flux = stars(3, 200)
    flux[:100] = np.nan
    shift = estimate_shift(xy, flux, xy[100:] - (4, 5), flux[100:], 2.0)
    assert shift is not None
    assert (shift.dx, shift.dy) == pytest.approx((4, 5))
    assert shift.votes == 60
