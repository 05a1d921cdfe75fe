"""What each term on the report page means."""

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
        "frames themselves: good for comparing, but not a threshold anyone could have known.",
    ),
    (
        "S/N and magnitude of half completeness",
        "Where the completeness curve falls through one half: fainter sources than this are missed "
        "more often than found. Compare detectors at equal purity, for a lower threshold always "
        "reaches fainter.",
    ),
    (
        "Interval",
        "The range of values that the counts support, in brackets after the value: Wilson for "
        "proportions, a bootstrap over frames for scores that join both ({joined}), Poisson for "
        "rates. scores.csv names the kind of each.",
    ),
    (
        "n",
        "How many the value rests on: truths for completeness, detections for purity, both "
        "together for {joined}. Bins with fewer than 10 are drawn hollow.",
    ),
    ("A dash", "Undefined (NaN in the files): nothing to divide by. It is neither 0 nor 1."),
    (
        "Ignored",
        "Counted neither for nor against: sources that are masked, at the edge, saturated or "
        "fainter than the stated limit, and detections that pair with them.",
    ),
    (
        "Duplicate",
        "A false detection near a true source that another detection already has.",
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
        "Both detectors are scored on the same truths and frames, so what the frames share drops "
        "out of their difference. p is the chance of so large a difference between equals; Holm’s "
        "correction raises it for the number of questions asked.",
    ),
    (
        "Kind of mistake",
        "Every miss and every false detection has one, by rules on the truth and the pixels: the "
        "first that applies. “Other” misses are visible, alone and clean.",
    ),
    (
        "Expected calibration error (ECE)",
        "How far, on average, the probability a detector states is from the share that is right; "
        "0 is exact.",
    ),
    (
        "Bias, scatter",
        "Of found minus true: the median, and 1.4826 times the median absolute deviation, which "
        "is the standard deviation of a normal distribution and does not mind outliers.",
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
    return (*metrics, *((term, said.replace("{joined}", joined)) for term, said in _TERMS))
