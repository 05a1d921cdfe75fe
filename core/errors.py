"""The project's own exceptions.

All errors that a user can cause with an unusable file, table or setting are
`BadInputError`s. The command line turns these, and only these, into one line and
exit status 2; other errors show their traceback.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["BadInputError", "SkyduelError", "UnwritableError", "one_line", "printable"]

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


class UnwritableError(BadInputError):
    """A file or folder that cannot be written: missing permissions, a full disk."""
