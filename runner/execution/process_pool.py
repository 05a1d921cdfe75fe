"""A pool of worker processes that survives crashed and hanging workers.

A worker process may die (killed, out of memory) or hang. Its call is repeated once in a
pool of one process; a call that loses its process a second time fails. No call is to blame for
processes that are killed before any of them was ready: they start again, three times in all.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final

from skyduel.core import BadInputError
from skyduel.runner.execution.worker_start import (
    WorkerContext,
    begin_worker,
    environment,
    leave_starting_worker,
    threads_of_libraries,
)

__all__ = ["WorkerLostError", "process_pool", "spare_process", "threads_each", "untimed_workers"]

# Interval between checks of deadlines [s].
_TICK_S: Final = 0.1
# Time beyond the limit of a call until its process is killed [s]: the limit does not include
# loading libraries, and the call is first stopped within its process.
GRACE_S: Final = 60.0
# Starts in a row whose processes are all killed before the first is ready.
_MOST_STARTS: Final = 3


class WorkerLostError(BrokenProcessPool):
    """A call lost its process and is certain to be the cause."""


@dataclass(eq=False)
class _Call:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    future: Future[Any] = field(default_factory=Future)
    died: bool = False


class _SturdyPool(Executor):
    """Pool that replaces dead processes and kills hanging ones.

    Each process has one call at a time, so that the call of a lost process is known.
    """

    def __init__(self, workers: int, threads: int, limit_s: float | None) -> None:
        self._workers = workers
        self._begin_with = (dict(os.environ), threads)
        self._limit_s = limit_s
        self._calls: deque[_Call] = deque()
        self._owed: set[_Call] = set()
        self._news = threading.Condition()
        self._closing = False
        self._lost_starts = 0  # in a row
        self._thread = threading.Thread(target=self._work, name="skyduel-pool", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = _Call(fn, args, kwargs)
        with self._news:
            if self._closing:
                raise RuntimeError("this pool is closed")
            self._calls.append(call)
            self._owed.add(call)
            call.future.add_done_callback(lambda _: self._owed.discard(call))
            self._news.notify()
        return call.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._news:
            self._closing = True
            if cancel_futures:
                while self._calls:
                    self._calls.pop().future.cancel()
            self._news.notify()
        if wait:
            self._thread.join()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.shutdown(cancel_futures=kind is not None)  # do not wait after an exception

    def _work(self) -> None:
        """Submit calls until the pool is closed; runs in a separate thread."""
        try:
            self._hand_out()
        except BaseException as error:  # fail the pending calls, so that no caller waits for ever
            with self._news:
                self._closing = True
                for call in list(self._owed):
                    call.future.set_exception(error)

    def _hand_out(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._calls or self._closing)
                if not self._calls:
                    return
                # A call whose process died runs in a separate pool, where it cannot affect others.
                alone = self._calls[0].died
            self._with_processes(1 if alone else self._workers, alone)

    def _with_processes(self, workers: int, alone: bool) -> None:
        """Run calls in new processes until no call is left or a process is lost."""
        out: dict[Future[Any], tuple[_Call, float]] = {}
        context = WorkerContext()
        pids = context.SimpleQueue()  # of the processes that are ready for calls
        pool = ProcessPoolExecutor(
            workers, context, initializer=_begin, initargs=(pids, *self._begin_with)
        )
        # One more call is queued, unless the start time of each call must be known.
        most = workers + (self._limit_s is None and not alone)
        try:
            while True:
                with self._news:
                    if not out:
                        self._news.wait_for(lambda: self._calls or self._closing)
                    room = most - len(out)
                    taken: list[_Call] = []
                    while self._calls and len(taken) < room and self._calls[0].died == alone:
                        taken.append(self._calls.popleft())
                    if not taken and not out:
                        return
                for call in taken:
                    if call.future.running() or call.future.set_running_or_notify_cancel():
                        inner = pool.submit(call.function, *call.arguments, **call.options)
                        out[inner] = (call, time.monotonic())
                done, _ = wait(out, timeout=_TICK_S, return_when=FIRST_COMPLETED)
                back = [(f, out.pop(f)[0]) for f in done]
                lost = [call for f, call in back if not _passed_on(f, call)]
                late = [] if self._limit_s is None else self._late(out, self._limit_s)
                if lost or late:
                    if late:
                        _kill(pids)
                    wait(out)
                    lost += [out[f][0] for f in out if not _passed_on(f, out[f][0])]
                    if late or self._was_ready(pool, context, pids):
                        self._blame(lost, late)
                    else:
                        self._repeat(lost)
                    return
                if alone and not out:
                    return
        except BrokenProcessPool:  # the pool broke while a call was submitted
            pending = [call for call, _ in out.values()]
            pending += [c for c in taken if c not in pending]
            pending = [c for c in pending if not c.future.done()]
            if self._was_ready(pool, context, pids):
                self._blame(pending, [])
            else:
                self._repeat(pending)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            pids.close()

    def _was_ready(self, pool: ProcessPoolExecutor, context: WorkerContext, pids: Any) -> bool:
        """Return whether any process of a broken pool was ready for calls.

        Raises
        ------
        BadInputError
            If none was, because a process ended by itself, or for the third time in a row.
        """
        if not pids.empty():
            self._lost_starts = 0
            return True
        self._lost_starts += 1
        pool.shutdown(wait=True, cancel_futures=True)  # the exit codes are known then
        if context.ended_by_themselves():
            required = (
                "processes that start; each imports the script, so a script calls Skyduel below "
                'if __name__ == "__main__":'
            )
            got = "processes that ended before their first call"
            raise BadInputError("worker processes", required, got)
        if self._lost_starts == _MOST_STARTS:
            got = f"processes that were killed before their first call, {_MOST_STARTS} times"
            raise BadInputError("worker processes", "processes that start", got)
        return False

    @staticmethod
    def _late(out: dict[Future[Any], tuple[_Call, float]], limit_s: float) -> list[_Call]:
        now = time.monotonic()
        return [call for call, began in out.values() if now - began > limit_s + GRACE_S]

    def _repeat(self, lost: list[_Call]) -> None:
        """Queue the calls of a lost pool again."""
        with self._news:
            self._calls.extendleft(reversed(lost))

    def _blame(self, lost: list[_Call], late: list[_Call]) -> None:
        """Fail the calls at fault, and queue the other calls of a lost pool again."""
        with self._news:
            for call in reversed(lost):
                if call in late:
                    text = f"no answer after {self._limit_s:g} s; its worker process was ended"
                    call.future.set_exception(WorkerLostError(text))
                elif call.died:
                    text = "the worker process died twice (killed or out of memory)"
                    call.future.set_exception(WorkerLostError(text))
                else:
                    call.died = True
                    self._calls.appendleft(call)


def _kill(pids: Any) -> None:
    """Kill the processes of a pool, whose process IDs are in the queue."""
    while not pids.empty():
        with suppress(ProcessLookupError):
            os.kill(pids.get(), signal.SIGKILL)


def _passed_on(inner: Future[Any], call: _Call) -> bool:
    """Pass a result or an error on to a call; return False if its process was lost."""
    try:
        call.future.set_result(inner.result())
    except BrokenProcessPool:
        return False
    except BaseException as error:
        call.future.set_exception(error)
    return True


def _begin(pids: Any, variables: dict[str, str], threads: int) -> None:
    """Send the ID of this process, which is ready for calls then."""
    begin_worker(variables, threads)
    pids.put(os.getpid())


@contextmanager
def process_pool(workers: int, threads: int, limit_s: float | None = None) -> Iterator[Executor]:
    """Open a pool of new processes with a set number of threads each.

    Parameters
    ----------
    workers, threads : int
        Number of processes, and of threads of each process.
    limit_s : float, optional
        Time limit of a call [s]. One minute later its process is killed, and its future
        raises `WorkerLostError`. All futures raise `BadInputError` if no process can start.
    """
    leave_starting_worker()
    # Libraries read these when they are loaded, so they are set before the children start.
    with environment(threads_of_libraries(threads)), _SturdyPool(workers, threads, limit_s) as pool:
        yield pool


@contextmanager
def spare_process() -> Iterator[Executor | None]:
    """Open a pool of one process beside this one, None on a single core."""
    if _cores() < 2:
        yield None
        return
    with process_pool(1, 1) as pool:
        yield pool


def threads_each(workers: int) -> int:
    """Return the number of threads per process for this number of processes."""
    return max(1, _cores() // workers)


def _cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def untimed_workers() -> int:
    """Return how many processes do work that is not timed: one a core, and at most eight.

    Each needs the memory of a frame.
    """
    return min(_cores(), 8)
