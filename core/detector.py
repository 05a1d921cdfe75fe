"""The whole contract between the suite and a detector."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from pydantic import BaseModel

from skyduel.core.catalog import Catalog
from skyduel.core.frame import Frame

__all__ = ["Detector"]


@runtime_checkable
class Detector(Protocol):
    """Anything with a name, settings and a call from frame to catalogue.

    ``settings`` is a frozen pydantic model; it is written to the run record.
    If it has a field ``score_threshold``, the catalogue cut at that score is
    the detector's *default operating point*; without it every returned row
    belongs to the default. The call returns every detection above the
    detector's own floor, so that its score can be swept.
    """

    @property
    def name(self) -> str:
        """Name shown in tables and figures."""

    @property
    def settings(self) -> BaseModel:
        """The resolved settings, for the run record."""

    def __call__(self, frame: Frame) -> Catalog:
        """Return what was found on one frame, coordinates 0-based in px."""
