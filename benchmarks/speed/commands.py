"""Run a command of a checkout and measure it with all its processes. Linux only."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

COMMAND = "from skyduel.cli.main import main; main()"
#: Of ``prctl``: orphans of this process's children become its own, and their CPU time counts.
SUBREAPER = 36


def measured(checkout: Path, words: Sequence[str]) -> tuple[float, float]:
    """Run ``skyduel WORDS`` by the code of a checkout; return CPU [s] and wall [s].

    The CPU time is that of all its processes. Exits with what the command said if it fails.
    """
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    call = [sys.executable, "-c", COMMAND, *words]
    done = subprocess.run(call, env=environment, check=False, capture_output=True, text=True)
    wall = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{checkout}: exit status {done.returncode}\n{done.stderr}")
    with suppress(ChildProcessError):
        while True:  # the server of its workers ends by itself
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall
