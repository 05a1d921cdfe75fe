"""Work on one frame in a worker process: run a detector, or prepare the truth; write files."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skyduel.core import (
    BadInputError,
    Catalog,
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
    write_catalog,
)
from skyduel.core.areas.ignore_area import ignore_area_of
from skyduel.core.detector import NOTE_KEY
from skyduel.core.errors import UnwritableError, printable
from skyduel.core.frame import Plane
from skyduel.core.io.images.fits_metadata import FACT_KEYS
from skyduel.core.io.images.image_reader import without_brackets
from skyduel.core.operating_point import THRESHOLD_KEY, RowChoice, chosen_rows
from skyduel.core.peak_memory import peak_memory_mib
from skyduel.core.sections.large_image import PackedMask
from skyduel.core.used_facts import used_facts
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.execution.outcome import Outcome
from skyduel.runner.execution.time_limit import TooLongError, time_limit
from skyduel.runner.frame_steps import (
    checked_catalog,
    failure_reason,
    process_detector,
    read_truth,
)
from skyduel.runner.large_images import detect_by_sections, measure_by_sections, picture_of

if TYPE_CHECKING:
    from skyduel.evaluation import ScoringRules

__all__ = [
    "content_sha256",
    "detect_frame",
    "fingerprint",
    "frame_fingerprint",
    "measured_on",
    "prepare_truth",
]

_SECTIONING: Final = Sectioning()


def frame_fingerprint(entry: Entry) -> str:
    """Return the fingerprint of a frame's files, with the bits of its mask that count."""
    bits = "" if entry.mask_bits is None else f" bits {entry.mask_bits}"
    bits += " raw" if entry.raw else ""
    area = "" if entry.ignore is None else f" ignore {fingerprint(entry.ignore)}"
    return fingerprint(*entry.images, *entry.used_calibration.every) + bits + area


def fingerprint(*paths: Path) -> str:
    """Return sizes and modification times of files, which change with them."""
    parts = []
    for path in paths:
        try:
            status = without_brackets(path).stat()
        except OSError:
            parts.append("missing")
        else:
            parts.append(f"{status.st_size}-{status.st_mtime_ns}")
    return " ".join(parts)


