"""If worker processes die or hang, only the calls at fault fail."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.paths import ROOT

import skyduel.runner.execution.process_pool as process_pool_module
from skyduel.core import BadInputError
from skyduel.runner.execution import worker_start
from skyduel.runner.execution.process_pool import WorkerLostError, process_pool
from skyduel.runner.execution.time_limit import TooLongError, time_limit

begin = process_pool_module._begin


def square(n: int) -> int:
    return n * n


def fail(n: int) -> int:
    raise ValueError(f"no {n}")


def die(_: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def die_once(place: str) -> int:
    marker = Path(place)
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def hang(_: int) -> int:
    while True:
        time.sleep(1)


def begin_or_be_killed(pids, variables: dict[str, str], threads: int) -> None:
    """Begin a worker, but kill it before it is ready while there are files in a folder."""
    with contextlib.suppress(IndexError, FileNotFoundError):  # two workers may want the same file
        sorted(Path(variables["SKYDUEL_TEST_KILLS"]).iterdir())[0].unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    begin(pids, variables, threads)


@pytest.fixture
def kills(tmp_path, monkeypatch) -> Path:
    """Return a folder: each file in it kills one worker before its first call."""
    monkeypatch.setattr(process_pool_module, "_begin", begin_or_be_killed)
    monkeypatch.setenv("SKYDUEL_TEST_KILLS", str(tmp_path / "kills"))
    (tmp_path / "kills").mkdir()
    return tmp_path / "kills"


def test_results_and_errors_come_back() -> None:
    with process_pool(2, 1) as pool:
        assert list(pool.map(square, range(9))) == [n * n for n in range(9)]
        with pytest.raises(ValueError, match="no 3"):
            pool.submit(fail, 3).result()


def test_only_what_kills_its_process_is_to_blame(tmp_path) -> None:
    with process_pool(2, 1) as pool:
        futures = [pool.submit(die if n == 2 else square, n) for n in range(6)]
        once = pool.submit(die_once, str(tmp_path / "marker"))
        got = [f.exception() or f.result() for f in futures]
        assert once.result() == 7
    assert got[:2] + got[3:] == [0, 1, 9, 16, 25]
    assert isinstance(got[2], WorkerLostError)
    assert "died twice" in str(got[2])


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_killed_before_their_first_call_start_again(kills, tmp_path, workers) -> None:
    (kills / "first").touch()
    with process_pool(workers, 1) as pool:
        assert list(pool.map(square, range(9))) == [n * n for n in range(9)]
        # No call is to blame: one that loses its own process is still repeated.
        assert pool.submit(die_once, str(tmp_path / "marker")).result() == 7
        (kills / "a").touch()
        (kills / "b").touch()
        again = pool.submit(die_once, str(tmp_path / "other marker"))
        assert [again.result(), pool.submit(square, 5).result()] == [7, 25]
    assert not list(kills.iterdir())


def test_workers_killed_again_and_again_before_their_first_call_are_one_error(kills) -> None:
    for n in range(20):
        (kills / str(n)).touch()
    with process_pool(1, 1) as pool:
        futures = [pool.submit(square, n) for n in range(9)]
        for future in futures:
            with pytest.raises(BadInputError, match=r"killed before their first call, 3 times$"):
                future.result()
    assert len(list(kills.iterdir())) == 17


def test_what_does_not_come_back_loses_its_process_and_no_other(monkeypatch) -> None:
    others: list[Future[int]] = []

    def clock() -> float:
        """Stand still until the others are done; then it is late."""
        return 1e6 if len(others) == 3 and all(f.done() for f in others) else 0.0

    monkeypatch.setattr(process_pool_module, "time", SimpleNamespace(monotonic=clock))
    with process_pool(2, 1, limit_s=60.0) as pool:
        hanging = pool.submit(hang, 0)
        others += [pool.submit(square, n) for n in (1, 2, 3)]
        assert [f.result() for f in others] == [1, 4, 9]
        with pytest.raises(WorkerLostError, match="no answer after 60 s"):
            hanging.result()


def wait_for(place: str) -> None:
    while not Path(place).exists():
        time.sleep(0.01)


def test_a_pool_that_is_left_by_an_error_waits_for_no_more(tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt), process_pool(1, 1) as pool:  # noqa: PT012
        pool.submit(square, 1).result()
        futures = [pool.submit(wait_for, str(tmp_path / "cancelled")) for _ in range(500)]
        futures[-1].add_done_callback(lambda _: (tmp_path / "cancelled").touch())
        raise KeyboardInterrupt
    assert sum(f.cancelled() for f in futures) >= 498  # one runs, and one is next


def test_processes_end_with_the_one_that_started_them(tmp_path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from skyduel.runner.execution.process_pool import process_pool
if __name__ == "__main__":
    with process_pool(1, 1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 3000)
        time.sleep(3000)
"""
    script = tmp_path / "starts.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    ) as started:
        assert started.stdout is not None
        worker = int(started.stdout.readline())
        started.kill()
    until = time.monotonic() + 600
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{worker}").exists()


