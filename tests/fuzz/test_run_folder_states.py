"""The short form of `fuzz/run_folder_states.py`; docs/robustness.md has the long one."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from helpers.paths import ROOT


def states(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "fuzz" / "run_folder_states.py", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=3000, check=False,
    )  # fmt: skip


def test_any_order_ends_in_the_undisturbed_result_or_in_one_line() -> None:
    done = states("--examples", "16", "--no-reports", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counted = json.loads(done.stdout)
    assert counted["examples"] >= 16
    assert {"run", "kill", "full disk", "damage", "foreign", "compare", "gate"} <= set(counted)


@pytest.mark.slow
def test_many_orders() -> None:
    done = states("--examples", "400", "--seed", "4")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
