"""Run calls of a threaded Dask worker in child processes, so that a time limit can end them.

A thread cannot be ended, nor can the call in it; a process can. Each thread that calls has
a child process while it waits, which is kept for its next call and leaves when there is
none for a while, or when its parent is gone.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import traceback
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, Final

from skyduel.core import BadInputError, SkyduelError
from skyduel.run_folder.provenance import versions
from skyduel.runner.execution.process_pool import GRACE_S, WorkerLostError

__all__ = ["Place", "call_in_child", "serve"]

#: How long a child waits for its next call before it leaves [s].
_IDLE_S: Final = 30.0


@dataclass(frozen=True)
class Place:
    """Where and for whom calls are made.

    Parameters
    ----------
    token : str
        Calls with another one get another child, with a peak memory of its own.
    folder : str
        Where relative paths begin, if there is such a folder on this machine.
    versions : tuple of (package, version)
        Of who asks; they must be this machine's.
    """

    token: str
    folder: str
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls) -> Place:
        """Return this folder and these versions, under a token of their own."""
        return cls(os.urandom(8).hex(), os.getcwd(), tuple(versions().items()))


class _Child:
    """One child process and the line to it."""

    def __init__(self, place: Place) -> None:
        self.line, theirs = Pipe()
        code = f"from skyduel.runner.execution.child_process import serve; serve({theirs.fileno()})"
        # Whatever this process can import, the child can.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        # Not by multiprocessing: a worker under a Dask nanny may not have children of that kind.
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=place.folder if os.path.isdir(place.folder) else None,
            env={**os.environ, "PYTHONPATH": path},
        )
        theirs.close()  # or its end would never be noticed
        self.ready = False

    def answer(self, request: bytes, limit_s: float | None) -> tuple[bool, Any]:
        """Return whether a call succeeded, and its result or error.

        Raises
        ------
        TimeoutError
            If no answer came in time.
        EOFError, OSError
            If the child is gone.
        """
        if not self.ready:  # what it loads to begin with is nobody's fault
            self.line.recv_bytes()
            self.ready = True
        self.line.send_bytes(request)
        if limit_s is not None and not self.line.poll(limit_s + GRACE_S):
            raise TimeoutError
        succeeded, answer = pickle.loads(self.line.recv_bytes())
        return succeeded, answer

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.line.close()


_idle: dict[str, list[_Child]] = defaultdict(list)
_lock = threading.Lock()


def call_in_child(
    place: Place,
    limit_s: float | None,
    function: Callable[..., Any],
    /,
    *arguments: Any,
    **options: Any,
) -> Any:
    """Return what a function returns when it is called in a child process.

    Parameters
    ----------
    place : Place
        Where.
    limit_s : float or None
        What the call should take at most [s]; if it takes a minute more its process is ended.
    function : callable
        With its arguments and options.

    Raises
    ------
    WorkerLostError
        If the call took too long, or lost its process twice.
    BadInputError
        If other versions are installed here than the caller's.
    """
    _check_versions(place.versions)
    request = _pickled((function, arguments, options))
    for _ in range(2):
        child = _take(place)
        try:
            succeeded, answer = child.answer(request, limit_s)
        except TimeoutError:
            child.end()
            raise WorkerLostError(
                f"no answer after {limit_s:g} s; its worker process was ended"
            ) from None
        except (EOFError, OSError):
            child.end()
            continue
        except BaseException:
            child.end()
            raise
        with _lock:
            _idle[place.token].append(child)
        if succeeded:
            return answer
        raise answer
    raise WorkerLostError("the worker process died twice (killed or out of memory)")


def _take(place: Place) -> _Child:
    """Return an idle child, or a new one."""
    with _lock:
        gone = []
        for token, children in list(_idle.items()):
            gone += [child for child in children if child.process.poll() is not None]
            _idle[token] = [child for child in children if child.process.returncode is None]
            if not _idle[token]:
                del _idle[token]
        found = _idle[place.token].pop() if place.token in _idle else None
    for child in gone:
        child.end()
    return found or _Child(place)


@lru_cache(maxsize=4)  # to look them up takes longer than a call that does nothing
def _check_versions(wanted: tuple[tuple[str, str], ...]) -> None:
    here = versions()
    for name, theirs in wanted:
        if here.get(name) != theirs:
            raise BadInputError(
                "--scheduler",
                f"workers with the runner's versions, {name} {theirs}",
                f"{name} {here.get(name)} on {os.uname().nodename}",
            )


def _pickled(value: Any) -> bytes:
    try:
        import cloudpickle  # of Dask; it takes a script's functions too
    except ImportError:
        return pickle.dumps(value)
    return bytes(cloudpickle.dumps(value))


def serve(descriptor: int) -> None:
    """Answer the calls that come over a connection; the work of a child."""
    line = Connection(descriptor)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                calls.put(line.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)  # nobody is left to take an answer

    threading.Thread(target=listen, daemon=True).start()
    line.send_bytes(b"ready")
    while True:
        try:
            call = calls.get(timeout=_IDLE_S)
        except queue.Empty:
            os._exit(0)  # not by the interpreter's farewell, which libraries' threads may block
        line.send_bytes(_answered(call))


def _answered(call: bytes) -> bytes:
    """Return what came of a call, ready to be sent."""
    try:
        function, arguments, options = pickle.loads(call)
        return pickle.dumps((True, function(*arguments, **options)))
    except BaseException as error:
        if not isinstance(error, SkyduelError):
            error.add_note(traceback.format_exc())  # tracebacks do not travel
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:  # an exception may hold anything
            said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            answer = pickle.dumps((False, RuntimeError(said)))
        return answer
