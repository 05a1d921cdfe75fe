"""`Frame`: one image, its mask and the facts needed to measure on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError, require_fields

if TYPE_CHECKING:  # astropy.wcs takes long to load, and many frames have no WCS
    from astropy.wcs import WCS

__all__ = ["MOST_FWHM_PX", "FactSource", "Frame", "Plane"]

#: The widest point-spread function a frame may state [px]: kernels and stamps grow with it.
MOST_FWHM_PX: Final = 50.0


@dataclass(frozen=True)
class FactSource:
    """The source of one fact of a frame.

    Parameters
    ----------
    card : str
        Keyword of the header, "WCS", or empty for a value that the caller gave.
    raw : float, str or None
        Value of the card as it stands.
    how : str
        How the fact follows from it, in words; empty if it is the value itself.
    unproven : str
        Why the pixels have to confirm it; empty once they have, or if they need not.
    """

    card: str
    raw: float | str | None
    how: str = ""
    unproven: str = ""

    def __str__(self) -> str:
        """Return card, value and way in one line."""
        stated = f"{self.card} = {self.raw}" if self.raw is not None else self.card
        return ", ".join(part for part in (stated if self.card else "", self.how) if part)


@runtime_checkable
class Plane(Protocol):
    """Name, shape, coordinates and zero-point of a frame, without its pixels."""

    @property
    def name(self) -> str:
        """Name of the frame."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""

    @property
    def wcs(self) -> WCS | None:
        """Celestial coordinates."""

    @property
    def zero_point(self) -> float | None:
        """Magnitude of a source of 1 ADU."""


def _positive(value: float) -> bool:
    return value > 0


