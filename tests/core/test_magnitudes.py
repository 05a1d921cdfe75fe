"""Tests of the conversion of fluxes to magnitudes."""

import numpy as np
import pytest

from skyduel.core.magnitudes import flux_to_mag


def test_a_flux_of_one_adu_has_the_zero_point_and_a_hundred_times_more_is_five_brighter() -> None:
    flux = np.array([1.0, 100.0, 0.0, -3.0, np.nan])
    assert flux_to_mag(flux, 25.0)[:2].tolist() == pytest.approx([25.0, 20.0])
    assert np.isnan(flux_to_mag(flux, 25.0)[2:]).all()
    assert flux_to_mag(flux, 0.0)[1] == pytest.approx(-5.0)
    assert np.isnan(flux_to_mag(flux, None)).all()
    assert flux_to_mag(np.zeros((0,)), 25.0).shape == (0,)
