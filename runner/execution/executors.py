"""Executors for the work on frames: processes of this machine, or workers of a Dask cluster.

Both are `concurrent.futures.Executor`s. A bounded number of jobs is submitted at a time.
Each returns a small record of one frame; the results are files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Any, Final

from skyduel.core import BadInputError
from skyduel.core.errors import ArgumentError, one_line
from skyduel.core.extras import missing_extra
from skyduel.runner.execution.child_process import Place, call_in_child
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.process_pool import process_pool

__all__ = ["IN_FLIGHT_CLUSTER", "IN_FLIGHT_EACH", "Job", "executor", "gather"]

#: Number of jobs submitted per process of this machine: one is running, the others wait.
IN_FLIGHT_EACH: Final = 4
#: Number of jobs submitted to a cluster at a time: two per worker for 500 workers.
IN_FLIGHT_CLUSTER: Final = 1000

#: Time limit for the connection to a cluster [s].
_CONNECT_TIMEOUT_S: Final = 30
#: Time limit for the end of the connection [s].
_CLOSE_TIMEOUT_S: Final = 5


@dataclass(frozen=True)
class Job:
    """One call for one frame; all its values can be pickled."""

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
    progress: Callable[[str, str, int], None],
) -> dict[str, Outcome]:
    """Run jobs and return their outcomes by frame, in the order of the names.

    Parameters
    ----------
    stage : str
        Name of the stage, for `progress`.
    pool : Executor
        Runs the jobs.
    jobs : iterable of Job
        The jobs, consumed as jobs finish: 10⁶ jobs are never in memory at the same time.
    total : int
        Number of jobs.
    in_flight : int
        Largest number of jobs that are submitted and not finished.
    progress : callable
        Called with every finished frame.

    Notes
    -----
    A worker process that died is a failure of its frame, and of the frames that wait in
    the same pool, which cannot be used afterwards. If a cluster is lost, the run ends.

    Raises
    ------
    BadInputError
        If a cluster's scheduler is lost, or its workers cannot run a call at all.
    """
    outcomes: dict[str, Outcome] = {}
    progress(stage, "", total)
    queue = iter(jobs)
    waiting: dict[Future[Outcome], str] = {}
    back: SimpleQueue[Future[Outcome]] = SimpleQueue()

    def hand_out(n: int) -> None:
        for job in islice(queue, n):
            try:
                future = pool.submit(job.call, *job.arguments, **job.options)
            except BrokenProcessPool:
                outcomes[job.frame] = _died(job.frame)
                progress(stage, job.frame, total)
                continue
            waiting[future] = job.frame
            # Not `wait`, which checks all futures each time one finishes.
            future.add_done_callback(back.put)

    hand_out(in_flight)
    while waiting:
        future = back.get()
        frame = waiting.pop(future)
        outcomes[frame] = _outcome(frame, future, isinstance(pool, _Cluster))
        progress(stage, frame, total)
        hand_out(in_flight - len(waiting))
    return dict(sorted(outcomes.items()))


def _outcome(frame: str, future: Future[Outcome], on_cluster: bool) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Outcome(frame, {}, str(error))
    except CancelledError as error:
        raise _scheduler_lost() from error  # only Dask cancels futures
    except Exception as error:
        kind = type(error)
        if kind.__name__ == "KilledWorker" and _of_dask(error):
            return Outcome(frame, {}, f"{frame}: the cluster lost several workers to it")
        if _of_dask(error):
            raise _scheduler_lost() from error
        # Raised by a worker without the packages, or with another version of Dask.
        lacking = kind is ModuleNotFoundError or "deserialization" in str(error)
        if on_cluster and lacking:
            required = "workers with this Skyduel and its packages installed"
            raise ArgumentError("scheduler", required, one_line(error)) from error
        raise


def _of_dask(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "distributed"


def _scheduler_lost() -> BadInputError:
    return ArgumentError(
        "scheduler",
        "a scheduler that stays to the end",
        "a lost connection; what is finished is kept, resume=True completes the run",
        ("resume",),
    )


def _died(frame: str) -> Outcome:
    return Outcome(frame, {}, "the worker process died (killed or out of memory)")


class _Cluster(Executor):
    """Executor of a cluster; every call runs in a child process of a worker."""

    def __init__(self, inner: Executor, limit_s: float | None) -> None:
        self._inner, self._limit_s, self._place = inner, limit_s, Place.here()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        try:
            return self._inner.submit(
                call_in_child, self._place, self._limit_s, fn, *args, **kwargs
            )
        except Exception as error:
            if _of_dask(error):
                raise _scheduler_lost() from error
            raise


@contextmanager
def executor(
    scheduler: str | None, workers: int, threads: int, limit_s: float | None = None
) -> Iterator[Executor]:
    """Open an executor of processes on this machine or of a Dask cluster.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://10.0.0.1:8786``, or the path of a scheduler file
        (``.json``); None for processes here.
    workers, threads : int
        Processes of this machine and threads of each; not used for a cluster.
    limit_s : float, optional
        Time limit of a job [s]; one minute later its process is killed.

    Raises
    ------
    BadInputError
        If Dask is not installed, or no scheduler answers at the address.
    """
    if scheduler is None:
        with process_pool(workers, threads, limit_s) as pool:
            yield pool
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise missing_extra("scheduler", error) or error from error
    place = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    try:
        client: Any = Client(**place, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise ArgumentError(
            "scheduler", f"a Dask scheduler at {scheduler}", one_line(error)
        ) from error
    try:
        # Other workers repeat the calls of a lost worker, but not calls that raise.
        yield _Cluster(client.get_executor(pure=False), limit_s)
    finally:
        with suppress(Exception):  # the scheduler may have stopped
            client.close(timeout=_CLOSE_TIMEOUT_S)
