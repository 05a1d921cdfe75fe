"""The work of a run is so much a frame: no step takes more for each frame where there are more.

Calls of functions are counted, not seconds: runs of copies of one frame, each under a name of its
own, call every function a number of times that rises by the same amount from run to run.
"""

from __future__ import annotations

import cProfile
import gc
import os
import pstats
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.runs import inline_pool

import skyduel.runner.execution.executors
from skyduel.core import Dataset, Entry, open_dataset, write_manifest
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.compare_runs import _same_frames, compare_runs
from skyduel.runner.builtin_dataset import make_frames
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.run import RunPlan, run

STEP = 6
#: Of the rise of a number of calls from the smallest to the largest run; the square of the number
#: of frames gives a quarter.
MOST_CURVED = 0.05
#: Calls that no square of these numbers explains.
FEW = 12


@pytest.fixture(scope="module")
def one_frame(tmp_path_factory) -> Entry:
    folder = tmp_path_factory.mktemp("one")
    return make_frames(folder, [("one", "field", "test")], 3, ny=48, nx=48).entries[0]


def copies(one: Entry, n: int, folder: Path) -> Dataset:
    """Return a data set of n copies of a frame with its truth."""
    folder.mkdir()
    entries = []
    for k in range(n):
        entry = Entry(f"f{k:03d}", folder / f"f{k:03d}.fits.fz", folder / f"f{k:03d}.ecsv",
                      group=("a", "b")[k % 2])  # fmt: skip
        os.link(one.frame, entry.frame)
        os.link(str(one.truth), str(entry.truth))
        entries.append(entry)
    write_manifest(Dataset("copies", folder, tuple(entries)), folder / "manifest.csv")
    return open_dataset(folder)


def calls(one: Entry, n: int, place: Path) -> Counter[str]:
    """Return how often each function is called by a run of n frames and its comparison."""
    place.mkdir()
    plan = RunPlan(
        dataset=copies(one, n, place / "frames"),
        specs=parse_specs(["sep"]),
        rules=ScoringRules(n_bootstrap=5, n_thresholds=10),
        folder=place / "run",
    )
    profile = cProfile.Profile()
    gc.disable()  # it runs after so many allocations, not after so many frames
    try:
        profile.enable()
        run(plan)
        compare_runs(place / "run", place / "run", ("default", "purity95"))
    finally:
        profile.disable()
        gc.enable()
    counted: Counter[str] = Counter()
    for (file, line, name), (_, number, *_) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        # How often a loop looks at the clock depends on the machine; who looks is counted.
        if not name.startswith("<built-in method time."):
            counted[f"{file}:{line} {name}"] += number
    return counted


def curved(counted: list[Counter[str]]) -> dict[str, tuple[int, ...]]:
    """Return the functions whose calls rise more from the second to the third than before."""
    found = {}
    for name in counted[-1]:
        first, second, third = (c[name] for c in counted)
        excess = (third - second) - (second - first)
        if excess > FEW + MOST_CURVED * (third - first):
            found[name] = (first, second, third)
    return found


def test_no_function_is_called_more_often_a_frame_in_a_longer_run(
    one_frame, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(skyduel.runner.execution.executors, "process_pool", inline_pool)
    calls(one_frame, 2, tmp_path / "warm")  # what is loaded or remembered once
    counted = [calls(one_frame, k * STEP, tmp_path / f"run{k}") for k in (1, 2, 3)]
    assert sum(counted[2].values()) > 1000 * STEP  # it has counted
    assert curved(counted) == {}


def test_the_count_shows_a_step_that_grows_with_the_square() -> None:
    counted = [Counter({"each": 40 * n, "pairs": n * (n - 1) // 2}) for n in (6, 12, 18)]
    assert curved(counted) == {"pairs": (15, 66, 153)}


class Name(str):
    """A name that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Name.compared += 1
        return str.__eq__(self, other)  # type: ignore[arg-type]

    __hash__ = str.__hash__


def test_frames_of_two_runs_are_found_without_comparing_all_names() -> None:
    n = 300
    frame = SimpleNamespace(group="a", ny=1, nx=1, fwhm=2.0, mpix=1.0)
    runs: list[Any] = [
        SimpleNamespace(scored_frames=tuple(Name(f"f{k}") for k in order), path="run",
                        frame=lambda name: frame)
        for order in (range(n), reversed(range(n)))
    ]  # fmt: skip
    Name.compared = 0
    assert _same_frames(runs[0], runs[1], False) == runs[0].scored_frames
    assert Name.compared < 10 * n
