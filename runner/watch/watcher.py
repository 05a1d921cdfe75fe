"""The loop of `skyduel watch`: take finished frames, write catalogues, tell of events."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from skyduel.core import (
    BadInputError,
    Catalog,
    entry_of,
    frame_name,
    read_catalog,
    safe_name,
    write_catalog,
    write_regions,
)
from skyduel.core.errors import ArgumentError, UnwritableError
from skyduel.core.frame import Plane
from skyduel.core.io.atomic_files import is_temporary
from skyduel.core.operating_point import program
from skyduel.run_folder.lock import lock_folder
from skyduel.runner.detect_frame import detect_frame
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.frame_steps import process_detector
from skyduel.runner.watch.backlog import Backlog, Seen, Waiting
from skyduel.runner.watch.folder import frames_of, list_frames, look_at
from skyduel.runner.watch.journal import Journal
from skyduel.runner.watch.meters import Meters, Snapshot
from skyduel.runner.watch.notices import Notices, inotify
from skyduel.runner.watch.plan import WatchPlan
from skyduel.runner.watch.references import Comparison, Reference, candidate_rows, open_reference

__all__ = ["Tell", "Watcher", "open_watcher"]

Tell = Callable[[dict[str, Any]], None]

#: With inotify, how long a file that was found by listing must stay as it is, and how often
#: the folder is listed all the same: the kernel drops notices when too many come [s].
_SETTLE_S: Final = 1.0
_LISTING_S: Final = 30.0
#: A frame during which the process ended so many times is given up.
_MOST_INTERRUPTIONS: Final = 20
#: So many last catalogues are looked up for earlier frames.
_LAST: Final = 200


class _Observed:
    """The last frame of `detect_frame`, with all detections and with the rows that are written."""

    def __init__(self) -> None:
        self.last: tuple[Plane, Catalog, Catalog] | None = None

    def __call__(self, plane: Plane, found: Catalog, kept: Catalog) -> None:
        self.last = plane, found, kept


class Watcher:
    """A watch of one folder.

    Parameters
    ----------
    plan : WatchPlan
        What to do.
    journal : Journal
        Of the locked folder of catalogues.
    reference : Reference or None
        What catalogues are compared with.
    notices : Notices
        Finished files, and the end of waits.
    tell : sequence of callable
        Each gets every event, after it was written to the journal.
    clock : callable
        Returns seconds that never go back.

    Attributes
    ----------
    snapshot : Snapshot
        The state; replaced, never changed, so that other threads may read it.
    """

    def __init__(
        self,
        plan: WatchPlan,
        journal: Journal,
        reference: Reference | None,
        notices: Notices,
        tell: Sequence[Tell] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan, self._journal, self._reference = plan, journal, reference
        self._notices, self._tell, self._clock = notices, tell, clock
        past = journal.past
        ended = {f: p for f, p in past.ended.items() if not (plan.skipped and f in past.skipped)}
        self._backlog = Backlog(
            order=plan.order,
            limit=plan.limit,
            settle_s=_SETTLE_S if plan.poll_s is None else plan.poll_s,
            patience_s=plan.patience_s,
            ended=ended,
            interrupted=past.interrupted,
        )
        self._targets = dict(past.targets)
        self._reasons: dict[str, str] = {}
        self._lone: dict[Seen, str] = {}
        self._meters = Meters()
        self._stopping = False
        self._working: str | None = None
        self.snapshot = self._snapshot()

    def stop(self) -> None:
        """End the watch after the frame in work; may be called from a signal handler."""
        self._stopping = True
        self._notices.wake()

    def run(self) -> Snapshot:
        """Watch until `stop` is called; with ``once`` until no frame is left.

        Raises
        ------
        BadInputError
            If the folder cannot be read any more.
        UnwritableError
            If a catalogue or the journal cannot be written.
        """
        plan = self._plan
        process_detector(plan.spec, warm_up=True)
        every = _LISTING_S if plan.poll_s is None else plan.poll_s
        listed = self._list(timed=False)  # before the start: what comes after it is timed
        self._emit(
            "start", folder=str(plan.folder), program=program(), choices=plan.choices(),
            policy=plan.policy(),
        )  # fmt: skip
        while not self._stopping:
            now = self._clock()
            for path in self._notices.drain():
                for frame in frames_of(path):
                    self._look(frame, closed=True)
            if now - listed >= every:
                listed = self._list()
            due = self._backlog.next_look()
            if due is not None and now >= due:
                for file in self._backlog.pending():
                    self._look(plan.folder / file)
            self._skip()
            waiting = self._backlog.next()
            if waiting is not None:
                self._work(waiting)
                continue
            self.snapshot = self._snapshot()
            due = self._backlog.next_look()
            if plan.once and due is None:
                self._tell_lone(self._lone)
                break
            until = listed + every if due is None else min(due, listed + every)
            self._notices.wait(max(0.0, until - self._clock()))
        self._emit("stop", **self._meters.totals())
        self.snapshot = self._snapshot()
        return self.snapshot

    def _emit(self, event: str, **values: Any) -> None:
        """Write an event to the journal, then tell it."""
        said = self._journal.append(event, **values)
        self.snapshot = self._snapshot()
        for tell in self._tell:
            tell(said)

    def _snapshot(self) -> Snapshot:
        return self._meters.snapshot(
            waiting=len(self._backlog), pending=len(self._backlog.pending()), working=self._working
        )

    def _list(self, *, timed: bool = True) -> float:
        """Look at every frame of the folder; return when."""
        now = self._clock()
        listing = list_frames(self._plan.folder)
        for seen in listing.frames:
            self._gave_up(self._backlog.look(seen, now, timed=timed))
        # Told of at the second look, or when nothing else is left: the frame may come later.
        again, self._lone = set(self._lone) & set(listing.lone), listing.lone
        self._tell_lone(again)
        return now

    def _tell_lone(self, files: Iterable[Seen]) -> None:
        """Report masks and weight maps that have no frame."""
        for seen in files:
            if self._backlog.has_ended(seen):
                continue
            self._backlog.end(seen)
            self._meters.skipped += 1
            reason = f"named like a mask or weight map of {self._lone[seen]}, which is not there"
            names = _named(self._plan.folder / seen.file, seen.fingerprint)
            self._emit("skipped", **names, reason=reason)

    def _look(self, frame: Path, *, closed: bool = False) -> None:
        """Look at one frame."""
        seen = look_at(frame)
        if seen is not None:
            self._gave_up(self._backlog.look(seen, self._clock(), closed=closed))
            return
        reason = self._reasons.pop(frame.name, None)
        if reason is not None:
            self._meters.refused += 1
            self._emit("refused", **_named(frame, "missing"), reason=f"{reason}; it is gone now")
        self._backlog.forget(frame.name)

    def _gave_up(self, waiting: Waiting | None) -> None:
        """Report a frame that could not be read and does not change any more."""
        if waiting is None:
            return
        self._meters.refused += 1
        self._backlog.end(waiting.seen)
        file = waiting.seen.file
        reason = self._reasons.pop(file, "unreadable")
        self._emit("refused", **self._names(waiting), reason=reason)

    def _skip(self) -> None:
        """Skip the oldest frames above the limit."""
        for waiting in self._backlog.overflow():
            self._meters.skipped += 1
            reason = f"more than {self._plan.limit} frames waited"
            self._emit("skipped", **self._names(waiting), reason=reason)

    def _names(self, waiting: Waiting) -> dict[str, str]:
        return _named(self._plan.folder / waiting.seen.file, waiting.seen.fingerprint)

    def _work(self, waiting: Waiting) -> None:
        """Write the catalogue of a frame, or say why not."""
        plan, seen, names = self._plan, waiting.seen, self._names(waiting)
        frame = plan.folder / seen.file
        target = plan.out / f"{safe_name(names['frame'])}.{plan.format}"
        problem = self._problem(seen.file, target)
        if problem is not None:
            event, reason = problem
            self._backlog.end(seen)
            self._meters.refused += 1
            self._emit(event, **names, reason=reason)
            return
        self._working = names["frame"]
        self._emit("started", **names, waiting=len(self._backlog) - 1)
        observed = _Observed()
        began = self._clock()
        entry = replace(entry_of(frame, mask_bits=plan.mask_bits, given=plan.given), truth=None)
        outcome = detect_frame(
            plan.spec, entry, None, target,
            facts_file=False, choice=plan.choice, observe=observed,
        )  # fmt: skip
        self._working = None
        after = look_at(frame)
        changed = after is None or after.fingerprint != seen.fingerprint
        if outcome.reason is None:
            assert observed.last is not None  # called for every catalogue
            self._finish(waiting, outcome, target, *observed.last, began)
        elif outcome.about_frame or changed:
            self._reasons[seen.file] = outcome.reason
            self._backlog.refused(waiting, self._clock())
            self._emit("postponed", **names, reason=outcome.reason)
        else:
            self._backlog.end(seen)
            self._meters.refused += 1
            self._emit("failed", **names, reason=outcome.reason)
        if after is not None and changed:
            self._backlog.look(after, self._clock())

    def _problem(self, file: str, target: Path) -> tuple[str, str] | None:
        """Return why a frame is not even tried, with the kind of event."""
        ends = self._backlog.interruptions(file)
        if ends >= _MOST_INTERRUPTIONS:
            return "failed", f"the process ended {ends} times while it worked on this frame"
        owner = self._targets.get(target.name)
        if owner is not None and owner != file and (self._plan.folder / owner).exists():
            error = BadInputError(
                file, "frames of different names", f"{owner} also makes {target.name}"
            )
            return "refused", str(error)
        return None

    def _finish(
        self,
        waiting: Waiting,
        outcome: Outcome,
        target: Path,
        plane: Plane,
        found: Catalog,
        kept: Catalog,
        began: float,
    ) -> None:
        """Compare a catalogue that was written, and record it."""
        plan, facts = self._plan, outcome.facts
        if plan.regions and target.suffix != ".reg":
            write_regions(read_catalog(target), target.with_suffix(".reg"))
        compared = self._compare(plane, found, kept, plan.out / "new" / f"{target.stem}.ecsv")
        _to_disk(target)
        new = None if compared is None else compared.candidates
        now = self._clock()
        latency = None if waiting.finished is None else round(now - waiting.finished, 4)
        self._meters.frame(facts["mpix"], now - began, latency)
        self._meters.candidates += 0 if new is None else len(new)
        self._targets[target.name] = waiting.seen.file
        self._reasons.pop(waiting.seen.file, None)
        self._backlog.end(waiting.seen)
        self._emit(
            "catalog",
            **self._names(waiting),
            catalog=target.name,
            n_written=facts["n_written"],
            n_found=facts["n_found"],
            threshold=facts["thresh"],
            mpix=facts["mpix"],
            seconds=round(facts["seconds"], 4),
            latency_s=latency,
            waiting=len(self._backlog),
            notes=[*facts.get("notes", ()), *facts.get("set_aside", ())],
            reference=None if compared is None else compared.how,
            n_candidates=None if new is None else len(new),
            candidates=None if new is None else candidate_rows(new),
        )

    def _compare(
        self, plane: Plane, found: Catalog, kept: Catalog, table: Path
    ) -> Comparison | None:
        """Write the new sources of a frame; None without a reference."""
        if self._reference is None:
            return None
        compared = self._reference.compare(plane, kept)
        if compared.candidates is None:
            table.unlink(missing_ok=True)
        else:
            write_catalog(compared.candidates, table, frame=plane)
        self._reference.remember(plane, found)
        return compared


@contextmanager
def open_watcher(
    plan: WatchPlan,
    tell: Sequence[Tell] = (),
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Watcher]:
    """Lock the folder of catalogues, read its journal, and return a watch of the plan.

    Parameters
    ----------
    plan : WatchPlan
        What to do.
    tell : sequence of callable
        Each gets every event.
    clock : callable
        Returns seconds that never go back.

    Raises
    ------
    BadInputError
        If another watch writes into the folder, earlier catalogues in it have other choices, or
        the reference cannot be read.
    """
    folder = plan.folder.absolute()
    plan = replace(plan, folder=folder)
    notices = Notices()
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnwritableError(str(plan.out), "a folder that can be written to", reason) from error
    with ExitStack() as stack:
        stack.enter_context(lock_folder(plan.out, "watch"))
        for path in (*plan.out.iterdir(), *(plan.out / "new").glob(".*")):
            if is_temporary(path):  # of a process that was killed
                path.unlink(missing_ok=True)
        journal = stack.enter_context(Journal(plan.out, _utc, keep=_LAST))
        past = journal.past
        if past.choices is not None and past.choices != plan.choices():
            differ = [k for k, v in plan.choices().items() if past.choices.get(k) != v]
            raise ArgumentError(
                str(plan.out),
                f"the {' and '.join(differ)} of its earlier catalogues",
                "another choice; choose another out",
                ("out",),
            )
        reference = open_reference(plan.reference, plan.out, plan.rules, past.last)
        if plan.poll_s is None:
            try:
                stack.enter_context(inotify(folder, notices))
            except OSError as error:
                raise ArgumentError(
                    str(folder), "a folder that inotify can watch (poll_s needs none)",
                    error.strerror or str(error), ("poll_s",),
                ) from error  # fmt: skip
        yield Watcher(plan, journal, reference, notices, tell, clock=clock)


def _named(frame: Path, fingerprint: str) -> dict[str, str]:
    """Return the keys of an event that name a frame."""
    return {"frame": frame_name(frame), "file": frame.name, "fingerprint": fingerprint}


def _to_disk(file: Path) -> None:
    """Wait until a file and its name are on the disk."""
    for path in (file, file.parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _utc() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
