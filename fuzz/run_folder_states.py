"""Do anything to a run folder in any order; it must end in the undisturbed result or in one line.

    python fuzz/run_folder_states.py --examples 200
    python fuzz/run_folder_states.py --minutes 10 --seed 7

A state machine of hypothesis over one folder of two tiny frames: the run is started, resumed or
begun afresh, killed or out of disk space at any change of the disk, files are damaged, removed,
replaced by those of another run or frame, or put in the way, and the run is read, compared, gated
and reported. A run that may succeed must, and then every file is that of the undisturbed run, byte
by byte (but for times). A comparison and a gate decide as on the undisturbed run. Everything else
is a `SkyduelError` with one printable line. The smallest sequence that fails is printed; the exit
status is then 1.

A kill is an exception that no code catches, after which every further change of the disk raises
it again, so that nothing is tidied up. Scores of inputs seen before are remembered: they are pure
functions, and would take nearly all of the time.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import pickle
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from helpers.runs import inline_pool
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import skyduel.run_folder.compare_runs
import skyduel.runner.execution.executors
import skyduel.runner.run
import skyduel.runner.scoring.score_detectors
import skyduel.runner.start_run
from skyduel.cli.commands.gate import run_gate
from skyduel.core import SkyduelError
from skyduel.core.io.atomic_files import is_temporary
from skyduel.core.io.dataset import open_dataset
from skyduel.evaluation.comparison.gate import parse_allowances
from skyduel.evaluation.evaluate_detectors import evaluate_detector
from skyduel.evaluation.rules import ScoringRules
from skyduel.reports import write_report
from skyduel.run_folder.compare_runs import compare_runs, run_detector
from skyduel.run_folder.read_run import load_run
from skyduel.run_folder.record import read_record
from skyduel.runner.builtin_dataset import make_frames
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.run import RunPlan, run

__all__ = ["RunFolder", "campaign", "prepared"]

FRAMES = [("a", "field", "test"), ("b", "field", "test")]
POINTS = ("purity95", "default")
ALLOWED = parse_allowances("f1=0.2,completeness=0.5", None)
#: More changes of the disk than a run makes, each counted before and after.
MOST_STEPS = 220
#: Beginning of the name of every file that is put into the folder by hand.
FOREIGN = "foreign"


class Killed(BaseException):
    """The end of a process; not even code that catches every exception goes on."""


# --- what makes an example cheap ----------------------------------------------------------------


class _Heard:
    """A sink that notes what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def counts(self, *given: Any) -> None:
        self.calls.append(("counts", given))

    def frames(self, *given: Any) -> None:
        self.calls.append(("frames", given))


