"""Registry of detectors by name: the ones of this package and plug-ins with an entry point."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from skyduel.core.detector import Detector, require_detector
from skyduel.core.errors import BadInputError, one_line, takes
from skyduel.core.extras import missing_extra
from skyduel.core.settings import nearest

__all__ = ["GROUP", "available", "make_detector"]

#: Entry-point group in which a detector's factory is registered.
GROUP: Final = "skyduel.detectors"


def available() -> dict[str, EntryPoint]:
    """Return the entry points of the registered detectors, sorted by name.

    No detector is imported.

    Raises
    ------
    BadInputError
        If two installed packages register different detectors under one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        first = found.setdefault(entry.name, entry)
        if first.value != entry.value:
            raise BadInputError(
                f"detector {entry.name!r}",
                "one installed package that registers it",
                f"{first.value} and {entry.value}",
            )
    return found


@takes(spec=str, overrides=Mapping)
def make_detector(
    spec: str, overrides: Mapping[str, Any] | None = None, **settings: Any
) -> Detector:
    """Build a detector from its registered name.

    Parameters
    ----------
    spec : str
        Name of an entry point of the group ``skyduel.detectors``. The entry point is
        a factory ``factory(**settings) -> Detector``.
    overrides : mapping, optional
        Keyword arguments of the factory, its settings.
    **settings
        The same, one by one: ``make_detector("sep", DETECT_THRESH=2)``.

    Raises
    ------
    BadInputError
        If the name is unknown (the nearest is suggested), the plug-in cannot
        be imported (a missing extra: with the command that installs it), a setting is
        unknown or not allowed, or the factory does not return a detector.
    """
    known = available()
    source = f"detector {spec!r}"
    if spec not in known:
        names = ", ".join(known) or "none: is the package installed?"
        close = nearest(spec, list(known))
        hint = f"an unknown name; did you mean {close}?" if close else "an unknown name"
        raise BadInputError(source, f"a registered detector ({names})", hint)
    entry = known[spec]
    try:
        factory = entry.load()
    except Exception as error:  # importing a plug-in may raise anything
        lacking = missing_extra(source, error) if isinstance(error, ImportError) else None
        if lacking is not None:
            raise lacking from error
        raise BadInputError(
            source, f"an importable {entry.value}", f"{type(error).__name__}: {one_line(error)}"
        ) from error
    if not callable(factory):
        raise BadInputError(source, f"{entry.value} to be a factory", f"{type(factory).__name__}")
    chosen = {**(overrides or {}), **settings}
    _check_call(source, factory, chosen)
    made = factory(**chosen)
    return require_detector(made, source, "a factory of ")


def _check_call(source: str, factory: Any, settings: Mapping[str, Any]) -> None:
    """Raise BadInputError if a factory does not accept these settings."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # compiled callables may have no signature
        return
    try:
        signature.bind(**settings)
    except TypeError as error:
        raise BadInputError(source, f"settings as in factory{signature}", str(error)) from error
