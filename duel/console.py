"""What a person sees while something runs: results on stdout, the rest on stderr."""

from __future__ import annotations

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

__all__ = ["err", "out", "progress"]

# Made at import, decided at use: rich looks at the stream when it prints, so
# colours are off when piped and NO_COLOR is honoured.
out = Console()
err = Console(stderr=True)


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
