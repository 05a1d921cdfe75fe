"""Large runs: jobs in a bounded window, packed catalogues, parts of tables, a Dask cluster."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.paths import ROOT
from helpers.runs import assert_same_tables, two_detector_plan

from skyduel.core import BadInputError, Catalog, pack_catalogs, read_catalog
from skyduel.evaluation import FrameInput, ScoringRules, evaluate, evaluate_detector
from skyduel.run_folder.write_tables import CountsWriter, write_table
from skyduel.runner.execution.executors import Job, executor, gather
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.run import run

PLAN = [("a", "field", "test"), ("b", "dirty", "test"), ("c", "field", "calibration")]
TABLES = ("counts", "scores", "sweep", "limits", "comparisons")


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    return frame_folder(PLAN, 5, ny=72, nx=96)


@pytest.fixture(scope="module")
def finished(sky, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    run(two_detector_plan(sky, folder))
    return folder


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bits(sky, finished, tmp_path, workers) -> None:
    run(two_detector_plan(sky, tmp_path / "run", workers=workers))
    assert_same_tables(finished, tmp_path / "run")


class Counting(Executor):
    """Remembers the most jobs that were handed out at a time."""

    def __init__(self) -> None:
        self.pool, self.lock = ThreadPoolExecutor(3), threading.Lock()
        self.now = self.most = 0

    def submit(self, call, /, *arguments, **options) -> Future:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        future = self.pool.submit(call, *arguments, **options)
        future.add_done_callback(self.back)
        return future

    def back(self, _) -> None:
        with self.lock:
            self.now -= 1


def outcome(name: str) -> Outcome:
    return Outcome(name, {"seconds": 1.0})


def test_jobs_are_handed_out_in_a_window_and_made_on_demand() -> None:
    pool, made, most_ahead = Counting(), 0, 0
    back = []

    def jobs():
        nonlocal made, most_ahead
        for k in range(500):
            made += 1
            most_ahead = max(most_ahead, made - len(back))
            yield Job(f"{k:03d}", outcome, (f"{k:03d}",))

    done = gather("s", pool, jobs(), 500, 7, lambda s, item, n: back.append(item) if item else None)
    assert list(done) == [f"{k:03d}" for k in range(500)]  # whatever order they came back in
    assert pool.most <= 7
    assert most_ahead <= 8
    assert gather("s", pool, iter(()), 0, 7, lambda *_: None) == {}


def test_a_fault_of_the_program_is_not_a_frames_failure() -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        gather("s", pool, [Job("x", lambda: 1 / 0, ())], 1, 2, lambda *_: None)


def catalogs(rng, n) -> list[Catalog]:
    out = []
    for k in range(n):
        m = int(rng.integers(0, 6))
        extra = {} if k % 7 else {"snr": rng.random(m)}
        out.append(
            Catalog.build(
                source=f"f{k}", x=rng.random(m), y=rng.random(m), score=rng.random(m),
                kind=np.where(rng.random(m) < 0.3, "streak", "point"), **extra,
            )
        )  # fmt: skip
    return out


def test_packed_catalogues_read_as_the_given_ones() -> None:
    given = catalogs(np.random.default_rng(2), 600)
    packed = list(pack_catalogs(iter(given)))
    assert len(packed) == len(given)
    for one, other in zip(given, packed, strict=True):
        assert (len(one), one.source) == (len(other), other.source)
        assert one.table.colnames == other.table.colnames
        for name in one.table.colnames:
            assert np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")
            assert not other[name].flags.writeable
        assert np.array_equal(one.is_streak, other.is_streak)
        assert np.array_equal(one.xy, other.xy)
        keep = np.arange(len(one)) % 2 == 0
        assert np.array_equal(one.select(keep)["x"], other.select(keep)["x"])
        assert "snr" in other or "snr" not in one
    with pytest.raises(BadInputError, match="a column 'nothing'"):
        packed[0]["nothing"]
    assert list(pack_catalogs([])) == []


def test_what_is_written_as_it_comes_is_what_would_be_kept(finished, tmp_path) -> None:
    record = json.loads((finished / "run.json").read_text())
    rules = ScoringRules(**record["rules"])
    frames = [
        FrameInput(
            frame=f["name"], group=f["group"], split=f["split"], mpix=f["mpix"], fwhm=f["fwhm"],
            shape=(f["ny"], f["nx"]),
            truth=read_catalog(finished / "truth" / f"{f['name']}.parquet"),
            found=read_catalog(finished / "catalogs" / "sep" / f"{f['name']}.parquet"),
        )
        for f in record["dataset"]["frames"]
    ]  # fmt: skip
    kept = evaluate({"sep": frames}, rules)
    with CountsWriter(tmp_path) as results:
        part = evaluate_detector("sep", frames, rules, kept.edges, sink=results)
    assert part.frames == {}
    assert part.counts.empty
    write_table(tmp_path / "expected.parquet", kept.counts)
    wrote = pd.read_parquet(tmp_path / "counts.parquet")
    pd.testing.assert_frame_equal(wrote, pd.read_parquet(tmp_path / "expected.parquet"))
    assert (tmp_path / "counts.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    for (detector, point), scored in kept.frames.items():
        for score in scored:
            path = tmp_path / "pairs" / detector / point / f"{score.source.frame}.parquet"
            table = pd.read_parquet(path)
            assert table["outcome"].tolist() == score.pairing.to_table()["outcome"].tolist()


def test_counts_are_written_whole_or_not_at_all(tmp_path) -> None:
    write_table(tmp_path / "counts.parquet", pd.DataFrame({"old": [1]}))
    with pytest.raises(RuntimeError), CountsWriter(tmp_path) as results:  # noqa: PT012
        results.counts(pd.DataFrame({"new": [1]}))
        raise RuntimeError
    assert pd.read_parquet(tmp_path / "counts.parquet").columns.tolist() == ["old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["counts.csv", "counts.parquet"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler and two worker processes of this machine, as a cluster would have them."""
    pytest.importorskip("distributed", reason="Dask is not installed (extra dask)")
    place = tmp_path_factory.mktemp("cluster")
    file = place / "scheduler.json"
    root = ROOT
    quiet = {"cwd": root, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1",
             "--port", "0", "--no-dashboard", "--scheduler-file", str(file)], **quiet)
    ]  # fmt: skip
    started += [
        subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", str(file),
             "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory",
             str(place / str(k))], **quiet)
        for k in range(2)
    ]  # fmt: skip
    yield str(file)
    for process in reversed(started):
        process.terminate()
    for process in started:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:  # on a loaded machine its farewell takes longer
            process.kill()
            process.wait()


def test_a_cluster_gives_the_same_bits(cluster, sky, finished, tmp_path) -> None:
    run(two_detector_plan(sky, tmp_path / "run", scheduler=cluster))
    assert_same_tables(finished, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["machine"]["scheduler"] == cluster
    # ... made by processes other than this one.
    with executor(cluster, 1, 1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_no_scheduler_is_one_clear_line(tmp_path, monkeypatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (extra dask)")
    monkeypatch.setattr("skyduel.runner.execution.executors._CONNECT_TIMEOUT_S", 0.5)
    with (
        pytest.raises(BadInputError, match="a Dask scheduler at tcp:"),
        executor("tcp://127.0.0.1:9", 1, 1),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BadInputError, match=r"skyduel\[cluster\]"), executor("x", 1, 1):
        pass
