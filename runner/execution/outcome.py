"""The result of one frame's work in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """Outcome of the work on one frame: facts for the record, or the reason of its failure.

    ``about_frame`` is True if the frame could not be used, False if the detector failed.
    """

    frame: str
    facts: dict[str, Any]
    reason: str | None = None
    about_frame: bool = False
