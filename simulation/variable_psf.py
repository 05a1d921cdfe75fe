"""Point-spread functions that vary over the frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from skyduel.simulation.psf import Psf
from skyduel.simulation.render import render_points

__all__ = ["FieldPsf", "Zones", "zone_centres"]

Floats = npt.NDArray[np.float64]


def zone_centres(shape: tuple[int, int], zones: int) -> tuple[Floats, Floats]:
    """Return x and y [px] of the centres of ``zones`` × ``zones`` equal parts, in row order."""
    ny, nx = shape
    along = (np.arange(zones) + 0.5) / zones
    y, x = np.meshgrid(along * ny - 0.5, along * nx - 0.5, indexing="ij")
    return x.ravel(), y.ravel()


class Measured(Protocol):
    """The properties of a PSF that drawing a scene requires."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum [px]."""

    @property
    def psf_sum2(self) -> float:
        """Σ psf²."""


P = TypeVar("P", bound=Measured, covariant=True)


@dataclass(frozen=True, eq=False)
class Zones(Generic[P]):
    """One profile for each of k × k equal zones of a frame, in row order.

    A source has the profile of its zone; a source beside the frame has that of the
    nearest zone. With one zone the profile is constant.
    """

    shape: tuple[int, int]
    psfs: Sequence[P]

    @property
    def fwhm(self) -> float:
        """Median of the zones' widths [px]."""
        return float(np.median([psf.fwhm for psf in self.psfs]))

    @property
    def middle(self) -> P:
        """The profile in the middle of the frame."""
        return self.psfs[len(self.psfs) // 2]

    def zone(self, x: npt.ArrayLike, y: npt.ArrayLike) -> npt.NDArray[np.intp]:
        """Return the index of the zone of each position, shape (n,)."""
        k = round(len(self.psfs) ** 0.5)
        ny, nx = self.shape
        column = np.clip(np.floor((np.asarray(x) + 0.5) * k / nx), 0, k - 1)
        row = np.clip(np.floor((np.asarray(y) + 0.5) * k / ny), 0, k - 1)
        return np.asarray(row * k + column, dtype=np.intp)

    def at(self, x: float, y: float) -> P:
        """Return the profile at one position [px]."""
        return self.psfs[int(self.zone(x, y))]

    def psf_sum2(self, x: Floats, y: Floats) -> Floats:
        """Return Σ psf² of sources at these positions, shape (n,)."""
        return np.array([psf.psf_sum2 for psf in self.psfs])[self.zone(x, y)]


class FieldPsf(Zones[Psf]):
    """A tabulated point-spread function for each zone of a frame."""

    def render(
        self, x: Floats, y: Floats, flux: Floats, negligible: float
    ) -> npt.NDArray[np.float32]:
        """Render the expected image of point sources; see `render_points`."""
        if len(self.psfs) == 1:
            return render_points(self.shape, x, y, flux, self.psfs[0], negligible)
        zone = self.zone(x, y)
        image = np.zeros(self.shape, dtype=np.float32)
        for index in np.unique(zone):
            mine = zone == index
            image += render_points(
                self.shape, x[mine], y[mine], flux[mine], self.psfs[index], negligible
            )
        return image