def _remembered_evaluation(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[bytes, tuple[Any, _Heard]] = {}

    def call(name: str, frames: Any, rules: Any, edges: Any, **options: Any) -> Any:
        sink = options.pop("sink")
        parts = [(f.frame, _table(f.truth), _table(f.found), f.mpix, f.fwhm) for f in frames]
        key = hashlib.sha256(pickle.dumps((name, parts, rules, edges, options))).digest()
        if key not in known:
            heard = _Heard()
            known[key] = function(name, frames, rules, edges, sink=heard, **options), heard
        result, heard = known[key]
        for what, given in heard.calls:
            getattr(sink, what)(*given)
        return result

    return call


def _table(catalog: Any) -> Any:
    return [(name, catalog[name].tobytes()) for name in catalog.table.colnames]


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[bytes, Any] = {}

    def call(*given: Any) -> Any:
        key = hashlib.sha256(pickle.dumps(given)).digest()
        if key not in known:
            known[key] = function(*given)
        return known[key]

    return call


@contextmanager
def prepared(place: Path) -> Iterator[None]:
    """Make the undisturbed run and another one below a new folder, for `RunFolder`."""
    evaluation = skyduel.runner.run
    with (
        mock.patch.object(skyduel.runner.execution.executors, "process_pool", inline_pool),
        mock.patch.object(skyduel.runner.start_run, "git_state", return_value=(None, None)),
        mock.patch.object(
            skyduel.runner.start_run, "versions", cache(skyduel.runner.start_run.versions)
        ),
        mock.patch.object(
            skyduel.runner.scoring.score_detectors,
            "evaluate_detector",
            _remembered_evaluation(evaluate_detector),
        ),
        mock.patch.object(evaluation, "compare_all", _remembered(evaluation.compare_all)),
        mock.patch.object(
            skyduel.run_folder.compare_runs, "compare_all",
            _remembered(skyduel.run_folder.compare_runs.compare_all),
        ),
    ):  # fmt: skip
        plans = {}
        for name, number in (("whole", 5), ("other", 6)):
            (place / f"frames-{name}").mkdir(parents=True)
            make_frames(place / f"frames-{name}", FRAMES, number, ny=32, nx=40)
            plans[name] = RunPlan(
                dataset=open_dataset(place / f"frames-{name}"),
                specs=parse_specs(["sep"]),
                rules=ScoringRules(n_bootstrap=2, n_thresholds=20),
                folder=place / name,
            )
            run(plans[name])
        whole = place / "whole"
        RunFolder.expected = Expected(
            plan=plans["whole"],
            files={k: v for k, v in contents(whole).items() if not _timed(k)},
            names=tuple(contents(whole)),
            other=contents(place / "other"),
            configuration=str(read_record(whole / "run.json").configuration_sha256),
            compared=compare_runs(whole / "sep", whole / "sep", POINTS).table,
            decided=_decided(whole, whole),
        )
        yield


@dataclass(frozen=True)
class Expected:
    """The undisturbed run."""

    plan: RunPlan
    files: dict[str, bytes]
    names: tuple[str, ...]
    other: dict[str, bytes]
    configuration: str
    compared: Any
    decided: list[Any]


def contents(folder: Path) -> dict[str, bytes]:
    """Return the content of every file of a run but of its report, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "report"
    }


def _timed(name: str) -> bool:
    """Return True for a file that holds times."""
    return name.endswith(".json")


def _decided(reference: Path, candidate: Path) -> list[Any]:
    report = run_gate(run_detector(reference / "sep"), run_detector(candidate / "sep"), ALLOWED)
    return [(c.name, c.verdict, c.loss, c.n_frames) for c in report.criteria]


# --- what happens to the disk -------------------------------------------------------------------


@contextmanager
def stopped_at(step: int, how: str) -> Iterator[None]:
    """End the process (``kill``), or fill the disk (``full``), at a change of the disk."""
    count = 0

    def check(writes: bool, path: Any) -> None:
        nonlocal count
        count += 1
        if count >= step and how == "kill":
            raise Killed
        if count >= step and writes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

    def counted(call: Callable[..., Any], writes: bool) -> Callable[..., Any]:
        def changed(path: Any, *given: Any, **options: Any) -> Any:
            check(writes, path)
            result = call(path, *given, **options)
            if how == "kill":
                check(writes, path)
            return result

        return changed

    with mock.patch.multiple(
        os,
        replace=counted(os.replace, True),
        mkdir=counted(os.mkdir, True),
        unlink=counted(os.unlink, False),
        rmdir=counted(os.rmdir, False),
    ):
        yield


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "garbage": lambda content: b"\x00{]" + content[: len(content) // 2],
    "zeros": lambda content: bytes(len(content)),
    "longer": lambda content: content + b"PAR1",
}


class RunFolder(RuleBasedStateMachine):
    """What may happen to a run folder."""

    expected: ClassVar[Expected]
    tally: ClassVar[Counter[str]] = Counter()
    reports: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp(prefix="run-folder-states-"))
        self.folder = self.place / "run"
        self.tally["examples"] += 1

    def teardown(self) -> None:
        shutil.rmtree(self.place)

    # Most of what may happen needs a run to happen to.
    @initialize(there=st.booleans())
    def begin(self, there: bool) -> None:
        if there:
            shutil.copytree(self.expected.plan.folder, self.folder)

    @rule(how=st.sampled_from(["", "", "resume", "fresh"]))
    def started(self, how: str) -> None:
        self._run(how)

    @rule(how=st.sampled_from(["", "resume", "fresh"]), step=st.integers(1, MOST_STEPS))
    def killed(self, how: str, step: int) -> None:
        self.tally["kill"] += 1
        try:
            with stopped_at(step, "kill"):
                run(self._plan(how))
        except Killed:
            return
        except SkyduelError as error:
            _one_line(error)
        else:
            self._check_whole()

    @rule(how=st.sampled_from(["", "resume", "fresh"]), step=st.integers(1, MOST_STEPS // 2))
    def out_of_space(self, how: str, step: int) -> None:
        self.tally["full disk"] += 1
        try:
            with stopped_at(step, "full"):
                run(self._plan(how))
        except SkyduelError as error:
            _one_line(error)
        else:
            self._check_whole()

    @rule(choice=st.integers(0, 10**6), how=st.sampled_from([*DAMAGES, "gone", "folder", "link"]))
    def damaged(self, choice: int, how: str) -> None:
        file = self._existing(choice)
        if file is None:
            return
        self.tally["damage"] += 1
        content = file.read_bytes()
        file.unlink()
        if how == "folder":
            file.mkdir()
        elif how == "link":
            file.symlink_to(file)
        elif how != "gone":
            file.write_bytes(DAMAGES[how](content))

    @rule(choice=st.integers(0, 10**6))
    def flipped(self, choice: int) -> None:
        """A catalogue or a table has one bit flipped."""
        file = self._existing(choice % 10**4, ".parquet")
        if file is not None:
            self.tally["damage"] += 1
            content = bytearray(file.read_bytes())
            place = choice // 7 % (8 * max(1, len(content)))
            if content:
                content[place // 8] ^= 1 << (place % 8)
            file.write_bytes(content)

    @rule(choice=st.integers(0, 10**6), more=st.integers(1, 3))
    def of_another_run(self, choice: int, more: int) -> None:
        names = sorted(self.expected.other)
        for k in range(more):
            name = names[(choice + k * 7) % len(names)]
            self._put(name, self.expected.other[name])

    @rule(choice=st.integers(0, 10**6))
    def of_another_frame(self, choice: int) -> None:
        names = sorted(n for n in self.expected.names if Path(n).stem in ("a", "b"))
        name = names[choice % len(names)]
        file = self.folder / name
        other = file.with_stem("b" if file.stem == "a" else "a")
        if other.is_file():
            self._put(name, other.read_bytes())

    @rule(where=st.sampled_from(["", "catalogs", "catalogs/sep", "truth", "pairs", "masks"]),
          name=st.sampled_from([FOREIGN, f".{FOREIGN}", f"{FOREIGN}.parquet", ".0123456789ab.foreign"]))  # fmt: skip
    def foreign(self, where: str, name: str) -> None:
        self._put(f"{where}/{name}", b"not of a run")

    @rule(where=st.sampled_from(["catalogs", "truth", "pairs", "analyses", "previews"]))
    def file_for_folder(self, where: str) -> None:
        if (self.folder / where).is_dir():
            self.tally["damage"] += 1
            shutil.rmtree(self.folder / where)
            (self.folder / where).write_bytes(b"in the way")

    @rule()
    def read(self) -> None:
        self.tally["read"] += 1
        try:
            one = load_run(self.folder)
            one._repr_html_()
            for frame in "ab":
                one.truth(frame), one.catalog("sep", frame), one.preview(frame)
                one.pairs("sep", "default", frame)
        except SkyduelError as error:
            _one_line(error)

    @rule(turned=st.booleans())
    def compared(self, turned: bool) -> None:
        self.tally["compare"] += 1
        sides = [self.folder / "sep", self.expected.plan.folder / "sep"]
        try:
            made = compare_runs(*(sides[::-1] if turned else sides), POINTS)
        except SkyduelError as error:
            _one_line(error)
            return
        names = ["detector_a", "detector_b"]
        now, then = (t.drop(columns=names) for t in (made.table, self.expected.compared))
        assert now.equals(then), f"another comparison:\n{now.compare(then)}"

    @rule()
    def gated(self) -> None:
        self.tally["gate"] += 1
        try:
            decided = _decided(self.expected.plan.folder, self.folder)
        except SkyduelError as error:
            _one_line(error)
            return
        assert repr(decided) == repr(self.expected.decided)

    @rule()
    def reported(self) -> None:
        if not self.reports:
            return
        self.tally["report"] += 1
        try:
            page = write_report(self.folder)
        except SkyduelError as error:
            _one_line(error)
        else:
            assert page.stat().st_size > 10_000

    # --- steps ---

    def _plan(self, how: str) -> RunPlan:
        return replace(
            self.expected.plan, folder=self.folder, resume=how == "resume", fresh=how == "fresh"
        )

    def _run(self, how: str) -> None:
        must = self._may_succeed(how)
        self.tally["run"] += 1
        try:
            run(self._plan(how))
        except SkyduelError as error:
            _one_line(error)
            if must:
                raise AssertionError("a run that could succeed was refused") from error
            self.tally["refused"] += 1
        else:
            self._check_whole()

    def _may_succeed(self, how: str) -> bool:
        """Return True if nothing is in the way and the folder is empty or that of this run."""
        record = self.folder / "run.json"
        for name in self.expected.names:
            file = self.folder / name
            if file.is_dir() or any(
                p.is_file() for p in file.parents if self.folder in (p, *p.parents)
            ):
                return False
        if how == "fresh" and record.is_file():
            return True
        try:
            told = read_record(record).configuration_sha256
        except SkyduelError:
            there = list(self.folder.iterdir()) if self.folder.exists() else []
            return how != "resume" and all(is_temporary(p) for p in there)
        return told == self.expected.configuration

    def _check_whole(self) -> None:
        """Check that the folder holds what the undisturbed run left, and no unfinished file."""
        there = contents(self.folder)
        assert not [n for n in there if is_temporary(Path(n)) and FOREIGN not in n]
        for name, content in self.expected.files.items():
            assert there.get(name) == content, f"another {name}"
        more = {n for n in there if FOREIGN not in n} - {*self.expected.names}
        assert not more, f"left: {sorted(more)}"
        record = read_record(self.folder / "run.json")
        assert (record.status, record.failures) == ("complete", ())
        assert record.configuration_sha256 == self.expected.configuration

    def _existing(self, choice: int, ending: str = "") -> Path | None:
        if not self.folder.is_dir():
            return None
        files = sorted(p for p in self.folder.rglob(f"*{ending}") if p.is_file())
        return files[choice % len(files)] if files else None

    def _put(self, name: str, content: bytes) -> None:
        """Put a file into the folder, if nothing is in the way."""
        file = self.folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir():
                return
            file.unlink(missing_ok=True)
            file.write_bytes(content)
        except (FileExistsError, NotADirectoryError):
            return
        self.tally["foreign"] += 1


def _one_line(error: SkyduelError) -> None:
    text = str(error)
    assert text.isprintable(), f"not one line: {text!r}"
    assert len(text) < 2000, f"a long message: {text[:200]!r}"


def campaign(examples: int, start: int, steps: int = 10, shrink: bool = True) -> str | None:
    """Run examples of `RunFolder`; return the smallest or first failure as text, or None."""
    try:
        run_state_machine_as_test(
            seed(start)(RunFolder),
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                database=None,
                derandomize=False,
                phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
    except Exception:
        return traceback.format_exc()
    return None


def main() -> int:
    """Run the campaign; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=10**9, help="sequences of steps")
    parser.add_argument("--minutes", type=float, default=10**9, help="stop after this time")
    parser.add_argument("--steps", type=int, default=10, help="most steps of an example")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", action="store_true", help="show the first failing sequence")
    parser.add_argument("--no-reports", action="store_true", help="a report takes seconds")
    chosen = parser.parse_args()
    RunFolder.reports = not chosen.no_reports
    ends = time.monotonic() + 60 * chosen.minutes
    failure, number = None, 0
    with tempfile.TemporaryDirectory() as place, prepared(Path(place)), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        while failure is None and time.monotonic() < ends:
            rest = chosen.examples - RunFolder.tally["examples"]
            if rest <= 0:
                break
            failure = campaign(
                min(rest, 50), chosen.seed * 1_000_003 + number, chosen.steps, not chosen.first
            )
            number += 1
    print(json.dumps(RunFolder.tally))
    if failure:
        print(failure)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
