"""Matching for calibration does not depend on detections of lower score."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from skyduel.detect.calibration.fit_calibration import match_to_truth


def test_the_surer_of_two_on_one_star_is_right_even_if_farther() -> None:
    truth = np.array([[10.0, 10.0]])
    right, counts = match_to_truth(np.array([[11.5, 10.0], [10.0, 10.1]]), truth, np.array([True]))
    assert right.tolist() == [True, False]
    assert counts.tolist() == [True, True]


def test_a_faint_truth_excuses_but_never_rewards() -> None:
    truth = np.array([[10.0, 10.0], [30.0, 10.0]])
    counted = np.array([False, True])
    found = np.array([[10.5, 10.0], [30.5, 10.0], [50.0, 10.0]])
    right, counts = match_to_truth(found, truth, counted)
    assert right.tolist() == [False, True, False]
    assert counts.tolist() == [False, True, True]


def test_each_truth_is_found_once_and_by_its_nearest_free_one() -> None:
    truth = np.array([[10.0, 10.0], [11.0, 10.0]])
    right, _ = match_to_truth(
        np.array([[10.1, 10.0], [10.2, 10.0], [10.3, 10.0]]), truth, np.array([True, True])
    )
    assert right.tolist() == [True, True, False]


def test_nothing_found_and_nothing_there() -> None:
    none = np.zeros((0, 2))
    for found, truth in ((none, none), (none, np.ones((3, 2))), (np.ones((2, 2)), none)):
        right, counts = match_to_truth(found, truth, np.ones(len(truth), dtype=bool))
        assert right.shape == counts.shape == (len(found),)
        assert not right.any()
        assert counts.all()


@given(
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), max_size=12),
    st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20), st.booleans()), max_size=9),
    st.integers(0, 12),
)
def test_what_lies_below_a_threshold_changes_nothing_above_it(found, truth, cut) -> None:
    xy = np.array(found, dtype=float).reshape(-1, 2)
    table = np.array(truth, dtype=float).reshape(-1, 3)
    all_right, all_counts = match_to_truth(xy, table[:, :2], table[:, 2] > 0)
    right, counts = match_to_truth(xy[:cut], table[:, :2], table[:, 2] > 0)
    np.testing.assert_array_equal(right, all_right[:cut])
    np.testing.assert_array_equal(counts, all_counts[:cut])
    assert all_right.sum() <= (table[:, 2] > 0).sum()
    assert not (all_right & ~all_counts).any()
