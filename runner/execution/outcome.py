"""The result of one frame's work in a worker process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Outcome"]


@dataclass(frozen=True)
class Outcome:
    """What became of one frame: facts for the record, or the reason it failed.

    ``about_frame`` tells a frame that could not be used from a detector that failed.
    """

    frame: str
    facts: dict[str, Any]
    reason: str | None = None
    about_frame: bool = False
