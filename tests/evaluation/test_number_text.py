"""Numbers and intervals in words: what a reader of a table sees."""

import numpy as np
import pytest

from skyduel.evaluation.number_text import format_interval, format_number, with_minus
from skyduel.evaluation.table_keys import (
    ALL_BINS,
    FEW_FRAMES,
    FEWEST_FOR_PERCENTILES,
    NOMINAL_PURITY,
    range_label,
)


@pytest.mark.parametrize(
    ("value", "lo", "hi", "told"),
    [
        (0.639, 0.582, 0.692, "0.639±0.055"),
        (0.554, 0.421, 0.687, "0.554±0.133"),
        (0.944, 0.902, 0.968, "0.944±0.033"),
        (0.944, 0.852, 0.968, "0.944 [0.85, 0.97]"),
        (0.696, 0.0, 1.0, "0.696 [0.00, 1.00]"),  # two frames: nothing is known
        (0.5, 0.0, 1.0, "0.500 [0.00, 1.00]"),
        (0.95, 0.62, 1.0, "0.950 [0.62, 1.00]"),
        (1.0, 1.0, 1.0, "1.000±0.000"),
        (0.9995, 0.999, 1.0, "1.000±0.001"),
        (0.9999, 0.9991, 1.0, "1.000±0.000"),  # lopsided by less than is shown
        (0.5, np.nan, np.nan, "0.500"),
        (np.nan, 0.0, 1.0, "–"),
    ],
)
def test_an_interval_is_told_by_its_half_only_if_that_is_true(value, lo, hi, told) -> None:
    assert format_interval(value, lo, hi, 3, least=0, most=1) == told


def test_ends_of_a_difference_stay_in_its_range() -> None:
    def told(delta: float, half: float) -> str:
        return format_interval(delta, delta - half, delta + half, 3, sign=True, least=-1, most=1)

    assert told(0.2, 2.236) == "+0.200 [−1.00, +1.00]"
    assert told(-0.042, 0.014) == "−0.042±0.014"
    assert told(0.775, 0.289) == "+0.775 [+0.49, +1.00]"
    assert told(-0.664, 0.586) == "−0.664 [−1.00, −0.08]"
    assert format_interval(2.79, -14.72, 20.3, 2, sign=True) == "+2.79±17.51"


@pytest.mark.parametrize(
    ("interval", "digits", "told"),
    [
        # An arm of twice the other and one of the last digits more is still even.
        ((0.0, -2.0, 5.0), 0, "0±4"),
        ((0.0, -2.0, 5.1), 0, "0 [−2, 5]"),
        ((0.0, -1.0, 2.095), 1, "0.0±1.5"),
        ((0.0, -1.0, 2.105), 1, "0.0 [−1, 2]"),
        ((0.0, -1.0, np.inf), 1, "0.0"),
    ],
)
def test_how_lopsided_an_interval_may_be(interval: tuple, digits: int, told: str) -> None:
    assert format_interval(*interval, digits) == told


def test_an_interval_that_reaches_one_end_of_the_range_tells_something() -> None:
    assert format_interval(0.1, 0.0, 0.2, 2, least=0, most=1) == "0.10±0.10"
    assert format_interval(0.9, 0.8, 1.0, 2, least=0, most=1) == "0.90±0.10"
    assert format_interval(0.5, 0.0, 1.0, 2, least=0, most=1) == "0.50 [0.0, 1.0]"


@pytest.mark.parametrize(
    ("low", "high", "told"),
    [
        (15.0, 15.5, "15–15.5"),
        (-16.0, -15.0, "−16 to −15"),
        (-1.0, 2.0, "−1 to 2"),
        (-np.inf, 15.0, "< 15"),
        (24.0, np.inf, "≥ 24"),
        (-0.0, 1.0, "0–1"),
    ],
)
def test_labels_of_bins(low: float, high: float, told: str) -> None:
    assert range_label(low, high) == told


def test_the_numbers_that_reports_and_gates_share() -> None:
    assert range_label(1.0, 2.0, ".1f") == "1.0–2.0"
    assert (NOMINAL_PURITY, FEW_FRAMES, FEWEST_FOR_PERCENTILES, ALL_BINS) == (0.95, 20, 5, -2)


def test_infinite_numbers_are_words() -> None:
    assert format_number(np.inf, 2) == "infinite"
    assert format_number(-np.inf, 2) == "−infinite"


def test_signs() -> None:
    assert format_number(-0.0001, 2, sign=True) == "+0.00"
    assert format_number(0.25, 2, sign=True) == "+0.25"
    assert format_number(-0.25, 2, sign=True) == "−0.25"
    assert with_minus("-3e-05") == "−3e−05"
