"""The error of a solution that cannot be used."""

from __future__ import annotations

__all__ = ["UnusableWcs"]


class UnusableWcs(ValueError):
    """Celestial coordinates that are stated and cannot be used; its text says why."""
