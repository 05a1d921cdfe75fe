"""Tests of tuning: splits, resuming, and its use in a run."""

import json
from collections import Counter
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

import skyduel.runner.execution.executors
import skyduel.runner.tune
import skyduel.runner.tune_frame
from skyduel.cli import main as cli
from skyduel.cli.commands.options import read_config
from skyduel.cli.commands.tune import as_toml
from skyduel.core import BadInputError, Catalog, Entry, open_dataset, read_catalog
from skyduel.core.search_space import Range
from skyduel.evaluation import ScoringRules
from skyduel.runner.detector_specs import DetectorSpec, build, parse_specs
from skyduel.runner.run import RunPlan, run
from skyduel.runner.tune import TuningRules, folds_of, tune

RULES = ScoringRules(n_bootstrap=20)
PLAN = [
    ("crowded_000", "crowded", "test"),
    ("field_000", "field", "test"),
    ("field_001", "field", "test"),
    ("field_002", "field", "test"),
]


@pytest.fixture(scope="module")
def sky(frame_folder) -> Path:
    """Four small frames with truth, three of one group, no calibration split."""
    return frame_folder(PLAN, 7, ny=96, nx=128)


@pytest.fixture
def inline(monkeypatch) -> None:
    """Run what is submitted at once and here, where detectors can be replaced."""

    class Inline:
        def submit(self, function, *arguments, **options):
            future = Future()
            try:
                future.set_result(function(*arguments, **options))
            except Exception as error:
                future.set_exception(error)
            return future

    @contextmanager
    def pool(workers, threads, limit_s=None):
        yield Inline()

    for module in (skyduel.runner.tune, skyduel.runner.execution.executors):
        monkeypatch.setattr(module, "process_pool", pool)
    skyduel.runner.frame_steps._detectors.clear()


class CutSettings(BaseModel):
    cut: float = 6.0
    score_threshold: float | None = None


class Plugin:
    """A plug-in that hands in the truth whose S/N is above its cut; counts its calls."""

    name = "plugin"
    tuning_space: ClassVar = {"cut": Range(2.0, 60.0, log=True)}
    calls: ClassVar[Counter] = Counter()
    truths: ClassVar[dict[str, Catalog]] = {}
    refuses: str | None = None

    def __init__(self, **settings) -> None:
        self.settings = CutSettings(**settings)

    def __call__(self, frame) -> Catalog:
        Plugin.calls[frame.name] += 1
        if self.settings.cut > 30 and frame.name == self.refuses:
            raise RuntimeError("too hard\nwith a long story")
        truth = Plugin.truths[frame.name]
        kept = truth.select(truth["snr"] >= self.settings.cut)
        return Catalog.build(x=kept["x"], y=kept["y"], score=kept["snr"])


@pytest.fixture
def plugin(monkeypatch, sky, inline) -> type[Plugin]:
    made = {"plugin": Plugin, "plain": type("Plain", (Plugin,), {"tuning_space": None})}
    for module in (skyduel.runner.tune, skyduel.runner.tune_frame, skyduel.runner.frame_steps):
        monkeypatch.setattr(module, "build", lambda c: made[c.use](**c.settings))
    Plugin.truths = {e.name: read_catalog(e.truth) for e in open_dataset(sky)}
    Plugin.calls = Counter()
    Plugin.refuses = None
    return Plugin


def entries_of(*groups: str) -> list[Entry]:
    return [Entry(f"f{k:02d}", Path("x"), group=group) for k, group in enumerate(groups)]


def test_halves_hold_each_group_alike_and_are_of_one_size() -> None:
    folds = folds_of(entries_of("a", "a", "a", "b", "b", "b", "c", "d"))
    assert folds is not None
    per = Counter((folds[f"f{k:02d}"], g) for k, g in enumerate("aaabbbcd"))
    assert sorted(per[k, "a"] for k in (0, 1)) == sorted(per[k, "b"] for k in (0, 1)) == [1, 2]
    assert Counter(folds.values()) == {0: 4, 1: 4}
    with_calibration = [*entries_of("a", "a"), Entry("cal", Path("x"), split="calibration")]
    assert folds_of(with_calibration) is None
    with pytest.raises(BadInputError, match="at least two frames"):
        folds_of(entries_of("a"))


