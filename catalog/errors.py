"""The project's own exceptions.

Everything a user can cause by handing in an unusable file, table or setting is
a `BadInputError`, so that the command line can turn exactly those into one
line and exit status 2, and let genuine faults show their traceback.
"""

from __future__ import annotations

__all__ = ["BadInputError", "SkyduelError"]


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
        super().__init__(f"{source}: required {required}; got {got}")
        self.source = source
        self.required = required
        self.got = got

    def __reduce__(self) -> tuple[type[BadInputError], tuple[str, str, str]]:
        # Exceptions cross process boundaries by pickling `args`, which hold
        # the message here, not the three parts.
        return (type(self), (self.source, self.required, self.got))
