"""The short form of the campaigns in ``fuzz/``; docs/robustness.md has the long ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

# Slow to start or to read: the campaign itself has them.
SHORT = ("fits-image", "asdf-image", "fits-table", "ecsv", "votable", "text", "sextractor",
         "parquet", "coco", "manifest", "sex", "conv", "param")  # fmt: skip


def campaign(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "fuzz" / "campaign.py", "--keep", tmp_path / "kept", *words],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_damaged_files_are_read_or_refused(tmp_path) -> None:
    readers = [word for name in SHORT for word in ("--reader", name)]
    done = campaign(tmp_path, "--cases", "25", *readers)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count(" 0 findings") == len(SHORT)


def header_campaign(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "fuzz" / "header_facts.py", "--keep", tmp_path / "kept", *words],
        capture_output=True, text=True, timeout=3000, check=False,
    )  # fmt: skip


def test_random_headers_are_read_or_refused(tmp_path: Path) -> None:
    done = header_campaign(tmp_path, "--cases", "300", "--detectors", "sep")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "300 headers" in done.stdout
    assert " 0 findings" in done.stdout


@pytest.mark.slow
def test_many_random_headers(tmp_path: Path) -> None:
    done = header_campaign(tmp_path, "--cases", "20000", "--seed", "7")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


@pytest.mark.slow
def test_every_reader_with_many_cases(tmp_path) -> None:
    done = campaign(tmp_path, "--cases", "1000", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_a_watch_that_is_killed_loses_and_doubles_no_frame(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "fuzz" / "watch_kills.py", "--kills", "10", "--keep",
         tmp_path / "kept"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, timeout=3000, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.startswith("10 kills, ")
    assert done.stdout.endswith(" 0 findings\n")