def content_sha256(path: Path) -> str | None:
    """Return the SHA-256 of a file's content in hexadecimal digits, None without the file."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def detect_frame(
    spec: DetectorSpec,
    entry: Entry,
    rules: ScoringRules | None,
    target: Path,
    *,
    facts_file: bool = True,
    sectioning: Sectioning = _SECTIONING,
    time_limit_s: float | None = None,
    choice: RowChoice | None = None,
    observe: Callable[[Plane, Catalog, Catalog], None] | None = None,
    stars: tuple[str, ...] | None = None,
) -> Outcome:
    """Run one detector on one frame and write its catalogue.

    Parameters
    ----------
    spec : DetectorSpec
        The detector.
    entry : Entry
        The frame.
    rules : ScoringRules, optional
        If given, detections in ignored regions are marked.
    target : Path
        The catalogue to write; the ending names the format.
    facts_file : bool
        Whether a ``.json`` beside it gets the facts: seconds from opening the frame
        to the finished catalogue, peak memory of the process [MiB], all pixels [10⁶].
    sectioning : Sectioning
        Which frames are read section by section, and the size of the sections.
    time_limit_s : float, optional
        Time limit of the detector on the frame [s] (`skyduel.runner.execution.time_limit`).
    choice : RowChoice, optional
        Which rows are written, with their provenance (`skyduel.core.operating_point`). Without it
        every row above the detector's floor is, as a run wants them. The facts then also have
        ``n_written``, ``thresh`` and ``missing``, facts of the frame that are unknown.
    observe : callable, optional
        Called with the frame, all detections and the rows to be written, before these are.
    stars : tuple of str, optional
        What `prepare_truth` said of the stars of this frame (``star_notes``).

    Returns
    -------
    Outcome
        Facts, or the reason of the failure: an error of the frame or of the detector is
        not raised. Without a file the facts have ``used``, the facts of the frame in words,
        and ``set_aside`` besides, and the table's metadata hold both
        (`skyduel.core.used_facts.UsedFacts.meta`).

    Raises
    ------
    BadInputError
        For settings or weights that cannot be used for any frame, and if the catalogue
        cannot be written.
    """
    # Times are compared in runs, which have the file; without a warm-up a start is quicker.
    detector = process_detector(spec, warm_up=facts_file, limit_s=time_limit_s)
    began = time.perf_counter()
    was = frame_fingerprint(entry)
    try:
        image = open_large_image(entry, sectioning)
        frame = entry.read() if image is None else None
    except SkyduelError as error:
        return Outcome(entry.name, {}, str(error), about_frame=True)
    try:
        if frame is not None:
            with time_limit(time_limit_s):
                found = checked_catalog(detector(frame), detector)
            seconds = time.perf_counter() - began
            area = None if rules is None else ignore_area_of(entry, frame)
            found = measured_on(frame, found, rules, area)
            mpix = frame.data.size / 1e6
            words = used_facts(frame, stars=stars)
        elif image is not None:
            with time_limit(time_limit_s):
                found = detect_by_sections(detector, image)
            seconds = time.perf_counter() - began
            area = None if rules is None else ignore_area_of(entry, image)
            found, n_masked = _measured_by_sections(image, found, rules, area)
            mpix = image.shape[0] * image.shape[1] / 1e6
            words = used_facts(image, n_masked, stars)
        if not facts_file:
            found = found.with_meta(**words.meta())
        if frame_fingerprint(entry) != was:
            raise BadInputError(entry.name, "a frame that stays as it is", "one changed meanwhile")
        n_found = len(found)
        plane = frame or image
        everything = found
        if choice is not None and plane is not None:
            label = spec.name if spec.name == spec.use else f"{spec.name} ({spec.use})"
            found = chosen_rows(found, detector, label, choice, plane)
        if observe is not None and plane is not None:
            observe(plane, everything, found)
        write_catalog(found, target, frame=plane)
    except UnwritableError:
        raise
    except TooLongError:
        return Outcome(entry.name, {}, f"{entry.name}: no answer within {time_limit_s:g} s")
    except MemoryError as error:
        return Outcome(entry.name, {}, f"{entry.name}: {failure_reason(error)}")
    except (Exception, SystemExit) as error:  # a plug-in may raise anything; the run goes on
        return Outcome(entry.name, {}, failure_reason(error))
    facts = {
        "frame": entry.name,
        "seconds": seconds,
        "mpix": mpix,
        "sections": 1 if image is None else len(image.sections),
        "n_found": n_found,
        "peak_memory_mib": peak_memory_mib(children=True),
    }
    note = found.table.meta.get(NOTE_KEY)
    if note:
        facts["detector_note"] = f"{spec.name} on {entry.name}: {printable(str(note))}"
    if words.notes or words.stars:
        facts["notes"] = [*words.notes, *words.stars]
    if not facts_file:
        facts["set_aside"], facts["used"] = list(words.set_aside), dict(words.used)
    if choice is not None:
        facts["n_written"] = len(found)
        facts["thresh"] = found.table.meta.get(THRESHOLD_KEY)
        known_facts = image.facts if image else {n: getattr(frame, n) for n in FACT_KEYS}
        facts["missing"] = [n for n in FACT_KEYS if known_facts.get(n) is None]
    if facts_file:
        # Only in the file, not in the facts, which the runner keeps in memory for 10⁵ frames.
        known = facts | {
            "fingerprint": was,
            "catalog_sha256": content_sha256(target),
            "settings": spec.model_dump(mode="json")["settings"],
        }
        with atomic_path(target.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(known, indent=1) + "\n")
    return Outcome(entry.name, facts)


def measured_on(
    frame: Frame, found: Catalog, rules: ScoringRules | None, area: PackedMask | None = None
) -> Catalog:
    """Add the common measurements to a catalogue, the same for every detector."""
    background = estimate_background(frame)
    found = forced_photometry(frame, found, background=background)
    found = pixel_features(frame, found, background=background)
    if rules is not None:
        from skyduel.evaluation import mark_ignored_regions  # `skyduel detect` has no rules

        found = mark_ignored_regions(found, frame.shape, frame.bad, rules, area)
    return found if frame.wcs is None else add_sky_positions(frame, found)


def _measured_by_sections(
    image: LargeImage, found: Catalog, rules: ScoringRules | None, area: PackedMask | None
) -> tuple[Catalog, int]:
    """Return the catalogue with the common measurements, and the number of masked pixels."""
    measured = measure_by_sections(image, found)
    found = measured.catalog
    if rules is not None:
        from skyduel.evaluation import mark_ignored_regions

        found = mark_ignored_regions(found, image.shape, measured.bad, rules, area)
    n_masked = image.shape[0] * image.shape[1] - round(measured.mpix * 1e6)
    return (found if image.wcs is None else add_sky_positions(image, found)), n_masked


def prepare_truth(
    entry: Entry,
    rules: ScoringRules,
    paths: RunPaths,
    sectioning: Sectioning = _SECTIONING,
    suspects: Catalog | None = None,
) -> Outcome:
    """Write the truth of one frame as it will be scored, and pictures of the frame and its mask.

    Parameters
    ----------
    entry : Entry
        The frame and its truth.
    rules : ScoringRules
        They say which truths are ignored.
    paths : RunPaths
        Where they are written.
    sectioning : Sectioning
        Which frames are read section by section, and the size of the sections.
    suspects : Catalog, optional
        Suspects of this frame that are to be ignored.
    """
    # Loaded for a truth only: they bring the scores, analyses and pictures.
    from skyduel.evaluation import apply_ignore
    from skyduel.evaluation.rules import ignore_note
    from skyduel.evaluation.suspect_list import mark_suspects
    from skyduel.run_folder.previews import write_mask, write_preview
    from skyduel.runner.catalog_warnings import truth_warnings

    try:
        image = open_large_image(entry, sectioning)
        if image is None:
            frame = entry.read()
            truth = mark_suspects(read_truth(entry, frame), suspects, rules.radius_for(frame.fwhm))
            warnings = truth_warnings(truth, frame.shape)
            area = ignore_area_of(entry, frame)
            truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), rules, area)
            background = estimate_background(frame)
            truth = forced_photometry(frame, truth, background=background)
            truth = pixel_features(frame, truth, background=background)
            bad = PackedMask.of(frame.bad)
            picture = picture_of(frame)
            shape, fwhm = frame.shape, frame.fwhm
            words = used_facts(frame)
        else:
            truth = mark_suspects(read_truth(entry, image), suspects, rules.radius_for(image.fwhm))
            warnings = truth_warnings(truth, image.shape)
            seen = measure_by_sections(image, truth, preview=True)
            area = ignore_area_of(entry, image)
            shape, fwhm, bad = image.shape, image.fwhm, seen.bad
            truth = apply_ignore(seen.catalog, shape, bad, seen.saturated, rules, area)
            words = used_facts(image, bad.count())
            assert seen.preview is not None  # asked for above
            picture = seen.preview
    except SkyduelError as error:
        return Outcome(entry.name, {}, str(error), about_frame=True)
    write_catalog(truth, paths.truth(entry.name))
    write_preview(picture, paths.preview(entry.name))
    write_mask(bad.bits, shape[1], paths.mask(entry.name))
    if area is not None:
        write_mask(area.bits, shape[1], paths.ignored(entry.name))
    facts = {
        "ny": shape[0],
        "nx": shape[1],
        "mpix": (shape[0] * shape[1] - bad.count(area)) / 1e6,
        "fwhm": fwhm,
        "n_truth": len(truth),
        "warnings": warnings,
        "notes": words.notes,
        "star_notes": words.stars,
        "facts": words.known,
        "set_aside": words.set_aside,
        "fingerprint": frame_fingerprint(entry),
    }
    if entry.ignore is not None and area is not None:
        facts["ignore_notes"] = [f"{entry.name}: {ignore_note(entry.ignore, area, truth)}"]
    return Outcome(entry.name, facts)
