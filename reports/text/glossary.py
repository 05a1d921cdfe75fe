"""Glossary of the report page."""

from __future__ import annotations

from typing import Final

from skyduel.evaluation.scoring.metrics import listed
from skyduel.reports.tables.run_tables import and_list
from skyduel.run_folder.schema import NOMINAL_PURITY

__all__ = ["glossary"]

#: Terms other than metrics.
_TERMS: Final[tuple[tuple[str, str], ...]] = (
    (
        "Operating point",
        "The score threshold at which a detector’s catalogue is cut. “Own default” is the "
        "detector’s own threshold; “calibrated” is the one of highest F1 on frames set apart for "
        f"that; “equal purity {NOMINAL_PURITY:g}” is the lowest at which purity is at least "
        f"{NOMINAL_PURITY:g} on the scored "
        "frames themselves: good for a comparison, but not a threshold that could be known "
        "beforehand.",
    ),
    (
        "S/N and magnitude of half completeness",
        "Where the completeness curve falls below one half: fainter sources are missed more often "
        "than found. Compare detectors at equal purity, since a lower threshold always reaches "
        "fainter.",
    ),
    (
        "Interval",
        "The range of values that the counts support, in brackets after the value: Wilson for "
        "proportions, a bootstrap over frames for scores that join both ({joined}), Poisson for "
        "rates. scores.csv names the kind of each interval.",
    ),
    (
        "n",
        "The number of objects behind a value: truths for completeness, detections for purity, "
        "both together for {joined}. Bins with fewer than 10 are drawn hollow.",
    ),
    (
        "A dash",
        "Undefined (NaN in the files): there is nothing to divide by. It is neither 0 nor 1.",
    ),
    (
        "Ignored",
        "Not counted: sources that are masked, at the edge, saturated or fainter than the stated "
        "limit, and detections that are matched to them.",
    ),
    (
        "Duplicate",
        "A false detection near a true source that is already matched to another detection.",
    ),
    ("No magnitude", "Detections too faint or too disturbed for the common aperture to measure."),
    (
        "Average precision",
        "The area under the curve of purity against completeness, over all thresholds: one number "
        "that depends on no operating point.",
    ),
    (
        "m50, m90, S/N50, S/N90",
        "The magnitude or S/N at which one half, or nine tenths, of the sources are found, from a "
        "logistic with floor and ceiling fitted to the sources one by one. The floor is what "
        "chance pairs find, the ceiling what crowding and defects leave.",
    ),
    (
        "Ideal observer",
        "The best that any detector can do on a single point source in noise: a matched filter "
        "with the PSF, the noise and every other source known. Only simulated frames have it.",
    ),
    (
        "Paired difference, p, Holm",
        "Both detectors are scored on the same truths and frames, so effects common to both cancel "
        "in the difference. p is the probability of a difference at least as large if the "
        "detectors were equally good. Holm’s correction raises p for the number of comparisons.",
    ),
    (
        "Kind of mistake",
        "Every missed source and every false detection has exactly one kind: the first rule that "
        "applies. The rules use the truth and the pixels. “Other” missed sources are visible, "
        "isolated and free of artefacts.",
    ),
    (
        "Expected calibration error (ECE)",
        "The mean absolute difference between the probability that a detector states and the "
        "share of right detections; 0 is exact.",
    ),
    (
        "Bias, scatter",
        "Of found minus true: the median, and 1.4826 times the median absolute deviation, which "
        "is the standard deviation of a normal distribution and is robust against outliers.",
    ),
    (
        "Pairs by chance",
        "Pairs that appear when the detections are shifted against the truth, and so mean nothing.",
    ),
)


def glossary() -> tuple[tuple[str, str], ...]:
    """Return each term on the page and its explanation, the metrics first."""
    metrics = tuple(dict.fromkeys(m.glossary for m in listed()))
    joined = and_list([m.head for m in listed() if m.axis == "joined"])
    return (*metrics, *((term, meaning.replace("{joined}", joined)) for term, meaning in _TERMS))
