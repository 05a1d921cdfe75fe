"""Which frames of a watched folder are finished, in which order they are worked on, and which wait.

Nothing here reads a clock or a file: the caller says what it saw, and when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

__all__ = ["Backlog", "Order", "Seen", "Waiting"]

Order = Literal["oldest", "newest"]


@dataclass(frozen=True)
class Seen:
    """What a look at a file showed.

    Parameters
    ----------
    file : str
        Name of the frame's file.
    fingerprint : str
        Changes with the file, its mask or its weight map.
    mtime_ns : int
        Modification time of the file [ns].
    """

    file: str
    fingerprint: str
    mtime_ns: int


@dataclass(frozen=True)
class Waiting:
    """A finished frame.

    Parameters
    ----------
    seen : Seen
        Its file.
    finished : float or None
        When it was finished on the caller's clock [s]; None for a file that was there before
        the watch began.
    """

    seen: Seen
    finished: float | None


class _State(Enum):
    SETTLING = "seen, but perhaps still written"
    READY = "finished, waits for its turn"
    REFUSED = "could not be read; tried again if it changes"
    ENDED = "has a catalogue, failed or was skipped"


@dataclass(frozen=True)
class _Record:
    seen: Seen
    state: _State
    since: float
    finished: float | None


class Backlog:
    """The frames of one folder and what is known of each.

    Parameters
    ----------
    order : {"oldest", "newest"}
        Which of the waiting frames is next, by modification time, then by name.
    limit : int
        Most frames that wait; the oldest above it are skipped. 0: no limit.
    settle_s : float
        A file that was not seen to be closed must stay as it is for this long [s].
    patience_s : float
        A file that cannot be read and stays as it is for this long is given up [s].
    ended : mapping of str to str
        Fingerprints of the frames that earlier watches ended, by file.
    interrupted : mapping of str to int
        How often the process ended while it worked on a file. Files with 2 or more come last.
    """

    def __init__(
        self,
        *,
        order: Order = "oldest",
        limit: int = 0,
        settle_s: float = 1.0,
        patience_s: float = 10.0,
        ended: Mapping[str, str] | None = None,
        interrupted: Mapping[str, int] | None = None,
    ) -> None:
        self._order, self._limit = order, limit
        self._settle_s, self._patience_s = settle_s, patience_s
        self._ended = dict(ended or {})
        self._interrupted = dict(interrupted or {})
        self._records: dict[str, _Record] = {}

    def look(
        self, seen: Seen, now: float, *, closed: bool = False, timed: bool = True
    ) -> Waiting | None:
        """Take note of a look at a file.

        Parameters
        ----------
        seen : Seen
            The file as it is.
        now : float
            When [s].
        closed : bool
            Whether it was just closed after writing, or renamed in: then it is finished.
        timed : bool
            If False, the file was there before: nobody knows when it was finished.

        Returns
        -------
        Waiting or None
            The frame, if it is given up: it was refused and has not changed since.
        """
        if self.has_ended(seen):
            return None
        old = self._records.get(seen.file)
        if old is None or old.seen.fingerprint != seen.fingerprint:
            state = _State.READY if closed else _State.SETTLING
            self._records[seen.file] = _Record(seen, state, now, now if timed else None)
        elif old.state is _State.SETTLING:
            if closed or now - old.since >= self._settle_s:
                finished = now if closed and old.finished is not None else old.finished
                self._records[seen.file] = replace(old, state=_State.READY, finished=finished)
        elif old.state is _State.REFUSED and now - old.since >= self._patience_s:
            return Waiting(seen, old.finished)
        return None

    def refused(self, waiting: Waiting, now: float) -> None:
        """Take note that a frame could not be read. It is tried again if its file changes."""
        self._records[waiting.seen.file] = _Record(
            waiting.seen, _State.REFUSED, now, waiting.finished
        )

    def end(self, seen: Seen) -> None:
        """Take note that there is nothing more to do for a frame as long as it stays as it is."""
        self._ended[seen.file] = seen.fingerprint
        self._records.pop(seen.file, None)
        self._interrupted.pop(seen.file, None)

    def has_ended(self, seen: Seen) -> bool:
        """Return True if there is nothing more to do for a file as it is."""
        return self._ended.get(seen.file) == seen.fingerprint

    def forget(self, file: str) -> None:
        """Forget a file that is gone."""
        self._records.pop(file, None)

    def next(self) -> Waiting | None:
        """Return the frame whose turn it is; it stays in the list until it is ended or refused."""
        ready = list(self._ready())
        if not ready:
            return None
        sign = 1 if self._order == "oldest" else -1

        def place(record: _Record) -> tuple[bool, int, str]:
            last = self._interrupted.get(record.seen.file, 0) >= 2
            return last, sign * record.seen.mtime_ns, record.seen.file

        first = min(ready, key=place)
        return Waiting(first.seen, first.finished)

    def overflow(self) -> list[Waiting]:
        """Remove and return the oldest waiting frames above the limit."""
        ready = sorted(self._ready(), key=lambda r: (r.seen.mtime_ns, r.seen.file))
        over = ready[: max(0, len(ready) - self._limit)] if self._limit else []
        for record in over:
            self.end(record.seen)
        return [Waiting(record.seen, record.finished) for record in over]

    def interruptions(self, file: str) -> int:
        """Return how often the process ended while it worked on a file."""
        return self._interrupted.get(file, 0)

    def pending(self) -> list[str]:
        """Return the files that must be looked at again."""
        return [r.seen.file for r in self._records.values() if r.state is not _State.READY]

    def next_look(self) -> float | None:
        """Return when a pending file must be looked at again [s]; None if none is pending."""
        wait = {_State.SETTLING: self._settle_s, _State.REFUSED: self._patience_s}
        times = [r.since + wait[r.state] for r in self._records.values() if r.state in wait]
        return min(times, default=None)

    def __len__(self) -> int:
        """Return the number of frames that wait for their turn."""
        return sum(1 for _ in self._ready())

    def _ready(self) -> Iterator[_Record]:
        return (r for r in self._records.values() if r.state is _State.READY)
