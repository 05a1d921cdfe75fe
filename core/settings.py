"""Settings: checked with one-line errors that suggest the nearest name, and written as TOML."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from skyduel.core.errors import BadInputError, takes

__all__ = [
    "Settings",
    "build_settings",
    "nearest",
    "refuse_unknown",
    "settings_error",
    "toml_value",
]

Model = TypeVar("Model", bound=BaseModel)


if TYPE_CHECKING:
    _Strict = BaseModel  # a call is typed by the fields
else:

    class _OneLineErrors(type(BaseModel)):
        """Metaclass of models whose constructor refuses a value in one line.

        Not `__init__`: pydantic calls that also for nested models and for `model_validate`, whose
        caller knows better whose settings they are.
        """

        def __call__(cls, *args: Any, **values: Any) -> Any:
            try:
                return super().__call__(*args, **values)
            except ValidationError as error:
                # Only now: a model may move settings of older versions to their present place.
                unknown = [
                    str(one["loc"][0])
                    for one in error.errors(include_url=False)
                    if one["type"] == "extra_forbidden" and len(one["loc"]) == 1
                ]
                refuse_unknown(cls, cls.__name__, unknown)
                raise settings_error(cls.__name__, error) from error

    class _Strict(BaseModel, metaclass=_OneLineErrors):
        pass


class Settings(_Strict):
    """Base class of settings: a wrong one is a `BadInputError` of one line.

    Raises
    ------
    BadInputError
        For an unknown setting, naming the nearest one, and for a value that is not allowed.
    """


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice most like ``word``, whatever the case, or None if none is."""
    by_lower = {choice.lower(): choice for choice in choices}
    close = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return by_lower[close[0]] if close else None


@takes(model=type, source=str, overrides=Mapping, base=BaseModel)
def build_settings(
    model: type[Model], source: str, overrides: Mapping[str, Any], base: Model | None = None
) -> Model:
    """Return ``base`` (or the model's defaults) with some settings overridden, validated.

    Parameters
    ----------
    model : type of pydantic model
        What the settings are.
    source : str
        Whose settings they are, for messages.
    overrides : mapping
        Values by the names of the model's fields.
    base : instance of the model, optional
        Where the rest comes from.

    Raises
    ------
    BadInputError
        For a setting that the model does not have, naming the nearest one it
        has, and for a value that is not allowed.
    """
    refuse_unknown(model, source, overrides)
    values = {} if base is None else base.model_dump()
    try:
        return model.model_validate({**values, **overrides})
    except ValidationError as error:
        raise settings_error(source, error) from error


def refuse_unknown(model: type[BaseModel], source: str, values: Iterable[str]) -> None:
    """Refuse a setting that a model does not have.

    Raises
    ------
    BadInputError
        With the nearest one that it has.
    """
    for key in values:
        if key not in model.model_fields:
            close = nearest(key, model.model_fields)
            hint = f"; did you mean {close}?" if close else ""
            raise BadInputError(
                source, f"a setting among {', '.join(model.model_fields)}", f"{key!r}{hint}"
            )


def settings_error(source: str, error: ValidationError) -> BadInputError:
    """Return the first fault that pydantic found as the project's own one-line error."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, BadInputError):  # of a file that a setting names
        return cause
    where = ".".join(str(part) for part in first["loc"]) or "settings"
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return BadInputError(f"{source}: {where}", message, repr(first.get("input")))


def toml_value(value: Any) -> str:
    """Format a value as TOML.

    Parameters
    ----------
    value : str, path, number, bool, list, tuple or mapping of str
        The value; text in it may be any. A lone surrogate, which TOML does not have, becomes
        the text of its escape.

    Raises
    ------
    ValueError
        For a number that is not finite.
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{toml_value(str(k))} = {toml_value(v)}" for k, v in value.items())
        return "{" + inner + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    if isinstance(value, (str, PurePath)):
        text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
        return '"' + "".join(map(_character, text)) + '"'
    return json.dumps(value, allow_nan=False)


def _character(one: str) -> str:
    # JSON's escapes are TOML's but for characters beyond U+FFFF, which JSON writes as two.
    if one in '"\\':
        return "\\" + one
    if one.isprintable():
        return one
    return f"\\u{ord(one):04x}" if ord(one) <= 0xFFFF else f"\\U{ord(one):08x}"