def test_no_frame_has_settings_chosen_on_it(plugin, sky, tmp_path) -> None:
    entries = open_dataset(sky).entries
    specs = [DetectorSpec(name="mine", use="plugin")]
    (one,) = tune(entries, specs, TuningRules(trials=9), RULES, tmp_path)
    assert len(one.trials) == 9
    applied = [frame for part in one.parts for frame in part.applied_to]
    assert sorted(applied) == [e.name for e in entries]
    for part in one.parts:
        assert not set(part.chosen_on) & set(part.applied_to)
        assert set(part.chosen_on) | set(part.applied_to) == set(applied)
        # All it hands in is right, so the lowest cut finds most.
        cuts = [trial.get("cut", 6.0) for trial in one.trials]
        best = max(g.value for g in part.goals)
        assert part.goal.value == best
        equals = [cut for cut, goal in zip(cuts, part.goals, strict=True) if goal.value == best]
        assert cuts[part.trial] == equals[0]
    tuned = one.tuned()
    assert tuned.name == "mine-tuned"
    for part in one.parts:
        for frame in part.applied_to:
            on = tuned.on(frame)
            assert on.per_frame == {}
            assert on.settings == {**one.trials[part.trial], "score_threshold": part.goal.threshold}
            assert one.cuts(tuned=True)[frame]["default"] == part.goal.threshold
    assert set(one.cuts(tuned=False)) == set(applied)
    assert all("default" not in cut for cut in one.cuts(tuned=False).values())
    table = one.table()
    assert len(table) == 2 * 9
    assert table["chosen"].sum() == 2
    json.dumps(one.record(), allow_nan=False)


def test_groups_have_their_own_settings_or_everybodys(plugin, sky, tmp_path) -> None:
    entries = open_dataset(sky).entries
    rules = TuningRules(trials=4, per_group=True)
    (one,) = tune(entries, [DetectorSpec(name="p", use="plugin")], rules, RULES, tmp_path)
    for part in one.parts:
        groups = {name.split("_")[0] for name in part.chosen_on}
        # The only crowded frame has no other to be chosen on.
        assert groups == {"field"}
        assert {name.split("_")[0] for name in part.applied_to} == {part.group}
    assert sum(len(part.applied_to) for part in one.parts) == len(entries)


def test_a_calibration_split_chooses_for_all(plugin, sky, tmp_path) -> None:
    entries = [
        Entry(e.name, e.frame, e.truth, "calibration" if e.name == "field_001" else "test", e.group)
        for e in open_dataset(sky)
    ]
    (one,) = tune(
        entries, [DetectorSpec(name="p", use="plugin")], TuningRules(trials=4), RULES, tmp_path
    )
    (part,) = one.parts
    assert part.chosen_on == ("field_001",)
    assert set(plugin.calls) == {"field_001"}
    assert set(part.applied_to) == {e.name for e in entries}
    assert one.tuned().per_frame == {}
    assert one.tuned().settings == one.settings(part)
    assert one.cuts(tuned=True) == {}


def test_who_declares_nothing_runs_once_with_its_defaults(plugin, sky, tmp_path) -> None:
    entries = open_dataset(sky).entries
    everyone = [DetectorSpec(name="plain", use="plain"), DetectorSpec(name="p", use="plugin")]
    plain, mine = tune(entries, everyone, TuningRules(trials=5), RULES, tmp_path)
    assert plain.tuned() is None
    assert len(plain.trials) == 1
    assert plain.record()["tuned_name"] is None
    assert len(mine.trials) == 5
    assert set(plain.cuts(tuned=False)) == {e.name for e in entries}  # calibrated all the same


