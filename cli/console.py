"""What a person sees while something runs: results on stdout, the rest on stderr."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.control import Control
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.segment import Segment
from rich.text import Text

__all__ = ["Rate", "err", "out", "progress", "shown", "watcher", "wide_out"]

# What acts on a terminal instead of being shown: C0 but the line end, C1, and what turns
# the direction of writing.
_ACTS = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)


def shown(text: str) -> str:
    """Return text in which what would act on a terminal is only shown."""
    return _ACTS.sub("\ufffd", text)


class _Shown:
    """Something to print, whose own text holds nothing that acts on the terminal."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if segment.control is None and _ACTS.search(segment.text):
                yield Segment(shown(segment.text), segment.style)
            else:
                yield segment


class _Shows(RenderHook):
    """Lets names from files be shown on the terminal, never obeyed by it."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [r if isinstance(r, Control) else _Shown(r) for r in renderables]


def _console(**settings: Any) -> Console:
    console = Console(**settings)
    console.push_render_hook(_Shows())
    return console


# Made at import, decided at use: rich looks at the stream when it prints, so
# colours are off when piped and NO_COLOR is honoured.
out = _console()
err = _console(stderr=True)


def wide_out() -> Console:
    """Return stdout for tables: as wide as the terminal, or in a pipe as wide as they need."""
    return _console(width=None if sys.stdout.isatty() else 120)


def progress() -> Progress:
    """Return a progress bar on stderr with counts, elapsed time, rate and remaining time."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _Pace(),
        TextColumn("{task.fields[note]}"),
        console=err,
    )


class Rate:
    """How fast something counts up, over everything since it was first asked."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def seconds(self, done: float) -> float:
        """Return seconds per step so far; NaN until a step is done."""
        now = time.monotonic()
        if self._began is None:
            self._began = (done, now)
        first, then = self._began
        return (now - then) / (done - first) if done > first else math.nan

    def tell(self, done: float, total: float | None) -> str:
        """Return the rate in words and, of a known total, the time that is left."""
        each = self.seconds(done)
        if math.isnan(each):
            return ""
        rate = f"{1 / each:.1f}/s" if 0 < each < 0.5 else f"{each:.2f} s each"
        if total is None or done >= total:
            return rate
        return f"{rate}, {timedelta(seconds=math.ceil((total - done) * each))} left"


class _Pace(ProgressColumn):
    """Rate and remaining time from what this process did after its first step."""

    def __init__(self) -> None:
        super().__init__()
        self._rates: dict[TaskID, tuple[Rate, float, str]] = {}

    def render(self, task: Task) -> Text:
        """Return the words for one bar."""
        rate, done, text = self._rates.get(task.id, (Rate(), math.nan, ""))
        if not task.completed:  # a resumed training starts with a leap
            return Text()
        # Told anew only when something is done: between two frames nothing is learned.
        if done != task.completed:
            text = rate.tell(task.completed, task.total)
            self._rates[task.id] = (rate, task.completed, text)
        return Text(text)


def watcher(bar: Progress) -> Callable[[str, str, int], None]:
    """Return what tells a progress bar of stages and of what they finished."""
    tasks: dict[str, Any] = {}

    def watch(stage: str, item: str, total: int) -> None:
        if stage not in tasks:
            note = "" if total else "done before"
            tasks[stage] = bar.add_task(
                escape(shown(stage)), total=total or 1, completed=not total, note=note
            )
        if item:
            bar.update(tasks[stage], advance=1)

    return watch
