"""A long `skyduel run` of small frames, undisturbed and with faults: equal tables, bounded costs.

    python fuzz/long_run.py --frames 10000 --faults
    python fuzz/long_run.py --frames 48 --distinct 12 --faults    # the short form
    python fuzz/long_run.py --frames 3000 --faults --dask

The set is simulated (`--distinct` frames; the others are links to them under other names), and
`skyduel run` is called on it as a process of its own. The program counts the finished frames, the
processor time of all processes of the run for each tenth of them, and the memory that they have
together, where what several share counts once. With --faults a second run on the same frames is
disturbed: two workers are killed a few times, the disk is full once, the runner is killed once, and
with --dask the scheduler of its cluster is stopped once. What was stopped is resumed. All these
come at numbers of finished frames that follow from the seed. At the end every file of both runs
must be the same, but for times, and `compare` and `gate` of the two must find no difference.

The exit status is 1 if a file differs, if the processes of a run together had more than 1.5 GiB,
or if a frame of the last fifth of a stage took over a tenth more processor time than one of the first
fifth (with a thousand frames or more; less is noise).
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from skyduel.core import Dataset, Entry, write_catalog, write_frame, write_manifest
from skyduel.simulation import draw_settings, simulate

MAIN = "import sys; from skyduel.cli.main import main; main(sys.argv[1:])"
FAMILIES = ("sparse", "field")
WINDOWS = 10
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
MOST_MIB = 1536.0
MOST_GROWTH = 1.10
#: Fewer frames take too little time for a judgement on its growth.
ENOUGH = 1000
#: Values of a record that hold times, memory or the place.
TIMED = frozenset(
    {"name", "seconds", "mpix_per_s", "peak_memory_mib", "created_utc", "finished_utc", "command",
     "machine"}
)  # fmt: skip


# --- the frames ---------------------------------------------------------------------------------


def make_set(folder: Path, frames: int, distinct: int, size: int, seed: int) -> Path:
    """Write the frames with truths, and return their manifest; an existing set is kept."""
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for k in range(frames):
        group, split = FAMILIES[k % len(FAMILIES)], "calibration" if k % 50 == 7 else "test"
        entry = Entry(f"f{k:06d}", folder / f"f{k:06d}.fits", folder / f"f{k:06d}.ecsv",
                      split=split, group=group)  # fmt: skip
        if k < distinct:
            rng = np.random.default_rng([seed, k])
            frame, truth = simulate(draw_settings(group, rng, ny=size, nx=size), rng, entry.name)
            write_frame(frame, entry.frame, dtype="uint16")
            write_catalog(truth, entry.truth)
        else:
            like = entries[k % (distinct - distinct % len(FAMILIES))]
            os.link(like.frame, entry.frame)
            os.link(like.truth, entry.truth)
        entries.append(entry)
    write_manifest(Dataset(folder.name, folder, tuple(entries)), manifest)
    return manifest


# --- processes ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    cpu_s: float


def processes() -> dict[int, Process]:
    """Return all processes, with their processor time and that of their children that ended."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                if words[0] != "Z":
                    found[int(name)] = Process(
                        int(name), int(words[1]), TICK_S * sum(map(int, words[11:15]))
                    )
    return found


def below(root: int, every: dict[int, Process]) -> list[int]:
    """Return a process and all that it and its children started."""
    found, children = [], {}
    for one in every.values():
        children.setdefault(one.parent, []).append(one.pid)
    queue = [root] if root in every else []
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue += sorted(children.get(pid, ()))
    return found


