"""Tune every detector with the same number of trials, on frames it is not scored on.

All trials are run once on every frame and scored there at every threshold, so that
choosing settings for any set of frames (a calibration split, one half of a set, one
group of it) is a sum over files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import ConfigDict, Field

from skyduel.core import Entry, Sectioning, SkyduelError
from skyduel.core.errors import ArgumentError
from skyduel.core.search_space import Choice, Range, Space, Tunable
from skyduel.core.settings import Settings
from skyduel.evaluation import ScoringRules
from skyduel.evaluation.scoring.tuning_objective import (
    Objective,
    ObjectiveValue,
    TrialCounts,
    best_value,
    evaluate_objective,
)
from skyduel.run_folder.layout import trial_outcomes
from skyduel.run_folder.schema import ALL_GROUPS, CALIBRATED_POINT, DEFAULT_POINT, TRIALS
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.execution.process_pool import process_pool, threads_each
from skyduel.runner.sample_settings import draw_trials
from skyduel.runner.tune_frame import TriedFrame, load_tried, trials_digest, try_on_frame

__all__ = ["SUFFIX", "Part", "Tuned", "TuningRules", "folds_of", "tune"]

#: Suffix of the name of a tuned detector.
SUFFIX: Final = "-tuned"

Progress = Callable[[str, str, int], None]

_SECTIONING: Final = Sectioning()


class TuningRules(Settings):
    """Rules of tuning, the same for every detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(40, ge=1, description="settings tried, the default ones included")
    objective: Objective = Field("purity95", description="what they are chosen for")
    per_group: bool = Field(False, description="settings of its own for every group of frames")
    seed: int = Field(0, ge=0, description="of the trials")


@dataclass(frozen=True)
class Part:
    """Choice of settings on some frames, for others.

    Parameters
    ----------
    fold : int or None
        Half of the set it is applied to; None where one choice serves all frames.
    group : str or None
        Group of frames it is for; None for all.
    chosen_on, applied_to : tuple of str
        Names of frames.
    goals : tuple of ObjectiveValue or None
        Objective of every trial on the frames chosen on; None if the trial failed on a frame.
    trial : int or None
        The chosen trial; None if all trials failed.
    """

    fold: int | None
    group: str | None
    chosen_on: tuple[str, ...]
    applied_to: tuple[str, ...]
    goals: tuple[ObjectiveValue | None, ...]
    trial: int | None

    @property
    def goal(self) -> ObjectiveValue | None:
        """Objective of the chosen trial on the frames it was chosen on."""
        return None if self.trial is None else self.goals[self.trial]


@dataclass(frozen=True, eq=False)
class Tuned:
    """Trials of one detector and the choices from them.

    Parameters
    ----------
    spec : DetectorSpec
        The detector before tuning, which is the first trial.
    space : mapping
        The search space; empty where the detector declares none.
    trials : tuple of mapping
        Changes of settings.
    parts : tuple of Part
        One for each fold and group.
    has_threshold : bool
        Whether the detector has a ``score_threshold`` to set.
    seconds : float
        Time of all trials on all frames [s].
    failures : tuple of (frame, trial, reason)
        Failed trials with their frame and reason.
    """

    spec: DetectorSpec
    space: Space
    trials: tuple[Mapping[str, Any], ...]
    parts: tuple[Part, ...]
    has_threshold: bool
    seconds: float
    failures: tuple[tuple[str, int | None, str], ...]

    def settings(self, part: Part) -> dict[str, Any]:
        """Return the changes of settings chosen for a part, with its score threshold."""
        if part.trial is None or part.goal is None:
            return {}
        changes = dict(self.trials[part.trial])
        if self.has_threshold and np.isfinite(part.goal.threshold):
            changes["score_threshold"] = float(part.goal.threshold)
        return changes

    def tuned(self) -> DetectorSpec | None:
        """Return the detector with the chosen settings; None if no trial could be chosen."""
        if not self.space or all(part.trial is None for part in self.parts):
            return None
        base = self.spec
        tuned = base.model_copy(update={"name": base.name + SUFFIX})
        if len(self.parts) == 1:
            changes = self.settings(self.parts[0])
            return tuned.model_copy(update={"settings": {**base.settings, **changes}})
        chosen = {frame: self.settings(part) for part in self.parts for frame in part.applied_to}
        return tuned.model_copy(update={"per_frame": chosen})

    def cuts(self, *, tuned: bool) -> dict[str, dict[str, float | None]]:
        """Return thresholds by frame and operating point where they differ between frames.

        ``default``, for the tuned detector: the threshold chosen with the settings.
        ``calibrated``: the threshold of best F1 on the frames chosen on, with the chosen
        settings or the default ones. Empty where one choice serves all frames.
        """
        out: dict[str, dict[str, float | None]] = {}
        for part in self.parts:
            goal = part.goal if tuned else part.goals[0]
            if part.fold is None or goal is None:
                continue
            cut: dict[str, float | None] = {}
            if np.isfinite(goal.best_f1_threshold):
                cut[CALIBRATED_POINT] = float(goal.best_f1_threshold)
            if tuned and self.has_threshold and np.isfinite(goal.threshold):
                cut[DEFAULT_POINT] = float(goal.threshold)
            out |= dict.fromkeys(part.applied_to, cut)
        return out

    def table(self) -> pd.DataFrame:
        """Return the table of every trial on every part (`run_folder.schema.TRIALS`)."""
        rows = []
        for part in self.parts:
            for k, (trial, goal) in enumerate(zip(self.trials, part.goals, strict=True)):
                row: dict[str, Any] = {
                    "detector": self.spec.name,
                    "fold": -1 if part.fold is None else part.fold,
                    "group": part.group or ALL_GROUPS,
                    "trial": k,
                    "chosen": k == part.trial,
                    "failed": goal is None,
                }
                row["reached"] = goal.feasible if goal else False
                for name in ("value", "threshold", "completeness", "purity", "f1", "f2"):
                    row[name] = getattr(goal, name) if goal else np.nan
                row["settings"] = ", ".join(f"{key}={value}" for key, value in trial.items())
                rows.append(row)
        return pd.DataFrame(rows, columns=list(TRIALS.columns))

    def record(self) -> dict[str, Any]:
        """Return the entry of ``tuning`` in the record of a run."""
        return {
            "name": self.spec.name,
            "tuned_name": None if self.tuned() is None else self.spec.name + SUFFIX,
            "space": {name: _words(values) for name, values in self.space.items()},
            "trials": len(self.trials),
            "seconds": round(self.seconds, 2),
            "chosen": [
                {
                    "fold": part.fold,
                    "group": part.group,
                    "trial": part.trial,
                    "settings": self.settings(part),
                    "achieved": _achieved(part.goal),
                    "default_achieved": _achieved(part.goals[0]),
                    "chosen_on": list(part.chosen_on),
                    "applied_to": list(part.applied_to),
                }
                for part in self.parts
            ],
            "failures": [
                {"frame": frame, "trial": trial, "reason": reason}
                for frame, trial, reason in self.failures
            ],
        }