def test_a_script_without_a_guard_is_one_clear_error(tmp_path) -> None:
    script = tmp_path / "unguarded.py"
    script.write_text(
        """
import os, sys
from pathlib import Path
with open("starts", "a") as file:
    file.write("x")
from skyduel.core import SkyduelError
from skyduel.runner.execution.process_pool import process_pool
try:
    with process_pool(2, 1) as pool:
        futures = [pool.submit(abs, -n) for n in range(50)]
        print([f.result() for f in futures])
except SkyduelError as error:
    sys.exit(f"skyduel: {error}")
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "skyduel: worker processes: required processes that start; each imports the script, so a "
        'script calls Skyduel below if __name__ == "__main__":; got processes that ended before '
        "their first call"
    ]
    assert 2 <= len((tmp_path / "starts").read_text()) <= 3  # itself and its two workers


def test_a_script_that_workers_cannot_import_is_one_error_at_the_first_start(tmp_path) -> None:
    script = tmp_path / "lacking.py"
    script.write_text(
        """
import sys
from skyduel.core import SkyduelError
from skyduel.runner.execution.process_pool import process_pool
if __name__ == "__main__":
    try:
        with process_pool(1, 1) as pool:
            pool.submit(abs, -1).result()
    except SkyduelError as error:
        sys.exit(f"skyduel: {error}")
else:
    with open("starts", "a") as file:
        file.write("x")
    import not_to_be_found
"""
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 1
    assert "No module named 'not_to_be_found'" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "skyduel: worker processes: required processes that start;"
    )
    assert (tmp_path / "starts").read_text() == "x"


def fresh_facts(_: int) -> tuple[int, str | None, int, float]:
    """What a worker shares with no other: threads of its parent, environment, random numbers."""
    import numpy as np
    from threadpoolctl import threadpool_info

    threads = len(os.listdir(f"/proc/{os.getppid()}/task"))
    libraries = [one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"]
    return threads, os.environ.get("SKYDUEL_TEST"), max(libraries), float(np.random.random())  # noqa: NPY002


@pytest.mark.skipif(sys.platform != "linux", reason="workers start anew")
def test_workers_are_forks_of_a_server_without_threads(monkeypatch) -> None:
    pytest.importorskip("threadpoolctl")
    drawn = set()
    for n in (1, 2):
        monkeypatch.setenv("SKYDUEL_TEST", f"pool {n}")  # newer than the server
        with process_pool(1, n) as pool:
            threads, variable, libraries, number = pool.submit(fresh_facts, 0).result()
        assert (threads, variable, libraries) == (1, f"pool {n}", n)
        drawn.add(number)
    assert len(drawn) == 2
    assert os.environ.get("OPENBLAS_NUM_THREADS") != "2"


@pytest.mark.skipif(sys.platform != "linux", reason="workers start anew")
def test_a_server_that_was_killed_starts_again() -> None:
    with process_pool(1, 1) as pool:
        server = pool.submit(os.getppid).result()
        os.kill(server, signal.SIGKILL)
        assert pool.submit(square, 3).result() == 9
    with process_pool(1, 1) as pool:
        assert pool.submit(os.getppid).result() != server


@pytest.mark.skipif(sys.platform != "linux", reason="workers start anew")
def test_a_server_that_multiprocessing_starts_again_has_no_threads(monkeypatch) -> None:
    pytest.importorskip("threadpoolctl")
    with process_pool(1, 1) as pool:
        server = pool.submit(os.getppid).result()
    # As if it had still been thought to run: nobody but multiprocessing starts it again.
    monkeypatch.setattr(worker_start, "start_server", lambda *_: None)
    multiprocessing.set_forkserver_preload(["pyarrow"])  # whose allocator would start a thread
    os.kill(server, signal.SIGKILL)
    os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
    with process_pool(1, 1) as pool:
        again = pool.submit(os.getppid).result()
        assert pool.submit(fresh_facts, 0).result()[0] == 1
    assert again != server
    # The next pool's server has the usual modules.
    os.kill(again, signal.SIGKILL)
    os.waitid(os.P_PID, again, os.WEXITED | os.WNOWAIT)


def test_a_time_limit_is_above_what_a_detector_catches() -> None:
    caught = 0
    with pytest.raises(TooLongError), time_limit(0.2):  # noqa: PT012
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                caught += 1
    assert caught == 0
    with time_limit(3000):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)  # the clock is off
    with time_limit(None):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers start anew")
@pytest.mark.parametrize(
    "modules",
    [["skyduel.reports.report"], [*worker_start.RUN_MODULES, "skyduel.runner.builtin_dataset"]],
    ids=["report", "run"],
)
def test_the_modules_of_a_server_start_no_thread(modules: list[str]) -> None:
    """A fork of a process with threads may hang; servers of `report` and `run` load these."""
    code = (
        f"import os, sys, {', '.join(modules)}\n"
        "print(len(os.listdir('/proc/self/task')), 'torch' in sys.modules)"
    )
    variables = {**os.environ, **worker_start.threads_of_libraries(1), **worker_start._NO_THREADS}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=variables
    )
    assert done.stdout.split() == ["1", "False"]
