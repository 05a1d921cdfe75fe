"""Input and result of scoring one detector on one frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.errors import require_fields, require_kind, takes
from skyduel.evaluation.matching.candidates import Candidates, find_candidates
from skyduel.evaluation.matching.matching import Pairing, pair_candidates, rows_at
from skyduel.evaluation.rules import ScoringRules, auto_bins
from skyduel.evaluation.scoring.counts import Counts, ZeroPoint, bin_edges, count, zero_point_offset
from skyduel.evaluation.table_keys import ALL_GROUPS

__all__ = ["CALIBRATION", "TEST", "FrameInput", "FrameScore", "choose_edges", "score_frame"]

#: Split on which thresholds are chosen, and split that is reported.
CALIBRATION = "calibration"
TEST = "test"


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameInput:
    """One detector's catalogue of one frame beside the truth.

    Parameters
    ----------
    frame : str
        Name of the frame; the same for every detector.
    truth : Catalog
        After `apply_ignore`; with ``aper_mag`` where it was measured.
    found : Catalog
        Every row the detector returned, after `mark_ignored_regions`; with
        ``aper_mag`` where it was measured.
    mpix : float
        Usable area [Mpix]; NaN if unknown.
    group : str
        Group of the frame; the name ``all`` stands for no groups.
    split : str
        ``test`` is reported, ``calibration`` chooses thresholds; frames of
        any other split are not used.
    fwhm : float, optional
        Of the frame [px]; needed if the radius is in units of it.
    shape : (ny, nx), optional
        Of the frame [px].
    cuts : mapping of str to float or None
        Thresholds of this frame alone, by operating point (``default``,
        ``calibrated``), in place of the detector's: settings and thresholds
        chosen on other halves of a set differ from frame to frame.
    """

    frame: str
    truth: Catalog
    found: Catalog
    mpix: float = float("nan")
    group: str = ALL_GROUPS
    split: str = TEST
    fwhm: float | None = None
    shape: tuple[int, int] | None = None
    cuts: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("truth", "found"):
            require_kind(f"FrameInput: {name}", getattr(self, name), Catalog)
        require_fields(self, frame=str, mpix=Real, group=str, split=str, fwhm=Real, shape=Sequence,
                       cuts=Mapping)  # fmt: skip

    def candidates(self, rules: ScoringRules) -> Candidates:
        """Return the candidate pairs of this frame."""
        return find_candidates(self.truth, self.found, rules, fwhm=self.fwhm)


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameScore:
    """Score of one detector's catalogue of one frame at a threshold.

    Parameters
    ----------
    source : FrameInput
        What was scored; indices refer to its catalogues.
    threshold : float or None
        The cut; None where every row took part.
    pairing : Pairing
        Outcome of every truth and detection.
    counts : Counts
        Per bin.
    zero_point : ZeroPoint
        How measured magnitudes were brought to the truth's.
    candidates : Candidates, optional
        All candidate pairs at any threshold, to match again.
    """

    source: FrameInput
    threshold: float | None
    pairing: Pairing
    counts: Counts
    zero_point: ZeroPoint
    candidates: Candidates | None = None


@takes(source=FrameInput, rules=ScoringRules, threshold=Real, candidates=Candidates)
def score_frame(
    source: FrameInput,
    rules: ScoringRules,
    edges: Sequence[float],
    *,
    threshold: float | None = None,
    candidates: Candidates | None = None,
) -> FrameScore:
    """Return the pairing and the counts of one detector on one frame.

    Parameters
    ----------
    source : FrameInput
        The catalogues and the frame's facts.
    rules : ScoringRules
        How to pair.
    edges : sequence of float
        Bin edges [mag].
    threshold : float, optional
        Only detections with ``score >= threshold`` take part. None or minus
        infinity keeps every row, also those whose score is NaN.
    candidates : Candidates, optional
        Of this frame and these rules, to save finding them again.
    """
    edges = bin_edges(edges)
    if candidates is None:
        candidates = source.candidates(rules)
    pairing = pair_candidates(candidates, rows_at(source.found, threshold))
    zero_point = zero_point_offset(source.truth, source.found, pairing)
    counts = count(source.truth, source.found, pairing, edges, offset_mag=zero_point.offset_mag)
    return FrameScore(
        source=source,
        threshold=threshold,
        pairing=pairing,
        counts=counts,
        zero_point=zero_point,
        candidates=candidates,
    )


@takes(sources=Iterable, rules=ScoringRules)
def choose_edges(sources: Iterable[FrameInput], rules: ScoringRules) -> tuple[float, ...]:
    """Return the bin edges [mag]: those of the rules, or chosen from the truth that counts.

    Chosen once for all detectors, from each frame of the test split once.
    """
    given = rules.edges()
    if given is not None:
        return given
    mags: dict[str, np.ndarray] = {}
    for source in sources:
        require_kind("choose_edges: sources", source, FrameInput)
        if source.split == TEST and source.frame not in mags:
            truth = source.truth
            keep = ~truth["ignore"] if "ignore" in truth else np.ones(len(truth), dtype=bool)
            mags[source.frame] = truth["mag"][keep]
    return auto_bins(np.concatenate(list(mags.values())) if mags else np.zeros(0))
