"""What arguments of Python are called on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

__all__ = ["option_names"]

#: What the parameters of commands are called in Python, where it differs.
_ARGUMENTS: Final[Mapping[str, str]] = {
    "earlier": "keep",
    "from_": "origin",
    "http": "port",
    "mqtt": "url",
    "new_snr": "snr",
    "out_folder": "out",
    "patience": "patience_s",
    "poll": "poll_s",
    "queue": "limit",
    "set_": "changes",
    "tune": "tuning",
    "with_": "detectors",
}


def option_names(parameters: Iterable[Any]) -> dict[str, str]:
    """Return the options of a command by the names that its parameters have in Python.

    Parameters
    ----------
    parameters : iterable of click's Parameter
        Those of the command.
    """
    options = {
        one.name: max(one.opts, key=len)
        for one in parameters
        if one.name and one.param_type_name == "option"
    }
    return {**options, **{_ARGUMENTS[n]: o for n, o in options.items() if n in _ARGUMENTS}}
