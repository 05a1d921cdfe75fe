"""Paired comparison of two detectors of finished runs.

A run folder holds everything that its scores were computed from. The frames are scored
again from these files by the same rules, and the pairs are checked against those that the
run wrote, so that two runs can be compared truth by truth long after both have finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from skyduel.core import BadInputError, Catalog
from skyduel.core.errors import PATH, ArgumentError, require_each, takes
from skyduel.core.io.packed_tables import read_packed
from skyduel.core.settings import nearest
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, choose_edges, score_frame
from skyduel.evaluation.comparison.compare import ComparisonSample, compare_all, comparison_sample
from skyduel.evaluation.comparison.gate import Speed
from skyduel.evaluation.scoring.candidate_store import candidate_frame, pool_frames
from skyduel.evaluation.scoring.threshold_sweep import purity_threshold
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.read_counts import COUNTED
from skyduel.run_folder.read_run import Run, load_run
from skyduel.run_folder.record import DetectorRecord
from skyduel.run_folder.schema import ALL_GROUPS, EQUAL_PURITY_POINT, LIMITS, NOMINAL_PURITY, PAIRS

__all__ = ["PairedComparison", "RunDetector", "compare_detectors", "compare_runs", "run_detector"]

#: Rules of the intervals, not of the matching; those of the first run are used.
_STATISTICS: Final = ("confidence", "n_bootstrap", "n_thresholds", "seed")
#: Columns of a truth that decide a score and must be equal.
_EXACT: Final = ("x", "y", "mag", "kind", "length", "theta", "snr", "ignore")
#: Measured on the pixels; it may differ by rounding.
_MEASURED: Final = "aper_mag"
_MEASURED_TOLERANCE_MAG: Final = 1e-3


@dataclass(frozen=True, eq=False)
class RunDetector:
    """One detector of one finished run.

    Parameters
    ----------
    run : Run
        The run.
    detector : str
        Name of the detector in it.
    """

    run: Run
    detector: str

    @property
    def record(self) -> DetectorRecord:
        """Settings and cost of the detector, from the run's record."""
        return self.run.record.detector(self.detector)

    @property
    def speed(self) -> Speed:
        """Speed [Mpix/s] and the machine it was measured on."""
        where = {**self.run.record.machine, "device": self.record.device}
        value = self.record.mpix_per_s
        return Speed(float("nan") if value is None else value, where)


@dataclass(frozen=True, eq=False)
class PairedComparison:
    """Paired comparison of two detectors on the same frames.

    Parameters
    ----------
    a, b : RunDetector
        The detectors.
    name_a, name_b : str
        Their names in the table; with the name of the run where the detectors have one name.
    table : DataFrame
        As `skyduel.evaluation.comparison.compare.compare_all` returns it.
    rules : ScoringRules
        Scoring rules of both; the intervals are by those of A.
    frames : tuple of str
        Names of the test frames compared.
    identical : bool
        Whether both made the very same catalogues of them.
    """

    a: RunDetector
    b: RunDetector
    name_a: str
    name_b: str
    table: pd.DataFrame
    rules: ScoringRules
    frames: tuple[str, ...]
    identical: bool = False

    def __repr__(self) -> str:
        """Return the two names and the number of frames in one line."""
        n = len(self.frames)
        return (
            f"PairedComparison({self.name_a} with {self.name_b} on {n} "
            f"frame{'' if n == 1 else 's'}; the differences are in .table)"
        )


def run_detector(place: str | Path, detector: str | None = None) -> RunDetector:
    """Load one detector of a finished run from ``RUN`` or ``RUN/DETECTOR``.

    Parameters
    ----------
    place : str or Path
        A run folder, or a run folder and the name of a detector.
    detector : str, optional
        Name of the detector if ``place`` does not end in it; not needed if the run has one
        detector only.

    Raises
    ------
    BadInputError
        If there is no such run or detector, or the run has several and none is named.
    """
    path = Path(place)
    if not RunPaths(path).record.is_file() and RunPaths(path.parent).record.is_file():
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


@takes(a=PATH, b=PATH)
def compare_runs(
    a: str | Path,
    b: str | Path,
    points: str | Sequence[str] = (EQUAL_PURITY_POINT,),
    *,
    common_frames: bool = False,
) -> PairedComparison:
    """Compare two detectors of finished runs, given by their paths.

    It is exported as ``skyduel.compare``.

    Parameters
    ----------
    a, b : str or Path
        ``RUN/DETECTOR``, such as ``runs/old/sep``, or ``RUN`` if the run has one detector.
    points : str or sequence of str
        Operating points, or one.
    common_frames : bool
        Compare on the frames that both runs have, instead of raising if they differ.

    Raises
    ------
    BadInputError
        If there is no such run or detector, or the two cannot be compared
        (`compare_detectors`).
    """
    wanted = (points,) if isinstance(points, str) else points
    require_each("compare_runs: points", wanted, str)
    return compare_detectors(run_detector(a), run_detector(b), wanted, common_frames=common_frames)


