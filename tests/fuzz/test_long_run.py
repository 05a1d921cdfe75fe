"""The short form of `fuzz/long_run.py`; docs/robustness.md has the long one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT


def long_run(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "fuzz" / "long_run.py", "--keep", place, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=3000, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_disturbed_run_ends_with_the_files_of_an_undisturbed_one(tmp_path) -> None:
    said = long_run(tmp_path, "--frames", "40", "--distinct", "6", "--kills", "3", "--faults")
    done = re.search(r"disturbed: (\d+) workers killed, 1 runners killed, 1 disks full", said)
    assert done, said
    assert int(done[1]) >= 2
    compared = re.search(r"(\d+) files compared, 0 differ", said)
    assert compared, said
    assert int(compared[1]) > 5 * 40  # truth, catalogue, facts, pairs and preview of each frame


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_a_disturbed_run_on_a_cluster(tmp_path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed (extra dask)")
    said = long_run(tmp_path, "--frames", "60", "--distinct", "6", "--faults", "--dask")
    assert "1 schedulers lost" in said
