"""Options that supply facts of frames, and lines on the facts that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Final, Optional

import typer

from skyduel.core.errors import BadInputError

__all__ = ["Fwhm", "Gain", "ZeroPoint", "decision_lines", "given_facts", "missing_lines"]

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
