"""The detector ``sep-cleaned``: SEP after the usual cleaning of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skyduel.baseline.sep.cleaning import CleaningSettings, clean
from skyduel.baseline.sep.detector import SepDetector
from skyduel.baseline.sep.settings import MATCHED, SepSettings
from skyduel.baseline.sep.tuning_space import CLEANING_SPACE, sep_space
from skyduel.core.catalog import Catalog
from skyduel.core.frame import Frame
from skyduel.core.search_space import Space
from skyduel.core.settings import build_settings

__all__ = ["CleanedSep", "CleanedSepSettings", "sep_cleaned"]


class CleanedSepSettings(SepSettings, CleaningSettings):
    """Settings of the cleaning (`CleaningSettings`) and of SEP (`SepSettings`) in one record."""


@dataclass(frozen=True)
class CleanedSep:
    """Clean the frame, then detect with SEP.

    Parameters
    ----------
    name : str
        Name shown in tables and figures.
    settings : CleanedSepSettings
        Everything that can be chosen.
    """

    name: str
    settings: CleanedSepSettings

    def __call__(self, frame: Frame) -> Catalog:
        """Return the detections of SEP on the cleaned frame, with the columns of `SepDetector`.

        A detection needs at least one pixel that the cleaning did not change, and its
        score uses such pixels only, so that a cleaned artefact is not detected.
        """
        return SepDetector(self.name, self.settings)(clean(frame, self.settings))

    @property
    def tuning_space(self) -> Space:
        """Settings that may be tuned: see `skyduel.baseline.sep.tuning_space`."""
        return {**sep_space(self.settings), **CLEANING_SPACE}

    def variants(self, frame: Frame, changes: Sequence[Mapping[str, Any]]) -> Iterator[Catalog]:
        """Yield the catalogue for each of several changes of settings.

        Variants with the same cleaning share one cleaned frame. The catalogues come in the
        order of ``changes``.
        """
        everyone = [
            build_settings(CleanedSepSettings, f"detector {self.name}", change, self.settings)
            for change in changes
        ]
        alike: dict[tuple[Any, ...], list[int]] = {}
        for number, chosen in enumerate(everyone):
            key = tuple(getattr(chosen, field) for field in CleaningSettings.model_fields)
            alike.setdefault(key, []).append(number)
        found: dict[int, Catalog] = {}
        for numbers in alike.values():
            cleaned = clean(frame, everyone[numbers[0]])
            detector = SepDetector(self.name, SepSettings())
            full = [everyone[number].model_dump(include=_SEP_FIELDS) for number in numbers]
            found.update(zip(numbers, detector.variants(cleaned, full), strict=True))
        for number in range(len(everyone)):
            yield found[number]


_SEP_FIELDS: Final = set(SepSettings.model_fields)


def sep_cleaned(**settings: Any) -> CleanedSep:
    """Return ``sep-cleaned``: the usual cleaning of a frame, then ``sep-matched``.

    Parameters
    ----------
    **settings
        Override fields of `CleanedSepSettings`.

    Raises
    ------
    BadInputError
        For an unknown setting or a value not allowed.
    """
    preset = CleanedSepSettings(**MATCHED)
    return CleanedSep(
        "sep-cleaned",
        build_settings(CleanedSepSettings, "detector sep-cleaned", settings, preset),
    )
