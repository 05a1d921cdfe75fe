"""Damage valid files and check that every reader reads them or fails with a one-line error.

    python fuzz/campaign.py --minutes 10
    python fuzz/campaign.py --reader fits-image --reader ecsv --cases 2000 --seed 7

The property: the reader returns, or raises `BadInputError` with one short printable line.
Another exception, a warning that reaches the user, a case of more than ten seconds of
processor time (or ten minutes of wall time), or memory growth of more than
`--memory` MiB is a finding. The smallest damaged file that shows it is kept in `--keep`.
The exit status is 1 if there is any finding.
"""

from __future__ import annotations

import argparse
import faulthandler
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from fuzz.edits import apply, edits
from fuzz.readers import READERS, Reader, packed
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky

from skyduel.core import BadInputError

#: Messages of libraries for a lack of memory.
_NO_ROOM = re.compile("(un|not )able to allocate|(cannot|could not) allocate", re.IGNORECASE)
#: Time after which a hanging process is ended with a traceback [s]; long, because on a busy
#: machine a process may not run for minutes.
HUNG_S = 600.0


class Finding(Exception):
    """A violation of the property of readers."""


def main() -> int:
    """Run the campaign; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, help="share this time among the readers")
    parser.add_argument("--cases", type=int, default=200, help="cases per reader without --minutes")
    parser.add_argument("--reader", action="append", choices=sorted(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=1500, help="growth that is allowed [MiB]")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"))
    chosen = parser.parse_args()
    names = chosen.reader or [n for n in READERS if n != "report"]
    if chosen.minutes is not None and len(names) > 1:
        # One process per reader, so that memory left by one is not counted for the next.
        share_min = chosen.minutes / len(names)
        return max(_alone(name, share_min, chosen) for name in names)
    total = 0
    for name in names:
        with tempfile.TemporaryDirectory() as scratch:
            share = None if chosen.minutes is None else 60 * chosen.minutes / len(names)
            cases, refused, found, seconds = campaign(
                name, Path(scratch), chosen.cases, share, chosen.seed, chosen.memory, chosen.keep
            )
        total += len(found)
        print(f"{name:<14}{cases:>8} cases {refused:>8} refused {len(found):>4} findings {seconds:>7.1f} s",
              flush=True)  # fmt: skip
        for line in found:
            print(f"    {line}", flush=True)
    return 1 if total else 0


def _alone(name: str, minutes: float, chosen: argparse.Namespace) -> int:
    """Run the campaign against one reader in a separate process; return its exit status."""
    words = ["--reader", name, "--minutes", str(minutes), "--seed", str(chosen.seed)]
    words += ["--memory", str(chosen.memory), "--keep", str(chosen.keep)]
    return abs(subprocess.call([sys.executable, __file__, *words]))


def campaign(
    name: str, scratch: Path, cases: int, share_s: float | None, start: int, memory: int, keep: Path
) -> tuple[int, int, list[str], float]:
    """Run cases; return their number, the number refused, the findings as text, and seconds."""
    reader = READERS[name]
    made = scratch / "made"
    made.mkdir()
    seeds = list(reader.seeds(made).items())
    place = scratch / "case"
    tally = {"cases": 0, "refused": 0}
    known: dict[str, str] = {}
    began = time.monotonic()
    for seed_name, content in seeds:  # valid as they are, and every library loaded
        reader.read(_lay(place, made, seed_name, packed(seed_name, content), reader))
        if (made / "finished").exists():
            break  # the seeds are parts of one run, which is whole now
    _limit_memory(memory)
    batch = 200
    last: dict[str, Any] = {}
    for number in range(10**9):
        spent = time.monotonic() - began
        if (share_s is None and tally["cases"] >= cases) or (
            share_s is not None and spent > share_s
        ):
            break
        last.clear()

        @seed(start * 1_000_003 + number)
        @settings(
            max_examples=batch if share_s is not None else min(batch, cases),
            database=None,
            deadline=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        @given(sample=st.sampled_from(seeds), damage=edits(reader.kinds), after=st.booleans())
        def cases_of(sample: tuple[str, bytes], damage: Any, after: bool) -> None:
            if share_s is not None and time.monotonic() - began > share_s:
                return  # a batch of a slow reader is not worked off
            seed_name, content = sample
            content = _damaged(seed_name, content, damage, after)
            file = _lay(place, made, seed_name, content, reader)
            tally["cases"] += 1
            signature, refused = judge(reader, file)
            tally["refused"] += refused
            if signature and signature not in known:
                last.update(signature=signature, name=seed_name, content=content, damage=damage)
                raise Finding(signature)

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                cases_of()
        except (Finding, Flaky):  # flaky: slow once and not again, say
            if not last:
                continue
            keep.mkdir(parents=True, exist_ok=True)
            label = f"{name}-{start}-{number}-{Path(last['name']).name}"
            (keep / label).write_bytes(last["content"])
            known[last["signature"]] = (
                f"{last['signature']} [{last['damage']!r}"[:300] + f"] {keep / label}"
            )
    return tally["cases"], tally["refused"], list(known.values()), time.monotonic() - began


def judge(reader: Reader, file: Path) -> tuple[str | None, bool]:
    """Read a file; return the finding, or None, and True if the reader refused the file."""
    began = time.process_time()
    refused, wrong = False, None
    faulthandler.dump_traceback_later(HUNG_S, exit=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            reader.read(file)
    except BadInputError as error:
        refused, text = True, str(error)
        if "\n" in text or not text.isprintable() or len(text) > 2000:
            wrong = f"an unprintable or long message: {text[:80]!r}"
        # A damaged stream may call its buffer "not properly allocated"; that is no lack of memory.
        if isinstance(error.__cause__, MemoryError) or _NO_ROOM.search(text):
            wrong = f"memory: {text[:100]}"
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if str(ROOT) in f.filename and "fuzz" not in f.filename]
        at = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "?"
        wrong = f"{type(error).__name__} at {at}: {' '.join(str(error).split())[:60]}"
    finally:
        faulthandler.cancel_dump_traceback_later()
    if wrong is None and time.process_time() - began > reader.slow_s:
        wrong = f"took {time.process_time() - began:.0f} s"
    return wrong, refused


def _damaged(name: str, content: bytes, damage: Any, after: bool) -> bytes:
    plain = packed(name, content) == content
    return (
        apply(packed(name, content), damage)
        if after and not plain
        else packed(name, apply(content, damage))
    )


def _lay(place: Path, made: Path, name: str, content: bytes, reader: Reader) -> Path:
    """Write the damaged file, in a copy of the run folder if it belongs to one; return its path."""
    name = name.partition("#")[0]
    whole = made / "finished"
    if whole.exists():
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place, copy_function=_link)
        (place / name).unlink()
    place.mkdir(exist_ok=True)
    file = place / name
    file.write_bytes(content)
    return file


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


def _limit_memory(mebibytes: int) -> None:
    """Limit the memory growth of this process; larger allocations raise MemoryError."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + mebibytes * 2**20, hard))


if __name__ == "__main__":
    sys.exit(main())
