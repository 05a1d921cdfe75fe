"""Read the celestial coordinates (WCS) of a FITS header."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from astropy import log
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from skyduel.core.errors import one_line

__all__ = ["celestial_wcs"]


def celestial_wcs(header: fits.Header, hdus: fits.HDUList | None = None) -> tuple[WCS | None, str]:
    """Return the celestial coordinates of a header, or None and the reason.

    Parameters
    ----------
    header : astropy.io.fits.Header
        SIP and the other distortions are kept.
    hdus : astropy.io.fits.HDUList, optional
        The file, for distortions kept in tables.

    Returns
    -------
    WCS or None
        Two celestial axes; None without them, or if the middle of the image
        has no position.
    str
        Why there is none, empty if the header never promised any.
    """
    with _quiet():
        try:
            wcs = WCS(header, fobj=hdus)
            if not wcs.has_celestial:
                return None, ""
            wcs = wcs.celestial
            middle = [(n - 1) / 2 for n in (header.get("NAXIS1", 1), header.get("NAXIS2", 1))]
            sky = np.asarray(wcs.all_pix2world([middle], 0))
            scales = proj_plane_pixel_scales(wcs)
        except Exception as error:  # wcslib and astropy raise a dozen types on bad headers
            return None, f"celestial coordinates unusable: {one_line(error)}"
        if not (np.isfinite(sky).all() and np.isfinite(scales).all() and (scales > 0).all()):
            return None, "celestial coordinates unusable: the middle of the image has none"
        return wcs, ""


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
