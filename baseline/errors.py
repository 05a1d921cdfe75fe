"""The error that a classical detector raises when it fails on a frame."""

from __future__ import annotations

from skyduel.core.errors import SkyduelError

__all__ = ["DetectionError"]


class DetectionError(SkyduelError):
    """Raised when a detector fails on one frame; the run continues with the others.

    Parameters
    ----------
    frame : str
        The frame's name.
    reason : str
        What failed, in one line.
    """

    def __init__(self, frame: str, reason: str) -> None:
        super().__init__(f"{frame}: detection failed: {reason}")
        self.frame = frame
        self.reason = reason

    def __reduce__(self) -> tuple[type[DetectionError], tuple[str, str]]:
        # As for BadInputError: `args` holds the message, not the two parts.
        return (type(self), (self.frame, self.reason))
