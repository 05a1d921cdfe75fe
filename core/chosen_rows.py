"""The catalogue of one frame for its user: the rows that count, with their provenance."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.detector import Detector, detector_info
from skyduel.core.frame import Plane
from skyduel.core.magnitudes import flux_to_mag
from skyduel.core.operating_point import THRESHOLD_KEY, RowChoice

__all__ = ["chosen_rows", "instrumental_magnitudes"]

_INSTRUMENTAL: Final = "instrumental: -2.5 log10(flux), zero-point 0"


def chosen_rows(
    found: Catalog, detector: Detector, label: str, choice: RowChoice, plane: Plane
) -> Catalog:
    """Return the rows of a catalogue that count, and its provenance in the metadata.

    Parameters
    ----------
    found : Catalog
        Every detection on the frame, with the common measurements.
    detector : Detector
        The detector.
    label : str
        Name of the detector as the user knows it.
    choice : RowChoice
        Which rows are kept.
    plane : Frame or LargeImage
        For the zero-point: without one, magnitudes are instrumental.

    Returns
    -------
    Catalog
        The metadata are numbers and words with keys of at most eight characters, so that every
        format can hold them: ``program``, ``detector``, ``settings`` (all of them, as JSON),
        ``weights`` (SHA-256), ``thresh``, ``rows`` (which are here), ``nfainter`` (how many are
        not), ``fluxtype`` and ``magtype``.
    """
    info = detector_info(detector)
    threshold = choice.threshold_on(found, info, label)
    keep = choice.rows(found["score"], threshold)
    kept = instrumental_magnitudes(found.select(keep), plane.zero_point)
    facts: dict[str, Any] = {
        "program": f"skyduel {_version()}",
        "detector": label,
        "settings": json.dumps(detector.settings.model_dump(mode="json"), sort_keys=True),
        "weights": info.weights_sha256,
        "external": info.program_version,
        THRESHOLD_KEY: threshold,
        "rows": _words(choice, threshold),
        "nfainter": int((~keep).sum()),
        "fluxtype": info.flux_kind,
        "magtype": _INSTRUMENTAL if plane.zero_point is None else "on the frame's zero-point",
        "magzp": 0.0 if plane.zero_point is None else float(plane.zero_point),
    }
    if plane.zero_point is None:
        for name in {"mag", "aper_mag"} & set(kept.table.colnames):
            kept.table[name].description = f"{_INSTRUMENTAL} (no zero-point is known)"
    kept.table.meta.update({key: value for key, value in facts.items() if value is not None})
    return kept


def instrumental_magnitudes(found: Catalog, zero_point: float | None) -> Catalog:
    """Return a catalogue without empty magnitudes: instrumental ones where no zero-point is known.

    Parameters
    ----------
    found : Catalog
        With ``flux`` [ADU]. ``aper_mag`` is instrumental already without a zero-point.
    zero_point : float or None
        Of the frame. With it the catalogue is returned as it is.

    Returns
    -------
    Catalog
        With ``mag`` = -2.5 log10(flux) unless the detector itself measured magnitudes.
    """
    if zero_point is not None or np.isfinite(found["mag"]).any():
        return found
    return found.with_columns(mag=flux_to_mag(found["flux"], 0.0))


def _words(choice: RowChoice, threshold: float | None) -> str:
    """Say which rows a catalogue has."""
    if choice.everything or (threshold is None and choice.most is None):
        return "all"
    words = [] if threshold is None else [f"score >= {threshold:.6g}"]
    if choice.purity is not None:
        words.append(f"for an expected purity of {choice.purity:g}")
    if choice.most is not None:
        words.append(f"at most {choice.most}, of the highest scores")
    return ", ".join(words)


def _version() -> str:
    try:
        return version("skyduel")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "of a checkout"
