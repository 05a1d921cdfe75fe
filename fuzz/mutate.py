"""Change the judge in thousands of small ways and check that a test fails for each change.

    python fuzz/mutate.py evaluation/statistics evaluation/matching
    python fuzz/mutate.py evaluation --minutes 30
    python fuzz/mutate.py evaluation --sample 40 --seed 1
    python fuzz/mutate.py evaluation/statistics --again

Every mutant (`fuzz/mutants.py`) runs in a process of its own with the tests that call its
function, the fastest first, until one fails. The calls of each test are recorded once and again
where a test or the code has changed. Results are kept as lines of JSON in `--out`; a mutant that
has a result for the same text of its module is not run again, unless it survived, is not listed
as equivalent, and `--again` is given. With `--sample`, a random choice of the mutants of each
module runs; the same seed makes the same choice as long as the module is the same. A mutant may
use five times the processor time of its tests and 20 s more, and 6 GiB of memory; one that uses
more is killed, as it would be noticed. Changes that cannot matter are listed with the reason in
`fuzz/equivalent_mutants.toml`. Survivors are listed at the end. The exit status is 1 if a mutant
that is not listed survived.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import importlib
import json
import os
import pkgutil
import random
import resource
import sys
import time
import tomllib
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads is not forked
os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # a third of the time of a quick test

import pytest
from hypothesis import Phase, settings
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from fuzz.mutants import Mutant, mutants, mutated
from fuzz.mutation_plugin import CallRecorder, ChosenTests, MutatedModule

EQUIVALENT = Path(__file__).with_name("equivalent_mutants.toml")
PYTEST = (
    *("-q", "-x", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
    "--assert=plain",  # pytest's own import would win over ours
    *("-m", "not slow", f"--rootdir={ROOT}"),
)
#: Libraries that are loaded before the processes part.
LIBRARIES = ("numpy", "scipy.stats", "scipy.spatial", "scipy.optimize", "scipy.ndimage", "pandas",
             "pyarrow.parquet", "astropy.table", "astropy.wcs", "astropy.stats", "sklearn",
             "scipy.optimize", "pydantic", "photutils", "pycocotools.cocoeval", "skimage")  # fmt: skip
MEMORY = 6 * 2**30
SPARE_S = 20


def main() -> int:
    """Run the mutants; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("evaluation")])
    parser.add_argument("--tests", nargs="+", default=["tests/evaluation"], help="tests that judge")
    parser.add_argument(
        "--at-most", type=float, metavar="S", help="leave out tests that take more seconds"
    )
    parser.add_argument(
        "--minutes", type=float, help="stop after this time; go on with the same command"
    )
    parser.add_argument(
        "--again", action="store_true", help="run survivors again that are not listed"
    )
    parser.add_argument("--every", type=int, default=1, help="only every N-th mutant of a module")
    parser.add_argument("--sample", type=int, help="only N mutants of a module, chosen at random")
    parser.add_argument("--seed", type=int, default=1, help="seed of that choice")
    parser.add_argument("--list", action="store_true", help="run nothing; show the results so far")
    parser.add_argument("--out", type=Path, default=ROOT / "mutation", help="folder of the results")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    modules = list(dict.fromkeys(m for path in chosen.paths for m in _modules(ROOT / path)))
    results = Results(chosen.out / "results.jsonl")
    if not chosen.list:
        _warm()
        lines = recorded(chosen.out / "calls", chosen.tests)
        if chosen.at_most is not None:
            lines = {test: t for test, t in lines.items() if t["seconds"] <= chosen.at_most}
        _run(modules, lines, results, chosen)
    return _summary(modules, results)


def _modules(path: Path) -> list[Path]:
    found = [path] if path.is_file() else sorted(path.rglob("*.py"))
    if not found:
        raise SystemExit(f"no module in {path}")
    return [p.resolve().relative_to(ROOT) for p in found]


# --- which test calls which function ------------------------------------------------------------


