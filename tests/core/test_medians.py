"""The fast medians are those of numpy, in every bit."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.measure.medians import column_medians, median


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 17, 64, 1001, 65536])
def test_a_median_is_that_of_numpy(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    for values in (rng.normal(1e3, 5, n), rng.integers(0, 4, n), np.full(n, 7.3)):
        given = values.astype(kind)
        before = given.copy()
        found = median(given)
        assert found == np.median(given)
        assert found.dtype == np.median(given).dtype == kind
        assert np.array_equal(given, before)


def test_infinite_values_have_their_place_and_one_nan_spoils_a_median() -> None:
    assert median(np.array([np.inf, -np.inf, 3.0])) == 3.0
    assert median(np.array([np.inf, 1.0, 2.0, np.inf])) == np.inf
    for place in range(5):
        values = np.arange(5.0)
        values[place] = np.nan
        assert np.isnan(median(values))
        assert np.isnan(median(values[::-1].astype(np.float32)))


@pytest.mark.parametrize("rows", [1, 2, 7, 64])
def test_medians_of_columns_are_those_of_numpy(rows: int) -> None:
    rng = np.random.default_rng(rows)
    image = rng.normal(100, 5, (rows, 33)).astype(np.float32)
    image[rows // 2, 3] = np.nan
    for part in (image, image[:, ::2], np.asfortranarray(image)):
        with np.errstate(invalid="ignore"):
            expected = np.median(part, axis=0)
        found = column_medians(part)
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected, equal_nan=True)
