"""Run calls of a threaded Dask worker in child processes, so that a time limit can end them.

A thread and the call in it cannot be ended; a process can. Each calling thread has a child
process. The child is kept for the next call, and exits if no call comes for a while or if
its parent has exited.
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

from skyduel.core import SkyduelError
from skyduel.core.errors import ArgumentError
from skyduel.run_folder.provenance import versions
from skyduel.runner.execution.process_pool import GRACE_S, WorkerLostError

__all__ = ["Place", "call_in_child", "serve"]

#: Time that a child waits for its next call before it exits [s].
_IDLE_S: Final = 30.0


@dataclass(frozen=True)
class Place:
    """Context of a call: its caller, the working folder and the package versions.

    Parameters
    ----------
    token : str
        Identifies the caller. Calls with different tokens use different children, each
        with its own peak memory.
    folder : str
        Folder of relative paths, if it exists on this machine.
    versions : tuple of (package, version)
        Package versions of the caller; they must be those of this machine.
    """

    token: str
    folder: str
    versions: tuple[tuple[str, str], ...]

    @classmethod
    def here(cls) -> Place:
        """Return the context of this process, with a new token."""
        return cls(os.urandom(8).hex(), os.getcwd(), tuple(versions().items()))


class _Child:
    """One child process and the connection to it."""

    def __init__(self, place: Place) -> None:
        self.line, theirs = Pipe()
        code = f"from skyduel.runner.execution.child_process import serve; serve({theirs.fileno()})"
        # The child can import the same modules as this process.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
        # Not with multiprocessing: workers under a Dask nanny may not have such children.
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            cwd=place.folder if os.path.isdir(place.folder) else None,
            env={**os.environ, "PYTHONPATH": path},
        )
        theirs.close()  # otherwise the exit of the child is not noticed
        self.ready = False

    def answer(self, request: bytes, limit_s: float | None) -> tuple[bool, Any]:
        """Send a call; return True and its result, or False and its error.

        Raises
        ------
        TimeoutError
            If no answer came in time.
        EOFError, OSError
            If the child has exited.
        """
        if not self.ready:  # the time for imports does not count
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
    """Call a function in a child process and return its result.

    Parameters
    ----------
    place : Place
        Context of the call.
    limit_s : float or None
        Time limit of the call [s]; one minute later its process is killed.
    function : callable
        The function, called with the arguments and options that follow.

    Raises
    ------
    WorkerLostError
        If the call took too long, or lost its process twice.
    BadInputError
        If the installed versions differ from those of the caller.
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
    """Take an idle child, or start a new one."""
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


@lru_cache(maxsize=4)  # the look-up takes longer than an empty call
def _check_versions(wanted: tuple[tuple[str, str], ...]) -> None:
    here = versions()
    for name, theirs in wanted:
        if here.get(name) != theirs:
            raise ArgumentError(
                "scheduler",
                f"workers with the runner's versions, {name} {theirs}",
                f"{name} {here.get(name)} on {os.uname().nodename}",
            )


def _pickled(value: Any) -> bytes:
    try:
        import cloudpickle  # a dependency of Dask; it also pickles functions of scripts
    except ImportError:
        return pickle.dumps(value)
    return bytes(cloudpickle.dumps(value))


def serve(descriptor: int) -> None:
    """Answer calls from a connection; the main loop of a child."""
    line = Connection(descriptor)
    calls: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        try:
            while True:
                calls.put(line.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)  # the parent has exited

    threading.Thread(target=listen, daemon=True).start()
    line.send_bytes(b"ready")
    while True:
        try:
            call = calls.get(timeout=_IDLE_S)
        except queue.Empty:
            os._exit(0)  # without interpreter shutdown, which threads of libraries may block
        line.send_bytes(_answered(call))


def _answered(call: bytes) -> bytes:
    """Run a pickled call and return its pickled result or error."""
    try:
        function, arguments, options = pickle.loads(call)
        return pickle.dumps((True, function(*arguments, **options)))
    except BaseException as error:
        if not isinstance(error, SkyduelError):
            error.add_note(traceback.format_exc())  # tracebacks cannot be pickled
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)
        except Exception:  # an exception may hold objects that cannot be pickled
            said = f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
            answer = pickle.dumps((False, RuntimeError(said)))
        return answer
