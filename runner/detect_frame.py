"""What runs in a worker process: one frame, one detector, files out."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np

from skyduel.core import (
    BadInputError,
    Catalog,
    Detector,
    Entry,
    Frame,
    LargeImage,
    Sectioning,
    SkyduelError,
    add_sky_positions,
    atomic_path,
    estimate_background,
    forced_photometry,
    open_large_image,
    pixel_features,
    read_catalog,
    write_catalog,
)
from skyduel.core.errors import UnwritableError, printable
from skyduel.core.frame import Plane
from skyduel.core.peak_memory import peak_memory_mib
from skyduel.evaluation import ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.run_folder.previews import stretch_of, write_picture
from skyduel.runner.catalog_warnings import truth_warnings
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.time_limit import TooLongError, time_limit
from skyduel.runner.large_images import checked, find_by_sections, measure_by_sections

__all__ = ["detect_frame", "fingerprint", "prepare_truth"]

#: Side of the noise frame a detector is warmed up on before it is timed [px].
_WARM_UP_PX: Final = 128

#: What frames are cut like unless somebody says otherwise.
_SECTIONING: Final = Sectioning()

_detectors: dict[str, Detector] = {}


def fingerprint(*paths: Path) -> str:
    """Return what changes when one of some files does: their sizes and times of change."""
    parts = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            parts.append("missing")
        else:
            parts.append(f"{status.st_size}-{status.st_mtime_ns}")
    return " ".join(parts)


def _detector(contestant: DetectorSpec, limit_s: float | None = None) -> Detector:
    """Return this process's detector, loaded and warm, so that start-up is not timed."""
    key = contestant.model_dump_json()
    if key not in _detectors:
        detector = build(contestant)
        if contestant.use != "file":
            noise = np.random.default_rng(0).normal(100, 5, (_WARM_UP_PX, _WARM_UP_PX))
            warm_up = Frame(data=noise.astype(np.float32), name="warm-up")
            # What it cannot do, or not in time, each frame will say for itself.
            with suppress(Exception, SystemExit, TooLongError), time_limit(limit_s):
                detector(warm_up)
        _detectors[key] = detector
    return _detectors[key]


def detect_frame(
    contestant: DetectorSpec,
    entry: Entry,
    rules: ScoringRules | None,
    target: Path,
    *,
    facts_file: bool = True,
    sectioning: Sectioning = _SECTIONING,
    time_limit_s: float | None = None,
) -> Outcome:
    """Run one detector on one frame and write its catalogue.

    Parameters
    ----------
    contestant : DetectorSpec
        Who.
    entry : Entry
        The frame.
    rules : ScoringRules, optional
        If given, detections in ignored regions are marked.
    target : Path
        The catalogue to write; the ending names the format.
    facts_file : bool
        Whether a ``.json`` beside it gets the facts: seconds from opening the frame
        to the finished catalogue, peak memory of the process, megapixels.
    sectioning : Sectioning
        Which frames are read section by section, and how they are cut.
    time_limit_s : float, optional
        After which a frame is given up [s] (`skyduel.runner.execution.time_limit`).

    Returns
    -------
    Outcome
        Never raises for what a frame or a detector can cause; a setting or weights
        that no frame could be run with raise BadInputError, and so does a place that
        cannot be written to.
    """
    detector = _detector(contestant, time_limit_s)
    began = time.perf_counter()
    was = fingerprint(*entry.images)
    try:
        mosaic = open_large_image(entry, sectioning)
        frame = entry.read() if mosaic is None else None
    except SkyduelError as error:
        return Outcome(entry.name, {}, str(error), about_frame=True)
    try:
        if frame is not None:
            with time_limit(time_limit_s):
                found = checked(detector(frame), detector)
            seconds = time.perf_counter() - began
            found = _measured(frame, found, rules)
            mpix = frame.data.size / 1e6
        elif mosaic is not None:
            with time_limit(time_limit_s):
                found = find_by_sections(detector, mosaic)
            seconds = time.perf_counter() - began
            found = _measured_by_sections(mosaic, found, rules)
            mpix = mosaic.shape[0] * mosaic.shape[1] / 1e6
        if fingerprint(*entry.images) != was:
            raise BadInputError(entry.name, "a frame that stays as it is", "one changed meanwhile")
        write_catalog(found, target)
    except UnwritableError:
        raise
    except TooLongError:
        return Outcome(entry.name, {}, f"{entry.name}: no answer within {time_limit_s:g} s")
    except MemoryError:
        return Outcome(entry.name, {}, f"{entry.name}: out of memory")
    except (Exception, SystemExit) as error:  # any detector may join; none may stop the others
        said = str(error).strip()
        first = printable(said.splitlines()[0]) if said else "no message"
        kind = "" if isinstance(error, SkyduelError) else f"{type(error).__name__}: "
        return Outcome(entry.name, {}, kind + first)
    facts = {
        "frame": entry.name,
        "seconds": seconds,
        "mpix": mpix,
        "sections": 1 if mosaic is None else len(mosaic.sections),
        "n_found": len(found),
        "peak_memory_mib": peak_memory_mib(children=True),
    }
    if facts_file:
        # Only the file needs to say what it was made from: of 10⁵ frames the runner keeps facts.
        known = facts | {
            "fingerprint": was,
            "settings": contestant.model_dump(mode="json")["settings"],
        }
        with atomic_path(target.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(known, indent=1) + "\n")
    return Outcome(entry.name, facts)


