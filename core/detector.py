"""The contract between the suite and a detector: a required part and an optional part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from inspect import getattr_static
from typing import Final, Protocol, runtime_checkable

from pydantic import BaseModel

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame

__all__ = ["NOTE_KEY", "DescribedDetector", "Detector", "DetectorInfo", "detector_info",
           "require_detector"]  # fmt: skip

#: Key of a catalogue's metadata: how the detector treated this frame otherwise than usual, in
#: one line, which ``detect`` and ``run`` print. Eight characters, as in FITS.
NOTE_KEY: Final = "det_note"

# What settings may call a flux, and SExtractor's word for it.
_FLUX_KINDS: Final[Mapping[str, str]] = {
    "auto": "auto", "kron": "auto", "iso": "iso", "segment": "iso", "aper": "aper", "psf": "psf",
}  # fmt: skip


@runtime_checkable
class Detector(Protocol):
    """The required part: a name, settings and a call from frame to catalogue.

    ``settings`` is a frozen pydantic model; it is written to the run record.
    If it has a field ``score_threshold``, the catalogue cut at that score is
    the detector's *default operating point*; without it every returned row
    belongs to the default. The call returns every detection above the
    detector's own floor, so that its score can be swept.

    Notes
    -----
    The optional parts are `DescribedDetector` (facts for the run record),
    `skyduel.core.search_space.Tunable` and
    `skyduel.core.search_space.TunesInOnePass` (tuning).
    """

    @property
    def name(self) -> str:
        """Name shown in tables and figures."""

    @property
    def settings(self) -> BaseModel:
        """The resolved settings, for the run record."""

    def __call__(self, frame: Frame) -> Catalog:
        """Return the detections on one frame, coordinates 0-based in px."""


@dataclass(frozen=True)
class DetectorInfo:
    """Optional facts about a detector.

    Every field has a default, so a detector states only the facts that apply.

    Parameters
    ----------
    weights_sha256 : str, optional
        Hash of the file of weights. It is part of the identity of a run: catalogues
        made with other weights are not reused.
    program_version : str, optional
        Version of an external program that does the work. Also part of the identity.
    device : str
        Where the detector computes, for example ``cpu`` or ``cuda``.
    needs_pixels : bool
        False for a detector that looks catalogues up instead of reading pixels. It is
        called once with a whole large image, not section by section.
    not_reproduced : tuple of str
        One sentence for each setting of a configuration file that the detector
        does not honour. They are shown beside its results. Empty: the field
        ``not_reproduced`` of the settings, if there is one.
    default_threshold : float, optional
        Score of the default operating point. None: the field ``score_threshold`` of the
        settings, if there is one; otherwise every returned row belongs to it. Only a
        threshold that is a settings field can be tuned.
    score_is_probability : bool
        True if a score is the probability that the detection is real, calibrated on known
        sources. The mean score of some rows is then their expected purity.
    flux_kind : str, optional
        What the column ``flux`` is, in SExtractor's words: ``auto`` (Kron's ellipse), ``iso``,
        ``aper`` or ``psf``. None: the field ``flux`` of the settings, if it is one of these.
    """

    weights_sha256: str | None = None
    program_version: str | None = None
    device: str = "cpu"
    needs_pixels: bool = True
    not_reproduced: tuple[str, ...] = ()
    default_threshold: float | None = None
    score_is_probability: bool = False
    flux_kind: str | None = None


def require_detector(made: object, source: str = "detector", what: str = "") -> Detector:
    """Return an object that is a detector.

    Raises
    ------
    BadInputError
        If it has no name, no settings or no call, or is a class of detectors.
    """
    wanted = f"{what}something with a name, settings and a call"
    if isinstance(made, type):
        raise BadInputError(source, wanted, f"the class {made.__name__}")
    if not isinstance(made, Detector):
        raise BadInputError(source, wanted, type(made).__name__)
    return made


@runtime_checkable
class DescribedDetector(Protocol):
    """The optional part of a detector: facts for the runner and the run record."""

    @property
    def info(self) -> DetectorInfo:
        """The facts. The runner reads them after the settings were checked."""


@takes(detector=Detector)
def detector_info(detector: Detector) -> DetectorInfo:
    """Return the optional facts of a detector.

    Parameters
    ----------
    detector : Detector
        With or without an ``info``.

    Returns
    -------
    DetectorInfo
        ``detector.info`` if there is one. Plug-ins written before `DetectorInfo` state
        ``weights_sha256``, ``program_version``, ``device`` and ``needs_pixels`` as
        attributes of the detector; without an ``info`` these are read instead. The
        settings' ``not_reproduced`` and ``score_threshold`` fill what is left at its default.

    Raises
    ------
    BadInputError
        If ``info`` is not a `DetectorInfo`.
    """
    # A static look-up: an AttributeError inside ``info`` must not pass for its absence.
    if getattr_static(detector, "info", None) is None:
        info = _from_attributes(detector)
    else:
        info = detector.info  # type: ignore[attr-defined]
        if not isinstance(info, DetectorInfo):
            raise BadInputError(
                f"detector {detector.name!r}", "info to be a DetectorInfo", type(info).__name__
            )
    settings, threshold = detector.settings, info.default_threshold
    return replace(
        info,
        not_reproduced=info.not_reproduced or tuple(getattr(settings, "not_reproduced", ())),
        default_threshold=(
            getattr(settings, "score_threshold", None) if threshold is None else threshold
        ),
        flux_kind=info.flux_kind or _FLUX_KINDS.get(str(getattr(settings, "flux", ""))),
    )


def _from_attributes(detector: Detector) -> DetectorInfo:
    """Return the facts that a plug-in without ``info`` states as attributes."""
    device = getattr(detector, "device", None)
    return DetectorInfo(
        weights_sha256=getattr(detector, "weights_sha256", None),
        program_version=getattr(detector, "program_version", None),
        device="cpu" if device is None else str(device),
        needs_pixels=bool(getattr(detector, "needs_pixels", True)),
    )