def memory_mib(pids: list[int]) -> float:
    """Return the memory of processes; what n of them share counts as an n-th of each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total / 1024


def serving(pid: int) -> bool:
    """Return True for the server of workers."""
    with contextlib.suppress(OSError):
        return b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


# --- one run ------------------------------------------------------------------------------------


@dataclass
class Sample:
    """What a run had done, and used, at a moment."""

    stage: str
    done: int
    cpu_s: float


class Counter:
    """Counts the files of a folder written since a moment, without asking twice for one."""

    def __init__(self, folder: Path, since_ns: int) -> None:
        self._folder, self._since_ns, self._seen = folder, since_ns, set()

    def count(self) -> int:
        with contextlib.suppress(OSError), os.scandir(self._folder) as files:
            for file in files:
                name = file.name
                if name.endswith(".parquet") and name[0] != "." and name not in self._seen:
                    with contextlib.suppress(OSError):
                        if file.stat().st_mtime_ns >= self._since_ns:
                            self._seen.add(name)
        return len(self._seen)


@dataclass
class Watched:
    """A `skyduel run` as a process of its own, watched from outside."""

    words: list[str]
    out: Path
    detectors: list[str]
    others: Callable[[], list[int]] = list
    samples: list[Sample] = field(default_factory=list)
    peak_mib: float = 0.0
    cpu_s: float = 0.0
    said: str = ""

    def run(self, faults: list[tuple[int, Callable[[Watched], None]]], pause_s: float) -> int:
        """Run to the end, or to what ends it; return the exit status."""
        faults = sorted(faults, key=lambda one: one[0])
        since_ns = time.time_ns() - 10**9
        places = {"truth": self.out / "truth"}
        places |= {d: self.out / "catalogs" / d for d in self.detectors}
        counters = {stage: Counter(place, since_ns) for stage, place in places.items()}
        # Through a pipe: a file could not be written on a full disk.
        self.process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "run", *self.words], text=True, errors="replace",
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, "GIT_DIR": os.devnull, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        reader = threading.Thread(target=self._listen, daemon=True)
        reader.start()
        while self.process.poll() is None:
            counts = {stage: counter.count() for stage, counter in counters.items()}
            every = processes()
            pids = sorted({p for r in (self.process.pid, *self.others()) for p in below(r, every)})
            cpu_s = sum(every[p].cpu_s for p in pids)
            stage = next((s for s in reversed(places) if counts[s]), "truth")
            self.samples.append(Sample(stage, counts[stage], cpu_s))
            self.cpu_s = max(self.cpu_s, cpu_s)  # of an ended process none is known any more
            if len(self.samples) % 5 == 1:  # adding up pages takes some milliseconds a process
                self.peak_mib = max(self.peak_mib, memory_mib(pids))
            if faults and sum(counts.values()) >= faults[0][0]:
                faults.pop(0)[1](self)
            time.sleep(pause_s)
        reader.join(60)
        return self.process.returncode

    def _listen(self) -> None:
        self.said = self.process.stderr.read()

    def tree(self) -> list[int]:
        every = processes()
        return [p for r in (self.process.pid, *self.others()) for p in below(r, every)]

    def workers(self) -> list[int]:
        """Return the processes that work on frames."""
        every = processes()
        # A worker is a fork of the server, and has its command line.
        servers = [p.pid for p in every.values() if p.parent == self.process.pid and serving(p.pid)]
        parents = self.others()[1:] or servers
        return sorted(p.pid for p in every.values() if p.parent in parents)


def windows(samples: list[Sample], stage: str, frames: int) -> list[float]:
    """Return the processor time per frame of each tenth of a stage [ms]; empty without enough."""
    of = [(s.done, s.cpu_s) for s in samples if s.stage == stage and s.done]
    if len(of) < WINDOWS:
        return []
    done, used = np.transpose(of)
    done, first = np.unique(done, return_index=True)
    edges = np.linspace(done[0], frames, WINDOWS + 1)
    at = np.interp(edges, done, used[first])
    return list(1e3 * np.diff(at) / np.diff(edges))


def growth(each_ms: list[float]) -> float:
    """Return the time per frame in the last fifth over that in the first fifth."""
    fifth = len(each_ms) // 5
    return float(np.mean(each_ms[-fifth:]) / np.mean(each_ms[:fifth]))


# --- faults -------------------------------------------------------------------------------------


def kill_workers(rng: random.Random, tally: dict[str, int]) -> Callable[[Watched], None]:
    """Return what kills two workers."""

    def fault(run: Watched) -> None:
        pids = run.workers()
        for pid in rng.sample(pids, min(2, len(pids))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                tally["workers killed"] += 1

    return fault


def kill_runner(tally: dict[str, int]) -> Callable[[Watched], None]:
    def fault(run: Watched) -> None:
        run.process.kill()
        tally["runners killed"] += 1

    return fault


def fill_disk(tally: dict[str, int]) -> Callable[[Watched], None]:
    """Return what lets no process of the run write to a file any more, as on a full disk."""

    def fault(run: Watched) -> None:
        for pid in run.tree():
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        tally["disks full"] += 1

    return fault


class Cluster:
    """A Dask scheduler and two workers of this machine."""

    def __init__(self, place: Path) -> None:
        self._place, self._processes = place, []
        self.file = place / "scheduler.json"
        self.start()

    def start(self) -> None:
        self.file.unlink(missing_ok=True)
        call = [sys.executable, "-m"]
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL,
                 "stderr": subprocess.DEVNULL}  # fmt: skip
        words = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
                 "--no-dashboard", "--scheduler-file", str(self.file)]  # fmt: skip
        self._processes = [subprocess.Popen([*call, *words], **quiet)]
        while not self.file.exists():
            time.sleep(0.2)
        for k in range(2):
            words = ["distributed.cli.dask_worker", "--scheduler-file", str(self.file),
                     "--nthreads", "1", "--no-dashboard", "--no-nanny", "--local-directory",
                     str(self._place / f"worker{k}")]  # fmt: skip
            self._processes.append(subprocess.Popen([*call, *words], **quiet))

    def pids(self) -> list[int]:
        return [p.pid for p in self._processes]

    def stop_scheduler(self) -> None:
        self._processes[0].kill()

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()


def disturbed(
    args: argparse.Namespace, words: list[str], out: Path, pause_s: float, wrong: list[str]
) -> tuple[list[Watched], dict[str, int]]:
    """Run with faults until it is complete; return the processes and what was done to them."""
    rng = random.Random(args.seed)
    tally = dict.fromkeys(("workers killed", "runners killed", "disks full", "schedulers lost"), 0)
    total = args.frames * (1 + len(args.with_))
    ends: dict[str, Callable[[Watched], None]] = {
        "disks full": fill_disk(tally), "runners killed": kill_runner(tally),
    }  # fmt: skip
    cluster = None
    if args.dask:
        cluster = Cluster(args.keep)
        words = [*words, "--scheduler", str(cluster.file)]

        def lose_scheduler(_: Watched) -> None:
            cluster.stop_scheduler()
            tally["schedulers lost"] += 1

        ends["schedulers lost"] = lose_scheduler
    order = list(ends)
    rng.shuffle(order)
    parts: list[Watched] = []
    try:
        for due in (*order, None):
            if cluster is not None and parts:
                cluster.stop()
                cluster.start()
            others = list if cluster is None else cluster.pids
            resumed = ["--resume"] if (out / "run.json").exists() else []
            run = Watched([*words, *resumed], out, args.with_, others)
            last = total if due is None else rng.randint(total // 10, total * 6 // 10)
            step = max(total // (2 * args.kills), 6)
            faults = [(n, kill_workers(rng, tally)) for n in range(step, last - 4, step)]
            faults += [] if due is None else [(last, ends[due])]
            status = run.run(faults, pause_s)
            parts.append(run)
            lines = [line for line in run.said.splitlines() if line.strip()]
            if due is None and status:
                wrong.append(f"the last run ended with {status}: {lines[-3:]}")
            if due is not None and not tally[due]:
                wrong.append(f"a run ended with {status} before its fault: {lines[-3:]}")
            elif due is not None and status == 0:
                wrong.append("a run that should have been stopped was complete")
            if "Traceback" in run.said:
                wrong.append(f"a traceback: {lines[-3:]}")
    finally:
        if cluster is not None:
            cluster.stop()
    return parts, tally


# --- comparisons --------------------------------------------------------------------------------


def untimed(value: Any) -> Any:
    """Return a record without times."""
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k not in TIMED}
    return [untimed(v) for v in value] if isinstance(value, list) else value


def record(path: Path) -> Any:
    """Return what is not a time in a file of JSON, frames with their names."""
    content = json.loads(path.read_text())
    if path.name == "run.json":
        names = [frame["name"] for frame in content["dataset"]["frames"]]
        return [untimed(content), names, content["status"], content["failures"]]
    return untimed(content)


def files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        for name in names:
            path = (Path(place) / name).relative_to(folder)
            if path.parts[0] != "report":
                yield path


def differences(one: Path, other: Path) -> tuple[int, list[str]]:
    """Return the number of files of two runs, and those that are not the same."""
    ours, theirs = set(files(one)), set(files(other))
    wrong = [f"{path}: in one run only" for path in sorted(ours ^ theirs)]
    for path in sorted(ours & theirs):
        if path.suffix == ".json":
            same = record(one / path) == record(other / path)
        else:
            same = filecmp.cmp(one / path, other / path, shallow=False)
        wrong += [] if same else [f"{path}: differs"]
    return len(ours), wrong


def called(words: list[str]) -> tuple[int, float, float]:
    """Call a command; return its status, its processor time [s] and its peak memory [MiB]."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def judged(run: Watched, args: argparse.Namespace, what: str, wrong: list[str]) -> None:
    """Print what a run used, and add what is too much."""
    for stage in ("truth", *args.with_):
        each = windows(run.samples, stage, args.frames)
        if not each:
            continue
        ratio = growth(each)
        print(f"{what}, {stage}: " + " ".join(f"{ms:.1f}" for ms in each)
              + f" ms of processor time per frame; last fifth / first fifth {ratio:.3f}")  # fmt: skip
        if args.frames >= ENOUGH and ratio > MOST_GROWTH:
            wrong.append(f"{what}, {stage}: the time per frame grew by a factor {ratio:.2f}")
    last = [s for s in run.samples if s.done >= args.frames and s.stage == args.with_[-1]]
    after = run.cpu_s - last[0].cpu_s if last else float("nan")
    print(f"{what}: {run.cpu_s:.0f} s of processor time, {after:.0f} s of it after the last frame; "
          f"peak memory {run.peak_mib:.0f} MiB together")  # fmt: skip
    if run.peak_mib > MOST_MIB:
        wrong.append(f"{what}: {run.peak_mib:.0f} MiB, allowed {MOST_MIB:.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--distinct", type=int, default=1000, help="frames that are simulated")
    parser.add_argument("--size", type=int, default=64, help="rows and columns of a frame [px]")
    parser.add_argument("--with", dest="with_", action="append", help="a detector; repeat for more")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--faults", action="store_true", help="a second run, with faults")
    parser.add_argument("--kills", type=int, default=5, help="times that two workers are killed")
    parser.add_argument("--dask", action="store_true", help="the second run on a Dask cluster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a folder for the files; what is there is used")
    args = parser.parse_args()
    args.with_ = args.with_ or ["sep"]
    kept, args.keep = args.keep, args.keep or Path(tempfile.mkdtemp(prefix="long-run-"))
    distinct = min(args.distinct, args.frames)
    sky = make_set(args.keep / "sky", args.frames, distinct, args.size, args.seed)
    print(f"{args.frames} frames of {args.size} x {args.size} px, {distinct} of them distinct; "
          f"{', '.join(args.with_)}; {args.workers} workers", flush=True)  # fmt: skip
    words = [str(sky), "--workers", str(args.workers)]
    words += [word for name in args.with_ for word in ("--with", name)]
    pause_s = 1.0 if args.frames >= ENOUGH else 0.2
    wrong: list[str] = []
    whole, other = args.keep / "whole", args.keep / "disturbed"
    if not (whole / "report" / "index.html").exists():
        run = Watched([*words, "--out", str(whole)], whole, args.with_)
        status = run.run([], pause_s)
        if status:
            sys.exit(f"the undisturbed run ended with {status}: {run.said[-2000:]}")
        judged(run, args, "undisturbed", wrong)
        sys.stdout.flush()
    if args.faults:
        parts, tally = disturbed(args, [*words, "--out", str(other)], other, pause_s, wrong)
        print(f"disturbed: {', '.join(f'{n} {what}' for what, n in tally.items() if n)}; "
              f"{len(parts)} processes, {sum(p.cpu_s for p in parts):.0f} s of processor time; peak "
              f"memory {max(p.peak_mib for p in parts):.0f} MiB together")  # fmt: skip
        if max(p.peak_mib for p in parts) > MOST_MIB:
            wrong.append(f"disturbed: more than {MOST_MIB:.0f} MiB")
        n_files, different = differences(whole, other)
        print(f"{n_files} files compared, {len(different)} differ")
        wrong += different[:20]
        name = args.with_[0]
        for call in (["compare", str(whole / name), str(other / name)],
                     ["gate", str(whole), str(other), "--detector", name, "--allow", "f1=0.01"]):  # fmt: skip
            status, cpu_s, peak_mib = called(call)
            print(f"{call[0]}: {cpu_s:.1f} s of processor time, {peak_mib:.0f} MiB")
            if status:
                wrong.append(f"skyduel {call[0]} of the two runs ended with {status}")
    print(f"{len(wrong)} findings")
    for line in wrong:
        print(line)
    if wrong:
        print(f"files in {args.keep}")
    elif kept is None:
        shutil.rmtree(args.keep)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
