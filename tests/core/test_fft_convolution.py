"""`fft_convolve`: the same bits as SciPy's own function."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import signal

from skyduel.core.measure.fft_convolution import fft_convolve


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("image", "kernel"),
    [
        ((40, 57), (9, 9)),
        ((40, 57), (40, 57)),
        ((33, 20), (6, 3)),
        ((33, 20), (1, 5)),
        ((33, 20), (1, 1)),
        ((1, 20), (1, 5)),
    ],
)
def test_images_have_the_bits_of_scipy(
    image: tuple[int, int], kernel: tuple[int, int], dtype: type
) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=image).astype(dtype), rng.normal(size=kernel).astype(dtype)
    got, want = fft_convolve(a, b), signal.fftconvolve(a, b, mode="valid")
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


def test_stacks_have_the_bits_of_scipy() -> None:
    rng = np.random.default_rng(4)
    stamps, profile = rng.normal(size=(12, 61, 61)), rng.normal(size=(1, 41, 41))
    want = signal.fftconvolve(stamps, profile, mode="valid", axes=(1, 2))
    np.testing.assert_array_equal(fft_convolve(stamps, profile, axes=(1, 2)), want)


def test_the_work_on_frames_loads_neither_scipy_signal_nor_scipy_stats() -> None:
    code = (
        "import sys, skyduel.runner.detect_frame, skyduel.core.measure.fft_convolution;"
        "print([m for m in ('scipy.signal', 'scipy.stats') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