def folds_of(entries: Sequence[Entry]) -> dict[str, int] | None:
    """Assign the frames to two halves of the set; None where there is a calibration split.

    The frames of each group are assigned alternately, in order of name; the last frame of a
    group with an odd number goes to the half that has fewer frames.

    Raises
    ------
    BadInputError
        If there is only one frame and no calibration split.
    """
    if any(entry.split == "calibration" for entry in entries):
        return None
    if len(entries) < 2:
        raise ArgumentError(
            "tuning", "a calibration split, or at least two frames to choose on one of", "one frame"
        )
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in sorted(entries, key=lambda entry: entry.name):
        groups[entry.group or ALL_GROUPS].append(entry.name)
    folds: dict[str, int] = {}
    for _, names in sorted(groups.items()):
        counts = [list(folds.values()).count(k) for k in (0, 1)]
        first = int(counts[1] < counts[0])
        folds |= {name: (first + k) % 2 for k, name in enumerate(names)}
    return folds


def tune(
    entries: Sequence[Entry],
    specs: Sequence[DetectorSpec],
    tuning: TuningRules,
    rules: ScoringRules,
    folder: Path,
    *,
    crossfit: bool = True,
    workers: int = 1,
    progress: Progress | None = None,
    sectioning: Sectioning = _SECTIONING,
) -> list[Tuned]:
    """Tune detectors: run all trials and choose settings.

    Parameters
    ----------
    entries : sequence of Entry
        Frames with truth. Settings are chosen on the frames of the calibration split, if
        there are any, for all frames; otherwise see ``crossfit``.
    specs : sequence of DetectorSpec
        The detectors. One that declares no search space has one trial, its own settings.
    tuning : TuningRules
        Number of trials and objective.
    rules : ScoringRules
        How detections are matched.
    folder : Path
        Folder of the outcomes, one file per detector and frame. Existing outcomes of the
        same trials are not computed again.
    crossfit : bool
        Without a calibration split: if True, choose on each half of the set for the
        other half (`folds_of`); if False, choose on all frames, for use on other data.
    workers : int
        Processes that work on frames in parallel.
    progress : callable, optional
        Called with every finished frame.
    sectioning : Sectioning
        Which frames are searched section by section, and the size of the sections.

    Raises
    ------
    BadInputError
        If a space names an unknown setting, or there are no frames to choose on.
    """
    progress = progress or (lambda stage, item, total: None)
    calibration = [entry for entry in entries if entry.split == "calibration"]
    folds = folds_of(entries) if crossfit else None
    used = calibration or list(entries)
    tuned = []
    for spec in specs:
        detector = build(spec)
        space = dict(detector.tuning_space or {}) if isinstance(detector, Tunable) else {}
        known = type(detector.settings).model_fields
        trials = draw_trials(space, tuning.trials, tuning.seed)
        tried, failures = _try_all(spec, trials, used, rules, folder, workers, progress, sectioning)
        tuned.append(
            Tuned(
                spec=spec,
                space=space,
                trials=tuple(trials),
                parts=_parts(entries, used, tried, folds, tuning, len(trials)),
                has_threshold="score_threshold" in known,
                seconds=sum(t.seconds for t in tried.values()),
                failures=tuple(failures),
            )
        )
    return tuned


