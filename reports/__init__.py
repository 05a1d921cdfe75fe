"""Figures and the report page, drawn from the files of a run."""

from __future__ import annotations

from reports.folder import Run, load_run

__all__ = ["Run", "load_run"]
