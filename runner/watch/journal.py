"""The journal of a watched folder: one line of JSON an event, never half a line, none twice."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from skyduel.core import BadInputError
from skyduel.core.errors import UnwritableError

__all__ = ["EVENTS", "JOURNAL", "SCHEMA_VERSION", "Journal", "Past"]

#: File of the journal in the folder of the catalogues.
JOURNAL: Final = "events.jsonl"
#: Version of the events; raised whenever a key changes its meaning.
SCHEMA_VERSION: Final = 1
_ALWAYS: Final[Mapping[str, str]] = {
    "schema": "version of the events, 1",
    "n": "number of the event in this folder, from 1, without gaps",
    "time": "UTC, ISO 8601",
    "event": "kind of the event",
}
_FRAME: Final[Mapping[str, str]] = {
    "frame": "name of the frame",
    "file": "name of its file",
    "fingerprint": "sizes and modification times of its file, mask and weight map",
}
#: Keys of each kind of event, with their meaning.
EVENTS: Final[Mapping[str, Mapping[str, str]]] = {
    "start": {
        **_ALWAYS,
        "folder": "the watched folder",
        "program": "name and version of the program",
        "choices": "detector, settings and choice of rows, the same in all of one folder",
        "policy": "order, limit of the queue, and how the folder is watched",
    },
    "started": {**_ALWAYS, **_FRAME, "waiting": "frames that wait behind it"},
    "catalog": {
        **_ALWAYS,
        **_FRAME,
        "catalog": "file of the catalogue, relative to the folder of the catalogues",
        "n_written": "rows of the catalogue",
        "n_found": "rows with the fainter candidates that were not written",
        "threshold": "lowest score of the rows; null if every row counts",
        "mpix": "pixels [10⁶]",
        "seconds": "from opening the frame to the detections [s]",
        "latency_s": "from the finished frame to its catalogue [s]; null if it was there before",
        "waiting": "frames that wait behind it",
        "notes": "decisions on the frame's file, a list of lines",
        "reference": "what the catalogue was compared with; null without a reference",
        "n_candidates": "new sources; null without a comparison",
        "candidates": "the brightest 100 of them, a list of objects; null without a comparison",
    },
    "postponed": {**_ALWAYS, **_FRAME, "reason": "why it could not be read yet"},
    "refused": {**_ALWAYS, **_FRAME, "reason": "why it cannot be read; it changes no more"},
    "failed": {**_ALWAYS, **_FRAME, "reason": "error of the detector, or of the process"},
    "skipped": {**_ALWAYS, **_FRAME, "reason": "why nobody looks at it"},
    "stop": {
        **_ALWAYS,
        "frames": "catalogues of this process",
        "refused": "frames refused or failed",
        "skipped": "frames skipped",
        "latency_s": "p50, p95 and p99 [s]; null without a timed frame",
        "mpix_per_s": "pixels per second of work [10⁶/s]; null without a frame",
        "rss_mib": "resident memory of the process [MiB]",
        "rss_peak_mib": "its peak [MiB]",
    },
}  # fmt: skip
_OUTCOMES: Final = frozenset({"catalog", "refused", "failed", "skipped"})


@dataclass(frozen=True)
class Past:
    """What the journal says of earlier watches.

    Parameters
    ----------
    n : int
        Number of the last event.
    ended : dict
        Fingerprint at the last outcome of each file.
    interrupted : dict
        Number of starts of each file since its last outcome.
    targets : dict
        File of each catalogue's name.
    choices : dict or None
        Of the last start.
    skipped : set
        Files whose last outcome is that they were skipped.
    last : tuple of str
        Frames of the last catalogues, oldest first.
    """

    n: int = 0
    ended: Mapping[str, str] = field(default_factory=dict)
    interrupted: Mapping[str, int] = field(default_factory=dict)
    targets: Mapping[str, str] = field(default_factory=dict)
    choices: Mapping[str, Any] | None = None
    skipped: frozenset[str] = frozenset()
    last: tuple[str, ...] = ()


class Journal:
    """The open journal of a folder of catalogues.

    Parameters
    ----------
    folder : Path
        The folder; it must be locked.
    now : callable
        Returns the time as text, in UTC.
    keep : int
        How many of the last catalogues `past` names.

    Attributes
    ----------
    past : Past
        What earlier watches wrote.

    Raises
    ------
    BadInputError
        If a line of the file is no event.

    Notes
    -----
    A line is written by one call and reaches the disk before `append` returns. If a power cut
    leaves half a line at the end, it is removed when the journal is opened.
    """

    def __init__(self, folder: Path, now: Callable[[], str], keep: int = 0) -> None:
        self.path = folder / JOURNAL
        self._now = now
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError as error:
            raise UnwritableError(
                str(self.path), "a file to write to", error.strerror or ""
            ) from error
        try:
            whole = _whole_lines(self._handle)
            os.ftruncate(self._handle, whole)
            self.past = _past(_lines(self.path, whole), str(self.path), keep)
        except BaseException:
            os.close(self._handle)
            raise
        self._n = self.past.n

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)

    def append(self, event: str, **values: Any) -> dict[str, Any]:
        """Write one event and return it.

        Parameters
        ----------
        event : str
            A kind of `EVENTS`.
        **values
            The other keys of that kind, but those that every event has.
        """
        said = {"schema": SCHEMA_VERSION, "n": self._n + 1, "time": self._now(), "event": event}
        said |= values
        if set(said) != set(EVENTS[event]):
            raise ValueError(f"event {event}: keys {sorted(set(said) ^ set(EVENTS[event]))}")
        line = json.dumps(said, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            _write_whole(self._handle, line.encode("utf-8", "backslashreplace"))
            os.fsync(self._handle)
        except OSError as error:
            raise UnwritableError(
                str(self.path), "room for an event", error.strerror or ""
            ) from error
        self._n += 1
        return said


def _write_whole(handle: int, line: bytes) -> None:
    """Write a line; take back a part of it if there is no room for the rest."""
    size = os.fstat(handle).st_size
    try:
        while line:
            line = line[os.write(handle, line) :]
    except OSError:
        os.ftruncate(handle, size)
        raise


def _whole_lines(handle: int) -> int:
    """Return the length of a file up to its last line end [bytes]."""
    end = os.fstat(handle).st_size
    while end:
        begin = max(0, end - 65536)
        at = os.pread(handle, end - begin, begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0


def _lines(path: Path, end: int) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while stream.tell() < end:
            yield stream.readline()


def _past(lines: Iterator[bytes], source: str, keep: int) -> Past:
    """Return what a journal says of earlier watches."""
    n = 0
    ended: dict[str, str] = {}
    interrupted: dict[str, int] = {}
    targets: dict[str, str] = {}
    choices: Mapping[str, Any] | None = None
    skipped: set[str] = set()
    last: deque[str] = deque(maxlen=keep)
    for number, line in enumerate(lines, start=1):
        try:
            said = json.loads(line)
            kind, n = str(said["event"]), int(said["n"])
            if said["schema"] != SCHEMA_VERSION:
                raise BadInputError(
                    source, f"events of schema {SCHEMA_VERSION}", f"schema {said['schema']!r}"
                )
            if kind == "start":
                choices = dict(said["choices"])
            if "file" not in said:
                continue
            file, frame = str(said["file"]), str(said["frame"])
            if kind == "started":
                interrupted[file] = interrupted.get(file, 0) + 1
            else:
                interrupted.pop(file, None)
            if kind in _OUTCOMES:
                ended[file] = str(said["fingerprint"])
                (skipped.add if kind == "skipped" else skipped.discard)(file)
            if kind == "catalog":
                targets[str(said["catalog"])] = file
                if frame in last:
                    last.remove(frame)
                last.append(frame)
        except BadInputError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadInputError(
                source, "one event of a watch in each line", f"line {number}"
            ) from error
    return Past(n, ended, interrupted, targets, choices, frozenset(skipped), tuple(last))
