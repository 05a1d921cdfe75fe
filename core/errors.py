"""The project's own exceptions.

All errors that a user can cause with an unusable file, table or setting are
`BadInputError`s. The command line turns these, and only these, into one line and
exit status 2; other errors show their traceback.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = [
    "PATH",
    "ArgumentError",
    "BadInputError",
    "SkyduelError",
    "UnwritableError",
    "as_numbers",
    "as_pairs",
    "as_positions",
    "one_line",
    "printable",
    "require_each",
    "require_fields",
    "require_kind",
    "takes",
    "with_options",
]

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")

#: What is a path, for `takes`.
PATH: Final = (str, os.PathLike)
#: Where objects come from, by the name of their class.
_HOW_TO_GET: Final[Mapping[str, str]] = {
    "Catalog": "of skyduel.read_catalog, Catalog(table) or Catalog.from_pandas",
    "DataFrame": "of pandas, such as the tables of a run",
    "Dataset": "of skyduel.core.open_dataset",
    "Entry": "of skyduel.core.entry_of",
    "Frame": "of skyduel.read_frame",
    "Generator": "of numpy.random.default_rng",
    "Plane": "of skyduel.read_frame",
    "Psf": "of skyduel.simulation.make_psf, or measure_psf(...).psf",
    "Run": "of skyduel.load_run",
    "SceneSettings": "of skyduel.simulation.draw_settings",
    "ScoreReport": "of skyduel.score",
    "ScoringRules": "of skyduel.evaluation",
    "Table": "of astropy.table",
}
_NAMES: Final[Mapping[str, str]] = {
    "str": "text",
    "Plane": "Frame",
    "Real": "number",
    "Integral": "whole number",
    "NoneType": "None",
    "ndarray": "NumPy array",
}

# C0, C1 and DEL, line ends of Unicode, and characters that change the text direction.
_ACTS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb\ufffe\uffff]"
)
_LONGEST: Final = 600


def one_line(error: BaseException, longest: int = 200) -> str:
    """Return an exception's message, or its type if it has none, as one line of bounded length."""
    return (" ".join(str(error).split()) or type(error).__name__)[:longest]


def printable(text: str, longest: int = _LONGEST) -> str:
    r"""Return text as one line that is safe to print on a terminal.

    Control characters (escape sequences, line ends, a change of direction) are escaped as
    in Python (``\x1b``), and the middle of text longer than `longest` is left out.
    """
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return _ACTS.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text
    )


class SkyduelError(Exception):
    """Base class of the exceptions of this project."""


class BadInputError(SkyduelError, ValueError):
    """Input that cannot be used.

    Parameters
    ----------
    source : str
        The file, frame or argument at fault.
    required : str
        The requirement.
    got : str
        The value found instead.
    """

    def __init__(self, source: str, required: str, got: str) -> None:
        # The parts may quote names and cells of a file, so control characters are escaped.
        super().__init__(
            f"{printable(source)}: required {printable(required)}; got {printable(got)}"
        )
        self.source = source
        self.required = required
        self.got = got

    def __reduce__(self) -> tuple[type[BadInputError], tuple[str, str, str]]:
        # Exceptions are sent to other processes by pickling `args`, which hold
        # the message here, not the three parts.
        return (type(self), (self.source, self.required, self.got))


class ArgumentError(BadInputError):
    """An argument of a function that cannot be used, named as in Python.

    A command line has options in place of arguments: `with_options` names these.

    Parameters
    ----------
    source : str
        The argument at fault.
    required, got : str
        As for `BadInputError`.
    others : tuple of str
        Other arguments that `required` and `got` name.
    """

    def __init__(self, source: str, required: str, got: str, others: tuple[str, ...] = ()) -> None:
        super().__init__(source, required, got)
        self.others = others

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[Any, ...]]:
        return (type(self), (self.source, self.required, self.got, self.others))

    def with_options(self, options: Mapping[str, str]) -> BadInputError:
        """Return the error for a command line: options, by the name of the argument, in its place.

        Arguments without an option stay. A value goes with its argument (``fresh=True``).
        """
        said = [self.required, self.got]
        for name in self.others:
            if name in options:
                word = re.compile(rf"\b{re.escape(name)}\b(=\w+)?")
                said = [word.sub(options[name], text) for text in said]
        return BadInputError(options.get(self.source, self.source), *said)


def with_options(text: str, options: Mapping[str, str]) -> str:
    """Return a note for a command line: options in place of the arguments between backquotes.

    Parameters
    ----------
    text : str
        For example ``the depth is unknown; `depth` sets a limit``.
    options : mapping of str to str
        Options by the name of the argument; an argument without one stays as it is.
    """
    return re.sub(r"`([\w.]+)`", lambda found: options.get(found[1], found[0]), text)


