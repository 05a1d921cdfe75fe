"""Tests of `skyduel run`: the contents of the run folder, and its robustness to errors."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skyduel.cli import main as cli
from skyduel.core import BadInputError, Entry, open_dataset, read_catalog, write_catalog
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.record import FailureRecord, FrameRecord
from skyduel.runner import run as runs
from skyduel.runner.builtin_dataset import make_builtin, make_frames
from skyduel.runner.detector_specs import DetectorSpec, parse_specs
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.run import RunPlan, run

PLAN = [
    ("field_000", "field", "test"),
    ("field_001", "field", "test"),
    ("dirty_000", "dirty", "test"),
    ("cal_000", "crowded", "calibration"),
]


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    """Four small simulated frames with truth and a manifest."""
    return frame_folder(PLAN, 7, ny=112, nx=160)


def plan(sky: Path, folder: Path, **changes) -> RunPlan:
    names = changes.pop("names", ["sep", "deep=sep-matched"])
    return RunPlan(
        dataset=changes.pop("dataset", None) or open_dataset(sky),
        specs=parse_specs(names, changes.pop("set_", ())),
        rules=ScoringRules(n_bootstrap=50),
        folder=folder,
        **changes,
    )


@pytest.fixture(scope="module")
def finished(sky, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "one"
    run(plan(sky, folder))
    return folder


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    return {
        n: pd.read_parquet(folder / f"{n}.parquet") for n in ("counts", "scores", "sweep", "limits")
    }


def test_a_new_number_of_a_frame_is_a_fact_and_a_field_of_its_record(monkeypatch) -> None:
    @dataclass(frozen=True, slots=True)
    class Longer(FrameRecord):
        n_saturated: int | None = None

    monkeypatch.setattr(runs, "FrameRecord", Longer)
    facts = {"ny": 3, "nx": 5, "fwhm": None, "n_saturated": 7, "fingerprint": "1-2"}
    record = runs._frame_record(Entry("a", Path("a.fits"), None), Outcome("a", facts))
    assert (record.ny, record.nx, record.n_saturated, record.n_truth) == (3, 5, 7, None)
    unread = runs._frame_record(Entry("b", Path("b.fits"), None), Outcome("b", {}, "no such file"))
    assert (unread.name, unread.n_saturated) == ("b", None)


def test_an_unreadable_frame_is_no_failure_of_a_detector() -> None:
    outcomes = {
        "a": Outcome("a", {}, "a: no such file", about_frame=True),
        "b": Outcome("b", {}, "b: no answer"),
        "c": Outcome("c", {"seconds": 1.0}),
    }
    assert runs._failures(outcomes, "sep") == [
        FailureRecord("a", None, "a: no such file"),
        FailureRecord("b", "sep", "b: no answer"),
    ]


def test_the_folder_holds_what_its_description_lists(finished) -> None:
    for path in (
        "run.json",
        "truth/field_000.parquet",
        "catalogs/sep/dirty_000.parquet",
        "catalogs/deep/cal_000.parquet",
        "pairs/deep/calibrated/field_001.parquet",
        "previews/cal_000.png",
        *(f"{t}.{e}" for t in ("counts", "scores", "sweep", "limits") for e in ("csv", "parquet")),
    ):
        assert (finished / path).is_file(), path
    record = json.loads((finished / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["failures"] == []
    assert record["warnings"] == []
    assert record["points"] == ["default", "calibrated", "purity95"]
    assert [d["name"] for d in record["detectors"]] == ["sep", "deep"]
    assert all(d["frames_done"] == 4 and d["mpix_per_s"] > 0 for d in record["detectors"])
    assert all(d["peak_memory_mib"] > 10 for d in record["detectors"])
    assert {f["group"] for f in record["dataset"]["frames"]} == {"field", "dirty", "crowded"}
    assert record["versions"]["sep"]
    assert re.fullmatch(r"[0-9a-f]{64}", record["configuration_sha256"])


def test_counts_add_up_and_agree_with_pairs_and_catalogues(finished) -> None:
    counts = tables(finished)["counts"]
    counts = counts[counts["point"] == "default"]
    assert set(counts["frame"]) == {"field_000", "field_001", "dirty_000"}
    for (detector, frame), rows in counts.groupby(["detector", "frame"]):
        pairs = pd.read_parquet(finished / "pairs" / detector / "default" / f"{frame}.parquet")
        found = read_catalog(finished / "catalogs" / detector / f"{frame}.parquet")
        truth = read_catalog(finished / "truth" / f"{frame}.parquet")
        assert rows["truths_found"].sum() == (pairs["outcome"] == "found").sum()
        assert rows["truths"].sum() + rows["truths_ignored"].sum() == len(truth)
        cut = 4.0 if detector == "deep" else -np.inf
        assert (
            rows["detections"].sum() + rows["detections_ignored"].sum()
            == (found["score"] >= cut).sum()
        )
        assert (rows["detections_right"] <= rows["detections"]).all()


def test_scores_come_from_summed_counts(finished) -> None:
    made = tables(finished)
    counts = made["counts"][(made["counts"]["point"] == "default")]
    totals = counts.groupby("detector")[["truths", "truths_found", "detections"]].sum()
    scores = made["scores"]
    scores = scores[
        (scores["point"] == "default") & (scores["group"] == "all") & (scores["bin"] == -2)
    ].set_index(["detector", "quantity"])
    for detector, row in totals.iterrows():
        line = scores.loc[(detector, "completeness")]
        assert line["value"] == pytest.approx(row["truths_found"] / row["truths"])
        assert line["lo"] < line["value"] < line["hi"]


def test_workers_and_order_change_nothing(sky, finished, tmp_path) -> None:
    run(plan(sky, tmp_path / "two", workers=2))
    one, two = tables(finished), tables(tmp_path / "two")
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name])


def test_a_stopped_run_is_completed_to_the_same_tables(sky, finished, tmp_path) -> None:
    folder = tmp_path / "resumed"
    seen = 0

    def stop(stage: str, item: str, total: int) -> None:
        nonlocal seen
        seen += bool(item) and stage == "deep"
        if seen == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan(sky, folder), stop)
    assert json.loads((folder / "run.json").read_text())["status"] == "running"
    before = {p: p.stat().st_mtime_ns for p in (folder / "catalogs" / "sep").glob("*.parquet")}
    assert len(before) == 4
    run(plan(sky, folder))
    assert {p: p.stat().st_mtime_ns for p in before} == before
    one, two = tables(finished), tables(folder)
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name])


def test_a_changed_frame_is_run_again(sky, tmp_path) -> None:
    copy = tmp_path / "sky"
    shutil.copytree(sky, copy)
    folder = tmp_path / "run"
    run(plan(copy, folder, names=["sep"]))
    path = folder / "catalogs" / "sep" / "field_000.parquet"
    old, other = path.stat().st_mtime_ns, path.with_name("field_001.parquet").stat().st_mtime_ns
    (copy / "field_000.fits.fz").write_bytes((sky / "dirty_000.fits.fz").read_bytes())
    run(plan(copy, folder, names=["sep"]))
    assert path.stat().st_mtime_ns != old
    assert path.with_name("field_001.parquet").stat().st_mtime_ns == other


def test_another_run_is_not_overwritten(sky, finished, tmp_path) -> None:
    with pytest.raises(BadInputError, match="the folder of another run"):
        run(plan(sky, finished, set_=["sep.DETECT_THRESH=3"]))
    (tmp_path / "thesis.tex").write_text("work of years")
    with pytest.raises(BadInputError, match="new or empty folder"):
        run(plan(sky, tmp_path))


def test_fresh_replaces_a_run_and_only_a_run(sky, tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    words = ["run", str(sky), "--out", str(folder), "--with", "sep"]
    for more, code in (([], 0), (["--set", "sep.DETECT_THRESH=3"], 2)):
        with pytest.raises(SystemExit) as stop:
            cli.main([*words, *more])
        assert stop.value.code == code
    assert "--fresh" in capsys.readouterr().err
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--set", "sep.DETECT_THRESH=3", "--fresh"])
    assert stop.value.code == 0
    assert (folder / "notes.txt").read_text() == "mine"
    record = json.loads((folder / "run.json").read_text())
    assert record["detectors"][0]["settings"]["DETECT_THRESH"] == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("work of years")
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(sky), "--out", str(tmp_path / "other"), "--fresh"])
    assert stop.value.code == 2
    assert (tmp_path / "other" / "thesis.tex").exists()


def test_what_other_code_found_is_not_mixed_in(sky, tmp_path, monkeypatch) -> None:
    run(plan(sky, tmp_path / "r", names=["sep"]))
    monkeypatch.setattr("skyduel.runner.start_run.versions", lambda: {"sep": "0.1"})
    with pytest.raises(BadInputError, match="the folder of another run"):
        run(plan(sky, tmp_path / "r", names=["sep"]))


def test_failures_are_recorded_and_the_rest_is_finished(sky, tmp_path, capsys) -> None:
    copy = tmp_path / "sky"
    shutil.copytree(sky, copy)
    whole = (copy / "dirty_000.fits.fz").read_bytes()
    (copy / "dirty_000.fits.fz").write_bytes(whole[: len(whole) // 2])
    (copy / "field_001.ecsv").write_text("a,b\n1,2\n")
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(copy), "--out", str(tmp_path / "r"), "--with", "sep"])
    assert stop.value.code == 2
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert record["status"] == "complete with failures"
    assert {f["frame"] for f in record["failures"]} == {"dirty_000", "field_001"}
    assert all(f["detector"] is None for f in record["failures"])
    assert set(tables(tmp_path / "r")["counts"]["frame"]) == {"field_000"}
    printed = capsys.readouterr()
    failed = [line for line in printed.err.splitlines() if line.startswith("skyduel: failed:")]
    assert len(failed) == 2
    assert (tmp_path / "r" / "report" / "index.html").is_file()
    assert "dirty_000" in (tmp_path / "r" / "report" / "index.html").read_text()


def test_a_detector_that_fails_on_a_frame_takes_the_frame_from_all(sky, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("field_000", "field_001", "cal_000"):  # none for dirty_000
        truth = read_catalog(sky / f"{name}.ecsv")
        write_catalog(truth.with_columns(score=truth["snr"]), theirs / f"{name}.csv")
    folder = tmp_path / "run"
    record = run(plan(sky, folder, names=["sep", "theirs=file"], set_=[f"theirs.folder={theirs}"]))
    assert [(f.frame, f.detector) for f in record.failures] == [("dirty_000", "theirs")]
    counts = tables(folder)["counts"]
    assert set(counts["frame"]) == {"field_000", "field_001"}
    scores = tables(folder)["scores"]
    perfect = scores[
        (scores["detector"] == "theirs") & (scores["bin"] == -2) & (scores["point"] == "default")
        & (scores["group"] == "all") & (scores["quantity"] == "completeness")
    ]  # fmt: skip
    assert perfect["value"].item() == 1.0  # handed the truth, it finds all of it


def test_nothing_to_score_is_an_error(sky, tmp_path) -> None:
    empty = tmp_path / "theirs"
    empty.mkdir()
    with pytest.raises(BadInputError, match="at least one test frame"):
        run(plan(sky, tmp_path / "r", names=["file"], set_=[f"file.folder={empty}"]))
    record = json.loads((tmp_path / "r" / "run.json").read_text())
    assert len(record["failures"]) == 4


def test_the_command_writes_a_report_that_can_be_drawn_again(sky, tmp_path, capsys) -> None:
    folder = tmp_path / "run"
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(sky), "--out", str(folder), "--with", "sep", "--bins", "14:24:2"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "completeness" in out
    assert "14–16" in out
    page = folder / "report" / "index.html"
    assert str(page) in out.replace("\n", "")
    first = page.read_bytes()
    shutil.rmtree(folder / "report")
    with pytest.raises(SystemExit) as stop:
        cli.main(["report", str(folder)])
    assert stop.value.code == 0
    assert page.read_bytes() == first


def test_detectors_from_options_and_tables() -> None:
    chosen = parse_specs(
        ["neural", "deep=sep", "mine"],
        ["deep.DETECT_THRESH=1.2", "deep.kernel=gaussian", "mine.floor=2"],
        {"mine": {"use": "sep-matched", "floor": 3, "DETECT_MINAREA": 2}},
    )
    assert chosen == [
        DetectorSpec(name="neural", use="neural"),
        DetectorSpec(name="deep", use="sep", settings={"DETECT_THRESH": 1.2, "kernel": "gaussian"}),
        DetectorSpec(name="mine", use="sep-matched", settings={"floor": 2, "DETECT_MINAREA": 2}),
    ]
    with pytest.raises(BadInputError, match="each label once"):
        parse_specs(["sep", "sep"])
    with pytest.raises(BadInputError, match="a table of settings"):
        parse_specs(["sep"], (), {"sep": 3})


def test_the_builtin_set_is_24_frames_some_for_calibration(tmp_path, monkeypatch) -> None:
    made = []

    def small(folder, frames, seed, **options):
        made.extend(frames)
        return make_frames(folder, frames, seed, ny=32, nx=48)

    monkeypatch.setattr("skyduel.runner.builtin_dataset.make_frames", small)
    dataset = make_builtin(tmp_path / "data")
    assert len(dataset) == len(made) == 24
    assert len(dataset.of_split("calibration")) == 4
    assert {e.group for e in dataset} == {"sparse", "field", "aberrated", "crowded", "dirty"}


def test_frames_simulated_by_two_processes_have_the_same_bytes(tmp_path) -> None:
    plan = [("a", "dirty", "test"), ("b", "field", "test"), ("c", "crowded", "calibration")]
    heard: list[str] = []
    for n in (1, 2):
        folder = tmp_path / str(n) / "sky"
        make_frames(folder, plan, 3, ny=48, nx=64, on_frame=heard.append, processes=n)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / n / "sky").iterdir()} for n in ("1", "2")
    )
    assert one == two
    assert len(one) == 7
    assert heard == ["a", "b", "c"] * 2
