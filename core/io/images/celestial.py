"""Read the celestial coordinates (WCS) of a FITS header, and write those of a frame."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from astropy import log
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.frame import Plane
from skyduel.core.io.images.wcs_cards import SolutionCards, has_readable_axes, solution_cards
from skyduel.core.io.images.wcs_errors import UnusableWcs
from skyduel.core.wcs import sky_positions

if TYPE_CHECKING:  # astropy.wcs is loaded for the frames that have a WCS
    from astropy.wcs import WCS, DistortionLookupTable

__all__ = ["celestial_wcs", "wcs_header"]


def celestial_wcs(header: fits.Header, hdus: fits.HDUList | None = None) -> tuple[WCS | None, str]:
    """Return the celestial coordinates of a header, and what of them was set aside.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image. Projections and distortions are those of docs/world-coordinates.md.
    hdus : astropy.io.fits.HDUList, optional
        The file, for distortions kept in tables and for a solution in the primary
        header, which counts for an image with INHERIT = T and none of its own.

    Returns
    -------
    WCS or None
        Two celestial axes in the order of the image's; None without them, or if the
        middle of the image has no position.
    str
        Why there is none, or what of it is not used. Empty if there is nothing to say.

    Notes
    -----
    The WCS library sees the cards of `wcs_cards.solution_cards`, never the header itself.
    """
    with _quiet():
        try:
            source, note = _inherited(header, hdus)
            solution = solution_cards(source)
            if solution is None:
                return None, note
            from astropy.wcs import WCS
            from astropy.wcs.utils import proj_plane_pixel_scales

            wcs = WCS(solution.header)
            if not wcs.has_celestial:
                return None, "celestial coordinates unusable: no celestial axes"
            wcs.cpdis1, wcs.cpdis2 = _tables(solution, "prior", hdus)
            wcs.det2im1, wcs.det2im2 = _tables(solution, "detector", hdus)
            middle = [(n - 1) / 2 for n in (header.get("NAXIS1", 1), header.get("NAXIS2", 1))]
            sky = np.asarray(wcs.all_pix2world([middle], 0))
            scales = proj_plane_pixel_scales(wcs)
        except Exception as error:  # wcslib and astropy raise a dozen types on bad headers
            return None, f"celestial coordinates unusable: {one_line(error)}"
        if not (np.isfinite(sky).all() and np.isfinite(scales).all() and (scales > 0).all()):
            return None, "celestial coordinates unusable: the middle of the image has none"
        return wcs, f"celestial coordinates: {'; '.join(solution.notes)}" if solution.notes else ""


def _inherited(header: fits.Header, hdus: fits.HDUList | None) -> tuple[fits.Header, str]:
    """Return the header that states the solution: the image's own or the primary one.

    The second value says that the primary header has a solution which the image does
    not inherit.
    """
    primary = hdus[0].header if hdus is not None and len(hdus) else header
    if primary is header or "CTYPE1" in header or "CTYPE1" not in primary:
        return header, ""
    if header.get("INHERIT") is True:
        return primary, ""
    if solution_cards(header) is not None or solution_cards(primary) is None:
        return header, ""
    return header, "celestial coordinates of the primary header: the image has no INHERIT = T"


def _tables(
    solution: SolutionCards, stage: str, hdus: fits.HDUList | None
) -> tuple[DistortionLookupTable | None, DistortionLookupTable | None]:
    """Return the lookup tables of both axes, checked."""
    versions = solution.prior if stage == "prior" else solution.detector
    name = "WCSDVARR" if stage == "prior" else "D2IMARR"
    tables: list[DistortionLookupTable | None] = [None, None]
    for axis, version in versions.items():
        if hdus is None or (name, version) not in hdus:
            raise UnusableWcs(f"the distortion's table {name}, {version} is missing")
        table = hdus[name, version]
        values = np.asarray(table.data, dtype=np.float32) if table.is_image else np.zeros(0)
        if values.ndim != 2 or min(values.shape) < 2 or not np.isfinite(values).all():
            raise UnusableWcs(f"the distortion's table {name}, {version} is no finite image")
        if f"{stage} {axis}" in solution.transposed:
            values = values.T
        steps = [
            [float(table.header.get(f"{key}{i}", default)) for i in (1, 2)]
            for key, default in (("CRPIX", 0.0), ("CRVAL", 0.0), ("CDELT", 1.0))
        ]
        if not np.isfinite(steps).all() or 0.0 in steps[2]:
            raise UnusableWcs(f"the distortion's table {name}, {version} has no usable grid")
        from astropy.wcs import DistortionLookupTable

        tables[axis - 1] = DistortionLookupTable(np.ascontiguousarray(values), *steps)
    return tables[0], tables[1]


def wcs_header(frame: Plane) -> fits.Header:
    """Return the cards of a frame's WCS as they can be written to a file.

    Parameters
    ----------
    frame : Frame or LargeImage
        Must have a WCS.

    Returns
    -------
    astropy.io.fits.Header
        The solution itself. One that cards cannot hold (lookup tables, a projection
        that is not read) is replaced by a tangential projection with SIP polynomials
        fitted to it, in ICRS; WCSFIT then is the largest error of the fit [px].

    Raises
    ------
    BadInputError
        If the WCS cannot be converted to ICRS or fitted.
    """
    from astropy.coordinates import SkyCoord
    from astropy.wcs.utils import fit_wcs_from_points, proj_plane_pixel_scales

    wcs = frame.wcs
    if wcs is None:
        raise BadInputError(frame.name, "a frame with celestial coordinates (WCS)", "none")
    tables = (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    if has_readable_axes(list(wcs.wcs.ctype)) and all(table is None for table in tables):
        return wcs.to_header(relax=True)
    ny, nx = frame.shape
    x, y = (
        axis.ravel() for axis in np.meshgrid(np.linspace(0, nx - 1, 24), np.linspace(0, ny - 1, 24))
    )
    ra, dec = sky_positions(x, y, frame)
    known = np.isfinite(ra) & np.isfinite(dec)
    with _quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            sky = SkyCoord(ra[known], dec[known], unit="deg")
            fit = fit_wcs_from_points((x[known], y[known]), sky, sip_degree=4)
            back = np.array(fit.all_pix2world(x[known], y[known], 0))
            scale = 3600 * float(np.min(proj_plane_pixel_scales(fit)))
            off = SkyCoord(*back, unit="deg").separation(sky).arcsec.max() / scale
        except Exception as error:  # scipy and astropy raise what they like
            got = f"axes {', '.join(wcs.wcs.ctype)}: {one_line(error)}"
            raise BadInputError(frame.name, "a solution that can be written", got) from error
        header = fit.to_header(relax=True)
    header["WCSFIT"] = (float(f"{off:.3g}"), "[px] largest error of this fitted solution")
    return header


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence astropy's remarks on headers it mends, for this block only."""
    level = log.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            log.setLevel(level)
