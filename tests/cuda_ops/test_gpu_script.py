"""The script that runs everything that needs a GPU: its options, its limits, its refusal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.paths import ROOT

SCRIPT = ROOT / "benchmarks/gpu.sh"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(SCRIPT), *words],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable},
        check=False,
    )


def test_help_shows_the_options_and_does_not_run() -> None:
    shown = run("--help")
    assert shown.returncode == 0
    assert "benchmarks/gpu.sh [--dry-run] [FOLDER]" in shown.stdout
    assert "set -uo" not in shown.stdout


def test_an_unknown_option_is_refused() -> None:
    refused = run("--quickly")
    assert refused.returncode == 2
    assert refused.stderr == "gpu.sh: --dry-run or a folder is required, got --quickly\n"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: the script would run")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    refused = run(str(tmp_path / "out"))
    assert refused.returncode == 2
    assert refused.stderr.startswith("gpu.sh: a CUDA device is required, torch sees none")
    assert not (tmp_path / "out").exists()


def test_the_limits_of_the_steps_add_up_to_12_minutes() -> None:
    limits = [int(n) for n in re.findall(r"^ *step \w+ (\d+) ", SCRIPT.read_text(), re.MULTILINE)]
    assert len(limits) == 5
    assert sum(limits) <= 12 * 60