def compare_detectors(
    a: RunDetector, b: RunDetector, points: Sequence[str], *, common_frames: bool = False
) -> PairedComparison:
    """Compare two detectors of finished runs at some operating points.

    Parameters
    ----------
    a, b : RunDetector
        Two detectors of one run, or of two.
    points : sequence of str
        Operating points, such as ``purity95``.
    common_frames : bool
        Compare on the frames that both runs have, instead of raising if they differ. The
        thresholds of equal purity are then chosen again, on those frames.

    Raises
    ------
    BadInputError
        If the frames, the truth or the rules of the runs differ, if an
        operating point is missing, or if this version pairs a catalogue
        otherwise than the run did.
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
    partial = set(frames) != set(a.run.scored_frames) or set(frames) != set(b.run.scored_frames)
    sources = [_inputs(one, frames) for one in (a, b)]
    if a.run.path.resolve() != b.run.path.resolve():
        for one, other in zip(*sources, strict=True):
            _same_truth(a.run, b.run, one, other)
    edges = a.run.record.bins_mag
    if partial or not edges:
        edges = choose_edges(sources[0], rules)
    elif edges != b.run.record.bins_mag:
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
        a, b, name_a, name_b, compare_all(comparison_samples, rules), rules, frames,
        identical=_identical(*sources),
    )  # fmt: skip


def _identical(a: Sequence[FrameInput], b: Sequence[FrameInput]) -> bool:
    """Return True if two detectors made the very same catalogues, and not all of them empty."""
    pairs = [(one.found, other.found) for one, other in zip(a, b, strict=True)]
    if not any(len(one) for one, _ in pairs):
        return False
    return all(
        len(one) == len(other)
        and all(
            np.array_equal(one[name], other[name], equal_nan=one[name].dtype.kind == "f")
            for name in ("x", "y", "score", "kind", "length", "theta")
        )
        for one, other in pairs
    )


def _same_rules(a: Run, b: Run) -> ScoringRules:
    first, second = (ScoringRules(**r.record.rules) for r in (a, b))
    for key, value in first.model_dump().items():
        other = getattr(second, key)
        if key not in _STATISTICS and value != other:
            raise BadInputError(
                "comparison", "the same rules in both runs",
                f"{key} {value!r} in {a.path} and {other!r} in {b.path}",
            )  # fmt: skip
    return first


def _same_frames(a: Run, b: Run, common: bool) -> tuple[str, ...]:
    first, second = a.scored_frames, b.scored_frames
    ours, theirs = set(first), set(second)
    if ours != theirs and not common:
        only = [n for n in first if n not in theirs] or [n for n in second if n not in ours]
        where = a if only[0] in ours else b
        raise ArgumentError(
            "comparison", "the same test frames in both runs (or common_frames=True)",
            f"{only[0]!r} in {where.path} alone ({len(ours ^ theirs)} such)",
            ("common_frames",),
        )  # fmt: skip
    frames = tuple(n for n in first if n in theirs)
    if not frames:
        raise BadInputError("comparison", "a test frame that both runs have", "none")
    for name in frames:
        for key in ("group", "ny", "nx", "fwhm", "mpix"):
            one, other = getattr(a.frame(name), key), getattr(b.frame(name), key)
            if one != other:
                raise BadInputError(
                    "comparison", f"the same frame {name!r} in both runs",
                    f"{key} {one!r} in {a.path} and {other!r} in {b.path}",
                )  # fmt: skip
    return frames


def _inputs(one: RunDetector, frames: Sequence[str]) -> list[FrameInput]:
    run, out = one.run, []
    truths = read_packed(run.paths.truth(name) for name in frames)
    catalogs = read_packed(run.paths.catalog(one.detector, name) for name in frames)
    for name, truth, found in zip(frames, truths, catalogs, strict=True):
        record = run.frame(name)
        ny, nx = record.ny, record.nx
        out.append(
            FrameInput(
                frame=name,
                truth=truth,
                found=found,
                mpix=float("nan") if record.mpix is None else record.mpix,
                group=record.group or ALL_GROUPS,
                fwhm=record.fwhm,
                shape=None if ny is None or nx is None else (ny, nx),
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
    """Score the frames at each operating point, by group; no frames without a threshold."""
    candidates = [f.candidates(rules) for f in inputs]
    names = [ALL_GROUPS, *sorted({f.group for f in inputs} - {ALL_GROUPS})]
    out: dict[tuple[str, str], tuple[FrameScore, ...]] = {}
    for point in points:
        for group in names:
            members = [k for k, f in enumerate(inputs) if group in (ALL_GROUPS, f.group)]
            common: float | None = None  # the threshold of all frames, if there is one
            if point == EQUAL_PURITY_POINT and partial:  # the purity of fewer frames differs
                pooled = pool_frames([candidate_frame(inputs[k], rules) for k in members])
                common = purity_threshold(pooled, NOMINAL_PURITY)
            elif point == EQUAL_PURITY_POINT and group == ALL_GROUPS and names != [ALL_GROUPS]:
                common = _pooled_cut(one)
            scored: list[FrameScore] = []
            for k in members:
                # One after the other: the pairs of all frames would need much memory.
                wrote = None
                if common is None:
                    wrote = one.run.pairs(one.detector, point, inputs[k].frame)
                cut = _cut(one, point, inputs[k], wrote) if common is None else common
                if np.isnan(cut):
                    scored = []
                    break
                scored.append(
                    score_frame(inputs[k], rules, edges, threshold=cut, candidates=candidates[k])
                )
                if common is None:
                    _check_pairs(one, point, scored[-1], wrote)
            out[point, group] = tuple(scored)
            if common is None and scored:
                _check_counts(one, point, group, scored)
    return out


def _pooled_cut(one: RunDetector) -> float:
    """Return the threshold of equal purity of all groups together, NaN without one."""
    rows = one.run.limits
    rows = rows[
        (rows["point"] == EQUAL_PURITY_POINT)
        & (rows["group"] == ALL_GROUPS)
        & (rows["detector"] == one.detector)
    ]
    if len(rows) == 0:
        raise BadInputError(
            str(one.run.paths.table(LIMITS.name)),
            f"the threshold of {one.detector} at {EQUAL_PURITY_POINT}", "no such row",
        )  # fmt: skip
    return float(rows["threshold"].iloc[0])


def _cut(one: RunDetector, point: str, source: FrameInput, wrote: pd.DataFrame | None) -> float:
    """Return the threshold of the run on a frame: the lowest score among its pairs.

    Thresholds may differ from frame to frame, and every detection above the threshold is in
    the pairs. NaN if the operating point does not exist for the frame.
    """
    if wrote is None:
        if point == EQUAL_PURITY_POINT:
            return float("nan")
        raise BadInputError(
            str(one.run.paths.pairs(one.detector, point, source.frame)),
            f"the pairs of {source.frame!r} at {point}",
            "no such file",
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
    # Not the separation, whose last digits depend on the processor.
    columns = [c for c in PAIRS.columns if c != "separation_px"]
    now = score.pairing.to_table()
    if wrote is None or not (_same_values(now, wrote, columns) or _same_text(now, wrote, columns)):
        raise BadInputError(
            str(one.run.path),
            f"the pairs of {score.source.frame!r} at {point} as this version makes them",
            "others; run it again",
        )


def _same_values(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Return True if columns have the same types and values; text takes ten times as long."""
    pairs = [(one[name].to_numpy(), other[name].to_numpy()) for name in columns]
    return all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs
    )


def _same_text(one: pd.DataFrame, other: pd.DataFrame, columns: Sequence[str]) -> bool:
    """Return True if columns read the same, of whichever types."""
    first, second = (t[list(columns)].astype(str).to_numpy().tolist() for t in (one, other))
    return bool(first == second)


def _check_counts(one: RunDetector, point: str, group: str, scored: Sequence[FrameScore]) -> None:
    """Check that the files of the frames are those that the run counted.

    The counts of a frame are there under each group at equal purity, whose threshold differs by
    group, and under its own group at other points.
    """
    table = one.run.counts
    table = table[(table["detector"] == one.detector) & (table["point"] == point)]
    kept = table[["frame", "group", *COUNTED]].astype(str).to_numpy().tolist()
    counted = {(name, of): numbers for name, of, *numbers in kept}
    for score in scored:
        name = score.source.frame
        of = group if point == EQUAL_PURITY_POINT else score.source.group
        now = [str(int(getattr(score.counts, column).sum())) for column in COUNTED]
        if counted.get((name, of)) != now:
            raise BadInputError(
                str(one.run.path),
                f"for {name!r} at {point} the catalogue and truth that were counted",
                "others; run it again",
            )
