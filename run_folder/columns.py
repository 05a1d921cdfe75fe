"""Type, unit and meaning of every column of a run folder's tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from skyduel.evaluation.scoring.metrics import listed

__all__ = ["Column", "describe"]

Kind = Literal["text", "int", "float", "bool"]


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    kind : {"text", "int", "float", "bool"}
        What it holds; undefined numbers are NaN.
    unit : str
        Empty for a number without a unit, and for text.
    meaning : str
        One sentence, as the documentation shows it.
    """

    kind: Kind
    unit: str
    meaning: str


def _ends(level: str, of: str, unit: str = "") -> dict[str, Column]:
    """Return the two columns of an interval."""
    return {
        f"{level}_lo": Column("float", unit, f"lower end of the interval of {of}"),
        f"{level}_hi": Column("float", unit, f"upper end of the interval of {of}"),
    }


#: Columns that mean the same in every table that has them.
_COMMON: Final[Mapping[str, Column]] = {
    "detector": Column("text", "", "name of the detector in this run"),
    "point": Column("text", "", "operating point"),
    "frame": Column("text", "", "name of the frame"),
    "group": Column("text", "", "group of frames; `all` for all frames together"),
    "bin": Column("int", "", "magnitude bin: 0 … n−1, or −1, n, n+1, −2 (see Tables)"),
    "bin_lo": Column("float", "mag", "lower edge of the bin"),
    "bin_hi": Column("float", "mag", "upper edge of the bin, not included"),
    "quantity": Column("text", "", "name of the score"),
    "value": Column("float", "", "value of the score"),
    "lo": Column("float", "", "lower end of the interval"),
    "hi": Column("float", "", "upper end of the interval"),
    "n": Column("int", "", "denominator of the proportion"),
    "k": Column("int", "", "numerator of the proportion"),
    "n_frames": Column("int", "", "number of frames"),
    "truths": Column("int", "", "truths that count"),
    "truths_found": Column("int", "", "truths found, binned by true magnitude"),
    "detections": Column("int", "", "detections that count"),
    "detections_right": Column(
        "int", "", "detections paired with a truth, binned by measured magnitude"
    ),
    "truths_ignored": Column("int", "", "ignored truths: neither found nor missed"),
    "detections_ignored": Column("int", "", "ignored detections: neither right nor false"),
    "duplicates": Column(
        "int",
        "",
        "false detections within the matching radius of a truth that is matched with another "
        "detection",
    ),
    "threshold": Column("float", "", "score threshold"),
    "unit": Column("text", "", "unit of the values"),
    "truth_index": Column("int", "", "row of `truth/FRAME.parquet`; −1: none"),
    "found_index": Column("int", "", "row of `catalogs/DETECTOR/FRAME.parquet`; −1: none"),
    "score_is": Column(
        "text",
        "",
        "`probability`: every score lies in 0 … 1; `fitted`: the score is turned into a "
        "probability by isotonic regression over the calibration frames of the group; `unknown`: "
        "neither",
    ),
    "predicted": Column("float", "", "mean probability"),
    "right": Column("float", "", "fraction of the detections that is real"),
}

_SNR90 = "90 % completeness"

