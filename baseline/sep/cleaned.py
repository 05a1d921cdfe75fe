"""The detector ``sep-cleaned``: SEP after the usual cleaning of a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skyduel.baseline.sep.cleaning import CleaningSettings, clean, cleaning_note
from skyduel.baseline.sep.detector import SepDetector
from skyduel.baseline.sep.settings import MATCHED, SepSettings
from skyduel.baseline.sep.tuning_space import CLEANING_SPACE, sep_space
from skyduel.core.catalog import Catalog
from skyduel.core.detector import NOTE_KEY
from skyduel.core.frame import MOST_FWHM_PX, Frame
from skyduel.core.measure.star_width import measure_star_width
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
        score uses such pixels only, so that a cleaned artefact is not detected. On an
        undersampled frame the metadata `NOTE_KEY` say how the cleaning adapted. If the
        header states no FWHM, that measured on the frame's stars is taken for the filter.
        """
        note = cleaning_note(frame, self.settings)
        return _noted(SepDetector(self.name, self.settings)(_prepared(frame, self.settings)), note)

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
            cleaned = _prepared(frame, everyone[numbers[0]])
            detector = SepDetector(self.name, SepSettings())
            full = [everyone[number].model_dump(include=_SEP_FIELDS) for number in numbers]
            note = cleaning_note(frame, everyone[numbers[0]])
            rows = (_noted(one, note) for one in detector.variants(cleaned, full))
            found.update(zip(numbers, rows, strict=True))
        for number in range(len(everyone)):
            yield found[number]


def _prepared(frame: Frame, settings: CleaningSettings) -> Frame:
    """Return the cleaned frame, with the measured width of its stars if its header has none."""
    cleaned = clean(frame, settings)
    width = measure_star_width(frame) if frame.fwhm is None else None
    if width is None or not width.fwhm <= MOST_FWHM_PX:
        return cleaned
    return cleaned.with_(fwhm=width.fwhm)


def _noted(found: Catalog, note: str | None) -> Catalog:
    """Return a catalogue that says how the frame was cleaned."""
    return found if note is None else found.with_meta(**{NOTE_KEY: note})


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
