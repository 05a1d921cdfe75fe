"""Scored frames from the files of finished runs, and two detectors side by side.

A run folder holds everything its scores came from. Here it is scored again by
the same rules, and held against the pairs the run wrote, so that two runs can be
compared truth by truth long after both are over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from skyduel.core import BadInputError, Catalog, nearest, read_catalog, safe_name
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, choose_edges, score_frame
from skyduel.evaluation.comparison.compare import ComparisonSample, compare_all, comparison_sample
from skyduel.evaluation.comparison.gate import Speed
from skyduel.evaluation.scoring.candidate_store import candidate_frame, pool_frames
from skyduel.evaluation.scoring.threshold_sweep import purity_threshold
from skyduel.run_folder import Run, load_run
from skyduel.run_folder.schema import ALL_GROUPS, EQUAL_PURITY_POINT, NOMINAL_PURITY

__all__ = ["PairedComparison", "RunDetector", "compare_detectors", "run_detector"]

#: Rules that say how sure to be, not what is right; those of the first run are used.
_STATISTICS: Final = ("confidence", "n_bootstrap", "n_thresholds", "seed")
#: Columns of a truth that decide a score; the measured ones may differ by rounding.
_EXACT: Final = ("x", "y", "mag", "kind", "length", "theta", "snr", "ignore")
_MEASURED: Final = "aper_mag"
_MEASURED_TOLERANCE_MAG: Final = 1e-3


@dataclass(frozen=True, eq=False)
class RunDetector:
    """One detector of one run."""

    run: Run
    detector: str

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the run's record says of the detector."""
        named = (d for d in self.run.record.get("detectors", ()) if d.get("name") == self.detector)
        return next(named, {})

    @property
    def speed(self) -> Speed:
        """How fast it was, and on what."""
        where = dict(self.run.record.get("machine") or {})
        where["device"] = self.facts.get("device")
        value = self.facts.get("mpix_per_s")
        return Speed(float("nan") if value is None else float(value), where)


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """Two detectors on the same frames.

    Parameters
    ----------
    a, b : RunDetector
        Who.
    name_a, name_b : str
        What the tables call them; with the run's name where the detectors' are the same.
    table : DataFrame
        As `skyduel.evaluation.comparison.compare.compare_all` returns it.
    rules : ScoringRules
        By which both were scored; those of A.
    frames : tuple of str
        The test frames that both were compared on.
    """

    a: RunDetector
    b: RunDetector
    name_a: str
    name_b: str
    table: pd.DataFrame
    rules: ScoringRules
    frames: tuple[str, ...]


def run_detector(place: str | Path, detector: str | None = None) -> RunDetector:
    """Return the detector that ``RUN`` or ``RUN/DETECTOR`` names.

    Parameters
    ----------
    place : str or Path
        A run folder, or a detector's name below one.
    detector : str, optional
        Its name, if ``place`` does not end in it; not needed where the run has one.

    Raises
    ------
    BadInputError
        If there is no such run or detector, or the run has several and none was named.
    """
    path = Path(place)
    if not (path / "run.json").is_file() and (path.parent / "run.json").is_file():
        if detector is not None and detector != path.name:
            raise BadInputError(str(place), f"the detector {detector!r}", repr(path.name))
        path, detector = path.parent, path.name
    run = load_run(path)
    if detector is None:
        if len(run.detectors) != 1:
            raise BadInputError(
                str(place), f"a detector named, one of {', '.join(run.detectors)}", "none named"
            )
        return RunDetector(run, run.detectors[0])
    if detector not in run.detectors:
        close = nearest(detector, run.detectors)
        hint = f"; did you mean {close}?" if close else ""
        raise BadInputError(
            str(path), f"a detector among {', '.join(run.detectors)}", f"{detector!r}{hint}"
        )
    return RunDetector(run, detector)