# Each fact, what is required of it in words, and as a test of a finite number.
_FACTS: Final[tuple[tuple[str, str, Callable[[float], bool]], ...]] = (
    ("gain", "gain > 0", _positive),
    ("saturation", "saturation > 0", _positive),
    ("exposure_s", "exposure_s > 0", _positive),
    ("fwhm", "fwhm > 0", _positive),
    ("fwhm", f"fwhm of at most {MOST_FWHM_PX:g} px", lambda value: value <= MOST_FWHM_PX),
    ("pixel_scale_arcsec", "pixel_scale_arcsec > 0", _positive),
    ("read_noise", "read_noise >= 0", lambda value: value >= 0),
    ("zero_point", "a finite zero_point", lambda value: True),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One image, its unusable pixels and the facts a detector may know.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Pixel values [ADU]. ``x`` is the column and ``y`` the row; an integer
        coordinate is a pixel's centre, counted from 0. Non-finite values are
        set to 0 and masked, and so is what a masked array masks.
    mask : ndarray of bool, shape (ny, nx), optional
        True where a pixel must not be used.
    name : str
        Identifies the frame in tables and messages.
    gain : float, optional
        Electrons per unit of a pixel (ADU, or what BUNIT names).
    read_noise : float, optional
        Read noise [electrons].
    saturation : float, optional
        Pixel value [ADU] at and above which a pixel is saturated.
    exposure_s : float, optional
        Exposure time [s].
    zero_point : float, optional
        Magnitude of a source of 1 ADU in this frame (not per second).
    fwhm : float, optional
        Full width at half maximum of the point-spread function, in pixels of this frame [px];
        readers convert a seeing in arcsec.
    pixel_scale_arcsec : float, optional
        Width of a pixel on the sky [arcsec].
    wcs : astropy.wcs.WCS, optional
        Celestial coordinates; pixel origin 0, integer at the pixel's centre.
    header : mapping, optional
        Further facts of the header, kept for the record.
    sources : mapping of str to FactSource, optional
        The source of each fact, by the fact's name.

    Raises
    ------
    BadInputError
        If the image is not two-dimensional, is empty, has no usable pixel, or
        if the mask's shape or a fact's value is impossible.

    Notes
    -----
    The arrays are read-only: every detector gets the same record, and
    none may change what the next one sees.
    """

    data: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_] | None = None
    name: str
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    exposure_s: float | None = None
    zero_point: float | None = None
    fwhm: float | None = None
    pixel_scale_arcsec: float | None = None
    wcs: WCS | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, FactSource] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_fields(self, name=str, header=Mapping, sources=Mapping)
        raw = np.asarray(self.data)
        if np.ma.isMaskedArray(self.data):  # whose mask np.asarray drops
            own = np.ma.getmaskarray(self.data)
            if self.mask is not None and np.shape(self.mask) == own.shape:
                own = own | np.asarray(self.mask).astype(bool)
            if self.mask is None or np.shape(self.mask) == own.shape:
                object.__setattr__(self, "mask", own)
        if raw.ndim != 2:
            raise BadInputError(
                self.name, "a two-dimensional image (ny, nx)", f"{raw.ndim}-D, shape {raw.shape}"
            )
        if raw.size == 0:
            raise BadInputError(self.name, "an image with pixels", f"shape {raw.shape}")
        if raw.dtype.kind not in "iufb":
            raise BadInputError(self.name, "real pixel values", f"type {raw.dtype}")
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf: masked below
            data = np.array(raw, dtype=np.float32, order="C")
        bad = ~np.isfinite(data)
        if self.mask is not None:
            mask = np.asarray(self.mask)
            if mask.shape != data.shape:
                raise BadInputError(
                    self.name, f"a mask of the image's shape {data.shape}", f"shape {mask.shape}"
                )
            bad |= mask.astype(bool)
        if bad.all():
            raise BadInputError(
                self.name, "at least one usable pixel", "only masked or non-finite pixels"
            )
        data[~np.isfinite(data)] = 0.0
        for fact, required, possible in _FACTS:
            value = getattr(self, fact)
            if value is not None and not (_finite(value) and possible(value)):
                raise BadInputError(self.name, required, repr(value))
        data.flags.writeable = False
        bad.flags.writeable = False
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "mask", bad)
        object.__setattr__(self, "header", MappingProxyType(dict(self.header)))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))

    @property
    def bad(self) -> npt.NDArray[np.bool_]:
        """The mask, never None: True where a pixel must not be used, shape (ny, nx)."""
        assert self.mask is not None  # set by __post_init__; narrows the type
        return self.mask

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        ny, nx = self.data.shape
        return ny, nx

    def saturated(self) -> npt.NDArray[np.bool_]:
        """Return True for saturated pixels, shape (ny, nx); for none if the level is unknown."""
        if self.saturation is None:
            return np.zeros(self.shape, dtype=bool)
        return np.asarray(self.data >= self.saturation)

    def usable_at(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Return True for positions on an unmasked pixel of the frame.

        Parameters
        ----------
        x, y : ndarray of float64, shape (n,)
            Positions [px, 0-based]; NaN lies on no pixel.
        """
        return self._pixel_is(~self.bad, x, y)

    def masked_at(
        self, x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Return True for positions on a masked pixel; those off the frame are on none.

        Parameters
        ----------
        x, y : ndarray of float64, shape (n,)
            Positions [px, 0-based].
        """
        return self._pixel_is(self.bad, x, y)

    def _pixel_is(
        self,
        image: npt.NDArray[np.bool_],
        x: npt.NDArray[np.float64],
        y: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.bool_]:
        """Return an image's values at positions, False off the frame."""
        ny, nx = self.shape
        # Compared before they become integers, which far away would overflow.
        on = np.asarray((x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5))
        row, column = (np.floor(v[on] + 0.5).astype(np.int64) for v in (y, x))
        on[on] = image[row, column]
        return on

    def with_(self, **changes: Any) -> Frame:
        """Return a copy with some facts replaced, after the same checks."""
        if "sources" not in changes:
            kept = {fact: source for fact, source in self.sources.items() if fact not in changes}
            changes = {**changes, "sources": kept}
        return replace(self, **changes)

    def __getstate__(self) -> dict[str, Any]:
        # A mapping proxy does not pickle, and frames travel to worker processes.
        return {**self.__dict__, "header": dict(self.header), "sources": dict(self.sources)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "header", MappingProxyType(dict(self.header)))
        object.__setattr__(self, "sources", MappingProxyType(dict(self.sources)))
        self.data.flags.writeable = False
        self.bad.flags.writeable = False

    def __repr__(self) -> str:
        ny, nx = self.shape
        facts = ", ".join(
            f"{k}={getattr(self, k):g}"
            for k in ("gain", "saturation", "zero_point", "fwhm")
            if getattr(self, k) is not None
        )
        return f"Frame({self.name!r}, ny={ny}, nx={nx}, masked={int(self.bad.sum())}, {facts})"


def _finite(value: Any) -> bool:
    """Return True if a value is one finite real number."""
    try:
        return bool(np.isfinite(value)) and not isinstance(value, complex)
    except (TypeError, ValueError):
        return False
