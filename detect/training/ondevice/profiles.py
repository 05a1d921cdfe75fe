"""Tabulate the point-spread functions of a batch; `simulation.make_psf` is the reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import fft
from torch import Tensor
from torch.nn import functional as F

from skyduel.detect.training.ondevice.scatter_sums import added, averaged
from skyduel.simulation.psf import OVERSAMPLING, RADIUS, Aberrations, Optics
from skyduel.simulation.render import LADDER

__all__ = ["HALF", "ProfileNumbers", "Profiles", "make_profiles", "splat"]

#: Half width of the fine grid, in grid points.
HALF: Final = (RADIUS + 1) * OVERSAMPLING
_SIDE: Final = 2 * HALF + 1
#: Number of profiles computed at a time; each temporarily takes a few MB.
_AT_ONCE: Final = 32
#: Number of rays through the pupil, per axis.
_RAYS: Final = 121


class ProfileNumbers(NamedTuple):
    """Numbers of a profile that are copied to the host; see `simulation.Psf`.

    ``outside`` holds the largest value beyond each radius of `LADDER`, ``across`` the sums of the
    stamp along columns and rows, shape (2, 2·RADIUS + 1).
    """

    fwhm: float
    psf_sum2: float
    outside: npt.NDArray[np.float64]
    across: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Profiles:
    """Profiles on a device.

    Attributes
    ----------
    fine : Tensor of float32, shape (p, 2·HALF + 1, 2·HALF + 1)
        Fraction of the flux, up to a factor, in a pixel whose centre lies at each grid
        point, with the source in the middle; `OVERSAMPLING` points per px.
    scale : Tensor of float32, shape (p, K + 1, K + 1)
        Factor that makes the stamp of each phase sum to 1.
    numbers : list of ProfileNumbers
    """

    fine: Tensor
    scale: Tensor
    numbers: list[ProfileNumbers]


def make_profiles(optics: Sequence[Optics], device: torch.device) -> Profiles:
    """Tabulate the profiles of several optics, as `simulation.make_psf` does."""
    fine = torch.cat(
        [
            _fine(optics[first : first + _AT_ONCE], device)
            for first in range(0, len(optics), _AT_ONCE)
        ]
    )
    k = OVERSAMPLING
    # Grid points of each phase's stamp: pixel m lies at m - (i/k - 1/2) from the source.
    first = k + k // 2 - torch.arange(k + 1, device=device)
    points = first[:, None] + k * torch.arange(2 * RADIUS + 1, device=device)
    sums, squares = (grid[:, points].sum(2)[:, :, points].sum(3) for grid in (fine, fine.square()))
    scale = 1 / sums
    psf_sum2 = (squares * scale.square())[:, :-1, :-1].mean((1, 2))
    peak = fine.amax((1, 2), keepdim=True)
    above = (fine > peak / 2).sum((1, 2))
    middle = points[k // 2]
    centre = fine[:, middle][:, :, middle] * scale[:, k // 2, k // 2, None, None]
    offset = (torch.arange(2 * RADIUS + 1, device=device) - RADIUS).abs()
    distance = torch.maximum(offset[:, None], offset[None, :])
    outside = [torch.where(distance > r, centre, 0.0).amax((1, 2)) for r in LADDER]
    across = torch.stack([centre.sum(1), centre.sum(2)], 1)
    told = torch.cat([above[:, None].float(), psf_sum2[:, None], torch.stack(outside, 1)], 1)
    told = torch.cat([told, across.flatten(1)], 1)
    return Profiles(fine, scale, told_numbers(told))


def told_numbers(table: Tensor) -> list[ProfileNumbers]:
    """Copy the table of profile numbers to the host, one row per profile, in a single transfer."""
    n = len(LADDER)
    return [
        ProfileNumbers(
            fwhm=float(2 * np.sqrt(row[0] / np.pi) / OVERSAMPLING),
            psf_sum2=float(row[1]),
            outside=row[2 : 2 + n],
            across=row[2 + n :].reshape(2, -1),
        )
        for row in table.double().cpu().numpy()
    ]


def _fine(optics: Sequence[Optics], device: torch.device) -> Tensor:
    """Return the pixel-integrated profiles on the fine grid."""
    k = OVERSAMPLING
    fwhm = _column([o.fwhm for o in optics], device)
    beta = _column([o.beta or 1.0 for o in optics], device)
    gaussian = torch.tensor([o.beta is None for o in optics], device=device)[:, None, None]
    axis = torch.arange(-HALF, HALF + 1, device=device).float() / k
    r2 = (axis[:, None].square() + axis[None, :].square())[None]
    alpha2 = (fwhm / 2).square() / (2 ** (1 / beta) - 1)
    seeing = torch.where(
        gaussian, torch.exp(r2 * (-4 * np.log(2) / fwhm.square())), (1 + r2 / alpha2) ** -beta
    )
    bent = [i for i, o in enumerate(optics) if o.aberrations and not o.aberrations.none]
    if bent:
        rows = torch.tensor(bent, device=device)
        blurred = _blurred(seeing[rows], [o for i in bent if (o := optics[i].aberrations)])
        seeing = seeing.index_copy(0, rows, blurred)
    # The mean over one pixel, exact to the fine grid: half weights at both ends.
    box = [0.5 / k, *[1 / k] * (k - 1), 0.5 / k]
    padded = F.pad(seeing, (k // 2,) * 4)
    return averaged(averaged(padded, box, 1), box, 2)


def _blurred(seeing: Tensor, aberrations: Sequence[Aberrations]) -> Tensor:
    """Return the seeing, (p, side, side), convolved with spot diagrams and drifts."""
    device = seeing.device
    size = fft.next_fast_len(3 * HALF, real=True)
    product = torch.fft.rfft2(seeing, (size, size))
    product = product * torch.fft.rfft2(_spots(aberrations, device), (size, size))
    product = product * _drifts(aberrations, size, device)
    image = torch.fft.irfft2(product, (size, size))[:, HALF : 3 * HALF + 1, HALF : 3 * HALF + 1]
    short = _SIDE - image.shape[1]
    return F.pad(image, (0, short, 0, short)).clamp_min(0)


def _spots(aberrations: Sequence[Aberrations], device: torch.device) -> Tensor:
    """Return the spot diagrams, without drift, on the fine grid, each summing to 1."""
    value = {
        name: _column([getattr(a, name) for a in aberrations], device)[:, 0]
        for name in ("defocus", "astigmatism", "coma", "trefoil", "angle", "obstruction")
    }
    # In double precision, because some rays lie exactly on the rim of the pupil.
    line = torch.linspace(-1, 1, _RAYS, dtype=torch.float64, device=device)
    u, v = (t.flatten()[None] for t in torch.meshgrid(line, line, indexing="xy"))
    rho2 = u.square() + v.square()
    inside = ((rho2 <= 1) & (rho2 >= value["obstruction"].square())).float()
    u, v = u.float(), v.float()
    cos, sin = torch.cos(value["angle"]), torch.sin(value["angle"])
    p, q = cos * u + sin * v, cos * v - sin * u
    coma, trefoil = value["coma"], value["trefoil"]
    dp = value["astigmatism"] * p
    dp = dp + coma * (3 * p.square() + q.square()) / 3 + trefoil * (p.square() - q.square())
    dq = -value["astigmatism"] * q + coma * 2 * p * q / 3 - trefoil * 2 * p * q
    dx = value["defocus"] * u + cos * dp - sin * dq
    dy = value["defocus"] * v + sin * dp + cos * dq
    weight = inside / inside.sum(1, keepdim=True)
    x = (dx - (dx * weight).sum(1, keepdim=True)) * OVERSAMPLING + HALF
    y = (dy - (dy * weight).sum(1, keepdim=True)) * OVERSAMPLING + HALF
    number = torch.arange(len(aberrations), device=device)[:, None]
    return splat(number, x, y, weight, (len(aberrations), _SIDE, _SIDE))


def splat(
    image: Tensor, x: Tensor, y: Tensor, weight: Tensor, shape: tuple[int, int, int]
) -> Tensor:
    """Make images by sharing each weight bilinearly among the four pixels around its point.

    Parameters
    ----------
    image : Tensor of int64
        Index of the image of each point.
    x, y, weight : Tensor of float
        Positions [px] and weights of the points; their shapes broadcast with that of ``image``.
    shape : (n, ny, nx)
        Shape of the images.

    Returns
    -------
    Tensor of float32, shape (n, ny, nx)
    """
    _, ny, nx = shape
    ix, iy = x.floor(), y.floor()
    fx, fy = x - ix, y - iy
    parts = []
    for oy, wy in ((0, 1 - fy), (1, fy)):
        for ox, wx in ((0, 1 - fx), (1, fx)):
            cx, cy = (ix + ox).long(), (iy + oy).long()
            ok = (cx >= 0) & (cx < nx) & (cy >= 0) & (cy < ny)
            parts.append((torch.where(ok, (image * ny + cy) * nx + cx, -1), weight * wx * wy))
    return added(parts, math.prod(shape), x.device).float().reshape(shape)


def _drifts(aberrations: Sequence[Aberrations], size: int, device: torch.device) -> Tensor:
    """Return the Fourier transforms of drifts, which are rows of points, (p, size, size/2 + 1)."""
    # The sum over n points of spacing d is the Dirichlet kernel.
    count = [max(3, int(np.ceil(a.drift * 3))) if a.drift else 1 for a in aberrations]
    step = [a.drift / (n - 1) if n > 1 else 0.0 for a, n in zip(aberrations, count, strict=True)]
    n = _column(count, device)
    along = _column(step, device) * OVERSAMPLING
    angle = _column([a.drift_angle for a in aberrations], device)
    fx = torch.fft.rfftfreq(size, device=device)[None, None, :]
    fy = torch.fft.fftfreq(size, device=device)[None, :, None]
    half = torch.pi * along * (fx * torch.cos(angle) + fy * torch.sin(angle))
    sine = torch.sin(half)
    # 1 at the origin, and ±1 at frequencies at which the seeing is negligible.
    peak = sine.abs() < 1e-4
    return torch.where(peak, 1.0, torch.sin(n * half) / (n * torch.where(peak, 1.0, sine)))


def _column(values: Sequence[float], device: torch.device) -> Tensor:
    """Return one number per profile, shape (p, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32, device=device)[:, None, None]
