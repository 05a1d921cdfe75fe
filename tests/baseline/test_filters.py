"""Signal-to-noise at some positions: that of the whole map, in every digit."""

import numpy as np
import pytest

from skyduel.baseline import filters
from skyduel.baseline.filters import peak_snr, snr_map, snr_peaks


def image(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data in noise that varies, and a mask that blinds a whole corner."""
    rng = np.random.default_rng(seed)
    rms = rng.uniform(0.5, 3.0, (90, 110)).astype(np.float32)
    data = (rng.standard_normal((90, 110)) * 30 * rms).astype(np.float32)
    bad = rng.random((90, 110)) < 0.05
    bad[:30, :30] = True
    return data, rms, bad


@pytest.mark.parametrize("fwhm", [1.2, 2.5, 6.0])
def test_peaks_at_some_positions_are_those_of_the_map(fwhm: float) -> None:
    data, rms, bad = image(1)
    rng = np.random.default_rng(2)
    x, y = rng.uniform(-3, 113, 15), rng.uniform(-3, 93, 15)
    x[:6], y[:6] = [0, 109, 0, 109, 10, 10.5], [0, 0, 89, 89, 10, 29.5]
    expected = peak_snr(snr_map(data, rms, bad, fwhm), x, y)
    np.testing.assert_array_equal(snr_peaks(data, rms, bad, fwhm, x, y), expected)


def test_few_places_are_not_filtered_with_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    data, rms, bad = image(3)
    calls = []

    def counted(*arguments: np.ndarray) -> np.ndarray:
        calls.append(1)
        return snr_map(*arguments)

    monkeypatch.setattr(filters, "snr_map", counted)
    x, y = np.array([50.0, 50.2, 60.0]), np.array([50.0, 49.8, 60.0])
    few = snr_peaks(data, rms, bad, 2.5, x, y)
    assert not calls
    many = snr_peaks(data, rms, bad, 2.5, np.arange(0, 110, 0.5), np.linspace(0, 89, 220))
    assert calls
    assert few.shape == (3,)
    assert few[0] == few[1]
    assert many.shape == (220,)


def test_values_beyond_single_precision_are_its_largest() -> None:
    data = np.full((40, 40), 1e30, dtype=np.float32)
    rms = np.full((40, 40), 1e-20, dtype=np.float32)
    bad = np.zeros((40, 40), dtype=bool)
    at = np.array([20.0])
    expected = peak_snr(snr_map(data, rms, bad, 2.5), at, at)
    np.testing.assert_array_equal(snr_peaks(data, rms, bad, 2.5, at, at), expected)
