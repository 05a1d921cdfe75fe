"""Warnings of a run about catalogues that do not meet their frames or each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.io.packed_tables import read_packed
from skyduel.evaluation.matching.candidates import find_candidates
from skyduel.evaluation.matching.doubles import doubles_warning
from skyduel.evaluation.matching.no_matches import FRACTION_BY_CHANCE, frame_warning, match_warning
from skyduel.evaluation.rules import ScoringRules
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.read_counts import read_counts
from skyduel.run_folder.schema import COUNTS, DEFAULT_POINT
from skyduel.runner.execution.outcome import Outcome

__all__ = ["catalog_warnings", "detector_notes", "truth_warnings"]


def truth_warnings(truth: Catalog, shape: tuple[int, int]) -> list[str]:
    """Return the warnings of a truth table: decisions, no row on the frame, unresolved doubles.

    Parameters
    ----------
    truth : Catalog
        As `read_catalog` returned it.
    shape : (ny, nx)
        Of the frame [px].
    """
    lines = [str(note) for note in truth.table.meta.get("notes", ())]
    found = (frame_warning(truth, "truth rows", shape), doubles_warning(truth))
    return [*lines, *(line for line in found if line)]


def catalog_warnings(
    paths: RunPaths, truths: Mapping[str, Outcome], rules: ScoringRules
) -> list[str]:
    """Return the warnings of a run, one line for each kind and detector.

    Parameters
    ----------
    paths : RunPaths
        The run folder with its truth, catalogues and counts.
    truths : mapping of str to Outcome
        By frame, with the frames' facts; ``warnings`` are those of
        `truth_warnings`, ``set_aside`` the facts of headers that are not used.
    rules : ScoringRules
        How truths and detections pair.

    Returns
    -------
    list of str
        First those of truth tables, then those of headers, a line for each card, then those
        of detectors that matched no truth of a frame although both lie on it. A line names one
        frame and the number of others with the same fault.
    """
    said = [(name, line) for name, outcome in truths.items()
            for line in outcome.facts.get("warnings", ())]  # fmt: skip
    lines = [f"truth of {said[0][0]}: {said[0][1]}" + _others(len(said) - 1)] if said else []
    for kind in ("notes", "star_notes", "ignore_notes"):
        noted = [notes[0] for outcome in truths.values() if (notes := outcome.facts.get(kind))]
        lines += [noted[0] + _others(len(noted) - 1)] if noted else []
    lines += _set_aside(truths)
    counts = read_counts(paths.table(COUNTS.name))
    if counts is None:
        return lines
    part = counts[counts["point"] == DEFAULT_POINT].groupby(["detector", "frame"], observed=True)
    table = part[["truths", "truths_found"]].max().reset_index()
    # So few that all of them may be pairs by chance.
    table = table[
        (table["truths_found"] < FRACTION_BY_CHANCE * table["truths"]) & (table["truths"] > 0)
    ]
    for detector, rows in table.groupby("detector", observed=True, sort=False):
        names = [str(name) for name in rows["frame"]]
        lines += _of_detector(paths, str(detector), names, truths, rules)
    return lines


def detector_notes(outcomes: Iterable[Outcome]) -> list[str]:
    """Return what a detector says of its frames: one frame's line, and the number of others.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Of one detector; the fact ``detector_note`` is its line on a frame.
    """
    said = [note for outcome in outcomes if (note := outcome.facts.get("detector_note"))]
    return [str(said[0]) + _others(len(said) - 1)] if said else []


def _set_aside(truths: Mapping[str, Outcome]) -> list[str]:
    """Return one line for each card that was set aside, with one frame and the number of others."""
    found: dict[str, list[str]] = {}
    for name, outcome in truths.items():
        for line in outcome.facts.get("set_aside", ()):
            found.setdefault(line.partition(" = ")[0].partition(":")[0], []).append(
                f"{name}: {line}"
            )
    return [lines[0] + _others(len(lines) - 1) for lines in found.values()]


def _of_detector(
    paths: RunPaths,
    detector: str,
    frames: Sequence[str],
    truths: Mapping[str, Outcome],
    rules: ScoringRules,
) -> list[str]:
    """Return the warnings of one detector: at most one line of each kind."""
    found: dict[str, list[str]] = {"off": [], "unmatched": []}
    true = read_packed(paths.truth(name) for name in frames)
    seen = read_packed(paths.catalog(detector, name) for name in frames)
    for name, truth, catalog in zip(frames, true, seen, strict=True):
        facts = truths[name].facts
        shape = (int(facts["ny"]), int(facts["nx"]))
        off = frame_warning(catalog, "detections", shape)
        close = find_candidates(truth, catalog, rules, fwhm=facts["fwhm"])
        apart = match_warning(
            truth.xy, catalog.xy, len(np.unique(close.truth_index)), shape,
            radius=rules.radius_for(facts["fwhm"]),
        )  # fmt: skip
        for kind, line in (("off", off), ("unmatched", None if off else apart)):
            if line:
                found[kind].append(f"{detector} on {name}: {line}")
    return [said[0] + _others(len(said) - 1) for said in found.values() if said]


def _others(n: int) -> str:
    return f" (and so on {n} other frame{'' if n == 1 else 's'})" if n else ""
