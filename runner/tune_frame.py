"""What runs in a worker process when settings are tried: one contestant, one frame, all trials."""

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
    BadInputError,
    Catalog,
    Detector,
    Entry,
    Frame,
    LargeImage,
    PackedMask,
    Section,
    Sectioning,
    SkyduelError,
    atomic_path,
    detector_info,
    merge_sections,
    open_large_image,
    read_catalog,
)
from skyduel.core.search_space import TunesInOnePass
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.evaluation.scoring.tuning_objective import TrialCounts, trial_counts
from skyduel.run_folder.provenance import git_state, versions
from skyduel.runner.detect_frame import fingerprint
from skyduel.runner.detector_specs import DetectorSpec, build

__all__ = ["TriedFrame", "load_tried", "trials_digest", "try_on_frame"]


#: What frames are cut like unless somebody says otherwise.
_SECTIONING: Final = Sectioning()


@dataclass(frozen=True, eq=False)
class TriedFrame:
    """All trials of one contestant on one frame.

    Parameters
    ----------
    frame : str
        Its name.
    trials : tuple of TrialCounts or None
        In order; None where a trial failed.
    reasons : tuple of str or None
        Why, in order.
    seconds : float
        All trials together, reading and judging included.
    """

    frame: str
    trials: tuple[TrialCounts | None, ...]
    reasons: tuple[str | None, ...]
    seconds: float


def trials_digest(
    contestant: DetectorSpec,
    trials: Sequence[Mapping[str, Any]],
    entry: Entry,
    rules: ScoringRules,
    sectioning: Sectioning = _SECTIONING,
) -> str:
    """Return what changes when anything does that the outcome of these trials depends on."""
    revision, _ = git_state_once()
    parts = {
        "use": contestant.use,
        "settings": contestant.settings,
        "trials": list(trials),
        "rules": rules.model_dump(mode="json"),
        "sections": asdict(sectioning),
        "frame": fingerprint(*entry.images),
        "truth": None if entry.truth is None else fingerprint(Path(entry.truth)),
        "versions": versions(),
        "git_revision": revision,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@lru_cache(maxsize=1)
def git_state_once() -> tuple[str | None, bool | None]:
    """Return `git_state`, asked once a process."""
    return git_state()


@lru_cache(maxsize=8)
def _detector(contestant: str) -> Detector:
    return build(DetectorSpec.model_validate_json(contestant))


def try_on_frame(
    contestant: DetectorSpec,
    trials: Sequence[Mapping[str, Any]],
    entry: Entry,
    rules: ScoringRules,
    target: Path,
    digest: str,
    sectioning: Sectioning = _SECTIONING,
) -> TriedFrame:
    """Run and judge every trial on one frame, and write what came of it.

    Parameters
    ----------
    contestant : DetectorSpec
        Who; a trial changes these settings.
    trials : sequence of mapping
        Changes of settings.
    entry : Entry
        The frame and its truth.
    rules : ScoringRules
        How to pair.
    target : Path
        An ``.npz`` to write.
    digest : str
        Kept in the file, to know it again by (`trials_digest`).
    sectioning : Sectioning
        Which frames are searched section by section, and how they are cut.

    Raises
    ------
    BadInputError
        If the frame or its truth cannot be read. What a detector does in one
        trial is that trial's failure alone.
    """
    began = time.perf_counter()
    mosaic = open_large_image(entry, sectioning)
    plane: Frame | LargeImage = entry.read() if mosaic is None else mosaic
    if entry.truth is None:
        raise BadInputError(entry.name, "a truth catalogue", "none in the data set")
    truth = read_catalog(entry.truth, frame=plane)
    if isinstance(plane, LargeImage):
        tries = _by_sections(contestant, plane, trials)
    else:
        tries = _whole(contestant, plane, trials)
    truth = apply_ignore(truth, plane.shape, tries.bad, tries.saturated, rules)
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
            found=mark_ignored_regions(found, plane.shape, tries.bad, rules),
            mpix=tries.mpix,
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
    """Each trial's catalogue of a frame, or why it has none, and what was seen of the frame."""

    catalogs: Iterable[Catalog | str]
    bad: npt.NDArray[np.bool_] | PackedMask
    saturated: npt.NDArray[np.bool_] | PackedMask
    mpix: float


def _whole(contestant: DetectorSpec, frame: Frame, trials: Sequence[Mapping[str, Any]]) -> _Tries:
    mpix = float(np.count_nonzero(~frame.bad)) / 1e6
    return _Tries(_catalogs(contestant, frame, trials), frame.bad, frame.saturated(), mpix)


def _by_sections(
    contestant: DetectorSpec, mosaic: LargeImage, trials: Sequence[Mapping[str, Any]]
) -> _Tries:
    """Return the same of a mosaic: all trials on one section after the other, seams closed."""
    bad, saturated = PackedMask(mosaic.shape, True), PackedMask(mosaic.shape, False)
    parts: list[list[tuple[Section, Catalog]]] = [[] for _ in trials]
    reasons: dict[int, str] = {}
    usable = 0
    looks = detector_info(_detector(contestant.model_dump_json())).needs_pixels
    for section, frame in mosaic.frames():
        bad.put(section, frame.bad)
        saturated.put(section, frame.saturated())
        usable += int(np.count_nonzero(~frame.bad[section.core]))
        left = [k for k in range(len(trials)) if k not in reasons] if looks else []
        found = _catalogs(contestant, frame, [trials[k] for k in left])
        for k, one in zip(left, found, strict=True):
            if isinstance(one, str):
                reasons[k] = one
                parts[k].clear()
            else:
                parts[k].append((section, one))
        del frame  # not two at a time
    catalogs: Iterator[Catalog | str] = (
        reasons[k] if k in reasons else merge_sections(part, zero_point=mosaic.zero_point)
        for k, part in enumerate(parts)
    )
    if not looks:  # it has a catalogue of the whole
        catalogs = _catalogs(contestant, mosaic, trials)  # type: ignore[arg-type]
    return _Tries(catalogs, bad, saturated, usable / 1e6)


def _catalogs(
    contestant: DetectorSpec, frame: Frame, trials: Sequence[Mapping[str, Any]]
) -> Iterator[Catalog | str]:
    """Yield each trial's catalogue, or why it has none."""
    detector = _detector(contestant.model_dump_json())
    n_done = 0
    if isinstance(detector, TunesInOnePass):
        try:
            for found in detector.variants(frame, trials):
                yield _checked(found)
                n_done += 1
        except Exception:  # whichever trial it was: the rest is tried one by one
            pass
    for trial in trials[n_done:]:
        try:
            if isinstance(detector, TunesInOnePass):
                yield _checked(next(iter(detector.variants(frame, [trial]))))
            else:
                one = contestant.model_copy(update={"settings": {**contestant.settings, **trial}})
                yield _checked(build(one)(frame))
        except MemoryError:
            yield "out of memory"
        except Exception as error:  # any detector may join; none may stop the others
            text = str(error).strip()
            first = text.splitlines()[0] if text else "no message"
            kind = "" if isinstance(error, SkyduelError) else f"{type(error).__name__}: "
            yield kind + first


def _checked(found: object) -> Catalog:
    if not isinstance(found, Catalog):
        raise BadInputError("detector", "a Catalog returned", type(found).__name__)
    return found


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
    """Return what was written earlier for the very same trials, or None."""
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