def _measured(frame: Frame, found: Catalog, rules: ScoringRules | None) -> Catalog:
    """Return detections with what is measured of all detectors' alike."""
    sky = estimate_background(frame)
    found = forced_photometry(frame, found, background=sky)
    found = pixel_features(frame, found, background=sky)
    if rules is not None:
        found = mark_ignored_regions(found, frame.shape, frame.bad, rules)
    return found if frame.wcs is None else add_sky_positions(frame, found)


def _measured_by_sections(
    mosaic: LargeImage, found: Catalog, rules: ScoringRules | None
) -> Catalog:
    measured = measure_by_sections(mosaic, found)
    found = measured.catalog
    if rules is not None:
        found = mark_ignored_regions(found, mosaic.shape, measured.bad, rules)
    return found if mosaic.wcs is None else add_sky_positions(mosaic, found)


def prepare_truth(
    entry: Entry,
    rules: ScoringRules,
    target: Path,
    preview: Path,
    sectioning: Sectioning = _SECTIONING,
) -> Outcome:
    """Write the truth of one frame as it will be scored, and a picture of the frame.

    Parameters
    ----------
    entry : Entry
        The frame and its truth.
    rules : ScoringRules
        Which truths are ignored.
    target, preview : Path
        Parquet table and PNG to write.
    sectioning : Sectioning
        Which frames are read section by section, and how they are cut.
    """
    try:
        mosaic = open_large_image(entry, sectioning)
        if mosaic is None:
            frame = entry.read()
            truth = _truth(entry, frame)
            warnings = truth_warnings(truth, frame.shape)
            truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), rules)
            sky = estimate_background(frame)
            truth = forced_photometry(frame, truth, background=sky)
            truth = pixel_features(frame, truth, background=sky)
            picture = stretch_of(frame.data[~frame.bad]).picture(frame.data[::-1])
            shape, fwhm = frame.shape, frame.fwhm
            mpix = float(np.count_nonzero(~frame.bad)) / 1e6
        else:
            truth = _truth(entry, mosaic)
            warnings = truth_warnings(truth, mosaic.shape)
            seen = measure_by_sections(mosaic, truth, picture=True)
            truth = apply_ignore(seen.catalog, mosaic.shape, seen.bad, seen.saturated, rules)
            shape, fwhm, mpix = mosaic.shape, mosaic.fwhm, seen.mpix
            assert seen.picture is not None  # asked for above
            picture = seen.picture
    except SkyduelError as error:
        return Outcome(entry.name, {}, str(error), about_frame=True)
    write_catalog(truth, target)
    write_picture(picture, preview)
    facts = {
        "ny": shape[0],
        "nx": shape[1],
        "mpix": mpix,
        "fwhm": fwhm,
        "n_truth": len(truth),
        "warnings": warnings,
        "fingerprint": fingerprint(*entry.images),
    }
    return Outcome(entry.name, facts)


def _truth(entry: Entry, plane: Plane) -> Catalog:
    if entry.truth is None:
        raise BadInputError(entry.name, "a truth catalogue", "none in the data set")
    return read_catalog(entry.truth, frame=plane)
