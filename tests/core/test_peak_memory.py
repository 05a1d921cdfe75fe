import subprocess
import sys

import pytest
from helpers.paths import ROOT

from skyduel.core import peak_memory
from skyduel.core.peak_memory import peak_memory_mib

#: The function in a process of its own, without the package's other modules.
PREFIX = f"""
import runpy, subprocess, sys
peak = runpy.run_path({str(ROOT / "core" / "peak_memory.py")!r})["peak_memory_mib"]
"""


def printed(code: str) -> list[float]:
    command = [sys.executable, "-c", PREFIX + code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def test_it_grows_by_what_is_allocated_and_stays_when_that_is_freed() -> None:
    before, full, after = printed(
        "before = peak(); block = b'1' * 2**28; full = peak(); del block;"
        "print(before, full, peak())"
    )
    assert full - before == pytest.approx(256, abs=16)
    assert after == pytest.approx(full, abs=16)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_that_of_a_child_is_not_its_parents() -> None:
    block = bytearray(b"1") * 2**28
    (child,) = printed("print(peak())")
    assert len(block) == 2**28
    assert 2 < child < 128


def test_children_count_when_asked_for() -> None:
    own, of_all = printed(
        "subprocess.run([sys.executable, '-c', 'len(bytes(1) * 1 + b\"1\" * 2**28)'], check=True);"
        "print(peak(), peak(children=True))"
    )
    assert own < 128
    assert of_all > 256


def test_without_proc_the_usage_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(path, *args, **kwargs):
        raise FileNotFoundError(path)

    monkeypatch.setattr(peak_memory.Path, "read_text", missing)
    assert peak_memory_mib() == peak_memory._from_usage(0)
