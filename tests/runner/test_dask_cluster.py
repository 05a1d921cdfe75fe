"""A Dask cluster on which things go wrong: hanging frames, lost workers, a lost scheduler."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.runs import assert_same_tables, two_detector_plan

import skyduel.runner.execution.child_process
from skyduel.core import BadInputError
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.execution.child_process import Place, call_in_child
from skyduel.runner.execution.executors import Job, executor, gather
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.process_pool import WorkerLostError
from skyduel.runner.run import run

FRAMES = 4


# -- calls in a child, without Dask ----------------------------------------------------------


def square(n: int) -> int:
    return n * n


def where() -> tuple[int, str]:
    return os.getpid(), os.getcwd()


def die(marker: str | None = None) -> int:
    if marker is None or not Path(marker).exists():
        if marker is not None:
            Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def deaf(seconds: float) -> None:
    """Take long, and hear of no limit."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)


class Stubborn(Exception):
    def __init__(self, one, two) -> None:  # which pickle cannot make again
        super().__init__(f"{one} and {two}")


def raise_(what: str) -> None:
    raise {"value": ValueError("no"), "leave": SystemExit(3), "odd": Stubborn(1, 2)}[what]


@pytest.fixture
def place(monkeypatch, tmp_path) -> Iterator[Place]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.chdir(tmp_path)
    place = Place.here()
    yield place
    for child in skyduel.runner.execution.child_process._idle.pop(place.token, []):
        child.end()


def test_a_child_is_kept_and_begins_where_its_caller_stands(place, tmp_path) -> None:
    assert call_in_child(place, None, square, 5) == 25
    pid, folder = call_in_child(place, 3000.0, where)
    assert (pid != os.getpid(), folder) == (True, str(tmp_path))
    assert call_in_child(place, None, where)[0] == pid
    other = replace(place, token="other", folder="/no/such/folder")
    assert call_in_child(other, None, where)[0] != pid
    for child in skyduel.runner.execution.child_process._idle.pop("other"):
        child.end()


def test_errors_come_back_whatever_they_are(place) -> None:
    with pytest.raises(ValueError, match="no") as caught:
        call_in_child(place, None, raise_, "value")
    assert "in raise_" in "".join(caught.value.__notes__)
    with pytest.raises(SystemExit):
        call_in_child(place, None, raise_, "leave")
    with pytest.raises(RuntimeError, match="Stubborn: 1 and 2"):
        call_in_child(place, None, raise_, "odd")
    assert call_in_child(place, None, square, 3) == 9


def test_a_call_that_takes_its_process_is_tried_twice(place, tmp_path) -> None:
    assert call_in_child(place, None, die, str(tmp_path / "marker")) == 7
    with pytest.raises(WorkerLostError, match="died twice"):
        call_in_child(place, None, die)


def test_a_call_that_takes_too_long_is_ended_from_a_thread(place, monkeypatch) -> None:
    call_in_child(place, None, square, 1)
    monkeypatch.setattr(skyduel.runner.execution.child_process, "GRACE_S", 0.5)
    (child,) = skyduel.runner.execution.child_process._idle[place.token]
    raised: list[BaseException] = []

    def thread() -> None:
        try:
            call_in_child(place, 0.3, deaf, 3000.0)
        except BaseException as error:
            raised.append(error)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join(600)
    assert [str(e) for e in raised] == ["no answer after 0.3 s; its worker process was ended"]
    assert child.process.returncode == -signal.SIGKILL
    assert call_in_child(place, 3000.0, square, 4) == 16


def test_a_child_that_left_is_replaced(place) -> None:
    pid, _ = call_in_child(place, None, where)
    os.kill(pid, signal.SIGTERM)
    skyduel.runner.execution.child_process._idle[place.token][0].process.wait()
    assert call_in_child(place, None, where)[0] != pid


