"""A long run continues after errors, or stops with one line and can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from helpers.paths import ROOT
from helpers.runs import assert_same_tables, inline_pool, two_detector_plan

import skyduel.runner.detect_frame
import skyduel.runner.execution.executors
import skyduel.runner.frame_steps
from skyduel.cli.main import main
from skyduel.core import BadInputError, Catalog, atomic_path, entry_of
from skyduel.core.errors import UnwritableError
from skyduel.run_folder.lock import lock_folder
from skyduel.runner.detect_frame import detect_frame
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.run import run

PLAN = [(f"field_{n:03}", "field", "test") for n in range(4)] + [
    ("cal_000", "field", "calibration")
]
TABLES = ("counts", "scores", "sweep", "limits", "comparisons")


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    return frame_folder(PLAN, 11, ny=80, nx=96)


# The run without its report, which is drawn from files afterwards.
RUN = """
import sys
from pathlib import Path
from skyduel.core import SkyduelError, open_dataset
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.run import RunPlan, run
from skyduel.evaluation import ScoringRules
if __name__ == "__main__":
    sky, out, workers, resume = sys.argv[1:]
    plan = RunPlan(
        dataset=open_dataset(sky), specs=parse_specs(["sep", "deep=sep-matched"]),
        rules=ScoringRules(n_bootstrap=20), folder=Path(out), workers=int(workers),
        resume=resume == "True",
    )
    try:
        run(plan)
    except SkyduelError as error:
        sys.exit(f"skyduel: {error}")
"""


def started(
    sky: Path, out: Path, workers: int = 1, resume: bool = False, **settings
) -> subprocess.Popen[str]:
    """Start a run as a process of its own, without a revision: that may change meanwhile."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(sky), str(out), str(workers), str(resume)],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GIT_DIR": os.devnull}, **settings,
    )  # fmt: skip


def finished(sky: Path, out: Path, **settings) -> tuple[int, str]:
    """Return the exit status of a run and what it said."""
    with started(sky, out, **settings) as process:
        _, said = process.communicate(timeout=1200)
    return process.returncode, said


def leftovers(folder: Path) -> list[Path]:
    """Return files that are not whole: those that still have a temporary name."""
    return [p for p in folder.rglob(".*") if p.is_file()]


