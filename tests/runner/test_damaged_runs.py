"""A run folder that was damaged, or holds files of others, is completed or refused with one line.

`fuzz/run_folder_states.py` does such things in any order; these are the faults that it found.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import replace
from unittest import mock

import pandas as pd
import pytest
from helpers.runs import assert_same_tables, inline_pool, two_detector_plan

from skyduel.core import BadInputError
from skyduel.core.errors import UnwritableError
from skyduel.run_folder.compare_runs import compare_runs
from skyduel.run_folder.lock import lock_folder
from skyduel.run_folder.read_run import load_run
from skyduel.runner.run import RunPlan, run

PLAN = [("a", "field", "test"), ("b", "field", "test")]
UNFINISHED = ".0123456789ab.scores.parquet"


@pytest.fixture(scope="module", autouse=True)
def _inline() -> Iterator[None]:
    with mock.patch("skyduel.runner.execution.executors.process_pool", inline_pool):
        yield


@pytest.fixture(scope="module")
def whole(frame_folder, tmp_path_factory) -> RunPlan:
    plan = two_detector_plan(
        frame_folder(PLAN, 5, ny=32, nx=40), tmp_path_factory.mktemp("runs") / "whole"
    )
    run(plan)
    return plan


@pytest.fixture
def copied(whole, tmp_path) -> RunPlan:
    shutil.copytree(whole.folder, tmp_path / "run")
    return replace(whole, folder=tmp_path / "run")


def test_catalogues_that_were_damaged_or_replaced_are_made_again(whole, copied) -> None:
    catalog = copied.paths.catalog
    cut, other, kept = catalog("sep", "a"), catalog("sep", "b"), catalog("deep", "a")
    cut.write_bytes(cut.read_bytes()[:500])
    shutil.copy(copied.paths.catalog("deep", "b"), other)
    before = kept.stat().st_mtime_ns
    run(copied)
    assert_same_tables(whole.folder, copied.folder)
    assert kept.stat().st_mtime_ns == before  # what is whole is not made again


def test_fresh_removes_what_is_in_the_way_and_unfinished_files(whole, copied) -> None:
    paths = copied.paths
    (copied.folder / UNFINISHED).write_bytes(b"PAR1")
    scores = paths.table("scores")
    scores.unlink()
    (scores / "inner").mkdir(parents=True)
    shutil.rmtree(paths.tuning, ignore_errors=True)
    shutil.rmtree(copied.folder / "catalogs")
    (copied.folder / "catalogs").write_text("a file")
    (copied.folder / "notes.txt").write_text("the user's own")
    with pytest.raises(BadInputError, match=r"a file to write to; got a folder|a place that can"):
        run(copied)
    run(replace(copied, fresh=True))
    assert_same_tables(whole.folder, copied.folder)
    assert not (copied.folder / UNFINISHED).exists()
    assert (copied.folder / "notes.txt").read_text() == "the user's own"


def test_a_fresh_run_that_is_killed_at_once_can_be_begun_again(whole, copied, monkeypatch) -> None:
    class KilledError(BaseException):
        pass

    def kill(*_: object) -> None:
        raise KilledError

    (copied.folder / "notes.txt").write_text("the user's own")
    with monkeypatch.context() as patched:
        patched.setattr("skyduel.runner.start_run.write_record", kill)
        with pytest.raises(KilledError):
            run(replace(copied, fresh=True))
    assert not copied.paths.table("scores").exists()
    run(replace(copied, fresh=True))
    assert_same_tables(whole.folder, copied.folder)


def test_what_fresh_cannot_remove_is_one_line(copied, monkeypatch) -> None:
    def refuse(path: object, *given: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("skyduel.runner.start_run.shutil.rmtree", refuse)
    with pytest.raises(UnwritableError, match="truth: required a place that can be written to"):
        run(replace(copied, fresh=True))


def test_a_damaged_record_is_told_from_that_of_another_run(copied) -> None:
    copied.paths.record.write_text("{")
    with pytest.raises(BadInputError, match=r"a run whose run\.json is damaged \(.*fresh=True"):
        run(copied)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UnwritableError, match="a place that can be written to"):  # noqa: SIM117
            with lock_folder(place):
                raise AssertionError("locked")


def test_a_comparison_notices_files_of_another_run(whole, copied, frame_folder, tmp_path) -> None:
    """The pairs are those of the catalogue and the truth, but the run counted others."""
    other = two_detector_plan(frame_folder(PLAN, 6, ny=32, nx=40), tmp_path / "other")
    run(other)
    places = [p.catalog("sep", "a") for p in (other.paths, copied.paths)]
    places += [p.truth("a") for p in (other.paths, copied.paths)]
    for point in ("purity95", "default"):
        places += [p.pairs("sep", point, "a") for p in (other.paths, copied.paths)]
    for source, target in zip(places[::2], places[1::2], strict=True):
        shutil.copy(source, target)
    sides = [copied.folder / "sep"] * 2
    with pytest.raises(BadInputError, match="the catalogue and truth that were counted; got oth"):
        compare_runs(*sides, ("default",))
    run(copied)
    before = compare_runs(whole.folder / "sep", whole.folder / "deep", ("default", "purity95"))
    after = compare_runs(copied.folder / "sep", copied.folder / "deep", ("default", "purity95"))
    pd.testing.assert_frame_equal(before.table, after.table)


def test_a_bit_flipped_in_a_table_is_noticed(copied) -> None:
    """The values of every table have checksums; a changed name of a column is missed or unknown."""
    rng = random.Random(22)
    paths = copied.paths
    run_ = load_run(copied.folder)
    readers = {
        paths.truth("a"): lambda: replace(run_).truth("a"),  # one that has read nothing
        paths.pairs("sep", "default", "a"): lambda: replace(run_).pairs("sep", "default", "a"),
        paths.table("limits"): lambda: load_run(copied.folder).limits,
        paths.table("counts"): lambda: load_run(copied.folder).counts,
    }
    noticed = same = renamed = 0
    for file, read in readers.items():
        content, expected = file.read_bytes(), read()
        for bit in rng.sample(range(8 * len(content)), 60):
            flipped = bytearray(content)
            flipped[bit // 8] ^= 1 << (bit % 8)
            file.write_bytes(flipped)
            try:
                table = read()
            except BadInputError as error:
                assert str(error).isprintable()  # noqa: PT017
                noticed += 1
                continue
            if list(table.columns) != list(expected.columns):
                renamed += 1
            else:
                pd.testing.assert_frame_equal(table, expected, check_dtype=False)
                same += 1
        file.write_bytes(content)
    assert noticed > 60
    assert same > 60  # in what pyarrow does not use
    assert renamed < 5


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_run_folder_is_one_line(copied) -> None:
    copied.folder.chmod(0o500)
    try:
        with pytest.raises(UnwritableError, match="a place that can be written to"):
            run(copied)
    finally:
        copied.folder.chmod(0o700)