def recorded(folder: Path, tests: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the calls and time of each test, recorded now where a file has changed."""
    folder.mkdir(exist_ok=True)
    package = {str(p): p.relative_to(ROOT).as_posix() for p in (ROOT / "evaluation").rglob("*.py")}
    digests = {name: _digest(Path(path)) for path, name in package.items()}
    files = sorted({f for t in tests for f in (
        (ROOT / t).rglob("test_*.py") if (ROOT / t).is_dir() else [ROOT / t])})  # fmt: skip
    out: dict[str, dict[str, Any]] = {}
    for file in files:
        name = file.relative_to(ROOT).as_posix()
        kept = folder / (name.replace("/", "-") + ".json")
        told = json.loads(kept.read_text()) if kept.exists() else {}
        if told.get("digest") != _digest(file) or any(
            digests.get(m) != d for m, d in told["modules"].items()
        ):
            print(f"recording {name}", flush=True)
            told = _record(file, package) | {"digest": _digest(file)}
            seen = {m for t in told["tests"].values() for m in t["lines"]}
            told["modules"] = {m: digests[m] for m in sorted(seen)}
            kept.write_text(json.dumps(told))
        out |= told["tests"]
    return out


def _record(file: Path, package: dict[str, str]) -> dict[str, Any]:
    """Return the calls of the tests of a file, from a process of its own."""

    def work(answer: int) -> None:
        recorder = CallRecorder(package)
        status = pytest.main([*PYTEST, str(file)], plugins=[recorder])
        os.write(answer, json.dumps({"status": int(status), "tests": recorder.tests}).encode())

    status, text = _forked(work, None)
    told = json.loads(text or "{}")
    if status or told.get("status") not in (0, 5):
        raise SystemExit(f"{file}: the tests fail without any change")
    return {"tests": told["tests"]}


# --- mutants -------------------------------------------------------------------------------


class Results:
    """Results by mutant, kept in a file to which each is appended at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                told = json.loads(line)
                self.kept[told["key"]] = told

    def add(self, told: dict[str, Any]) -> None:
        """Keep a result."""
        self.kept[told["key"]] = told
        with self.path.open("a") as file:
            file.write(json.dumps(told) + "\n")


def keys(source: str) -> list[tuple[str, Mutant]]:
    """Return the mutants of a text, each with a key that other edits of the file do not change."""
    lines, seen = source.splitlines(), Counter[str]()
    out = []
    for mutant in mutants(source):
        key = f"{lines[mutant.line - 1].strip()} | {mutant.change}"
        seen[key] += 1
        out.append((key if seen[key] == 1 else f"{key} | {seen[key]}", mutant))
    return out


def chosen_of(
    name: str, found: Sequence[tuple[str, Mutant]], number: int | None, seed: int
) -> list[tuple[str, Mutant]]:
    """Return a random choice of a module's mutants in their order, or all of them.

    A larger choice of the same seed holds the smaller one.
    """
    order = list(range(len(found)))
    random.Random(f"{seed} {name}").shuffle(order)
    return [found[k] for k in sorted(order[:number])]


def _run(
    modules: list[Path],
    lines: dict[str, dict[str, Any]],
    results: Results,
    chosen: argparse.Namespace,
) -> None:
    ends = time.monotonic() + 60 * chosen.minutes if chosen.minutes is not None else float("inf")
    listed = _equivalent()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        for module in modules:
            source = (ROOT / module).read_text()
            name, digest = module.as_posix(), _digest(ROOT / module)
            todo = []
            found = chosen_of(name, keys(source)[:: chosen.every], chosen.sample, chosen.seed)
            for key, mutant in found:
                old = results.kept.get(f"{name} | {key}")
                done = old is not None and old["digest"] == digest
                left = old and old["outcome"] == "survived" and f"{name} | {key}" not in listed
                if not done or (chosen.again and left):
                    todo.append((key, mutant))
            task = bar.add_task(name, total=len(todo))
            for key, mutant in todo:
                if time.monotonic() > ends:
                    return
                tests = _tests_of(name, mutant, lines)
                if tests:
                    seconds = sum(lines[test]["seconds"] for test in tests)
                    told = _try(module, source, mutant, tests, seconds)
                else:
                    told = {"outcome": "survived", "by": "no test calls it"}
                results.add({"key": f"{name} | {key}", "module": name, "digest": digest,
                             "line": mutant.line, "change": mutant.change, "tests": len(tests)} | told)  # fmt: skip
                bar.advance(task)


def _tests_of(module: str, mutant: Mutant, lines: dict[str, dict[str, Any]]) -> list[str]:
    """Return the tests that call a mutant's function, or run its module, the fastest first.

    A function that no test calls may have run when the module was imported: every test that runs
    its module is asked.
    """
    found = [(told["seconds"], test) for test, told in lines.items() if module in told["lines"]]
    called = [one for one in found if mutant.function in lines[one[1]]["lines"][module]]
    return [test for _, test in sorted(called or found)]


def _try(
    module: Path, source: str, mutant: Mutant, tests: list[str], seconds: float
) -> dict[str, Any]:
    """Return what becomes of a mutant whose tests take so many seconds without it."""
    dotted = ".".join(("skyduel", *module.with_suffix("").parts)).removesuffix(".__init__")

    def work(answer: int) -> None:
        code = mutated(source, mutant)
        sys.meta_path.insert(0, MutatedModule(dotted, ROOT / module, code))
        chosen = ChosenTests(tests)
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        status = pytest.main([*PYTEST, *files], plugins=[chosen])
        os.write(answer, json.dumps({"status": int(status), "by": chosen.failed}).encode())

    began = time.monotonic()
    status, text = _forked(work, SPARE_S + 5 * seconds)
    told = json.loads(text or "{}")
    outcome = "survived" if status == 0 and told.get("status") == 0 else "killed"
    by = told.get("by") or (
        "" if outcome == "survived" else "an error" if text else "time, memory or a crash"
    )
    return {"outcome": outcome, "by": by, "seconds": round(time.monotonic() - began, 2)}


def _forked(work: Any, seconds: float | None) -> tuple[int, str]:
    """Run work in a process of its own; return its exit status and what it wrote."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        os.setsid()
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        if seconds is not None:
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        status = 1
        try:
            work(writes)
            status = 0
        finally:
            os._exit(status)
    os.close(writes)
    with os.fdopen(reads, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return status, text


def _warm() -> None:
    """Load the libraries, and forget our modules, which each process loads anew."""
    settings.register_profile(
        "mutation",
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
    )
    settings.load_profile("mutation")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in LIBRARIES:
            importlib.import_module(name)
        core = importlib.import_module("skyduel.core")
        for told in pkgutil.iter_modules(core.__path__, "skyduel.core."):
            importlib.import_module(told.name)
        importlib.import_module("skyduel.runner.builtin_dataset")
    for name in list(sys.modules):
        if name.startswith("skyduel.") and name.split(".")[1] not in ("core", "simulation"):
            del sys.modules[name]
    # pytest collects garbage at its end. In the libraries there is none, and looking through
    # them took half of the time of a mutant.
    gc.collect()
    gc.freeze()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


# --- results -------------------------------------------------------------------------------


def _equivalent() -> dict[str, str]:
    """Return the reason of each listed mutant, by its key."""
    listed: dict[str, list[dict[str, Any]]] = tomllib.loads(EQUIVALENT.read_text())
    return {
        f"{module} | {line} | {change}": entry["why"]
        for module, entries in listed.items() for entry in entries
        for line in entry["lines"] for change in entry["changes"]
    }  # fmt: skip


def _summary(modules: list[Path], results: Results) -> int:
    """Print the counts of each module and the survivors; return the exit status."""
    reasons = _equivalent()
    total: Counter[str] = Counter()
    left = []
    print(f"{'module':<48}{'mutants':>8}{'run':>6}{'killed':>8}{'equal':>7}{'left':>6}")
    for module in modules:
        name, digest = module.as_posix(), _digest(ROOT / module)
        count: Counter[str] = Counter()
        for key, mutant in keys((ROOT / module).read_text()):
            count["mutants"] += 1
            told = results.kept.get(f"{name} | {key}")
            if told is None or told["digest"] != digest:
                continue
            count["run"] += 1
            if told["outcome"] == "killed":
                count["killed"] += 1
            elif f"{name} | {key}" in reasons:
                count["equal"] += 1
            else:
                count["left"] += 1
                left.append(
                    f"{name}:{mutant.line}: {key}" + (f" ({told['by']})" if told["by"] else "")
                )
        total.update(count)
        if count["mutants"]:
            _row(name, count)
    _row("all", total)
    print(*left, sep="\n")
    return 1 if left else 0


def _row(name: str, count: Counter[str]) -> None:
    print(
        f"{name:<48}{count['mutants']:>8}{count['run']:>6}{count['killed']:>8}{count['equal']:>7}{count['left']:>6}"
    )


if __name__ == "__main__":
    sys.exit(main())
