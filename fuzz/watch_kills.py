"""Kill `skyduel watch` at random points and check that no frame is lost, doubled or damaged.

Every round puts one more frame into the folder (one in three only in part, the rest a round later)
and starts a watch in a process of its own, which is killed: before or after a random one of its
writes, renames and waits for the disk, or (--cpu) after a random time of its processor. A last watch
runs to its end. Then every good frame must have one event with a catalogue, equal to that of `skyduel
detect` byte by byte, the broken frame one event, and the journal must be complete.

    python fuzz/watch_kills.py --kills 200 --cpu
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # no threads may run while the process forks

import argparse
import contextlib
import json
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from skyduel.cli.main import main as skyduel
from skyduel.core import write_frame
from skyduel.core.io.atomic_files import is_temporary
from skyduel.simulation import draw_settings, simulate

#: Calls that change the disk or wait for it.
CALLS = ("write", "fsync", "ftruncate", "replace", "unlink")
MOST_STEPS = 60
MOST_CPU_S = 0.4


@dataclass
class Night:
    """The folders, and what was put into them."""

    frames: Path
    out: Path
    expected: Path
    rng: np.random.Generator
    good: list[str] = field(default_factory=list)
    unfinished: dict[Path, bytes] = field(default_factory=dict)

    def add(self) -> None:
        """Finish what was written in part, and add one frame."""
        for path, rest in self.unfinished.items():
            with path.open("ab") as stream:
                stream.write(rest)
        self.unfinished.clear()
        name = f"frame_{len(self.good):03d}"
        settings = draw_settings("field", self.rng, ny=96, nx=128)
        frame, _ = simulate(settings, self.rng, name)
        whole = self.expected / f"{name}.fits"
        write_frame(frame, whole)
        content = whole.read_bytes()
        there = len(content)
        if self.rng.random() < 1 / 3:
            there = int(self.rng.integers(1, len(content)))
            self.unfinished[self.frames / whole.name] = content[there:]
        (self.frames / whole.name).write_bytes(content[:there])
        self.good.append(name)


def die_at(step: int) -> None:
    """Kill this process before or after its `step`-th change of the disk."""
    count = 0

    def wrapped(call):
        def counted(*args, **options):
            nonlocal count
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*args, **options)
            count += 1
            if count == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counted

    for call in CALLS:
        setattr(os, call, wrapped(getattr(os, call)))


def die_after(cpu_s: float) -> None:
    """Let the kernel end this process after a time of its processor."""
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_VIRTUAL, cpu_s)


def watch(night: Night, prepare, *more: str) -> int:
    """Run a watch in a process of its own; return its wait status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    status = 99
    try:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        prepare()
        skyduel(["watch", str(night.frames), "--out", str(night.out), "--with", "sep",
                 "--poll", "0.01", "--patience", "0.01", "--once", "--reference", "earlier",
                 *more])  # fmt: skip
        status = 0
    except SystemExit as stop:
        status = stop.code or 0
    except BaseException:
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(status)


def detect(night: Night) -> int:
    """Write the expected catalogues of all good frames; return the exit status."""
    paths = [str(night.expected / f"{name}.fits") for name in night.good]
    try:
        skyduel(["detect", *paths, "--with", "sep", "--out", str(night.expected)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def findings(night: Night) -> list[str]:
    """Return what is wrong at the end."""
    wrong = []
    lines = (night.out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    if [e["n"] for e in events] != list(range(1, len(events) + 1)):
        wrong.append("numbers of events have gaps or come twice")
    done = Counter((e["file"], e["fingerprint"]) for e in events if e["event"] == "catalog")
    wrong += [f"{file}: {n} catalogues" for (file, _), n in done.items() if n != 1]
    files = Counter(file for file, _ in done)
    wrong += [f"{name}: {files[f'{name}.fits']} ended states" for name in night.good
              if files[f"{name}.fits"] != 1]  # fmt: skip
    broken = [e for e in events if e["event"] == "refused" and e["file"] == "broken.fits"]
    if len(broken) != 1:
        wrong.append(f"the broken frame was reported {len(broken)} times")
    wrong += [f"{e['file']}: {e['reason']}" for e in events if e["event"] in ("failed", "skipped")]
    with open(os.devnull, "w") as silent, contextlib.redirect_stdout(silent):
        status = detect(night)
    if status:
        wrong.append("skyduel detect failed")
    for name in night.good:
        ours, theirs = (f / f"{name}.ecsv" for f in (night.out, night.expected))
        if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
            wrong.append(f"{name}: another catalogue than that of skyduel detect")
    wrong += [f"{p} was left" for p in night.out.rglob("*") if is_temporary(p)]
    kept = {p.stem for p in (night.out / "earlier").glob("*.npz")}
    if not kept <= set(night.good):
        wrong.append("earlier frames that are none")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cpu", action="store_true", help="every second kill by processor time")
    parser.add_argument("--keep", type=Path, help="a new folder for the files")
    given = parser.parse_args()
    root = given.keep or Path(tempfile.mkdtemp(prefix="watch-kills-"))
    night = Night(
        root / "frames", root / "out", root / "expected", np.random.default_rng(given.seed)
    )
    for folder in (night.frames, night.expected):
        folder.mkdir(parents=True)
    night.add()
    (night.frames / "broken.fits").write_bytes(
        (night.expected / "frame_000.fits").read_bytes()[:9000]
    )
    with open(os.devnull, "w") as silent, contextlib.redirect_stdout(silent):
        detect(night)  # the processes that are forked below have a warm detector
    killed = ended = 0
    while killed < given.kills:
        night.add()
        if given.cpu and killed % 2:
            cpu_s = float(night.rng.uniform(0.005, MOST_CPU_S))
            status = watch(night, lambda cpu_s=cpu_s: die_after(cpu_s))
        else:
            step = int(night.rng.integers(1, MOST_STEPS))
            status = watch(night, lambda step=step: die_at(step))
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status) in (0, 2):
            ended += 1
        else:
            sys.exit(f"a watch ended with {os.WEXITSTATUS(status)}; files in {root}")
    night.add()
    night.add()  # completes the last one that was written in part
    while night.unfinished:
        night.add()
    status = watch(night, lambda: None)
    wrong = findings(night)
    if os.WEXITSTATUS(status) not in (0, 2):
        wrong.append(f"the last watch ended with {status}")
    print(f"{killed} kills, {ended} watches that ended before, {len(night.good)} frames, "
          f"{len(wrong)} findings")  # fmt: skip
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(f"files in {root}")
    if given.keep is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