@pytest.fixture(scope="module")
def undisturbed(sky, tmp_path_factory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    began = time.monotonic()
    status, said = finished(sky, folder)
    assert status == 0, said
    return folder, time.monotonic() - began


@pytest.mark.parametrize("times", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_a_run_killed_at_random_points_ends_with_the_same_tables(
    sky, undisturbed, tmp_path, times
) -> None:
    whole, seconds = undisturbed
    rng = random.Random(times)
    out = tmp_path / "run"
    for n in range(times):
        with started(sky, out, workers=1 + n % 2) as process:
            try:
                process.wait(timeout=rng.uniform(0.2, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
        if process.returncode == 0:  # it was quicker: the next is another run
            assert_same_tables(whole, out)
            shutil.rmtree(out)
    status, said = finished(sky, out, resume=(out / "run.json").exists())
    assert status == 0, said
    assert_same_tables(whole, out)
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["failures"] == []


def test_unfinished_files_of_a_killed_run_are_removed_when_it_is_completed(
    sky, undisturbed, tmp_path
) -> None:
    whole, _ = undisturbed
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    left = out / "truth" / ".0123456789ab.field_000.parquet"
    left.write_bytes(b"PAR1")
    hidden = out / "truth" / ".notes"
    hidden.write_text("not ours")
    status, said = finished(sky, out, resume=True)
    assert status == 0, said
    assert (left.exists(), hidden.exists()) == (False, True)
    assert_same_tables(whole, out)


def test_what_a_killed_worker_left_unfinished_is_gone_at_the_end(
    sky, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(skyduel.runner.execution.executors, "process_pool", inline_pool)
    out = tmp_path / "run"
    left = [out / "truth" / ".0123456789ab.field_000.parquet",
            out / "catalogs" / "sep" / ".0123456789ab.field_000.json"]  # fmt: skip
    hidden = out / "truth" / ".notes"

    def killed(stage: str, item: str, total: int) -> None:
        if item == "field_001" and stage == "deep":
            for file in (*left, hidden):
                file.write_bytes(b"PAR1")

    run(two_detector_plan(sky, out), killed)
    assert [file.exists() for file in (*left, hidden)] == [False, False, True]
    assert leftovers(out) == [hidden]


def limited(n_bytes: int):
    """Return what lets a process write no file of more bytes, as a full disk would."""

    def limit() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    return limit


@pytest.mark.parametrize("kib", [0, 9])
def test_a_full_disk_is_one_line_and_the_run_can_be_resumed(
    sky, undisturbed, tmp_path, kib
) -> None:
    out = tmp_path / "run"
    status, said = finished(sky, out, preexec_fn=limited(1024 * kib))
    assert status == 1, said
    assert "Traceback" not in said
    assert "a place that can be written to; got" in said
    assert "File too large" in said
    assert leftovers(out) == []
    if kib:
        status, said = finished(sky, out, resume=True)
        assert status == 0, said
        assert_same_tables(undisturbed[0], out)


def test_a_folder_that_another_run_is_writing_is_left_alone(sky, undisturbed, tmp_path) -> None:
    out = tmp_path / "out"
    with lock_folder(out):
        status, said = finished(sky, out)
        assert status == 1
        assert "a folder that no other run is writing; got one in use" in said
        assert list(out.iterdir()) == []
    assert finished(sky, out)[0] == 0
    assert_same_tables(undisturbed[0], out)


def test_resume_needs_something_to_resume(sky, tmp_path, capsys) -> None:
    for words, said in (
        (["--resume"], "an interrupted run to resume; got no run.json in it"),
        (["--resume", "--fresh"], "--resume or --fresh; got both"),
    ):
        with pytest.raises(SystemExit) as left:
            main(["run", str(sky), "--with", "sep", "--out", str(tmp_path / "none"), *words])
        assert left.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_one_line(sky, tmp_path) -> None:
    (tmp_path / "shut").mkdir(mode=0o500)
    status, said = finished(sky, tmp_path / "shut" / "run")
    assert (status, "a place that can be written to" in said) == (1, True)


@pytest.mark.parametrize("number", ["ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EIO"])
def test_a_write_that_names_no_file_is_about_the_file_being_written(tmp_path, number) -> None:
    import errno

    with pytest.raises(UnwritableError, match=r"a\.txt: required a place"):  # noqa: SIM117, PT012
        with atomic_path(tmp_path / "a.txt") as temporary:
            temporary.write_text("half")
            raise OSError(getattr(errno, number), "no room")
    assert list(tmp_path.iterdir()) == []


# -- detectors ---------------------------------------------------------------------------


class Odd:
    """A detector that does what its test says."""

    def __init__(self, does) -> None:
        self.name, self.settings, self.does = "odd", None, does

    def __call__(self, frame):
        return self.does(frame)


def hang(frame):
    while True:
        with contextlib.suppress(Exception):  # as careless detectors do
            time.sleep(0.01)


RUBBISH = {
    "a list": (lambda f: [1, 2], "a Catalog returned; got list"),
    "nothing": (lambda f: None, "a Catalog returned; got NoneType"),
    "no number": (lambda f: Catalog.build(x=[np.nan], y=[1.0]), "a finite 'x' in every row"),
    "words": (lambda f: Catalog.build(x=["a"], y=[1.0]), "column 'x' of type f8"),
    "lengths": (lambda f: Catalog.build(x=[1.0, 2.0], y=[1.0]), "columns of one length"),
    "objects": (
        lambda f: Catalog(
            Table({"x": [1.0, 2.0], "y": [1.0, 2.0], "o": np.array([{}, 3], object)})
        ),
        "columns that Parquet can hold",
    ),
    "raising": (lambda f: 1 / 0, "ZeroDivisionError: division by zero"),
    "escapes": (lambda f: (_ for _ in ()).throw(OSError("a\x1b[2Jb")), r"OSError: a\x1b[2Jb"),
    "memory": (lambda f: (_ for _ in ()).throw(MemoryError()), "out of memory"),
    "leaving": (lambda f: sys.exit(0), "SystemExit: 0"),
    "hanging": (hang, "no answer within 0.3 s"),
    "far away": (lambda f: Catalog.build(x=[1e300, -1e300, 5.0], y=[1.0, 1e18, 5.0]), None),
    "no rows": (lambda f: Catalog.empty(), None),
}


@pytest.mark.parametrize("what", sorted(RUBBISH))
def test_what_a_detector_returns_is_its_own_frames_matter(sky, tmp_path, monkeypatch, what) -> None:
    does, reason = RUBBISH[what]
    monkeypatch.setattr(skyduel.runner.frame_steps, "build", lambda spec: Odd(does))
    monkeypatch.setattr(skyduel.runner.frame_steps, "_detectors", {})
    entry = entry_of(next(sky.glob("field_000.fits*")))
    target = tmp_path / "a.parquet"
    limit_s = 0.3 if what == "hanging" else 3000.0
    outcome = detect_frame(
        DetectorSpec(name="odd", use="odd"), entry, None, target, time_limit_s=limit_s
    )
    if reason is None:
        assert outcome.reason is None
        assert target.exists()
    else:
        assert reason in str(outcome.reason)
        assert str(outcome.reason).isprintable()
        assert list(tmp_path.iterdir()) == []


def test_a_frame_that_changes_while_a_detector_looks_at_it(sky, tmp_path, monkeypatch) -> None:
    shutil.copytree(sky, tmp_path / "sky")
    path = next((tmp_path / "sky").glob("field_000.fits*"))

    def change(frame):
        path.write_bytes(path.read_bytes() + bytes(2880))
        return Catalog.empty()

    monkeypatch.setattr(
        skyduel.runner.detect_frame, "process_detector", lambda spec, **options: Odd(change)
    )
    out = tmp_path / "out"
    outcome = detect_frame(
        DetectorSpec(name="odd", use="odd"), entry_of(path), None, out / "a.parquet"
    )
    assert "a frame that stays as it is" in str(outcome.reason)
    assert not out.exists()
    path.unlink()
    gone = detect_frame(
        DetectorSpec(name="odd", use="odd"), entry_of(path), None, out / "a.parquet"
    )
    assert gone.about_frame
    assert "an existing file" in str(gone.reason)


def test_a_full_disk_is_no_fault_of_the_frame(sky, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        skyduel.runner.detect_frame,
        "process_detector",
        lambda spec, **options: Odd(lambda f: Catalog.empty()),
    )
    (tmp_path / "file").write_text("in the way")
    entry = entry_of(next(sky.glob("field_000.fits*")))
    with pytest.raises(BadInputError, match="a place that can be written to"):
        detect_frame(
            DetectorSpec(name="odd", use="odd"), entry, None, tmp_path / "file" / "a.parquet"
        )
