"""If worker processes die or hang, only the calls at fault fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.paths import ROOT

import skyduel.runner.execution.process_pool
from skyduel.runner.execution.process_pool import WorkerLostError, process_pool
from skyduel.runner.execution.time_limit import TooLongError, time_limit


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


def test_what_does_not_come_back_loses_its_process_and_no_other(monkeypatch) -> None:
    monkeypatch.setattr(skyduel.runner.execution.process_pool, "GRACE_S", 4.0)
    with process_pool(2, 1, limit_s=0.5) as pool:
        futures = [pool.submit(hang if n == 0 else square, n) for n in range(4)]
        assert [f.result() for f in futures[1:]] == [1, 4, 9]
        with pytest.raises(WorkerLostError, match=r"no answer after 0\.5 s"):
            futures[0].result()


def test_a_pool_that_is_left_by_an_error_waits_for_no_more() -> None:
    with pytest.raises(KeyboardInterrupt), process_pool(1, 1) as pool:  # noqa: PT012
        pool.submit(square, 1).result()
        futures = [pool.submit(time.sleep, 0.2) for _ in range(500)]
        raise KeyboardInterrupt
    assert sum(f.cancelled() for f in futures) > 490


def test_processes_end_with_the_one_that_started_them(tmp_path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from skyduel.runner.execution.process_pool import process_pool
if __name__ == "__main__":
    with process_pool(1, 1) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 300)
        time.sleep(300)
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
    until = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < until:
        state = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{worker}").exists()


def test_a_time_limit_is_above_what_a_detector_catches() -> None:
    caught = 0
    with pytest.raises(TooLongError), time_limit(0.2):  # noqa: PT012
        while True:
            try:
                time.sleep(0.01)
            except Exception:
                caught += 1
    assert caught == 0
    with time_limit(0.05):
        pass
    time.sleep(0.1)  # the clock is off
    with time_limit(None):
        pass