class UnwritableError(BadInputError):
    """A file or folder that cannot be written: missing permissions, a full disk."""


def takes(
    **kinds: type | tuple[type, ...],
) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """Let a function refuse arguments of another type, in one line that names both.

    For functions that users call. An argument whose default is None may be None.

    Parameters
    ----------
    **kinds
        The type of a parameter, or several, by its name.

    Raises
    ------
    BadInputError
        When the function is called with another type.
    TypeError
        When the function is defined, if it lacks one of the parameters.
    """

    def wrap(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        signature = inspect.signature(function)
        if unknown := kinds.keys() - signature.parameters.keys():
            raise TypeError(f"{function.__qualname__} has no parameter {', '.join(unknown)}")
        optional = {n for n, p in signature.parameters.items() if p.default is None}

        @functools.wraps(function)
        def checked(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:  # Python's own names what is missing, unknown or too many
                return function(*args, **kwargs)
            for name, kind in kinds.items():
                value = given.get(name)
                if name in given and not (value is None and name in optional):
                    require_kind(f"{function.__qualname__}: {name}", value, kind)
            return function(*args, **kwargs)

        return checked

    return wrap


def require_kind(source: str, value: object, kind: type | tuple[type, ...]) -> None:
    """Refuse a value of another type.

    Raises
    ------
    BadInputError
        With the type that is required, where its objects come from, and the one that came.
    """
    if not isinstance(value, kind):
        raise BadInputError(source, _in_words(kind), _kind_of(value))


def require_fields(record: object, **kinds: type | tuple[type, ...]) -> None:
    """Refuse a record with a field of another type; a field whose default is None may be None.

    Raises
    ------
    BadInputError
        With the record and the field.
    """
    for name, kind in kinds.items():
        value = getattr(record, name)
        if value is not None or getattr(type(record), name, kinds) is not None:
            require_kind(f"{type(record).__name__}: {name}", value, kind)


def require_each(source: str, values: object, kind: type) -> None:
    """Refuse what is no sequence, and a sequence with a value of another type.

    Raises
    ------
    BadInputError
        With the index of the first such value.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        name = _NAMES.get(kind.__name__, kind.__name__)
        raise BadInputError(source, f"a sequence of {name}", _kind_of(values))
    for k, value in enumerate(values):
        require_kind(f"{source}[{k}]", value, kind)


def as_numbers(
    source: str, values: npt.ArrayLike, required: str = "numbers"
) -> npt.NDArray[np.float64]:
    """Return numbers as an array.

    Raises
    ------
    BadInputError
        If they are none.
    """
    import numpy as np  # not needed by the start of the command line

    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        got = f"{type(values).__name__} {reprlib.repr(values)}"
        raise BadInputError(source, required, got) from error


def as_pairs(source: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return pairs of numbers as an array of shape (n, 2); nothing is no pair.

    Raises
    ------
    BadInputError
        If they are no numbers or have another shape.
    """
    array = as_numbers(source, values, "numbers of shape (n, 2)")
    if array.size == 0:
        return array.reshape(0, 2)
    if array.ndim != 2 or array.shape[1] != 2:
        raise BadInputError(source, "shape (n, 2)", f"shape {array.shape}")
    return array


def as_positions(source: str, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return positions as an array of shape (n, 2) [px].

    Raises
    ------
    BadInputError
        If they are no numbers, have another shape, or are not finite.
    """
    import numpy as np  # not needed by the start of the command line

    array = as_pairs(source, xy)
    lost = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if lost.size:
        raise BadInputError(
            source, "finite positions", f"{array[lost[0]].tolist()} in row {lost[0]}"
        )
    return array


def _in_words(kind: type | tuple[type, ...]) -> str:
    """Name a type, and where its objects come from."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    words = []
    if kinds[: len(PATH)] == PATH:
        words, kinds = ["a path"], kinds[len(PATH) :]
    for one in kinds:
        name = _NAMES.get(one.__name__, one.__name__)
        how = _HOW_TO_GET.get(one.__name__)
        article = "" if name in ("text", "None") else "an " if name[0].lower() in "aeio" else "a "
        words.append(f"{article}{name} ({how})" if how else f"{article}{name}")
    return " or ".join(words)


def _kind_of(value: Any) -> str:
    """Name the type of a value; of text and paths also what they say."""
    if value is None:
        return "None"
    said = f" {str(value)!r}" if isinstance(value, PATH) else ""
    return f"{type(value).__name__}{said}"
