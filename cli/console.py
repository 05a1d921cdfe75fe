"""Consoles and progress bars: results go to stdout, everything else to stderr."""

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

__all__ = [
    "Rate",
    "err",
    "out",
    "progress",
    "progress_callback",
    "warn",
    "wide_out",
    "without_controls",
]

# Characters that control a terminal: C0 except the line feed, C1, and those that change the
# direction of writing.
_CONTROLS = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]"
)


def without_controls(text: str) -> str:
    """Replace the control characters of a text by U+FFFD."""
    return _CONTROLS.sub("\ufffd", text)


class _Escaped:
    """A renderable whose text is printed without control characters."""

    def __init__(self, inner: ConsoleRenderable) -> None:
        self._inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._inner, options):
            if segment.control is None and _CONTROLS.search(segment.text):
                yield Segment(without_controls(segment.text), segment.style)
            else:
                yield segment


class _EscapeControls(RenderHook):
    """Render hook against terminal escape sequences in names that come from files."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [r if isinstance(r, Control) else _Escaped(r) for r in renderables]


def _console(**settings: Any) -> Console:
    console = Console(**settings)
    console.push_render_hook(_EscapeControls())
    return console


# Rich inspects the stream when it prints, not when the console is made. So colours are
# off in a pipe, and NO_COLOR is honoured.
out = _console()
err = _console(stderr=True)


def warn(line: str, style: str = "yellow") -> None:
    """Print one line on stderr that begins with the program's name."""
    err.print(f"skyduel: {line}", markup=False, highlight=False, style=style, soft_wrap=True)


def wide_out() -> Console:
    """Return the console for tables on stdout: 120 columns in a pipe, else the terminal's width."""
    return _console(width=None if sys.stdout.isatty() else 120)


def progress() -> Progress:
    """Return a progress bar on stderr with counts, elapsed time, rate and remaining time."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        _RateColumn(),
        TextColumn("{task.fields[note]}"),
        console=err,
    )


class Rate:
    """Mean rate of a counter since the first call."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None

    def seconds_per_step(self, done: float) -> float:
        """Return the mean time of a step in seconds; NaN before the first step is done."""
        now = time.monotonic()
        if self._began is None:
            self._began = (done, now)
        first, then = self._began
        return (now - then) / (done - first) if done > first else math.nan

    def describe(self, done: float, total: float | None) -> str:
        """Format the rate and, if the total is known, the remaining time."""
        each = self.seconds_per_step(done)
        if math.isnan(each):
            return ""
        rate = f"{1 / each:.1f}/s" if 0 < each < 0.5 else f"{each:.2f} s each"
        if total is None or done >= total:
            return rate
        return f"{rate}, {timedelta(seconds=math.ceil((total - done) * each))} left"


class _RateColumn(ProgressColumn):
    """Column with the rate and the remaining time, measured from this process's first step on."""

    def __init__(self) -> None:
        super().__init__()
        self._rates: dict[TaskID, tuple[Rate, float, str]] = {}

    def render(self, task: Task) -> Text:
        """Return the text of one bar."""
        rate, done, text = self._rates.get(task.id, (Rate(), math.nan, ""))
        if not task.completed:  # a resumed training starts at a later step
            return Text()
        # Updated only when a step is done: the estimate does not change between two steps.
        if done != task.completed:
            text = rate.describe(task.completed, task.total)
            self._rates[task.id] = (rate, task.completed, text)
        return Text(text)


def progress_callback(bar: Progress) -> Callable[[str, str, int], None]:
    """Return a callback ``(stage, item, total)`` that advances a progress bar."""
    tasks: dict[str, Any] = {}

    def watch(stage: str, item: str, total: int) -> None:
        if stage not in tasks:
            note = "" if total else "done before"
            tasks[stage] = bar.add_task(
                escape(without_controls(stage)), total=total or 1, completed=not total, note=note
            )
        if item:
            bar.update(tasks[stage], advance=1)

    return watch
