"""The project's own exceptions.

Everything a user can cause by handing in an unusable file, table or setting is
a `BadInputError`, so that the command line can turn exactly those into one
line and exit status 2, and let genuine faults show their traceback.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["BadInputError", "SkyduelError", "UnwritableError", "one_line", "printable"]

# C0, C1 and DEL, line ends of Unicode, and what turns the direction of writing round.
_ACTS: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff\ufff9-\ufffb]"
)
_LONGEST: Final = 600


def one_line(error: BaseException, longest: int = 200) -> str:
    """Return an exception's message as one line of bounded length; its type's name without one."""
    return (" ".join(str(error).split()) or type(error).__name__)[:longest]


def printable(text: str, longest: int = _LONGEST) -> str:
    r"""Return text as one line that a terminal only shows.

    What would act instead (escape sequences, line ends, a change of direction) is written
    as in Python (``\x1b``), and the middle of what is longer than `longest` is left out.
    """
    if len(text) > longest:
        half = longest // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return _ACTS.sub(
        lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text
    )


class SkyduelError(Exception):
    """Base of every exception this project raises on purpose."""


class BadInputError(SkyduelError, ValueError):
    """Input that cannot be used.

    Parameters
    ----------
    source : str
        The file, frame or argument at fault.
    required : str
        What was required of it.
    got : str
        What came instead.
    """

    def __init__(self, source: str, required: str, got: str) -> None:
        # Parts may quote names and cells of a file; none may act on the terminal.
        super().__init__(
            f"{printable(source)}: required {printable(required)}; got {printable(got)}"
        )
        self.source = source
        self.required = required
        self.got = got

    def __reduce__(self) -> tuple[type[BadInputError], tuple[str, str, str]]:
        # Exceptions cross process boundaries by pickling `args`, which hold
        # the message here, not the three parts.
        return (type(self), (self.source, self.required, self.got))


class UnwritableError(BadInputError):
    """A place that cannot be written to: missing rights, a full disk."""
