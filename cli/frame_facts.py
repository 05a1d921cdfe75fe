"""Options that supply facts of frames, and lines on the facts that are missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Optional

import typer

from skyduel.core.errors import BadInputError

__all__ = [
    "FirstOfItsKind",
    "Fwhm",
    "Gain",
    "ZeroPoint",
    "decision_lines",
    "given_facts",
    "hot_pixel_line",
    "missing_lines",
]  # fmt: skip

ZeroPoint = Annotated[
    Optional[float],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(metavar="MAG", help="Magnitude of a source of 1 ADU, above the header's."),
]
Fwhm = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(metavar="PX", help="Full width at half maximum of stars in px, above the header."),
]
Gain = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(metavar="E/ADU", help="Electrons per pixel unit, above the header's."),
]

# What follows without the fact, and the option that supplies it.
_WITHOUT: Final[Mapping[str, tuple[str, str]]] = {
    "zero_point": ("magnitudes are instrumental, -2.5 log10(flux)", "--zero-point"),
    "fwhm": ("filter and aperture have the width of an ordinary frame", "--fwhm"),
    "gain": ("errors leave out the photon noise of the sources", "--gain"),
}
_NAMES: Final = {"zero_point": "zero-point", "fwhm": "FWHM", "gain": "gain"}
_NUMBER: Final = re.compile(r"[0-9][0-9.,]*")
#: At most this many header keys are named.
_MOST_KEYS: Final = 6


def given_facts(**values: float | None) -> dict[str, float]:
    """Return the facts that options gave.

    Raises
    ------
    BadInputError
        If a gain or a width is not positive, or a width is too large for any frame.
    """
    from skyduel.core.io.pixel_checks.check_facts import check_given

    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if name != "zero_point" and not value > 0:
            raise BadInputError(f"--{name}", "a number above 0", repr(value))
    check_given("--fwhm", given)
    return given


def decision_lines(
    name: str, notes: Iterable[str] = (), set_aside: Iterable[str] = ()
) -> Iterator[str]:
    """Yield one line for each decision on a frame's file, then for each fact set aside."""
    yield from notes
    yield from (f"{name}: {line}" for line in set_aside)


class FirstOfItsKind:
    """Lines of many frames: each kind is told once, and then how many other frames have it.

    Lines are of one kind that differ only in the name of the frame and in numbers.
    """

    def __init__(self) -> None:
        self._others: dict[str, tuple[str, int]] = {}

    def new(self, name: str, lines: Iterable[str]) -> Iterator[str]:
        """Yield the lines on a frame that are the first of their kinds."""
        for line in lines:
            text = line.removeprefix(f"{name}: ")
            kind = _NUMBER.sub("#", text)
            if kind in self._others:
                first, n = self._others[kind]
                self._others[kind] = first, n + 1
            else:
                self._others[kind] = text, 0
                yield line

    def rest(self) -> Iterator[str]:
        """Yield one line for each kind that other frames have as well."""
        for first, n in self._others.values():
            if n:
                yield f"{first} (and so on {n} other frame{'' if n == 1 else 's'})"


def missing_lines(missing: Mapping[str, int], n_frames: int) -> Iterator[str]:
    """Yield one line for each fact that frames lack.

    Parameters
    ----------
    missing : mapping of str to int
        How many frames lack each fact.
    n_frames : int
        How many there are.
    """
    from skyduel.core.io.images.fact_rules import FACT_RULES

    for fact, (consequence, option) in _WITHOUT.items():
        n = missing.get(fact, 0)
        if not n:
            continue
        keys = FACT_RULES[fact].keys
        looked = ", ".join(keys[:_MOST_KEYS]) + (", …" if len(keys) > _MOST_KEYS else "")
        where = "" if n_frames == 1 else f" in {n} of {n_frames} frames"
        yield f"no {_NAMES[fact]}{where}: {consequence}; {option} sets it (header: {looked})"


def hot_pixel_line(n: int, n_frames: int) -> str:
    """Return what to do about so many hot pixels, which so many frames were seen to have."""
    return (
        f"no dark: {n} bright pixels stand alone at the same place in {n_frames} frames, as hot "
        "pixels do, and may be taken for sources; darks in a folder dark/ beside the frames, or "
        "`skyduel calibrate`, remove them"
    )
