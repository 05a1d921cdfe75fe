"""A night of `skyduel watch`: frames at a cadence, kills, slow copies and broken frames among them.

    python fuzz/night.py                                    # 300 frames, one every 2 s
    python fuzz/night.py --cadence 0.2 --size 128 --kills 6 # the fast form

A camera is played in this process: most frames are written under a hidden name and renamed in, some
are written in place, some are copied slowly in four pieces, a few come with a mask, and two are
broken and stay so. The watch is a process of its own, is killed by SIGKILL at random times, and is
started again. At the end every good frame must have one event with a catalogue that equals that of
`skyduel detect` byte by byte, each broken one must be reported once, and the journal must be whole.
Latency, memory and rates are those that the watch itself states in its events.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np

from skyduel.core import Frame, write_frame
from skyduel.simulation import draw_settings, simulate

PIECES = 4
WAIT_S = 600.0
MAIN = "import sys; from skyduel.cli.main import main; main(sys.argv[1:])"


class Watch:
    """The watch, which is started again after each kill, and its events."""

    def __init__(self, words: list[str], log: Path) -> None:
        self._words, self._log = words, log
        self.process: subprocess.Popen | None = None
        self.kills = 0

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", MAIN, "watch", *self._words], stdout=log, stderr=log
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.kills += 1
        self.start()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(WAIT_S)


def events(out: Path) -> list[dict]:
    """Return the events that are whole."""
    path = out / "events.jsonl"
    text = path.read_bytes() if path.exists() else b""
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]


def contents(args: argparse.Namespace, whole: Path) -> list[Path]:
    """Write all frames of the night into a folder that nobody watches."""
    rng = np.random.default_rng(args.seed)
    made = []
    for k in range(args.frames):
        settings = draw_settings("field", rng, ny=args.size, nx=args.size * 4 // 3)
        frame, _ = simulate(settings, rng, f"night_{k:04d}")
        made.append(whole / f"night_{k:04d}.fits")
        write_frame(frame, made[-1])
        if k % 37 == 5:
            mask = np.zeros(frame.shape, np.float32)
            mask[: args.size // 3] = 1
            write_frame(Frame(data=mask, name="mask"), whole / f"night_{k:04d}_mask.fits")
    return made


def deliver(frame: Path, folder: Path, how: str, pause_s: float) -> None:
    """Bring a frame into the folder."""
    mask = frame.with_name(f"{frame.stem}_mask.fits")
    if mask.exists():
        shutil.copy(mask, folder)
    content = frame.read_bytes()
    target = folder / frame.name
    if how == "renamed":
        hidden = folder / f".{frame.name}.tmp"
        hidden.write_bytes(content)
        hidden.rename(target)
    elif how == "written":
        target.write_bytes(content)
    else:
        step = -(-len(content) // PIECES)
        for k in range(PIECES):
            # The file is closed after each piece, as some drivers do.
            with target.open("ab") as stream:
                stream.write(content[k * step : (k + 1) * step])
            time.sleep(pause_s)


def kill_often(watch: Watch, out: Path, pauses_s: np.ndarray) -> None:
    """Kill the watch a while after each of its starts."""
    for k, pause_s in enumerate(pauses_s.tolist()):
        while sum(e["event"] == "start" for e in events(out)) <= k:
            time.sleep(0.1)
        time.sleep(pause_s)
        watch.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--cadence", type=float, default=2.0, help="seconds between frames")
    parser.add_argument("--size", type=int, default=512, help="rows of a frame [px]")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--with", dest="with_", default="sep")
    parser.add_argument("--poll", type=float, help="list the folder so often, without inotify")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the files")
    args = parser.parse_args()
    root = args.keep or Path(tempfile.mkdtemp(prefix="night-"))
    whole, folder, out = root / "whole", root / "frames", root / "out"
    for path in (whole, folder):
        path.mkdir(parents=True)
    frames = contents(args, whole)
    rng = np.random.default_rng([args.seed, 1])
    broken = {int(k) for k in rng.choice(len(frames), 2, replace=False)}
    good = [f for k, f in enumerate(frames) if k not in broken]
    pauses_s = rng.uniform(0, args.frames * args.cadence / max(args.kills, 1), args.kills)

    more = [] if args.poll is None else ["--poll", str(args.poll)]
    watch = Watch([str(folder), "--out", str(out), "--with", args.with_, *more], root / "log")
    watch.start()
    killer = threading.Thread(target=kill_often, args=(watch, out, pauses_s))
    killer.start()
    slow: list[threading.Thread] = []
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for k, frame in enumerate(frames):
        wait = began + k * args.cadence - time.monotonic()
        time.sleep(max(0.0, wait))
        how = str(rng.choice(["renamed", "written", "slow"], p=[0.6, 0.3, 0.1]))
        if k in broken:
            (folder / frame.name).write_bytes(frame.read_bytes()[: int(rng.integers(3000, 20000))])
            counts["broken"] += 1
            continue
        counts[how] += 1
        work = threading.Thread(target=deliver, args=(frame, folder, how, args.cadence / 2))
        work.start()
        (slow.append if how == "slow" else threading.Thread.join)(work)
    for work in slow:
        work.join()
    killer.join()
    delivered_s = time.monotonic() - began

    def finished() -> bool:
        done = {e["file"] for e in events(out) if e["event"] == "catalog"}
        given_up = {e["file"] for e in events(out) if e["event"] == "refused"}
        return {f.name for f in good} <= done and {frames[k].name for k in broken} <= given_up

    until = time.monotonic() + WAIT_S
    while not finished() and time.monotonic() < until:
        if watch.process.poll() is not None:
            sys.exit(f"the watch ended with {watch.process.returncode}: {root / 'log'}")
        time.sleep(0.2)
    status = watch.end()
    all_s = time.monotonic() - began
    wrong = findings(root, args, good, [frames[k] for k in sorted(broken)])
    if status:
        wrong.append(f"the watch ended with {status}")

    told = events(out)
    catalogues = [e for e in told if e["event"] == "catalog"]
    timed = [e["latency_s"] for e in catalogues if e["latency_s"] is not None]
    print(f"{len(frames)} frames of {args.size} x {args.size * 4 // 3} px, one every "
          f"{args.cadence:g} s ({', '.join(f'{n} {how}' for how, n in counts.items())}); "
          f"{watch.kills} kills; {'poll' if args.poll else 'inotify'}; {args.with_}")  # fmt: skip
    print(f"delivered and killed in {delivered_s:.0f} s, done after {all_s:.0f} s; longest queue "
          f"{max(e['waiting'] for e in catalogues)}; {len(catalogues)} catalogues, "
          f"{sum(e['event'] == 'postponed' for e in told)} tries postponed")  # fmt: skip
    if timed:
        p50, p95, p99 = np.percentile(timed, (50, 95, 99))
        print(f"latency of the {len(timed)} timed frames: p50 {p50:.2f}, p95 {p95:.2f}, "
              f"p99 {p99:.2f} s")  # fmt: skip
    stop = told[-1]
    print(f"last process: {stop['frames']} catalogues, {stop['mpix_per_s']} Mpix/s of work, "
          f"{stop['rss_mib']} MiB (peak {stop['rss_peak_mib']})")  # fmt: skip
    print(f"{len(wrong)} findings")
    for line in wrong:
        print(line)
    if wrong:
        sys.exit(f"files in {root}")
    if args.keep is None:
        shutil.rmtree(root)


def findings(root: Path, args: argparse.Namespace, good: list[Path], broken: list[Path]):
    """Return what is wrong at the end of the night."""
    wrong = []
    out, told = root / "out", events(root / "out")
    if [e["n"] for e in told] != list(range(1, len(told) + 1)):
        wrong.append("numbers of events have gaps or come twice")
    done = Counter((e["file"], e["fingerprint"]) for e in told if e["event"] == "catalog")
    wrong += [f"{file}: {n} catalogues of one state" for (file, _), n in done.items() if n != 1]
    for frame in broken:
        n = sum(e["event"] == "refused" and e["file"] == frame.name for e in told)
        if n != 1:
            wrong.append(f"{frame.name}: reported {n} times")
    bad = {f.name for f in broken}
    wrong += [f"{e['file']}: {e['event']}: {e['reason']}" for e in told
              if e["event"] in ("failed", "skipped", "refused") and e["file"] not in bad]  # fmt: skip
    words = ["detect", *map(str, good), "--with", args.with_, "--out", str(root / "detect")]
    subprocess.run([sys.executable, "-c", MAIN, *words], check=True,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    for frame in good:
        ours, theirs = (f / f"{frame.stem}.ecsv" for f in (out, root / "detect"))
        if not ours.exists() or ours.read_bytes() != theirs.read_bytes():
            wrong.append(f"{frame.name}: another catalogue than that of skyduel detect")
    return wrong


if __name__ == "__main__":
    main()
