"""Latency, rate and queue of a watch, and what is told of them."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from skyduel.core.peak_memory import peak_memory_mib

__all__ = ["Meters", "Snapshot", "resident_mib"]

#: Percentiles are those of so many last frames.
_KEPT: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """State of a watch at one moment.

    Attributes
    ----------
    frames, refused, skipped, candidates : int
        Catalogues, frames refused or failed, frames skipped, and new sources, of this process.
    waiting, pending : int
        Finished frames that wait, and files that are looked at again.
    working : str or None
        Frame in work.
    latency_s : dict or None
        ``p50``, ``p95`` and ``p99`` of the last 10,000 timed frames [s].
    mpix_per_s : float or None
        Pixels per second of work [10⁶/s].
    rss_mib, rss_peak_mib : float
        Resident memory of the process and its peak [MiB].
    """

    frames: int
    refused: int
    skipped: int
    candidates: int
    waiting: int
    pending: int
    working: str | None
    latency_s: dict[str, float] | None
    mpix_per_s: float | None
    rss_mib: float
    rss_peak_mib: float

    def line(self) -> str:
        """Return the state in one line."""
        plural = "" if self.frames == 1 else "s"
        parts = [f"{self.frames:,} frame{plural}", f"{self.waiting:,} waiting"]
        if self.pending:
            parts.append(f"{self.pending:,} unfinished")
        for n, word in ((self.refused, "refused"), (self.skipped, "skipped")):
            if n:
                parts.append(f"{n:,} {word}")
        if self.candidates:
            parts.append(f"{self.candidates:,} new sources")
        if self.latency_s is not None:
            times = ", ".join(f"{name} {value:.2f}" for name, value in self.latency_s.items())
            parts.append(f"latency {times} s")
        if self.mpix_per_s is not None:
            parts.append(f"{self.mpix_per_s:.2f} Mpix/s")
        parts.append(f"{self.rss_mib:.0f} MiB")
        return "; ".join(parts)

    def metrics(self) -> str:
        """Return the state as plain text for Prometheus."""
        lines = [
            f"skyduel_watch_{name} {getattr(self, name)}"
            for name in ("frames", "refused", "skipped", "candidates", "waiting", "pending")
        ]
        for name, value in (self.latency_s or {}).items():
            lines.append(f'skyduel_watch_latency_seconds{{quantile="0.{name[1:]}"}} {value:.6g}')
        if self.mpix_per_s is not None:
            lines.append(f"skyduel_watch_mpix_per_second {self.mpix_per_s:.6g}")
        lines.append(f"skyduel_watch_resident_bytes {self.rss_mib * 2**20:.0f}")
        return "\n".join(lines) + "\n"


class Meters:
    """Counters of this process."""

    def __init__(self) -> None:
        self.frames = self.refused = self.skipped = self.candidates = 0
        self._latency: deque[float] = deque(maxlen=_KEPT)
        self._mpix = self._busy_s = 0.0

    def frame(self, mpix: float, busy_s: float, latency_s: float | None) -> None:
        """Count a catalogue: its pixels [10⁶], the seconds of work, and its latency [s]."""
        self.frames += 1
        self._mpix += mpix
        self._busy_s += busy_s
        if latency_s is not None:
            self._latency.append(latency_s)

    def latency_s(self) -> dict[str, float] | None:
        """Return the percentiles of the latency [s], None without a timed frame."""
        if not self._latency:
            return None
        values = np.percentile(list(self._latency), (50, 95, 99))
        return {
            name: round(float(v), 4) for name, v in zip(("p50", "p95", "p99"), values, strict=True)
        }

    def mpix_per_s(self) -> float | None:
        """Return the pixels per second of work [10⁶/s]."""
        return round(self._mpix / self._busy_s, 4) if self._busy_s > 0 else None

    def snapshot(self, *, waiting: int, pending: int, working: str | None) -> Snapshot:
        """Return the state at this moment."""
        return Snapshot(
            frames=self.frames,
            refused=self.refused,
            skipped=self.skipped,
            candidates=self.candidates,
            waiting=waiting,
            pending=pending,
            working=working,
            latency_s=self.latency_s(),
            mpix_per_s=self.mpix_per_s(),
            rss_mib=resident_mib(),
            rss_peak_mib=round(peak_memory_mib(), 1),
        )

    def totals(self) -> dict[str, Any]:
        """Return the values of the event ``stop``."""
        return {
            "frames": self.frames,
            "refused": self.refused,
            "skipped": self.skipped,
            "latency_s": self.latency_s(),
            "mpix_per_s": self.mpix_per_s(),
            "rss_mib": resident_mib(),
            "rss_peak_mib": round(peak_memory_mib(), 1),
        }


def resident_mib() -> float:
    """Return the resident memory of this process [MiB]; its peak where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return round(peak_memory_mib(), 1)
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)