def compare_detectors(
    a: RunDetector, b: RunDetector, points: Sequence[str], *, common_frames: bool = False
) -> PairedComparison:
    """Return the paired comparison of two detectors at some operating points.

    Parameters
    ----------
    a, b : RunDetector
        Of one run or of two.
    points : sequence of str
        Operating points, such as ``purity95``.
    common_frames : bool
        Compare on the frames that both runs have, instead of refusing where
        they differ. Purity thresholds are then chosen anew, on those frames.

    Raises
    ------
    BadInputError
        If the frames, the truth or the rules of the runs differ, if an
        operating point is missing, or if the pairs that a run wrote are not
        those that its catalogues give now.
    """
    for one in (a, b):
        for point in points:
            if point not in one.run.points:
                raise BadInputError(
                    str(one.run.path), f"the operating point {point!r}",
                    f"points {', '.join(one.run.points)}",
                )  # fmt: skip
    rules = _same_rules(a.run, b.run)
    frames = _same_frames(a.run, b.run, common_frames)
    partial = set(frames) != set(_scored(a.run)) or set(frames) != set(_scored(b.run))
    sources = [_inputs(one, frames) for one in (a, b)]
    if a.run.path.resolve() != b.run.path.resolve():
        for one, other in zip(*sources, strict=True):
            _same_truth(a.run, b.run, one, other)
    edges = tuple(map(float, a.run.record.get("bins_mag", ())))
    if partial or not edges:
        edges = choose_edges(sources[0], rules)
    elif edges != tuple(map(float, b.run.record.get("bins_mag", ()))):
        raise BadInputError("comparison", "the same magnitude bins in both runs", "other edges")
    name_a, name_b = a.detector, b.detector
    if name_a == name_b:
        name_a, name_b = f"{a.run.name}/{name_a}", f"{b.run.name}/{name_b}"
    if name_a == name_b:  # two runs of one name, or one with itself
        name_a, name_b = f"{name_a} (A)", f"{name_b} (B)"
    comparison_samples: dict[tuple[str, str, str], ComparisonSample] = {}
    for one, name, inputs in ((a, name_a, sources[0]), (b, name_b, sources[1])):
        for (point, group), scored in _scores(one, inputs, rules, edges, points, partial).items():
            comparison_samples[name, point, group] = comparison_sample(scored, edges, rules)
    return PairedComparison(
        a, b, name_a, name_b, compare_all(comparison_samples, rules), rules, frames
    )


def _same_rules(a: Run, b: Run) -> ScoringRules:
    first, second = (ScoringRules(**r.record.get("rules", {})) for r in (a, b))
    for key, value in first.model_dump().items():
        other = getattr(second, key)
        if key not in _STATISTICS and value != other:
            raise BadInputError(
                "comparison", "the same rules in both runs",
                f"{key} {value!r} in {a.path} and {other!r} in {b.path}",
            )  # fmt: skip
    return first


def _scored(run: Run) -> tuple[str, ...]:
    return run.scored_frames


def _same_frames(a: Run, b: Run, common: bool) -> tuple[str, ...]:
    first, second = _scored(a), _scored(b)
    if set(first) != set(second) and not common:
        only = [n for n in first if n not in second] or [n for n in second if n not in first]
        where = a if only[0] in first else b
        raise BadInputError(
            "comparison", "the same test frames in both runs (or --common-frames)",
            f"{only[0]!r} in {where.path} alone ({len(set(first) ^ set(second))} such)",
        )  # fmt: skip
    frames = tuple(n for n in first if n in second)
    if not frames:
        raise BadInputError("comparison", "a test frame that both runs have", "none")
    for name in frames:
        for key in ("group", "ny", "nx", "fwhm", "mpix"):
            one, other = a.frame(name).get(key), b.frame(name).get(key)
            if one != other:
                raise BadInputError(
                    "comparison", f"the same frame {name!r} in both runs",
                    f"{key} {one!r} in {a.path} and {other!r} in {b.path}",
                )  # fmt: skip
    return frames


def _inputs(one: RunDetector, frames: Sequence[str]) -> list[FrameInput]:
    run, out = one.run, []
    for name in frames:
        facts, file = run.frame(name), f"{safe_name(name)}.parquet"
        shape = (facts.get("ny"), facts.get("nx"))
        mpix = facts.get("mpix")
        out.append(
            FrameInput(
                frame=name,
                truth=read_catalog(run.path / "truth" / file),
                found=read_catalog(run.path / "catalogs" / safe_name(one.detector) / file),
                mpix=float("nan") if mpix is None else float(mpix),
                group=str(facts.get("group") or ALL_GROUPS),
                fwhm=facts.get("fwhm"),
                shape=None if None in shape else (int(facts["ny"]), int(facts["nx"])),
            )
        )
    return out


