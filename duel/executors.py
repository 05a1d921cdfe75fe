"""Where frames are handled: processes of this machine, or the workers of a Dask cluster.

Both are `concurrent.futures.Executor`s. Jobs are handed out in a bounded window and
what comes back is a small record a frame; results are files.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from catalog import BadInputError
from catalog.errors import one_line
from duel.pool import process_pool
from duel.worker import Outcome

__all__ = ["IN_FLIGHT_CLUSTER", "IN_FLIGHT_EACH", "Job", "executor", "gather"]

#: Jobs handed out for each process here: one at work, the others waiting beside it.
IN_FLIGHT_EACH: Final = 4
#: Jobs handed to a cluster at a time: two each for 500 workers, in no great burst.
IN_FLIGHT_CLUSTER: Final = 1000

#: How long a cluster may take to answer [s].
_PATIENCE_S: Final = 30


@dataclass(frozen=True)
class Job:
    """One call for one frame; everything in it can be pickled."""

    frame: str
    call: Callable[..., Outcome]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


def gather(
    stage: str,
    pool: Executor,
    jobs: Iterable[Job],
    total: int,
    in_flight: int,
    watch: Callable[[str, str, int], None],
) -> dict[str, Outcome]:
    """Return the outcomes by frame, in order of name.

    Parameters
    ----------
    stage : str
        For the watcher.
    pool : Executor
        Runs the jobs.
    jobs : iterable of Job
        Taken as room comes up, so that a generator of 10⁶ is never a list.
    total : int
        How many there are.
    in_flight : int
        Most jobs handed out and not yet back.
    watch : callable
        Told of every finished frame.

    Notes
    -----
    A worker process that died is a failure of its frame, and of those that wait in
    the same pool, which cannot be used afterwards.
    """
    outcomes: dict[str, Outcome] = {}
    watch(stage, "", total)
    queue = iter(jobs)
    waiting: dict[Future[Outcome], str] = {}

    def hand_out(n: int) -> None:
        for job in islice(queue, n):
            try:
                future = pool.submit(job.call, *job.arguments, **job.options)
            except BrokenProcessPool:
                outcomes[job.frame] = _died(job.frame)
                watch(stage, job.frame, total)
                continue
            waiting[future] = job.frame

    hand_out(in_flight)
    while waiting:
        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
        for future in done:
            frame = waiting.pop(future)
            outcomes[frame] = _outcome(frame, future)
            watch(stage, frame, total)
        hand_out(in_flight - len(waiting))
    return dict(sorted(outcomes.items()))


def _outcome(frame: str, future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Outcome(frame, {}, str(error))
    except Exception as error:
        # A cluster's own failures: a worker lost for good, a scheduler gone.
        if type(error).__module__.split(".")[0] != "distributed":
            raise
        said = traceback.format_exception_only(error)[-1].strip()
        return Outcome(frame, {}, f"the cluster lost it: {said.splitlines()[0]}")


def _died(frame: str) -> Outcome:
    return Outcome(frame, {}, "the worker process died (killed or out of memory)")


@contextmanager
def executor(
    scheduler: str | None, workers: int, threads: int, limit_s: float | None = None
) -> Iterator[Executor]:
    """Give an executor: of this machine's processes, or of a Dask cluster.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://10.0.0.1:8786``, or the path of a scheduler file
        (``.json``); None for processes here.
    workers, threads : int
        Processes here and the threads of each; a cluster's are its own affair.
    limit_s : float, optional
        After which, and a minute more, a process here is ended with what it does [s].

    Raises
    ------
    BadInputError
        If Dask is not installed, or nobody answers at the address.
    """
    if scheduler is None:
        with process_pool(workers, threads, limit_s) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise BadInputError(
            "--scheduler", "Dask on this machine and its workers: pip install 'skyduel[dask]'",
            f"no {error.name}",
        ) from error  # fmt: skip
    place = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    try:
        client: Any = Client(**place, timeout=_PATIENCE_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise BadInputError(
            "--scheduler", f"a Dask scheduler at {scheduler}", one_line(error)
        ) from error
    with client:
        # Calls write files, the same ones each time: one that was lost is run again.
        yield client.get_executor(pure=False, retries=2)