def test_a_trial_that_fails_is_out_and_named(plugin, sky, tmp_path) -> None:
    plugin.refuses = "field_001"
    entries = open_dataset(sky).entries
    (one,) = tune(
        entries, [DetectorSpec(name="p", use="plugin")], TuningRules(trials=9), RULES, tmp_path
    )
    bad = {k for k, trial in enumerate(one.trials) if trial.get("cut", 6) > 30}
    assert bad
    assert {(f, k) for f, k, _ in one.failures} == {("field_001", k) for k in bad}
    assert {why for *_, why in one.failures} == {"RuntimeError: too hard"}
    for part in one.parts:
        failed = {k for k, goal in enumerate(part.goals) if goal is None}
        assert failed == (bad if "field_001" in part.chosen_on else set())
        assert part.trial not in failed


def test_frames_the_defaults_fail_on_choose_nothing(plugin, sky, tmp_path) -> None:
    plugin.refuses = "field_001"
    entries = open_dataset(sky).entries
    mine = DetectorSpec(name="p", use="plugin", settings={"cut": 40.0})
    (one,) = tune(entries, [mine], TuningRules(trials=3), RULES, tmp_path)
    assert all("field_001" not in part.chosen_on for part in one.parts)
    assert ("field_001", 0, "RuntimeError: too hard") in one.failures


def test_what_was_tried_is_not_tried_again_unless_something_changed(plugin, sky, tmp_path) -> None:
    entries = open_dataset(sky).entries
    mine = [DetectorSpec(name="p", use="plugin")]
    (first,) = tune(entries, mine, TuningRules(trials=4), RULES, tmp_path)
    assert plugin.calls == dict.fromkeys((e.name for e in entries), 4)
    (tmp_path / "p" / "field_000.npz").write_bytes(b"half a file")
    (tmp_path / "p" / "field_001.npz").unlink()
    (again,) = tune(entries, mine, TuningRules(trials=4, objective="f1"), RULES, tmp_path)
    assert plugin.calls == {"crowded_000": 4, "field_002": 4, "field_000": 8, "field_001": 8}
    assert again.parts[0].goals[0].best_f1 == first.parts[0].goals[0].best_f1
    tune(entries, mine, TuningRules(trials=4, seed=1), RULES, tmp_path)
    assert plugin.calls["crowded_000"] == 8


def test_every_detector_gets_the_same_trials(inline, sky, tmp_path) -> None:
    entries = open_dataset(sky).entries[:2]
    specs = parse_specs(["sep", "sep-matched"])
    tuned = tune(entries, specs, TuningRules(trials=3), RULES, tmp_path)
    assert [len(one.trials) for one in tuned] == [3, 3]
    assert all(one.failures == () for one in tuned)


def test_the_file_written_is_read_by_run(plugin, sky, tmp_path, monkeypatch) -> None:
    entries = open_dataset(sky).entries
    mine = DetectorSpec(name="my sep", use="plugin", settings={"cut": 8.0})
    rules = TuningRules(trials=4, per_group=True)
    tuned = tune(entries, [mine], rules, RULES, tmp_path, crossfit=False)
    path = tmp_path / "tuned.toml"
    path.write_text(as_toml(tuned, "why"))
    config = read_config(path)
    again = parse_specs(config["detectors"], (), config["detector"])
    assert [c.name for c in again] == ["my sep", "my sep-tuned-crowded", "my sep-tuned-field"]
    assert again[0] == mine
    chosen = {part.group: tuned[0].settings(part) for part in tuned[0].parts}
    assert again[1].settings == {**mine.settings, **chosen["crowded"]}
    assert again[2].use == "plugin"


