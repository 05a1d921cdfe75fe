"""Detectors scored in processes of their own: the same files, also where one dies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.runs import assert_same_tables, two_detector_plan

import skyduel.runner.scoring.score_detectors as scoring
from skyduel.runner.run import run


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    return frame_folder([("a", "field", "test"), ("b", "dirty", "test")], 5, ny=72, nx=96)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".json"
    }


def score_and_die(*_: object) -> None:
    os._exit(1)


def test_every_file_is_the_same_from_two_processes(sky, tmp_path, monkeypatch) -> None:
    used = []
    pool = scoring.process_pool
    monkeypatch.setattr(scoring, "process_pool", lambda *given: used.append(given) or pool(*given))
    run(two_detector_plan(sky, tmp_path / "one"))
    assert not used
    run(two_detector_plan(sky, tmp_path / "two", truth_workers=2))
    assert used == [(2, 1)]
    assert_same_tables(tmp_path / "one", tmp_path / "two")
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_where_processes_die_this_one_scores(sky, tmp_path, monkeypatch) -> None:
    run(two_detector_plan(sky, tmp_path / "one"))
    monkeypatch.setattr(scoring, "_score_apart", score_and_die)
    run(two_detector_plan(sky, tmp_path / "two", truth_workers=2))
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_many_sources_are_scored_one_detector_at_a_time() -> None:
    assert scoring.processes_for(3, 24, 10_000, 8) == 3
    assert scoring.processes_for(3, 24, 10_000, 2) == 2
    assert scoring.processes_for(1, 24, 10_000, 8) == 1
    assert scoring.processes_for(3, 60_000, 1_000_000, 8) == 2
    assert scoring.processes_for(3, 10**5, 5_000_000, 8) == 1
    assert scoring.processes_for(3, 0, 0, 8) == 3
