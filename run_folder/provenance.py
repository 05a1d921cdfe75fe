"""Provenance of a run: versions, revision of the code, machine, time."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

__all__ = ["PROMISES", "git_state", "machine", "now_utc", "versions"]

#: Conditions under which the tables are the same, and under which they may differ; in every record.
PROMISES: Final = {
    "same_tables": "the same frames, configuration, seeds and versions on the same kind of "
    "processor, for any number of workers, interrupted or not, here or on a cluster of such",
    "not_promised": "other processors or accelerators, other versions, another number of threads "
    "for the network, other sections of mosaics, and seconds and memory: scores then agree within "
    "their intervals, and sources at a threshold may fall either way",
}

_REPORTED: Final = (
    "skyduel", "torch", "torchvision", "sep", "numpy", "scipy", "astropy", "pandas", "matplotlib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _REPORTED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def git_state() -> tuple[str | None, bool | None]:
    """Return the revision of the code and whether it was changed; None outside a checkout."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(
                # No lock: a run that is killed must not leave one in the repository.
                ["git", "--no-optional-locks", "-C", str(here), *words],
                capture_output=True,
                text=True,
                timeout=10,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    # An installed copy may lie inside somebody else's repository.
    if git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None, None
    revision, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno")
    return revision, None if changes is None else bool(changes)


def machine() -> dict[str, Any]:
    """Return platform, processor, usable cores and memory [GiB]."""
    cpu = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (ValueError, OSError):
        memory = float("nan")
    return {
        "platform": platform.platform(),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
    }


def now_utc() -> str:
    """Return the time as ISO 8601, to the second."""
    return datetime.now(UTC).replace(microsecond=0).isoformat()
