"""Where frames are handled: processes of this machine, or the workers of a Dask cluster.

Both are `concurrent.futures.Executor`s. Jobs are handed out in a bounded window and
what comes back is a small record a frame; results are files.
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
from skyduel.core.errors import one_line
from skyduel.runner.execution.child_process import Place, call_in_child
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.process_pool import process_pool

__all__ = ["IN_FLIGHT_CLUSTER", "IN_FLIGHT_EACH", "Job", "executor", "gather"]

#: Jobs handed out for each process here: one at work, the others waiting beside it.
IN_FLIGHT_EACH: Final = 4
#: Jobs handed to a cluster at a time: two each for 500 workers, in no great burst.
IN_FLIGHT_CLUSTER: Final = 1000

#: How long a cluster may take to answer [s].
_PATIENCE_S: Final = 30
#: ... and to let go of a client.
_FAREWELL_S: Final = 5


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
    the same pool, which cannot be used afterwards. A cluster that is gone ends the run.

    Raises
    ------
    BadInputError
        If a cluster's scheduler is lost, or its workers cannot run a call at all.
    """
    outcomes: dict[str, Outcome] = {}
    watch(stage, "", total)
    queue = iter(jobs)
    waiting: dict[Future[Outcome], str] = {}
    back: SimpleQueue[Future[Outcome]] = SimpleQueue()

    def hand_out(n: int) -> None:
        for job in islice(queue, n):
            try:
                future = pool.submit(job.call, *job.arguments, **job.options)
            except BrokenProcessPool:
                outcomes[job.frame] = _died(job.frame)
                watch(stage, job.frame, total)
                continue
            waiting[future] = job.frame
            # Not `wait`, which looks at all that are out each time that one is back.
            future.add_done_callback(back.put)

    hand_out(in_flight)
    while waiting:
        future = back.get()
        frame = waiting.pop(future)
        outcomes[frame] = _outcome(frame, future, isinstance(pool, _Cluster))
        watch(stage, frame, total)
        hand_out(in_flight - len(waiting))
    return dict(sorted(outcomes.items()))


def _outcome(frame: str, future: Future[Outcome], on_cluster: bool) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool as error:
        return Outcome(frame, {}, str(error))
    except CancelledError as error:
        raise _scheduler_lost() from error  # nobody here cancels, but Dask does
    except Exception as error:
        kind = type(error)
        if kind.__name__ == "KilledWorker" and _of_dask(error):
            return Outcome(frame, {}, f"{frame}: the cluster lost several workers to it")
        if _of_dask(error):
            raise _scheduler_lost() from error
        # What a worker says that lacks the packages, or has Dask in another version.
        lacking = kind is ModuleNotFoundError or "deserialization" in str(error)
        if on_cluster and lacking:
            required = "workers with this Skyduel and its packages installed"
            raise BadInputError("--scheduler", required, one_line(error)) from error
        raise


def _of_dask(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] == "distributed"


def _scheduler_lost() -> BadInputError:
    return BadInputError(
        "--scheduler",
        "a scheduler that stays to the end",
        "a lost connection; what is finished is kept, --resume completes the run",
    )


def _died(frame: str) -> Outcome:
    return Outcome(frame, {}, "the worker process died (killed or out of memory)")


class _Cluster(Executor):
    """A cluster's executor, each of whose calls runs in a child process of its worker."""

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
    """Give an executor: of this machine's processes, or of a Dask cluster.

    Parameters
    ----------
    scheduler : str or None
        Address such as ``tcp://10.0.0.1:8786``, or the path of a scheduler file
        (``.json``); None for processes here.
    workers, threads : int
        Processes here and the threads of each; a cluster's are its own affair.
    limit_s : float, optional
        After which, and a minute more, a process, here or a worker's child, is ended with
        what it does [s].

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
    try:
        # A worker that is lost has its calls run again by others; what raises does so once.
        yield _Cluster(client.get_executor(pure=False), limit_s)
    finally:
        with suppress(Exception):  # a scheduler that is gone takes no farewell
            client.close(timeout=_FAREWELL_S)
