"""Celestial coordinates of a frame from the files of astrometry.net's solve-field beside it."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import existing_file
from skyduel.core.io.images.celestial import celestial_wcs
from skyduel.core.io.images.fits_header_checks import check_headers
from skyduel.core.io.images.image_formats import frame_name
from skyduel.core.io.images.image_reader import without_brackets

__all__ = ["read_solution", "solution_beside", "unsolved"]

#: What solve-field writes: the header of the solution, the image with it, the matched stars.
_ENDINGS: Final = (".wcs", ".new", ".corr")
_STARS: Final = ("field_x", "field_y", "index_ra", "index_dec")
#: Stars from which a polynomial of the second order is fitted besides the linear solution.
_MANY: Final = 30
_FEWEST: Final = 4


def solution_beside(frame: Path) -> Path | None:
    """Return the file of a solution beside a frame, None without one.

    Parameters
    ----------
    frame : Path
        ``night/a.fits.fz`` has ``night/a.wcs`` or ``night/a.fits.wcs``, or ``.new`` or ``.corr``.
    """
    file = without_brackets(frame)
    stems = dict.fromkeys((frame_name(file), file.stem, file.name))
    for ending in _ENDINGS:
        for stem in stems:
            place = file.parent / f"{stem}{ending}"
            if place.is_file():
                return place
    return None


def unsolved(frame: Path, plane: Plane, scale_arcsec: float | None) -> BadInputError:
    """Return the error for a frame without coordinates: how to solve it.

    Parameters
    ----------
    frame : Path
    plane : Frame or LargeImage
    scale_arcsec : float or None
        Width of a pixel, which makes solving quicker.
    """
    file = without_brackets(frame)
    scale = ""
    if scale_arcsec is not None:
        scale = (
            f" --scale-units arcsecperpix --scale-low {0.9 * scale_arcsec:.3g} "
            f"--scale-high {1.1 * scale_arcsec:.3g}"
        )
    return BadInputError(
        plane.name,
        f"celestial coordinates (WCS): `solve-field{scale} {file}` of astrometry.net writes "
        f"{file.with_suffix('.wcs').name}, which is then read",
        "none in the header and no solution beside it",
    )


def read_solution(path: Path, plane: Plane) -> tuple[WCS, str]:
    """Return the coordinates in a file of astrometry.net, and what was read in words.

    Parameters
    ----------
    path : Path
        A FITS file: a header with a solution (``.wcs``), an image with one (``.new``), or the
        table of matched stars (``.corr``), to which a tangential projection is fitted.
    plane : Frame or LargeImage
        The frame it has to belong to.

    Raises
    ------
    BadInputError
        If the file cannot be read, holds no solution, or one of an image of another shape.
    """
    source = str(path)
    content = existing_file(path).read_bytes()
    stream = io.BytesIO(content)
    check_headers(stream, source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            with fits.open(stream, memmap=False, disable_image_compression=True) as hdus:
                stars = next((h for h in hdus if _has_stars(h)), None)
                if stars is not None:
                    return _fitted(stars.data, plane, path)
                return _stated(hdus, plane, path)
        except BadInputError:
            raise
        except Exception as error:  # astropy raises a dozen types on damaged files
            raise BadInputError(
                source, "a FITS file of astrometry.net (.wcs, .new, .corr)", one_line(error)
            ) from error


def _has_stars(hdu: Any) -> bool:
    if not isinstance(hdu, fits.BinTableHDU):
        return False
    return set(_STARS) <= {str(name).lower() for name in hdu.columns.names}


def _stated(hdus: fits.HDUList, plane: Plane, path: Path) -> tuple[WCS, str]:
    """Return the solution of the first header that has one."""
    ny, nx = plane.shape
    trouble = "no celestial coordinates in it"
    for hdu in hdus:
        header = hdu.header.copy()
        keys = ("ZNAXIS1", "ZNAXIS2") if "ZNAXIS1" in header else ("NAXIS1", "NAXIS2")
        if "IMAGEW" in header:
            keys = ("IMAGEW", "IMAGEH")
        sides = tuple(header.get(key) for key in keys)
        if "CTYPE1" not in header:
            continue
        if None not in sides and sides != (nx, ny):
            raise BadInputError(
                str(path), f"the solution of an image of {nx} x {ny} px ({plane.name})",
                f"one of {sides[0]} x {sides[1]} px",
            )  # fmt: skip
        header["NAXIS1"], header["NAXIS2"] = nx, ny
        wcs, said = celestial_wcs(header, hdus)
        if wcs is not None:
            return wcs, f"coordinates of {path.name}"
        trouble = said or trouble
    raise BadInputError(str(path), "celestial coordinates", trouble)


def _fitted(stars: Any, plane: Plane, path: Path) -> tuple[WCS, str]:
    """Return a tangential projection fitted to matched stars, whose pixels count from 1."""
    x, y, ra, dec = (np.asarray(stars[name], dtype=np.float64) for name in _STARS)
    known = np.isfinite(x + y + ra + dec) & (np.abs(dec) <= 90)
    if known.sum() < _FEWEST:
        raise BadInputError(str(path), f"at least {_FEWEST} matched stars", str(int(known.sum())))
    x, y, sky = x[known] - 1, y[known] - 1, SkyCoord(ra[known], dec[known], unit="deg")
    ny, nx = plane.shape
    if x.max() > nx - 0.5 or y.max() > ny - 0.5:
        raise BadInputError(
            str(path), f"stars of an image of {nx} x {ny} px ({plane.name})",
            f"a star at x {x.max():.0f}, y {y.max():.0f}",
        )  # fmt: skip
    degree = 2 if known.sum() >= _MANY else None
    wcs = fit_wcs_from_points((x, y), sky, sip_degree=degree)
    back = wcs.all_world2pix(sky.ra.deg, sky.dec.deg, 0, quiet=True)
    rms = float(np.sqrt(np.mean((back[0] - x) ** 2 + (back[1] - y) ** 2)))
    return wcs, f"coordinates fitted to {len(x)} stars of {path.name}, rms {rms:.2f} px"
