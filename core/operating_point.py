"""Which rows of a detector's catalogue are kept, and what the catalogue says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.catalog import Catalog
from skyduel.core.detector import Detector, DetectorInfo, detector_info
from skyduel.core.errors import ArgumentError
from skyduel.core.frame import Plane
from skyduel.core.magnitudes import flux_to_mag

__all__ = [
    "THRESHOLD_KEY",
    "RowChoice",
    "chosen_rows",
    "expected_purity_threshold",
    "instrumental_magnitudes",
    "program",
    "stated_threshold",
]

#: Key of a table's metadata: score from which a row is a source. Eight characters, as in FITS.
THRESHOLD_KEY: Final = "thresh"
_INSTRUMENTAL: Final = "instrumental: -2.5 log10(flux), zero-point 0"


@dataclass(frozen=True, kw_only=True)
class RowChoice:
    """Which detections of a frame belong in its catalogue.

    Parameters
    ----------
    threshold : float, optional
        Lowest score. None: the detector's default operating point.
    purity : float, optional
        Keep the most rows whose expected purity is at least this; only for scores that are
        probabilities. Stands in place of ``threshold``.
    most : int, optional
        At most this number of rows, those of the highest scores.
    everything : bool
        Every row above the detector's own floor. The threshold is stated all the same.

    Raises
    ------
    BadInputError
        If two of ``threshold``, ``purity`` and ``everything`` are given, or a value is
        impossible.
    """

    threshold: float | None = None
    purity: float | None = None
    most: int | None = None
    everything: bool = False

    def __post_init__(self) -> None:
        given = [
            name
            for name, there in (
                ("threshold", self.threshold is not None),
                ("purity", self.purity is not None),
                ("everything", self.everything),
            )
            if there
        ]
        if len(given) > 1:
            other = given[0]
            raise ArgumentError(given[1], "one choice of rows", f"{other} as well", (other,))
        if self.everything and self.most is not None:
            raise ArgumentError("most", "a choice of rows", "everything as well", ("everything",))
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise ArgumentError("threshold", "a finite score", repr(self.threshold))
        if self.purity is not None and not 0 < self.purity < 1:
            raise ArgumentError("purity", "a number between 0 and 1", repr(self.purity))
        if self.most is not None and self.most < 1:
            raise ArgumentError("most", "a number, 1 or more", repr(self.most))

    def threshold_on(self, found: Catalog, info: DetectorInfo, name: str) -> float | None:
        """Return the lowest score that counts on a frame, None if every row does.

        Parameters
        ----------
        found : Catalog
            Every detection on the frame.
        info : DetectorInfo
            Of the detector.
        name : str
            Its name, for messages.

        Raises
        ------
        BadInputError
            If a purity is asked of a detector whose scores are no probabilities.
        """
        if self.purity is not None:
            if not info.score_is_probability:
                raise ArgumentError(
                    "purity",
                    "a detector whose scores are probabilities, as neural",
                    f"{name}: give threshold, or run `skyduel run` on frames with a truth, which "
                    "measures purity",
                    ("threshold",),
                )
            return expected_purity_threshold(found["score"], self.purity)
        return info.default_threshold if self.threshold is None else self.threshold

    def rows(self, score: npt.NDArray[np.float64], threshold: float | None) -> npt.NDArray[Any]:
        """Return which rows are kept, shape (n,) of bool.

        Parameters
        ----------
        score : ndarray of float64, shape (n,)
            Scores. A NaN is below every threshold.
        threshold : float or None
            As `threshold_on` returns it.
        """
        keep = np.ones(len(score), dtype=bool)
        if self.everything:
            return keep
        if threshold is not None:
            keep = score >= threshold
        if self.most is not None and keep.sum() > self.most:
            order = np.argsort(np.where(keep, -score, np.inf), kind="stable")
            keep[order[self.most :]] = False
        return keep


def expected_purity_threshold(score: npt.NDArray[np.float64], purity: float) -> float:
    """Return the lowest threshold above which probabilities promise a purity.

    Parameters
    ----------
    score : ndarray of float64, shape (n,)
        Probability that each detection is real.
    purity : float
        Wanted mean of the probabilities of the rows kept.

    Returns
    -------
    float
        A score of the catalogue; 1 if even the surest detection is less sure than that.
    """
    ordered = np.sort(score[np.isfinite(score)])[::-1]
    mean = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    # Rows of equal score are kept or cut together: only the last of them is a threshold.
    last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.zeros(0, bool)
    enough = np.flatnonzero((mean >= purity) & last)
    return float(ordered[enough[-1]]) if enough.size else 1.0


def stated_threshold(meta: Mapping[str, Any]) -> float | None:
    """Return the score from which a row is a source, as a table's metadata states it.

    Keys count without regard to case, for FITS has capitals only.
    """
    for key, value in meta.items():
        if str(key).lower() == THRESHOLD_KEY:
            try:
                number = float(value)
            except (TypeError, ValueError):
                return None
            return number if np.isfinite(number) else None
    return None


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
        "program": program(),
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


def program() -> str:
    """Return the name and version of this program."""
    try:
        return f"skyduel {version('skyduel')}"
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "skyduel of a checkout"
