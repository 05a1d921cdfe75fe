"""What a person sees while something runs: results on stdout, the rest on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["Rate", "err", "out", "progress", "watcher", "wide_out"]

# Made at import, decided at use: rich looks at the stream when it prints, so
# colours are off when piped and NO_COLOR is honoured.
out = Console()
err = Console(stderr=True)


def wide_out() -> Console:
    """Return stdout for tables: as wide as the terminal, or in a pipe as wide as they need."""
    return Console(width=None if sys.stdout.isatty() else 120)


def progress() -> Progress:
    """Return a progress bar on stderr with counts, elapsed and remaining time."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
    )


class Rate:
    """How fast something counts up, over everything since it was first asked."""

    def __init__(self) -> None:
        self._began: tuple[int, float] | None = None

    def tell(self, done: int) -> str:
        """Return seconds per step so far, in words; empty at the first."""
        now = time.monotonic()
        if self._began is None:
            self._began = (done, now)
        first, then = self._began
        return f"{(now - then) / (done - first):.2f} s/step" if done > first else ""


def watcher(bar: Progress) -> Callable[[str, str, int], None]:
    """Return what tells a progress bar of stages and of what they finished."""
    tasks: dict[str, Any] = {}

    def watch(stage: str, item: str, total: int) -> None:
        if stage not in tasks:
            note = "" if total else "done before"
            tasks[stage] = bar.add_task(stage, total=total or 1, completed=not total, note=note)
        if item:
            bar.update(tasks[stage], advance=1)

    return watch