#: Columns of one table, in place of those in `_COMMON`.
_OWN: Final[Mapping[str, Mapping[str, Column]]] = {
    "pairs": {
        "separation_px": Column("float", "px", "distance of the pair; NaN without a pair"),
        "outcome": Column("text", "", "`found`, `missed`, `false` or `ignored`"),
    },
    "scores": {
        "n": Column(
            "float",
            "",
            "denominator of a proportion; truths + detections for F1 and F2; truths + false "
            "detections for the Jaccard index; Mpix for a rate",
        ),
        "k": Column("float", "", "its numerator; for a rate the number of false detections"),
        "interval": Column(
            "text",
            "",
            "`wilson` or `jeffreys`, `bootstrap` (over frames) or `block bootstrap`, `poisson`",
        ),
    },
    "sweep": {
        "truths_found": Column("int", "", "truths found at this threshold"),
        "detections_right": Column("int", "", "right detections at this threshold"),
    },
    "limits": {
        "threshold": Column(
            "float", "", "score threshold; NaN if it differs by frame or none keeps the purity"
        ),
        "purity": Column("float", "", "purity at the threshold"),
        "completeness": Column("float", "", "completeness at the threshold"),
        "snr50": Column("float", "", "S/N at 50 % completeness; NaN if it is not reached"),
        **_ends("snr50", "`snr50`; NaN if it lies outside the range of the sources"),
        "m50": Column("float", "mag", "magnitude at 50 % completeness; NaN if it is not reached"),
        **_ends("m50", "`m50`; NaN if it lies outside the range of the sources", "mag"),
        "n_truths": Column("int", "", "sources to which the curve is fitted"),
        "snr90": Column("float", "", f"S/N at {_SNR90}"),
        **_ends("snr90", "`snr90`"),
        "m90": Column("float", "mag", f"magnitude at {_SNR90}"),
        **_ends("m90", "`m90`", "mag"),
        "width_mag": Column(
            "float",
            "mag",
            "width of the fitted logistic: completeness makes 76 % of its rise within four widths",
        ),
        **_ends("width_mag", "`width_mag`", "mag"),
        "floor": Column("float", "", "lowest completeness of the curve by magnitude"),
        "ceiling": Column("float", "", "highest completeness of the curve by magnitude"),
    },
    "comparisons": {
        "detector_a": Column("text", "", "detector A, listed before B in the run"),
        "detector_b": Column("text", "", "detector B"),
        "quantity": Column(
            "text", "", "name of the score; for all bins together also `m50` [mag] and `snr50`"
        ),
        "value_a": Column("float", "", "value of A"),
        "value_b": Column("float", "", "value of B"),
        "delta": Column("float", "", "A minus B"),
        "lo": Column("float", "", "lower end of the paired interval of `delta`"),
        "hi": Column("float", "", "upper end of the paired interval of `delta`"),
        "n_both": Column("float", "", "truths found by both (only for `completeness`)"),
        "n_a_only": Column("float", "", "truths found only by A"),
        "n_b_only": Column("float", "", "truths found only by B"),
        "n_neither": Column("float", "", "truths found by neither"),
        "p": Column("float", "", "p-value: McNemar's exact test, or of the bootstrap"),
        "p_holm": Column(
            "float",
            "",
            "`p` after Holm's correction over the bins of a quantity; for all bins together over "
            "the groups, and `p` itself for the group `all`",
        ),
        "interval": Column(
            "text",
            "",
            "`newcombe` (Newcombe's method 10), `bootstrap` (over frames) or `block bootstrap` "
            "(over blocks of a single frame), the same resamples for both",
        ),
        "n_frames": Column("int", "", "frames that the row rests on"),
    },
    "mistakes": {
        "side": Column("text", "", "`missed` truths or `false` detections"),
        "kind": Column("text", "", "kind of error (see Tables)"),
        "n": Column("int", "", "number of errors of this kind"),
        "share": Column("float", "", "share of all errors of that side and bin"),
        "lo": Column("float", "", "lower end of the Wilson interval of `share`"),
        "hi": Column("float", "", "upper end of the Wilson interval of `share`"),
    },
    "mistake_sources": {
        "side": Column("text", "", "`missed` truths or `false` detections"),
        "kind": Column("text", "", "kind of error"),
        "x": Column("float", "px", "column of the centre"),
        "y": Column("float", "px", "row of the centre"),
        "mag": Column(
            "float", "mag", "true magnitude of a truth, measured magnitude of a detection"
        ),
        "snr": Column(
            "float", "", "ideal S/N of a truth; S/N of a detection in the common aperture"
        ),
        "score": Column("float", "", "score of a detection"),
    },
    "chance": {
        "shifts": Column("int", "", "shifts of each frame"),
        "n_frames": Column(
            "int",
            "",
            "frames that are large enough to be shifted; all counts are from these frames",
        ),
        "pairs": Column("int", "", "pairs that count"),
        "chance_pairs": Column(
            "float",
            "",
            "pairs that remain when detections are shifted: the mean over shifts, summed over "
            "frames",
        ),
        "chance_lo": Column("float", "", "lower end of the Poisson interval of `chance_pairs`"),
        "chance_hi": Column("float", "", "upper end of the Poisson interval of `chance_pairs`"),
        "chance_share": Column("float", "", "`chance_pairs` / `pairs`"),
        **_ends("share", "`chance_share`"),
    },
    "average_precision": {
        "method": Column(
            "text",
            "",
            "`position`: matches by position; `coco50`, `coco50_95`: boxes at IoU 0.5, and the "
            "mean over 0.50, 0.55 … 0.95; `voc07`: boxes at IoU 0.5 over 11 recalls",
        ),
        "kind": Column(
            "text",
            "",
            "`point`, `streak`, `mean` of the kinds that have truths; by position also `all`, "
            "pooled",
        ),
        "value": Column("float", "", "average precision"),
        "detections": Column("int", "", "every row that the detector returned"),
    },
    "jia2020": {
        "mag_plotted": Column("float", "mag", "upper edge, where the paper draws a bin"),
        "quantity": Column("text", "", "`recall`, `precision`, `f1` or `f2`"),
        "network": Column("float", "", "published value of the paper's network; NaN elsewhere"),
        "sextractor": Column("float", "", "published value of SExtractor; NaN elsewhere"),
    },
    "ideal": {
        "match": Column(
            "text",
            "",
            "`false_rate`: the ideal observer has as many false detections per Mpix as the "
            "detector; `purity`: its expected purity is that of the detector",
        ),
        "threshold": Column(
            "float",
            "",
            "S/N threshold of the ideal observer; `tail` is 0.5 at this S/N",
        ),
        "false_per_mpix": Column(
            "float", "1/Mpix", "expected false detections of the ideal observer"
        ),
        "purity": Column("float", "", "expected purity of the ideal observer"),
        "n": Column("int", "", "point sources that count"),
        "ideal": Column("float", "", "expected completeness of the ideal observer"),
        "tail": Column("float", "", "completeness of the plain Gaussian tail"),
        "found": Column("float", "", "completeness of the detector for the same sources"),
        **_ends("found", "`found`"),
        "snr50_ideal": Column(
            "float", "", "S/N at 50 % completeness of the ideal observer; only all bins together"
        ),
        "m50_ideal": Column("float", "mag", "magnitude at 50 % completeness of the ideal observer"),
        "snr50": Column("float", "", "S/N at 50 % completeness of the detector"),
        "distance_mag": Column(
            "float",
            "mag",
            "2.5 log10 of `snr50` / `snr50_ideal`; positive: the detector is less deep",
        ),
        **_ends("distance", "`distance_mag`", "mag"),
        "beats": Column(
            "bool", "", "the detector found significantly more than is possible: a bug or a leak"
        ),
    },
    "facets": {
        "facet": Column("text", "", "property by which the sources are binned (see Tables)"),
        "bin": Column("int", "", "number of the bin; bin n has the sources without a value"),
        "bin_lo": Column("float", "`unit`", "lower edge"),
        "bin_hi": Column("float", "`unit`", "upper edge, not included"),
        "label": Column("text", "", "name of the bin, of a `kind`"),
        "quantity": Column("text", "", "`completeness` or `purity`"),
    },
    "galaxies": {
        "kind": Column("text", "", "`galaxy`, or `point` for the points of the same magnitudes"),
        "size_bin": Column(
            "int",
            "",
            "bin of the half-light radius: 0 … n−1, n for galaxies without one, −2 for all sizes",
        ),
        "size_lo": Column("float", "px", "lower edge of the bin of the half-light radius"),
        "size_hi": Column("float", "px", "upper edge, not included"),
        "value": Column("float", "", "completeness: `k` / `n`"),
        "n": Column("int", "", "truths that count; cells without a truth have no row"),
        "k": Column("int", "", "truths found"),
        "told": Column("int", "", "truths found whose detection states whether it is extended"),
        "told_right": Column(
            "int", "", "of these, galaxies called extended, or points called not extended"
        ),
        "told_share": Column("float", "", "`told_right` / `told`"),
        **_ends("told", "`told_share`"),
    },
    "migration": {
        "true_bin": Column("int", "", "bin of the true magnitude, numbered as `bin`"),
        "true_lo": Column("float", "mag", "its lower edge"),
        "true_hi": Column("float", "mag", "its upper edge"),
        "measured_bin": Column("int", "", "bin of the measured magnitude, numbered as `bin`"),
        "measured_lo": Column("float", "mag", "its lower edge"),
        "measured_hi": Column("float", "mag", "its upper edge"),
        "n": Column("int", "", "found sources; cells without a source have no row"),
    },
    "astrometry": {
        "quantity": Column(
            "text",
            "",
            "of points `x`, `y` [px], found minus true, and `mag`, measured minus true; of streaks "
            "`length_ratio`, found over true, and `angle` [deg], found minus true",
        ),
        "by": Column("text", "", "`snr`, `mag`, or empty: not binned"),
        "bin": Column("int", "", "bin of `by`; −2: all"),
        "bin_lo": Column("float", "of `by`", "lower edge"),
        "bin_hi": Column("float", "of `by`", "upper edge, not included"),
        "n": Column("int", "", "pairs"),
        "bias": Column("float", "`unit`", "median"),
        "scatter": Column("float", "`unit`", "1.4826 times the median absolute deviation"),
        "rms": Column("float", "`unit`", "root mean square about the true value"),
    },
    "ignore_limit": {
        "min_snr": Column("float", "", "truths with a lower ideal S/N are ignored"),
    },
    "reliability": {
        "binning": Column("text", "", "`equal width` or `equal count`"),
        "bin": Column("int", "", "bin of the measured magnitude; −2: all"),
        "score_bin": Column("int", "", "bin of the probability"),
        "score_lo": Column(
            "float", "", "its lower edge; edge of the score itself if `score_is` is `unknown`"
        ),
        "score_hi": Column("float", "", "its upper edge"),
        "lo": Column("float", "", "lower end of the Wilson interval of `right`"),
        "hi": Column("float", "", "upper end of the Wilson interval of `right`"),
    },
    "calibration_error": {
        "bin": Column("int", "", "bin of the measured magnitude; −2: all"),
        "ece": Column("float", "", "expected calibration error over ten bins of equal width"),
        "ece_chance": Column("float", "", "its mean if the scores were exact probabilities"),
        "ece_equal_count": Column("float", "", "the same over ten bins of equal count"),
        "ece_equal_count_chance": Column(
            "float", "", "its mean if the scores were exact probabilities"
        ),
        "brier": Column("float", "", "Brier score"),
        "n_unscored": Column("int", "", "detections without a probability"),
    },
    "purity_choice": {
        "wanted": Column("float", "", "purity wanted: 0.9, 0.95, 0.99"),
        "chosen_by": Column(
            "text",
            "",
            "`calibration`: the lowest score at which the calibration frames have this purity; "
            "`score`: the lowest score such that the mean probability of the detections at or "
            "above it has this value",
        ),
        "threshold": Column("float", "", "chosen score; NaN if no score has this purity"),
        "purity_chosen": Column(
            "float", "", "purity, or mean probability, where the score was chosen"
        ),
        "n_chosen": Column("int", "", "detections where the score was chosen"),
        "purity": Column("float", "", "purity on the test frames"),
        "lo": Column("float", "", "lower end of the Wilson interval of `purity`"),
        "hi": Column("float", "", "upper end of the Wilson interval of `purity`"),
        "completeness": Column("float", "", "completeness on the test frames"),
        **_ends("completeness", "`completeness`"),
    },
    "suspects": {
        "side": Column(
            "text",
            "",
            "`not in truth`: all detectors find it with a high score, the truth lacks it; `never "
            "found`: a bright truth that no detector finds",
        ),
        "x": Column("float", "px", "position; of a detection the mean of all detectors"),
        "y": Column("float", "px", "position"),
        "ra": Column("float", "deg", "right ascension (ICRS), if it is known"),
        "dec": Column("float", "deg", "declination (ICRS), if it is known"),
        "mag": Column("float", "mag", "true magnitude, or the median of the measured ones"),
        "snr": Column("float", "", "ideal S/N of a truth; S/N in the common aperture"),
        "rank": Column(
            "float",
            "",
            "share of the right detections that have a lower score, of the least sure detector; "
            "NaN for a truth",
        ),
        "detectors": Column("int", "", "number of detectors"),
    },
    "suspects_ignored": {
        "quantity": Column("text", "", "`completeness`, `purity` or `f1`"),
        "ignored": Column("float", "", "score with the suspects ignored, as in `scores`"),
        "counted": Column("float", "", "score with the suspects counted"),
        "truths": Column("int", "", "truths that are ignored as suspects"),
        "detections": Column("int", "", "places that are ignored as suspects"),
    },
    "trials": {
        "fold": Column("int", "", "half of the set to which the choice is applied; −1: all frames"),
        "trial": Column("int", "", "number of the trial; 0: the detector's own settings"),
        "chosen": Column("bool", "", "whether this trial was chosen"),
        "failed": Column("bool", "", "whether the detector failed on a frame"),
        "reached": Column("bool", "", "whether a threshold meets the objective"),
        "value": Column(
            "float", "", "value of the objective on the frames that were used for the choice"
        ),
        "settings": Column("text", "", "settings that the trial changes"),
    },
    "truth": {
        "ignore_reason": Column("text", "", "why the truth is ignored; empty if it is not ignored"),
    },
}


def describe(table: str, column: str) -> Column:
    """Return type, unit and meaning of a column of a table.

    A column of a metric that is not described here has the label of the metric.

    Raises
    ------
    KeyError
        If there is no such column.
    """
    own = _OWN.get(table, {})
    if column in own:
        return own[column]
    label = next((m.label for m in listed() if m.name == column), None)
    return _COMMON[column] if label is None else Column("float", "", label)