def _try_all(
    spec: DetectorSpec,
    trials: Sequence[Mapping[str, Any]],
    entries: Sequence[Entry],
    rules: ScoringRules,
    folder: Path,
    workers: int,
    progress: Progress,
    sectioning: Sectioning,
) -> tuple[dict[str, TriedFrame], list[tuple[str, int | None, str]]]:
    """Run all trials on every frame; return frames that the first trial finishes, and failures."""
    stage = f"tune {spec.name}"
    tried: dict[str, TriedFrame] = {}
    failures: list[tuple[str, int | None, str]] = []
    missing = []
    for entry in entries:
        target = trial_outcomes(folder, spec.name, entry.name)
        digest = trials_digest(spec, trials, entry, rules, sectioning)
        before = load_tried(target, digest)
        if before is None:
            missing.append((entry, target, digest))
        else:
            tried[entry.name] = before
    progress(stage, "", len(missing))
    if missing:
        workers = min(workers, len(missing))
        with process_pool(workers, threads_each(workers)) as pool:
            futures: dict[Future[TriedFrame], str] = {
                pool.submit(
                    try_on_frame, spec, trials, entry, rules, target, digest, sectioning
                ): entry.name
                for entry, target, digest in missing
            }
            for future in as_completed(futures):
                name = futures[future]
                try:
                    tried[name] = future.result()
                except BrokenProcessPool:
                    failures.append((name, None, "the worker process died (out of memory?)"))
                except SkyduelError as error:
                    failures.append((name, None, str(error)))
                progress(stage, name, len(missing))
    for name, one in sorted(tried.items()):
        failures += [(name, k, why) for k, why in enumerate(one.reasons) if why is not None]
    return {n: t for n, t in sorted(tried.items()) if t.trials[0] is not None}, failures


def _parts(
    entries: Sequence[Entry],
    used: Sequence[Entry],
    tried: Mapping[str, TriedFrame],
    folds: Mapping[str, int] | None,
    tuning: TuningRules,
    n_trials: int,
) -> tuple[Part, ...]:
    """Choose settings for every fold and group of the frames."""
    usable = [entry for entry in used if entry.name in tried]
    groups: list[str | None] = [None]
    if tuning.per_group:
        groups = list(dict.fromkeys(entry.group or ALL_GROUPS for entry in entries))
    group_of = {entry.name: entry.group or ALL_GROUPS for entry in entries}
    parts = []
    for fold in (None,) if folds is None else (0, 1):
        others = [e for e in usable if folds is None or folds[e.name] != fold]
        for group in groups:
            applied = tuple(
                e.name
                for e in entries
                if (folds is None or folds[e.name] == fold)
                and (group is None or (e.group or ALL_GROUPS) == group)
            )
            own = [e for e in others if group is None or (e.group or ALL_GROUPS) == group]
            # A group without frames to choose on uses all of them.
            names = tuple(e.name for e in own or others)
            goals = _goals([tried[name] for name in names], group_of, n_trials, tuning.objective)
            part = Part(fold, group, names, applied, goals, best_value(goals))
            if applied:
                parts.append(part)
    return tuple(parts)


def _goals(
    frames: Sequence[TriedFrame], group_of: Mapping[str, str], n_trials: int, objective: Objective
) -> tuple[ObjectiveValue | None, ...]:
    goals: list[ObjectiveValue | None] = []
    for k in range(n_trials):
        outcomes = [frame.trials[k] for frame in frames]
        whole: list[TrialCounts] = [one for one in outcomes if one is not None]
        complete = bool(outcomes) and len(whole) == len(outcomes)
        groups = [group_of[frame.frame] for frame in frames]
        goals.append(evaluate_objective(whole, objective, groups) if complete else None)
    return tuple(goals)


def _words(values: Range | Choice) -> dict[str, Any] | list[Any]:
    if isinstance(values, Choice):
        return list(values.values)
    return {"low": values.low, "high": values.high, "log": values.log, "integer": values.integer}


def _achieved(goal: ObjectiveValue | None) -> dict[str, Any] | None:
    """Return the value of an objective as plain values for JSON; None for undefined ones."""
    if goal is None:
        return None
    names = ("value", "threshold", "completeness", "purity", "f1", "f2")
    values = {"reached": goal.feasible} | {name: getattr(goal, name) for name in names}
    return {k: v if isinstance(v, bool) or np.isfinite(v) else None for k, v in values.items()}
