"""Test score maps where the truth is known: ``benchmarks/accuracy/score_map.py DATA``.

A map of the scores of `neural` is fitted without a truth on one half of a set's frames, and
tested with the truth of the other half, both ways round; and on all frames, as a user would
(``same``). DATA holds the folders ``sbig_tres1``, ``seestar_m94``, ``allsky_magic`` and
``skymaker``. The refractor's frames, and those of M 94, are exposures of one field.
Intervals are of 95 %: Wilson's of the purity, Poisson's of the number upside down, a bootstrap
of the detections for the calibration error and F1.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from real.tools import markdown

from skyduel.core import (
    Catalog,
    Detector,
    Frame,
    detector_info,
    make_detector,
    open_dataset,
    read_catalog,
)
from skyduel.core.scores.score_map import ScoreMap
from skyduel.evaluation import (
    FrameInput,
    ScoringRules,
    apply_ignore,
    choose_edges,
    mark_ignored_regions,
    score_frame,
    wilson,
)
from skyduel.evaluation.analyses.score_calibration import calibration_error
from skyduel.evaluation.statistics.intervals import poisson
from skyduel.runner.truth_free import UpsideDown, fit_score_map, look_upside_down

#: Folder, name, and whether its frames are exposures of one field.
SETS = (
    ("sbig_tres1", "small refractor, raw", True),
    ("allsky_magic", "all-sky camera", False),
    ("seestar_m94", "M 94 (mosaic)", True),
    ("skymaker", "SkyMaker (simulated)", False),
)
RULES = ScoringRules()
TENTHS = np.linspace(0, 1, 11)


@dataclass(frozen=True, eq=False)
class Seen:
    """A frame, its truth as the scorer takes it, and what was found there and upside down."""

    frame: Frame
    truth: Catalog
    look: UpsideDown


@dataclass(frozen=True, eq=False)
class Tested:
    """Scores and outcomes of the detections that count, numbers of truths, and flipped scores."""

    score: np.ndarray
    right: np.ndarray
    truths: int
    flipped: np.ndarray
    mpix_flipped: float

    def __add__(self, other: Tested) -> Tested:
        return Tested(
            np.concatenate([self.score, other.score]),
            np.concatenate([self.right, other.right]),
            self.truths + other.truths,
            np.concatenate([self.flipped, other.flipped]),
            self.mpix_flipped + other.mpix_flipped,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", choices=[folder for folder, *_ in SETS])
    options = parser.parse_args()
    detector = make_detector("neural", {})
    print(f"weights {(detector_info(detector).weights_sha256 or '')[:12]}")
    rows = []
    for folder, name, one_field in SETS:
        if options.only and folder not in options.only:
            continue
        seen = list(looked_at(options.data / folder, detector))
        rows.append(row(name, "none", "–", None, sum_of(tested(s, None) for s in seen)))
        for repeats in (False, True) if one_field else (False,):
            for fit in ("halves", "same"):
                got = with_maps(seen, detector, repeats, fit)
                if got is not None:
                    method = "flipped noise and repeats" if repeats else "flipped noise"
                    rows.append(row(name, method, fit, *got))
    print(markdown(rows))


def looked_at(folder: Path, detector: Detector) -> Iterator[Seen]:
    for entry in open_dataset(folder):
        frame = entry.read()
        assert entry.truth is not None
        truth = read_catalog(entry.truth, frame=frame)
        truth = apply_ignore(truth, frame.shape, frame.bad, frame.saturated(), RULES)
        [look] = look_upside_down([frame], {"neural": detector})["neural"]
        yield Seen(frame, truth, look)


def with_maps(
    seen: list[Seen], detector: Detector, repeats: bool, fit: str
) -> tuple[list[ScoreMap], Tested] | None:
    """Return the maps, and the test of each on the other half; None where none can be fitted."""
    half = len(seen) // 2
    splits = [(seen, seen)] if fit == "same" else [
        (seen[:half], seen[half:]), (seen[half:], seen[:half])
    ]  # fmt: skip
    if repeats and min(len(fitted) for fitted, _ in splits) < 2:
        return None
    maps, tests = [], []
    for fitted, others in splits:
        looks = [s.look for s in fitted]
        frames = [s.frame for s in fitted]
        made = fit_score_map(frames, detector, repeats=repeats, looks=looks)
        maps.append(made)
        tests += [tested(s, made) for s in others]
    return maps, sum_of(tests)


def tested(seen: Seen, score_map: ScoreMap | None) -> Tested:
    found, flipped = seen.look.found, np.asarray(seen.look.flipped["score"])
    if score_map is not None:
        found, flipped = score_map.on(found), score_map(flipped)
    found = mark_ignored_regions(found, seen.frame.shape, seen.frame.bad, RULES)
    source = FrameInput(frame=seen.frame.name, truth=seen.truth, found=found)
    # Score first, so that a detection's outcome does not depend on fainter ones.
    rules = RULES.model_copy(update={"pairing": "score-first"})
    scored = score_frame(source, rules, choose_edges([source], rules)).pairing
    counts = ~scored.found_ignored
    return Tested(
        np.asarray(found["score"])[counts],
        scored.right[counts],
        int(np.count_nonzero(~seen.truth["ignore"])),
        flipped,
        seen.look.mpix_flipped,
    )


def sum_of(tests: Iterator[Tested] | list[Tested]) -> Tested:
    first, *others = tests
    for other in others:
        first = first + other
    return first


def row(
    name: str, method: str, fit: str, maps: list[ScoreMap] | None, t: Tested
) -> dict[str, object]:
    kept = t.score >= 0.5
    n, k = int(kept.sum()), int(t.right[kept].sum())
    error, chance = calibration_error(t.score, t.right, TENTHS)
    f1 = 2 * k / (n + t.truths)
    errors, f1s = bootstrapped(t)
    down = int((t.flipped >= 0.5).sum())
    shifts = (
        "–"
        if maps is None
        else ", ".join(f"{m.log_odds_shift:.2f} [{m.shift_lo:.2f}, {m.shift_hi:.2f}]" for m in maps)
    )
    return {
        "set": name,
        "map": method,
        "fit": fit,
        "shift": shifts,
        "detections": f"{t.score.size:,}",
        "calibration error": f"{error:.3f} {limits(errors)} ({chance:.3f})",
        "from 0.5 on": f"{n:,}",
        "promised": f"{t.score[kept].mean():.3f}",
        "real": f"{k / n:.3f} [{', '.join(f'{v:.3f}' for v in map(float, wilson(k, n, 0.95)))}]",
        "F1 at 0.5": f"{f1:.3f} {limits(f1s)}",
        "upside down, per Mpix": f"{down / t.mpix_flipped:.0f} "
        + "[{:.0f}, {:.0f}]".format(*(float(v) / t.mpix_flipped for v in poisson(down, 0.95))),
    }


def limits(values: np.ndarray) -> str:
    return "[{:.3f}, {:.3f}]".format(*np.quantile(values, [0.025, 0.975]))


def bootstrapped(t: Tested, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """Return calibration errors and F1 of resampled detections; the truths stay."""
    rng = np.random.default_rng(0)
    errors, f1s = [], []
    for _ in range(n):
        at = rng.integers(0, t.score.size, t.score.size)
        score, right = t.score[at], t.right[at]
        errors.append(calibration_error(score, right, TENTHS)[0])
        kept = score >= 0.5
        f1s.append(2 * right[kept].sum() / (kept.sum() + t.truths))
    return np.array(errors), np.array(f1s)


if __name__ == "__main__":
    main()