def test_children_leave_with_their_parent(tmp_path) -> None:
    code = """
import os, time
from skyduel.runner.execution.child_process import Place, call_in_child
place = Place.here()
print(call_in_child(place, None, os.getpid), flush=True)
call_in_child(place, None, time.sleep, 3000)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        child = int(started.stdout.readline())
        started.kill()
    until = time.monotonic() + 600
    while running(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not running(child)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_workers_of_other_versions_are_refused(place) -> None:
    old = replace(place, versions=(("numpy", "1.0"),))
    with pytest.raises(BadInputError, match=r"the runner's versions, numpy 1\.0; got numpy"):
        call_in_child(old, None, square, 1)


# -- with Dask -------------------------------------------------------------------------------


@dataclass
class Cluster:
    """A scheduler and workers, each a process of this machine."""

    place: Path
    port: int
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def start(self, module: str, *words: str) -> subprocess.Popen[bytes]:
        folders = (ROOT / "src", ROOT / "tests", Path(__file__).parent)
        paths = os.pathsep.join(map(str, folders))
        return subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{module}", *words],
            cwd=self.place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        )  # fmt: skip

    def start_scheduler(self) -> None:
        self.scheduler = self.start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard"
        )
        # Its start takes long on a busy machine, longer than a client waits for an answer.
        until = time.monotonic() + 600
        while not listens(self.port):
            assert time.monotonic() < until
            assert self.scheduler.poll() is None
            time.sleep(0.05)

    def start_worker(self, *words: str) -> None:
        self.workers.append(
            self.start("dask_worker", self.address, "--nthreads", "1", "--no-dashboard",
                       "--local-directory", str(self.place / str(len(self.workers))), *words)
        )  # fmt: skip

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            process.terminate()
        for process in [*self.workers, self.scheduler]:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def listens(port: int) -> bool:
    import socket

    with contextlib.closing(socket.socket()) as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def started(place: Path, workers: int = 2, *words: str) -> Iterator[Cluster]:
    pytest.importorskip("distributed", reason="Dask is not installed (extra dask)")
    one = Cluster(place, free_port(), None, [])  # type: ignore[arg-type]
    one.start_scheduler()
    for _ in range(workers):
        one.start_worker(*words)
    try:
        yield one
    finally:
        one.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    # Under a nanny, as Dask's workers are by default.
    with started(tmp_path_factory.mktemp("cluster"), 1, "--nanny") as one:
        yield one


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    return frame_folder([(f"f{k}", "field", "test") for k in range(FRAMES)], 5, ny=72, nx=96)


@pytest.fixture(scope="module")
def undisturbed(sky, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    run(two_detector_plan(sky, folder))
    return folder


def test_relative_paths_mean_the_runners_folder(
    cluster, sky, undisturbed, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(two_detector_plan(Path(os.path.relpath(sky)), Path("run"), scheduler=cluster.address))
    assert_same_tables(undisturbed, tmp_path / "run")


def shorten_grace() -> None:
    skyduel.runner.execution.child_process.GRACE_S = 0.5  # type: ignore[misc]


def test_frames_have_a_time_limit_on_a_cluster(cluster, sky, tmp_path) -> None:
    from distributed import Client

    program = tmp_path / "hangs"
    program.write_text(
        "#!/bin/sh\ncase $1 in --version) echo version 2.28; exit;; esac\nexec sleep 3000\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    # Alone: on a busy machine another detector, too, may take longer than such a limit.
    specs = parse_specs(["slow=source-extractor"], [f"slow.executable={program}"])
    slow = replace(two_detector_plan(sky, tmp_path / "run"), specs=specs, frame_timeout_s=0.5)
    with pytest.raises(BadInputError, match="every detector finished"):
        run(replace(slow, scheduler=cluster.address))

    failures = json.loads((tmp_path / "run" / "run.json").read_text())["failures"]
    assert [f["detector"] for f in failures] == ["slow"] * FRAMES
    assert {f["reason"].partition(": ")[2] for f in failures} == {"no answer within 0.5 s"}
    # ... and what does not hear of it loses its process, not the worker.
    with Client(cluster.address, set_as_default=False) as client:
        client.run(shorten_grace)
    deaf = Job("deaf", time.sleep, (3000.0,))  # type: ignore[arg-type]
    with executor(cluster.address, 1, 1, limit_s=0.5) as pool:
        done = gather("s", pool, [deaf], 1, 9, lambda *_: None)
    assert "no answer after 0.5 s" in str(done["deaf"].reason)
    jobs: list[Job] = [
        Job("dies", os.abort, ()),
        *(Job(f"fine{k}", Outcome, (f"fine{k}", {})) for k in range(3)),
    ]
    with executor(cluster.address, 1, 1, limit_s=3000) as pool:
        done = gather("s", pool, jobs, len(jobs), 9, lambda *_: None)
    assert "died twice" in str(done["dies"].reason)
    assert [done[f"fine{k}"].reason for k in range(3)] == [None] * 3


@pytest.mark.slow
def test_a_worker_killed_during_a_run_is_done_without(sky, undisturbed, tmp_path) -> None:
    killed: list[int] = []
    with started(tmp_path, 2) as cluster:

        def watch(stage: str, item: str, total: int) -> None:
            if item and not killed:
                killed.append(cluster.workers[0].pid)
                cluster.workers[0].kill()

        record = run(two_detector_plan(sky, tmp_path / "run", scheduler=cluster.address), watch)
    assert killed
    assert record.status == "complete"
    assert record.failures == ()
    assert_same_tables(undisturbed, tmp_path / "run")


@pytest.mark.parametrize("again", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_lost_scheduler_is_one_line_and_the_run_can_be_resumed(
    sky, undisturbed, tmp_path, monkeypatch, again
) -> None:
    monkeypatch.setattr("skyduel.runner.execution.executors._CONNECT_TIMEOUT_S", 12)
    one = two_detector_plan(sky, tmp_path / "run")
    with started(tmp_path, 1) as cluster:
        seen: list[str] = []

        def watch(stage: str, item: str, total: int) -> None:
            seen.append(stage)
            if stage == "sep" and item and not cluster.scheduler.poll():
                cluster.scheduler.kill()
                cluster.scheduler.wait()
                if again:
                    cluster.start_scheduler()

        with pytest.raises(BadInputError, match="a scheduler that stays to the end"):
            run(replace(one, scheduler=cluster.address), watch)
        assert "sep" in seen
    if again:
        with started(tmp_path, 1) as cluster:
            run(replace(one, scheduler=cluster.address, resume=True))
    else:
        run(replace(one, resume=True))
    assert_same_tables(undisturbed, tmp_path / "run")
