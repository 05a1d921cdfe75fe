"""Convolution by fast Fourier transforms, with the values of `scipy.signal.fftconvolve`.

`scipy.signal` loads all of `scipy.stats`, which takes every process about a second.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy

__all__ = ["fft_convolve"]


def fft_convolve(
    image: npt.NDArray[np.floating[Any]],
    kernel: npt.NDArray[np.floating[Any]],
    axes: tuple[int, ...] = (0, 1),
) -> npt.NDArray[np.floating[Any]]:
    """Return the convolution of images with a kernel, where the kernel lies on the image.

    Parameters
    ----------
    image : ndarray of float
        Shape (ny, nx), or with more axes.
    kernel : ndarray of float
        As many axes as the image; along ``axes`` it is not larger, along others of length 1.
    axes : tuple of int
        The axes along which to convolve.

    Returns
    -------
    ndarray of float
        Along ``axes`` shorter than the image by the kernel's length less one. Every bit is that
        of ``scipy.signal.fftconvolve(image, kernel, "valid", axes)``.
    """
    along = [a for a in axes if image.shape[a] != 1 and kernel.shape[a] != 1]
    if not along:
        return np.asarray(image * kernel)
    full = [image.shape[a] + kernel.shape[a] - 1 for a in along]
    shape = [scipy.fft.next_fast_len(n, True) for n in full]
    product = scipy.fft.rfftn(image, shape, axes=along) * scipy.fft.rfftn(kernel, shape, axes=along)
    out = scipy.fft.irfftn(product, shape, axes=along)
    window = [slice(None)] * image.ndim
    for a in along:
        window[a] = slice(kernel.shape[a] - 1, image.shape[a])
    return np.asarray(out[tuple(window)]).copy()
