"""Detectors of a run with their settings, from the command line or a TOML file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import ConfigDict, Field

from skyduel.core import BadInputError, Detector
from skyduel.core.errors import ArgumentError
from skyduel.core.extras import is_installed, pip_commands, require_one_of
from skyduel.core.settings import Settings, nearest

__all__ = [
    "DEFAULT_DETECTORS",
    "TUNED_DETECTORS",
    "DetectorSpec",
    "build",
    "installed_defaults",
    "parse_specs",
    "require_installed",
]

#: Detectors of a run by default: the network, SExtractor's defaults, and SEP with a matched filter.
DEFAULT_DETECTORS: Final = ("neural", "sep", "sep-matched")
#: Detectors of a tuned run by default, with two more classical ones.
TUNED_DETECTORS: Final = (*DEFAULT_DETECTORS, "sep-cleaned", "daofind")


#: Libraries of extras of which a detector needs one.
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "neural": ("torch", "onnxruntime"),
    "jia2020": ("torchvision",),
    "daofind": ("photutils",),
    "photutils-source-finder": ("photutils",),
}


def installed_defaults(names: Sequence[str] = DEFAULT_DETECTORS) -> tuple[tuple[str, ...], str]:
    """Return the detectors of a default that can run here, and one line on the others.

    The line is empty if all can run.
    """
    lacking = [
        name for name in names if name in _NEEDS and not any(map(is_installed, _NEEDS[name]))
    ]
    if not lacking:
        return tuple(names), ""
    kept = tuple(name for name in names if name not in lacking)
    command = ", ".join(dict.fromkeys(pip_commands(_NEEDS[name]) for name in lacking))
    return kept, (
        f"{' and '.join(lacking)} left out, not installed ({command}); "
        f"the default here is {', '.join(kept)}"
    )


def require_installed(specs: Iterable[DetectorSpec]) -> None:
    """Raise BadInputError, before any work, if a detector needs an extra that is missing."""
    for spec in specs:
        if spec.use in _NEEDS:
            require_one_of(f"detector {spec.use!r}", _NEEDS[spec.use])


class DetectorSpec(Settings):
    """One detector under the name it has in this run.

    ``per_frame`` holds settings of single frames, by their names, over ``settings``: those
    chosen on other halves of a set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    use: str
    settings: dict[str, Any] = Field(default_factory=dict)
    per_frame: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def on(self, frame: str) -> DetectorSpec:
        """Return the spec with the settings for one frame."""
        if not self.per_frame:
            return self
        settings = {**self.settings, **self.per_frame.get(frame, {})}
        return self.model_copy(update={"settings": settings, "per_frame": {}})


def parse_specs(
    names: Iterable[str],
    changes: Iterable[str] = (),
    tables: Mapping[str, Any] | None = None,
    listed: Iterable[str] = (),
) -> list[DetectorSpec]:
    """Parse names and settings of detectors, in the order given.

    Parameters
    ----------
    names : iterable of str
        ``NAME`` of a registered detector, or ``LABEL=NAME`` to run it under another
        label (for instance twice with different settings).
    changes : iterable of str
        ``LABEL.SETTING=VALUE``; the value is read as JSON, or as text if it is none.
    tables : mapping, optional
        Settings per label, as in the ``[detector.LABEL]`` tables of a TOML file; the key
        ``use`` names the registered detector.
    listed : iterable of str
        Others that the file itself would run, as ``names``: their tables may stand there.

    Raises
    ------
    BadInputError
        If a label comes twice, a change is malformed or of a label that does not run, or a
        table is of no label that one knows.
    """
    chosen: dict[str, DetectorSpec] = {}
    tables = dict(tables or {})
    for text in names:
        label, _, use = text.partition("=")
        if not label:
            raise ArgumentError("detectors", "NAME or LABEL=NAME", repr(text))
        if label in chosen:
            raise ArgumentError("detectors", "each label once", f"{label!r} twice")
        settings = dict(_table(label, tables.get(label, {})))
        named = settings.pop("use", label)
        chosen[label] = DetectorSpec(name=label, use=use or str(named), settings=settings)
    _check_tables(tables, chosen, {text.partition("=")[0] for text in listed})
    for text in changes:
        target, equals, value = text.partition("=")
        label, dot, key = target.rpartition(".")
        if not (equals and dot and label and key):
            raise ArgumentError("changes", "LABEL.SETTING=VALUE", repr(text))
        if label not in chosen:
            close = nearest(label, chosen)
            hint = f"; did you mean {close}?" if close else ""
            raise ArgumentError("changes", f"a label among {', '.join(chosen)}", f"{label!r}{hint}")
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        old = chosen[label]
        chosen[label] = old.model_copy(update={"settings": {**old.settings, key: parsed}})
    return list(chosen.values())


def _table(label: str, table: object) -> Mapping[str, Any]:
    if not isinstance(table, Mapping):
        raise BadInputError(f"[detector.{label}]", "a table of settings", repr(table))
    return table


def _check_tables(
    tables: Mapping[str, Any], chosen: Mapping[str, DetectorSpec], listed: set[str]
) -> None:
    """Refuse a table that nobody would ever use, rather than let its settings go unused.

    Tables of registered detectors may stand by, and so may those that say what they ``use``,
    unless one who runs has a like name and no table: that is a slip of the pen.
    """
    from skyduel.core.registry import available

    others = [label for label in tables if label not in chosen and label not in listed]
    if not others:
        return
    registered = available()
    without = [label for label in chosen if label not in tables]
    for label in others:
        if label in registered:
            continue
        defined = "use" in _table(label, tables[label])
        close = nearest(label, without) or (None if defined else nearest(label, registered))
        if close or not defined:
            hint = f"; did you mean {close}?" if close else ""
            labels = ", ".join(dict.fromkeys([*chosen, *sorted(listed), *registered]))
            raise BadInputError(
                f"[detector.{label}]", f"a label that runs or is registered ({labels})",
                f"{label!r}{hint}",
            )  # fmt: skip


def build(spec: DetectorSpec) -> Detector:
    """Build the detector of a spec."""
    from skyduel.core.registry import (
        make_detector,  # SEP and torch load only where a detector is wanted
    )

    return make_detector(spec.use, spec.settings)
