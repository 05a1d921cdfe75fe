"""The table of scores: every formula at its edges, and what each row says of its score."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.errors import BadInputError
from skyduel.evaluation.scoring.metrics import (
    HEADLINE,
    LIMITS,
    METRICS,
    CountSums,
    f_beta,
    f_from_counts,
    jaccard,
    jaccard_from_counts,
    listed,
    metric,
    quantities,
    quantity_named,
    ratio,
)

NAN = float("nan")
JOINED = ("f1", "f2", "jaccard")


def same(got: object, expected: object) -> None:
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-14)


def test_a_ratio_is_undefined_without_a_denominator() -> None:
    same(ratio([0, 3, 2, 0], [0, 4, 1, 5]), [NAN, 0.75, 2.0, 0.0])
    same(ratio(3, [4, 0]), [0.75, NAN])
    assert ratio(1, 2).shape == ()


@pytest.mark.parametrize(
    ("p", "r", "f1", "f2", "index"),
    [
        (0.5, 1.0, 2 / 3, 5 / 6, 0.5),
        (1.0, 0.5, 2 / 3, 5 / 9, 0.5),
        (0.25, 0.25, 0.25, 0.25, 1 / 7),
        (0.0, 0.5, 0.0, 0.0, 0.0),
        (0.5, 0.0, 0.0, 0.0, 0.0),
        (0.0, 0.0, 0.0, 0.0, 0.0),
        (1.0, 1.0, 1.0, 1.0, 1.0),
        (NAN, 0.5, NAN, NAN, NAN),
        (0.0, NAN, NAN, NAN, NAN),
    ],
)
def test_joined_scores_of_two_ratios(
    p: float, r: float, f1: float, f2: float, index: float
) -> None:
    same(f_beta(p, r, 1.0), f1)
    same(f_beta(p, r, 2.0), f2)
    same(jaccard(p, r), index)
    same(f_beta([p, 1.0], r, 2.0)[0], f2)


@pytest.mark.parametrize(
    ("right", "truths", "detections", "f1", "f2", "index"),
    [
        (3, 4, 6, 0.6, 15 / 22, 3 / 7),
        (0, 0, 0, NAN, NAN, NAN),
        (0, 5, 0, 0.0, 0.0, 0.0),
        (0, 0, 5, 0.0, 0.0, 0.0),
        (2, 2, 2, 1.0, 1.0, 1.0),
    ],
)
def test_joined_scores_of_counts(
    right: int, truths: int, detections: int, f1: float, f2: float, index: float
) -> None:
    same(f_from_counts(right, truths, detections, 1.0), f1)
    same(f_from_counts(right, truths, detections, 2.0), f2)
    same(jaccard_from_counts(right, truths, detections), index)


#: Truths, truths found, detections and right detections of three bins.
SUMS = CountSums(
    np.array([4, 2, 0]), np.array([3, 1, 0]), np.array([5, 0, 3]), np.array([2, 0, 2]), mpix=2.0
)


@pytest.mark.parametrize(
    ("name", "values", "k", "n"),
    [
        ("completeness", [3 / 4, 1 / 2, NAN, 4 / 6], [3, 1, 0], [4, 2, 0]),
        ("purity", [2 / 5, NAN, 2 / 3, 4 / 8], [2, 0, 2], [5, 0, 3]),
        ("f1", [2 * 0.4 * 0.75 / 1.15, NAN, NAN, 8 / 14], [5, 1, 2], [9, 2, 3]),
        ("f2", [5 * 0.4 * 0.75 / 2.35, NAN, NAN, 20 / 32], [5, 1, 2], [9, 2, 3]),
        ("jaccard", [0.3 / 0.85, NAN, NAN, 4 / 10], [3, 1, 0], [7, 2, 1]),
        ("false_per_mpix", [1.5, 0.0, 0.5, 2.0], [3, 0, 1], [2, 2, 2]),
    ],
)
def test_scores_of_bins_and_of_all_bins(name: str, values: list, k: list, n: list) -> None:
    row = metric(name)
    same(row.values(SUMS), values)
    same(row.numerator(SUMS), k)
    same(row.denominator(SUMS), n)
    same(row.pooled(SUMS.total()), values[-1:])


def test_a_unit_contributes_where_there_is_something_to_score() -> None:
    # Units in rows, bins in columns.
    units = CountSums.from_stack(
        np.array(
            [
                [[1, 0], [0, 0], [0, 0], [0, 0]],
                [[2, 0], [1, 0], [1, 3], [1, 0]],
                [[0, 0], [0, 0], [0, 0], [0, 0]],
                [[0, 1], [0, 0], [0, 1], [0, 0]],
            ]
        )
    )
    expected = {
        "completeness": [2, 1, 3], "purity": [1, 2, 2],
        **{name: [1, 1, 3] for name in JOINED},
    }  # fmt: skip
    for name, n in expected.items():
        got = metric(name).contributing(units)
        assert got.tolist() == n, name
        assert got.dtype == np.int64


def test_sums_keep_their_area_and_append_their_total() -> None:
    both = SUMS.with_total()
    assert both.truths.tolist() == [4, 2, 0, 6]
    assert both.found.tolist() == [3, 1, 0, 4]
    assert both.detections.tolist() == [5, 0, 3, 8]
    assert both.right.tolist() == [2, 0, 2, 4]
    assert both.mpix == SUMS.total().mpix == 2.0
    assert SUMS.stack().shape == (4, 3)
    again = CountSums.from_stack(np.stack([SUMS.stack()] * 5))
    assert again.stack().shape == (5, 4, 3)
    assert again.total().stack().shape == (5, 4, 1)
    for k in range(5):
        np.testing.assert_array_equal(again.with_total().stack()[k], both.stack())
        for row in METRICS[:-1]:
            np.testing.assert_array_equal(row.values(again)[k], row.values(SUMS))
    assert np.isnan(again.mpix)


def test_the_rows_say_how_a_score_is_read() -> None:
    told = {q.name: (q.digits, q.unit, q.higher_is_better, q.most) for q in (*METRICS, *LIMITS)}
    assert told == {
        **dict.fromkeys(("completeness", "purity", *JOINED), (3, "", True, 1.0)),
        "false_per_mpix": (1, "", False, np.inf),
        "m50": (2, " mag", True, np.inf),
        "snr50": (2, "", False, np.inf),
    }
    assert {m.name: m.interval for m in METRICS} == {
        "completeness": "proportion", "purity": "proportion", "false_per_mpix": "poisson",
        **dict.fromkeys(JOINED, "bootstrap"),
    }  # fmt: skip
    assert metric("purity").head == "Purity (precision)"
    assert metric("false_per_mpix").head == "False per Mpix"
    assert {m.name for m in METRICS if m.in_first_schema} == {q for q in told if q[-2:] != "50"} - {
        "jaccard"
    }


def test_a_difference_is_cut_at_the_largest_value() -> None:
    assert metric("f1").within(-1.5, 2.0) == (-1.0, 1.0)
    assert metric("f1").within(-0.5, 0.25) == (-0.5, 0.25)
    assert metric("false_per_mpix").within(-1.5, 2.0) == (-1.5, 2.0)
    assert quantity_named("m50").within(-1.5, 2.0) == (-1.5, 2.0)


def test_scores_are_listed_by_use_and_named() -> None:
    assert [m.name for m in listed()] == [m.name for m in METRICS]
    assert [m.name for m in listed("compared")] == ["completeness", "purity", *JOINED]
    assert [m.name for m in listed("brief")] == ["completeness", "purity", "f1"]
    assert [q.name for q in quantities("terminal")] == [
        "completeness", "purity", "f1", "f2", "false_per_mpix", "m50", "snr50",
    ]  # fmt: skip
    assert [q.name for q in quantities("overview")] == ["completeness", "purity", "f1", "f2"]
    assert HEADLINE in [m.name for m in METRICS]
    for q in (*METRICS, *LIMITS):
        assert quantity_named(q.name) is q
    for name, hint in (("m50", ""), ("blob", "'blob'$"), ("purty", "; did you mean purity")):
        with pytest.raises(BadInputError, match=rf"one of completeness, purity, .*; got .*{hint}"):
            metric(name)
    with pytest.raises(BadInputError, match=r"m50, snr50; got 'm5x'; did you mean m50"):
        quantity_named("m5x")
