"""Who takes part, as the command line and a TOML file say it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from catalog import BadInputError, Detector

__all__ = [
    "DEFAULT_CONTESTANTS",
    "TUNED_CONTESTANTS",
    "Contestant",
    "build",
    "parse_contestants",
]

#: Who runs when nobody is named: the network, SExtractor's defaults, and SEP at its best form.
DEFAULT_CONTESTANTS: Final = ("neural", "sep", "sep-matched")
#: ... and when everybody is tuned: the classical answers to what SEP alone can't do as well.
TUNED_CONTESTANTS: Final = (*DEFAULT_CONTESTANTS, "sep-cleaned", "daofind")


class Contestant(BaseModel):
    """One detector under the name it has in this run.

    ``per_frame`` holds settings of single frames, by their names, over ``settings``: those
    chosen on other halves of a set.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    use: str
    settings: dict[str, Any] = {}
    per_frame: dict[str, dict[str, Any]] = {}

    def on(self, frame: str) -> Contestant:
        """Return the contestant as it is on one frame."""
        if not self.per_frame:
            return self
        settings = {**self.settings, **self.per_frame.get(frame, {})}
        return self.model_copy(update={"settings": settings, "per_frame": {}})


def parse_contestants(
    names: Iterable[str],
    changes: Iterable[str] = (),
    tables: Mapping[str, Any] | None = None,
) -> list[Contestant]:
    """Return the contestants in the order given.

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

    Raises
    ------
    BadInputError
        If a label comes twice, or a change is malformed or of a label that does not run.
    """
    chosen: dict[str, Contestant] = {}
    tables = dict(tables or {})
    for text in names:
        label, _, use = text.partition("=")
        if not label:
            raise BadInputError("--with", "NAME or LABEL=NAME", repr(text))
        if label in chosen:
            raise BadInputError("--with", "each label once", f"{label!r} twice")
        table = tables.get(label, {})
        if not isinstance(table, Mapping):
            raise BadInputError(f"[detector.{label}]", "a table of settings", repr(table))
        settings = dict(table)
        named = settings.pop("use", label)
        chosen[label] = Contestant(name=label, use=use or str(named), settings=settings)
    for text in changes:
        target, equals, value = text.partition("=")
        label, dot, key = target.rpartition(".")
        if not (equals and dot and label and key):
            raise BadInputError("--set", "LABEL.SETTING=VALUE", repr(text))
        if label not in chosen:
            raise BadInputError("--set", f"a label among {', '.join(chosen)}", repr(label))
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value
        old = chosen[label]
        chosen[label] = old.model_copy(update={"settings": {**old.settings, key: parsed}})
    return list(chosen.values())


def build(contestant: Contestant) -> Detector:
    """Return the detector of a contestant."""
    from baseline import make_detector  # SEP and torch load only where a detector is wanted

    return make_detector(contestant.use, contestant.settings)
