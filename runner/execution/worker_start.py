"""How worker processes start: as forks of a server that has loaded their modules.

A process that starts anew loads all modules, which takes seconds. On Linux a worker is a fork
of a server process (``forkserver`` of `multiprocessing`) that has loaded them, and that has
neither a second thread nor torch. Elsewhere it starts anew (``spawn``).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from multiprocessing.connection import wait as wait_for
from typing import Any, Final

__all__ = [
    "RUN_MODULES",
    "WorkerContext",
    "begin_worker",
    "environment",
    "leave_starting_worker",
    "start_server",
    "threads_of_libraries",
]

#: What every worker on frames needs. Torch and the analyses are loaded where they are used.
_PRELOADED: Final = ("skyduel.runner.detect_frame",)
#: What the other workers of a run need, which are not timed: truths and scores.
RUN_MODULES: Final = (
    *_PRELOADED,
    "skyduel.runner.catalog_warnings",
    "skyduel.runner.scoring.score_detectors",
)
#: Names of worker processes begin with this.
_NAME: Final = "skyduel-worker"
#: A fork of a process with threads may hang. Arrow brings an allocator, not used, that starts one.
_NO_THREADS: Final = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}
#: The exit code that multiprocessing gives a worker whose server was killed.
_UNKNOWN_EXIT: Final = 255
#: Pauses between attempts to reach the server [s].
_PAUSES: Final = (0.05, 0.2, 1.0, 3.0)

if sys.platform == "linux":
    from multiprocessing import forkserver
    from multiprocessing.context import ForkServerContext as _Context
    from multiprocessing.context import ForkServerProcess as _Process
else:
    from multiprocessing.context import SpawnContext as _Context
    from multiprocessing.context import SpawnProcess as _Process


class _Worker(_Process):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.name = f"{_NAME}-{self.name}"

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        # A server that was killed starts again. For a moment after that it is still thought to run,
        # and if it is found dead later, multiprocessing starts it, with the environment of then.
        try:
            for pause in _PAUSES:
                start_server()
                with suppress(ConnectionError), _environment_of_server():
                    return _Process._Popen(process_obj)
                time.sleep(pause)
            with _environment_of_server():
                return _Process._Popen(process_obj)
        except (ConnectionError, EOFError) as error:
            raise BrokenProcessPool("the server of worker processes ended") from error


class WorkerContext(_Context):
    """The context of `multiprocessing` that starts the workers of one pool."""

    def __init__(self) -> None:
        super().__init__()
        self._workers: list[_Worker] = []

    def Process(self, *arguments: Any, **options: Any) -> _Worker:  # type: ignore[override]
        """Return a new worker, which is not started."""
        worker = _Worker(*arguments, **options)
        self._workers.append(worker)
        return worker

    def ended_by_themselves(self) -> bool:
        """Return True if a worker ended and no signal ended it."""
        codes = [worker.exitcode for worker in self._workers]
        return any(code is not None and 0 <= code < _UNKNOWN_EXIT for code in codes)


def start_server(preloaded: Sequence[str] = _PRELOADED) -> None:
    """Start the server of worker processes, without waiting until it has loaded its modules.

    Nothing happens where it runs already, or where workers start anew.

    Parameters
    ----------
    preloaded : sequence of str
        The modules, by default those for work on frames. A worker's peak memory includes them.
    """
    if sys.platform == "linux":
        multiprocessing.set_forkserver_preload(list(preloaded))
        with _environment_of_server():
            forkserver.ensure_running()


def _environment_of_server() -> AbstractContextManager[None]:
    """Return the context in which a server may start; nothing where workers start anew."""
    if sys.platform != "linux":
        return nullcontext()
    # It imports what this process imports, and nothing from the current folder.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    imports = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    return environment({**imports, **threads_of_libraries(1), **_NO_THREADS})


def threads_of_libraries(threads: int) -> dict[str, str]:
    """Return the variables of the environment that libraries read when they are loaded."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables of the environment within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def begin_worker(variables: Mapping[str, str], threads: int) -> None:
    """Make this new worker what one that starts anew would be; it ends with its parent.

    Parameters
    ----------
    variables : mapping of str to str
        The environment of the process that started it; a server may have an older one.
    threads : int
        Number of threads of libraries.
    """
    os.environ.clear()
    os.environ.update(variables)
    if sys.platform == "linux":
        # Libraries that the server loaded have read the number already, and forks have one state.
        with suppress(ImportError):  # it comes with scikit-learn, of the extra neural
            from threadpoolctl import threadpool_limits

            threadpool_limits(threads)
        if (numpy := sys.modules.get("numpy")) is not None:
            numpy.random.seed()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for([sentinel])
    os._exit(1)  # the parent has exited


def leave_starting_worker() -> None:
    """Exit, without a word, a worker process that has not started: it imports its script.

    A script that starts work outside ``if __name__ == "__main__":`` would start it again in
    every worker. The process that started the worker tells the user.
    """
    process = multiprocessing.current_process()
    # What multiprocessing itself asks.
    if getattr(process, "_inheriting", False) and process.name.startswith(_NAME):
        os._exit(1)  # an exception could be caught by the script, or print its traceback
