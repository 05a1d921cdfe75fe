"""Work on one frame in a worker process while tuning: all trials of one detector."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core import (
    Catalog,
    Entry,
    Frame,
    LargeImage,
    Section,
    Sectioning,
    atomic_path,
    detector_info,
    merge_sections,
    open_large_image,
)
from skyduel.core.areas.ignore_area import ignore_area_of
from skyduel.core.search_space import TunesInOnePass
from skyduel.core.sections.large_image import PackedMask
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.evaluation.scoring.tuning_objective import TrialCounts, trial_counts
from skyduel.run_folder.provenance import git_state, versions
from skyduel.runner.detect_frame import fingerprint, frame_fingerprint
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.frame_steps import (
    SectionMasks,
    checked_catalog,
    failure_reason,
    process_detector,
    read_truth,
)

__all__ = ["TriedFrame", "load_tried", "trials_digest", "try_on_frame"]


_SECTIONING: Final = Sectioning()


@dataclass(frozen=True, eq=False)
class TriedFrame:
    """All trials of one detector on one frame.

    Parameters
    ----------
    frame : str
        Name of the frame.
    trials : tuple of TrialCounts or None
        The trials in order; None for a failed trial.
    reasons : tuple of str or None
        Reasons of the failures, in order.
    seconds : float
        Time of all trials together, with reading and scoring [s].
    """

    frame: str
    trials: tuple[TrialCounts | None, ...]
    reasons: tuple[str | None, ...]
    seconds: float


def trials_digest(
    spec: DetectorSpec,
    trials: Sequence[Mapping[str, Any]],
    entry: Entry,
    rules: ScoringRules,
    sectioning: Sectioning = _SECTIONING,
) -> str:
    """Return the hash of everything that the outcome of trials depends on."""
    revision, _ = git_state_once()
    parts = {
        "use": spec.use,
        "settings": spec.settings,
        "trials": list(trials),
        "rules": rules.model_dump(mode="json"),
        "sections": asdict(sectioning),
        "frame": frame_fingerprint(entry),
        "truth": None if entry.truth is None else fingerprint(Path(entry.truth)),
        "columns": entry.columns,
        "versions": versions(),
        "git_revision": revision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def git_state_once() -> tuple[str | None, bool | None]:
    """Return `git_state`, computed once in a process."""
    return git_state()


def try_on_frame(
    spec: DetectorSpec,
    trials: Sequence[Mapping[str, Any]],
    entry: Entry,
    rules: ScoringRules,
    target: Path,
    digest: str,
    sectioning: Sectioning = _SECTIONING,
) -> TriedFrame:
    """Run and score every trial on one frame and write the outcomes.

    Parameters
    ----------
    spec : DetectorSpec
        The detector; a trial changes its settings.
    trials : sequence of mapping
        Changes of settings.
    entry : Entry
        The frame and its truth.
    rules : ScoringRules
        How detections are matched.
    target : Path
        The ``.npz`` file to write.
    digest : str
        Hash that identifies the trials (`trials_digest`); it is written to the file.
    sectioning : Sectioning
        Which frames are searched section by section, and the size of the sections.

    Raises
    ------
    BadInputError
        If the frame or its truth cannot be read. An error of the detector in one trial
        is recorded as a failure of that trial.
    """
    began = time.perf_counter()
    image = open_large_image(entry, sectioning)
    plane: Frame | LargeImage = entry.read() if image is None else image
    truth = read_truth(entry, plane)
    if isinstance(plane, LargeImage):
        tries = _by_sections(spec, plane, trials)
    else:
        tries = _whole(spec, plane, trials)
    area = ignore_area_of(entry, plane)
    bad = tries.bad if isinstance(tries.bad, PackedMask) else PackedMask.of(tries.bad)
    ny, nx = plane.shape
    mpix = (ny * nx - bad.count(area)) / 1e6
    truth = apply_ignore(truth, plane.shape, bad, tries.saturated, rules, area)
    done: list[TrialCounts | None] = []
    reasons: list[str | None] = []
    for found in tries.catalogs:
        if isinstance(found, str):
            done.append(None)
            reasons.append(found)
            continue
        source = FrameInput(
            frame=entry.name,
            truth=truth,
            found=mark_ignored_regions(found, plane.shape, bad, rules, area),
            mpix=mpix,
            fwhm=plane.fwhm,
            shape=plane.shape,
        )
        done.append(trial_counts(source, rules))
        reasons.append(None)
    tried = TriedFrame(entry.name, tuple(done), tuple(reasons), time.perf_counter() - began)
    _save(tried, target, digest)
    return tried


@dataclass(frozen=True, eq=False)
class _Tries:
    """Catalogue of every trial, or the reason of its failure; masks of the frame."""

    catalogs: Iterable[Catalog | str]
    bad: npt.NDArray[np.bool_] | PackedMask
    saturated: npt.NDArray[np.bool_] | PackedMask


def _whole(spec: DetectorSpec, frame: Frame, trials: Sequence[Mapping[str, Any]]) -> _Tries:
    catalogs = _catalogs(spec, frame, trials)
    return _Tries(catalogs, frame.bad, frame.saturated())


def _by_sections(
    spec: DetectorSpec, image: LargeImage, trials: Sequence[Mapping[str, Any]]
) -> _Tries:
    """Run all trials on a large image section by section, and merge the sections."""
    masks = SectionMasks(image.shape)
    parts: list[list[tuple[Section, Catalog]]] = [[] for _ in trials]
    reasons: dict[int, str] = {}
    needs_pixels = detector_info(process_detector(spec)).needs_pixels
    for section, frame in image.frames():
        masks.add(section, frame)
        left = [k for k in range(len(trials)) if k not in reasons] if needs_pixels else []
        found = _catalogs(spec, frame, [trials[k] for k in left])
        for k, one in zip(left, found, strict=True):
            if isinstance(one, str):
                reasons[k] = one
                parts[k].clear()
            else:
                parts[k].append((section, one))
        del frame  # keep only one section in memory
    catalogs: Iterator[Catalog | str] = (
        reasons[k] if k in reasons else merge_sections(part, zero_point=image.zero_point)
        for k, part in enumerate(parts)
    )
    if not needs_pixels:  # it has a catalogue of the whole image
        catalogs = _catalogs(spec, image, trials)  # type: ignore[arg-type]
    return _Tries(catalogs, masks.bad, masks.saturated)


def _catalogs(
    spec: DetectorSpec, frame: Frame, trials: Sequence[Mapping[str, Any]]
) -> Iterator[Catalog | str]:
    """Yield the catalogue of each trial, or the reason of its failure."""
    detector = process_detector(spec)
    n_done = 0
    if isinstance(detector, TunesInOnePass):
        try:
            for found in detector.variants(frame, trials):
                yield checked_catalog(found, detector)
                n_done += 1
        except Exception:  # from any trial: the remaining trials run one by one
            pass
    for trial in trials[n_done:]:
        try:
            if isinstance(detector, TunesInOnePass):
                found = next(iter(detector.variants(frame, [trial])))
                yield checked_catalog(found, detector)
            else:
                one = build(spec.model_copy(update={"settings": {**spec.settings, **trial}}))
                yield checked_catalog(one(frame), one)
        except Exception as error:  # a plug-in may raise anything; tuning goes on
            yield failure_reason(error)


def _save(tried: TriedFrame, target: Path, digest: str) -> None:
    kept = [t for t in tried.trials if t is not None]
    empty_f, empty_i = np.zeros(0), np.zeros(0, dtype=np.int64)
    some = kept[0] if kept else None
    with atomic_path(target) as temporary:
        np.savez_compressed(
            temporary,
            size=np.array([-1 if t is None else t.score.size for t in tried.trials]),
            score=np.concatenate([empty_f, *(t.score for t in kept)]),
            found=np.concatenate([empty_i, *(t.found for t in kept)]),
            detections=np.concatenate([empty_i, *(t.detections for t in kept)]),
            facts=np.array(
                json.dumps(
                    {
                        "digest": digest,
                        "frame": tried.frame,
                        "reasons": tried.reasons,
                        "seconds": tried.seconds,
                        "truths": some.truths if some else 0,
                        "mpix": some.mpix if some else 0.0,
                    }
                )
            ),
        )


def load_tried(target: Path, digest: str) -> TriedFrame | None:
    """Read the outcomes of the same trials from an earlier run; None without them."""
    try:
        with np.load(target) as file:
            facts = json.loads(str(file["facts"]))
            if facts["digest"] != digest:
                return None
            size, columns = file["size"], [file[c] for c in ("score", "found", "detections")]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    stop = np.cumsum(np.maximum(size, 0))
    trials = []
    for n, end in zip(size, stop, strict=True):
        score, found, detections = (column[end - max(n, 0) : end] for column in columns)
        one = TrialCounts(score, found, detections, facts["truths"], facts["mpix"])
        trials.append(one if n >= 0 else None)
    return TriedFrame(facts["frame"], tuple(trials), tuple(facts["reasons"]), facts["seconds"])