def _same_truth(run_a: Run, run_b: Run, a: FrameInput, b: FrameInput) -> None:
    def refuse(what: str) -> None:
        raise BadInputError(
            "comparison", f"the same truth of {a.frame!r} in {run_a.path} and {run_b.path}", what
        )

    if len(a.truth) != len(b.truth):
        refuse(f"{len(a.truth)} and {len(b.truth)} sources")
    for column in _EXACT:
        if (column in a.truth) != (column in b.truth):
            refuse(f"{column!r} in one alone")
        if column in a.truth:
            one, other = np.asarray(a.truth[column]), np.asarray(b.truth[column])
            same = (one == other) | ((one != one) & (other != other))
            if not same.all():
                refuse(f"another {column} of {int((~same).sum())} sources")
    one, other = (_measured(s.truth) for s in (a, b))
    if not np.allclose(one, other, rtol=0, atol=_MEASURED_TOLERANCE_MAG, equal_nan=True):
        refuse("other magnitudes measured on the pixels, so other pixels")


def _measured(truth: Catalog) -> np.ndarray[Any, Any]:
    return np.asarray(truth[_MEASURED]) if _MEASURED in truth else np.zeros(len(truth))


def _scores(
    one: RunDetector,
    inputs: Sequence[FrameInput],
    rules: ScoringRules,
    edges: Sequence[float],
    points: Sequence[str],
    partial: bool,
) -> dict[tuple[str, str], tuple[FrameScore, ...]]:
    """Return the scored frames of each operating point and group; none without a threshold."""
    candidates = [f.candidates(rules) for f in inputs]
    names = [ALL_GROUPS, *sorted({f.group for f in inputs} - {ALL_GROUPS})]
    out: dict[tuple[str, str], tuple[FrameScore, ...]] = {}
    for point in points:
        for group in names:
            members = [k for k, f in enumerate(inputs) if group in (ALL_GROUPS, f.group)]
            wrote = [one.run.pairs(one.detector, point, inputs[k].frame) for k in members]
            if point == EQUAL_PURITY_POINT and partial:  # of fewer frames the purity is another
                pooled = pool_frames([candidate_frame(inputs[k], rules) for k in members])
                cuts, wrote = [purity_threshold(pooled, NOMINAL_PURITY)] * len(members), []
            elif point == EQUAL_PURITY_POINT and group == ALL_GROUPS and names != [ALL_GROUPS]:
                cuts, wrote = [_pooled_cut(one)] * len(members), []
            else:
                cuts = [_cut(one, point, inputs[k], w) for k, w in zip(members, wrote, strict=True)]
            if np.isnan(cuts).any():
                out[point, group] = ()
                continue
            out[point, group] = tuple(
                score_frame(inputs[k], rules, edges, threshold=cut, candidates=candidates[k])
                for k, cut in zip(members, cuts, strict=True)
            )
            for score, table in zip(out[point, group], wrote, strict=False):
                _check_pairs(one, point, score, table)
    return out


def _pooled_cut(one: RunDetector) -> float:
    """Return the cut at ``purity95`` of all groups together, NaN where it does not exist."""
    rows = one.run.limits.query("point == 'purity95' and group == 'all'")
    rows = rows[rows["detector"] == one.detector]
    if len(rows) == 0:
        raise BadInputError(
            str(one.run.path / "limits.parquet"),
            f"the threshold of {one.detector} at purity95", "no such row",
        )  # fmt: skip
    return float(rows["threshold"].iloc[0])


def _cut(one: RunDetector, point: str, source: FrameInput, wrote: pd.DataFrame | None) -> float:
    """Return where the run cut a frame's catalogue, by the rows in its pairs.

    Thresholds may differ from frame to frame, and each detection above its
    frame's is in the pairs. NaN where the point does not exist for the frame.
    """
    if wrote is None:
        if point == EQUAL_PURITY_POINT:
            return float("nan")
        raise BadInputError(
            str(one.run.path / "pairs"), f"the pairs of {source.frame!r} at {point}", "no such file"
        )
    used = wrote["found_index"].to_numpy()
    score = np.asarray(source.found["score"], dtype=np.float64)
    used = used[(used >= 0) & (used < score.size)]
    if used.size == score.size:
        return float("-inf")
    return float(score[used].min()) if used.size else float("inf")


def _check_pairs(
    one: RunDetector, point: str, score: FrameScore, wrote: pd.DataFrame | None
) -> None:
    columns = ["truth_index", "found_index", "outcome"]
    now = score.pairing.to_table()[columns]
    if wrote is None or now.astype(str).to_numpy().tolist() != (
        wrote[columns].astype(str).to_numpy().tolist()
    ):
        raise BadInputError(
            str(one.run.path),
            f"the pairs of {score.source.frame!r} at {point} as this version makes them",
            "others; run it again",
        )