def test_a_tuned_run_scores_default_and_tuned_side_by_side(
    inline, sky, tmp_path, monkeypatch
) -> None:
    # The code may be committed while this runs.
    for module in (skyduel.runner.start_run, skyduel.runner.tune_frame):
        monkeypatch.setattr(module, "git_state", lambda: ("abc", False))
    skyduel.runner.tune_frame.git_state_once.cache_clear()
    whole = open_dataset(sky)
    plan = RunPlan(
        dataset=replace(whole, entries=whole.entries[1:3]),
        specs=parse_specs(["sep-matched"]),
        rules=RULES,
        folder=tmp_path / "run",
        tuning=TuningRules(trials=3, objective="f1"),
    )
    record = run(plan)
    assert record.status == "complete"
    assert [d.name for d in record.detectors] == ["sep-matched", "sep-matched-tuned"]
    assert record.detectors[1].default_threshold is None
    assert record.points == ("default", "calibrated", "purity95")  # cross-fitted
    said = record.tuning
    assert said["crossfit"]
    assert said["rules"]["trials"] == 3
    (one,) = said["contestants"]
    assert one["tuned_name"] == "sep-matched-tuned"
    assert one["failures"] == []
    trials = pd.read_parquet(tmp_path / "run" / "tuning" / "trials.parquet")
    assert len(trials) == 6
    counts = pd.read_parquet(tmp_path / "run" / "counts.parquet")
    assert set(counts["frame"]) == {"field_000", "field_001"}
    # Each frame is cut at what was chosen on the other half, in catalogue and in score.
    for part in one["chosen"]:
        cut = part["settings"]["score_threshold"]
        for frame in part["applied_to"]:
            place = tmp_path / "run" / "catalogs" / "sep-matched-tuned"
            found = read_catalog(place / f"{frame}.parquet")
            made = build(DetectorSpec(name="x", use="sep-matched", settings=part["settings"]))
            assert made.settings.score_threshold == cut
            rows = counts[
                (counts["detector"] == "sep-matched-tuned")
                & (counts["point"] == "default")
                & (counts["frame"] == frame)
            ]
            kept = rows["detections"].sum() + rows["detections_ignored"].sum()
            assert kept == np.count_nonzero(found["score"] >= cut)

    def forbidden(*arguments, **options):
        raise AssertionError("tried again")

    monkeypatch.setattr(skyduel.runner.tune, "process_pool", forbidden)
    assert run(plan).tuning == said
    other = RunPlan(**{**plan.__dict__, "tuning": TuningRules(trials=4)})
    with pytest.raises(BadInputError, match="folder of another run"):
        run(other)


def test_a_label_may_not_be_that_of_a_tuned_one(sky, tmp_path, inline) -> None:
    plan = RunPlan(
        dataset=open_dataset(sky),
        specs=parse_specs(["sep", "sep-tuned=sep"]),
        rules=RULES,
        folder=tmp_path / "run",
        tuning=TuningRules(trials=2),
    )
    with pytest.raises(BadInputError, match="no detector called sep-tuned"):
        run(plan)


def test_tune_writes_settings_and_all_trials(inline, sky, tmp_path, capsys) -> None:
    out = tmp_path / "best.toml"
    words = ["tune", str(sky), "--with", "sep-matched", "--trials", "3", "--out", str(out)]
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--objective", "f2"])
    assert not stop.value.code
    said = capsys.readouterr()
    assert str(out) in said.out
    assert "unchanged" in said.out
    assert "no calibration split" in said.err
    assert len(pd.read_csv(tmp_path / "best.csv")) == 3
    config = read_config(out)
    for spec in parse_specs(config["detectors"], (), config["detector"]):
        build(spec)
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--objective", "best"])
    assert stop.value.code == 2
    assert "tuning: objective" in capsys.readouterr().err


def test_options_of_tuning_need_tune(sky, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["run", str(sky), "--trials", "3", "--out", str(tmp_path / "r")])
    assert stop.value.code == 2
    assert "--tune" in capsys.readouterr().err
