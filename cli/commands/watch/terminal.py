"""What `skyduel watch` prints, and how signals end it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skyduel.cli.console import err, out, warn

if TYPE_CHECKING:
    from skyduel.runner.watch.watcher import Tell, Watcher

__all__ = ["EventLines", "copied_events", "ended_by_signals", "print_line", "status_line"]


@contextmanager
def ended_by_signals(watcher: Watcher) -> Iterator[None]:
    """End the watch after the frame in work at the first signal, at once at the second."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.default_int_handler)
        watcher.stop()

    before = {n: signal.signal(n, end) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def status_line(folder: Path, watcher: Watcher) -> Iterator[Callable[[], None]]:
    """Show the state in one line at the bottom of a terminal; yield what brings it up to date."""
    from rich.text import Text

    def text() -> Text:
        snapshot = watcher.snapshot
        doing = f", {snapshot.working} in work" if snapshot.working else ""
        return Text(f"{folder}{doing}: {snapshot.line()}", overflow="ellipsis", no_wrap=True)

    if not err.is_terminal:
        yield lambda: None
        return
    with err.status(text(), refresh_per_second=2) as shown:
        yield lambda: shown.update(text())


@contextmanager
def copied_events(where: str) -> Iterator[Tell]:
    """Return a function that writes events to stdout, or appends them to a file."""
    from skyduel.core.errors import UnwritableError

    if where == "-":
        yield lambda event: _write_line(sys.stdout, event)
        return
    try:
        stream = Path(where).open("a", encoding="utf-8")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UnwritableError(where, "a file to write to", error.strerror or "error") from error
    with stream:
        yield lambda event: _write_line(stream, event)


def _write_line(stream: Any, event: dict[str, Any]) -> None:
    stream.write(json.dumps(event, ensure_ascii=False, allow_nan=False) + "\n")
    stream.flush()


class EventLines:
    """Prints a line for each event that a reader wants to see."""

    def __init__(self, shown: Callable[[], None], folder: Path, *, to_stderr: bool) -> None:
        self._shown, self._folder, self._to_stderr = shown, folder, to_stderr
        self._problem: str | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        """Print the line of an event, and bring the status line up to date."""
        kind = event["event"]
        if kind == "catalog":
            print_line(self._catalog(event), to_stderr=self._to_stderr)
            problem = (event["reference"] or {}).get("problem")
            # A count in the text may change with every frame; a new kind of problem is said once.
            if problem is not None and problem.lstrip("0123456789") != self._problem:
                self._problem = problem.lstrip("0123456789")
                warn(f"{event['frame']}: nothing compared: {problem}")
        elif kind in ("refused", "failed"):
            reason = event["reason"]
            warn(reason if event["file"] in reason else f"{event['file']}: {reason}", style="red")
        elif kind == "skipped":
            warn(f"{event['file']}: skipped, {event['reason']}")
        self._shown()

    def _catalog(self, event: dict[str, Any]) -> str:
        n = event["n_written"]
        parts = [f"{self._folder / event['catalog']}  {n:,} source{'' if n == 1 else 's'}"]
        if event["n_candidates"]:
            parts.append(f"{event['n_candidates']:,} new")
        if event["latency_s"] is not None:
            parts.append(f"{event['latency_s']:.2f} s after the frame")
        if event["waiting"]:
            parts.append(f"{event['waiting']:,} waiting")
        return ", ".join(parts)


def print_line(line: str, *, to_stderr: bool) -> None:
    """Print a line on stdout or stderr."""
    console = err if to_stderr else out
    console.print(line, markup=False, highlight=False, soft_wrap=True)
