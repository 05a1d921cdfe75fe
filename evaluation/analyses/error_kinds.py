"""Classify every miss and every false detection by error kind.

Each has exactly one kind, the first in a fixed order whose rule holds, so the
kinds add up to the totals. For misses, rules that excuse the miss come first, and rules about
nearby detections last. For false detections, rules that the pixels and the
geometry prove come first, and rules about nearby sources last. The rules are the same for every
detector: they use the truth and features of the frame's pixels
(`skyduel.core.measure.pixel_features`), and no flags of a detector. ``docs/measuring.md``
describes them, with their error rates on frames with known artefacts.

The tables on disk have older names: ``analyses/mistakes`` and ``analyses/mistake_sources``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core.catalog import Catalog
from skyduel.evaluation.analyses.environment import (
    BLEND_FWHM,
    Rows,
    Surroundings,
    hit,
    surroundings,
)
from skyduel.evaluation.matching.assignment import assign
from skyduel.evaluation.matching.candidates import match_radii, within
from skyduel.evaluation.matching.segments import point_segment_distance, segment_distance
from skyduel.evaluation.rules import ScoringRules
from skyduel.evaluation.scoring.counts import bin_index, bin_table, measured_mag
from skyduel.evaluation.scoring.frame_score import FrameScore
from skyduel.evaluation.scoring.metrics import ratio
from skyduel.evaluation.scoring.ragged import for_each
from skyduel.evaluation.scoring.table_columns import (
    ERROR_KIND_COLUMNS,
    ERROR_SOURCE_COLUMNS,
    FALSE_KINDS,
    MISSED_KINDS,
)
from skyduel.evaluation.statistics.intervals import wilson
from skyduel.evaluation.table_keys import ALL_BINS

__all__ = [
    "FrameErrors",
    "classified",
    "classify",
    "error_kind_table",
    "error_source_table",
]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Text = npt.NDArray[np.str_]


#: Below this S/N a miss is excused as faint, and a false detection is classified as noise.
_FAINT_SNR: Final = 5.0
#: A detection up to this many radii away may be a truth in the wrong place.
_WRONG_PLACE_RADII: Final = 2.0
#: Minimum S/N of a star for a second detection on its wing, beyond the radius.
_SHOULDER_SNR: Final = 20.0
# A false detection within so many half-light radii of a galaxy is a piece of it.
_GALAXY_RADII: Final = 2.0
_SEGMENT: Final = ("x", "y", "length", "theta")
#: Number of sources listed per kind.
_EXAMPLES: Final = 12


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """Error kinds of one detector on one frame.

    Parameters
    ----------
    missed, false : ndarray of int64
        Rows of the missed truths, and of the false detections.
    missed_kind, false_kind : ndarray of str, same shapes
        Their kinds, from `MISSED_KINDS` and `FALSE_KINDS`.
    missed_mag, false_mag : ndarray of float64, same shapes
        True magnitude, and measured magnitude on the truth's zero-point.
    missed_snr, false_snr : ndarray of float64, same shapes
        Ideal S/N (estimated if the truth states none), and S/N in the common aperture.
    """

    missed: Ints
    false: Ints
    missed_kind: Text
    false_kind: Text
    missed_mag: Floats
    false_mag: Floats
    missed_snr: Floats
    false_snr: Floats


def classify(score: FrameScore, rules: ScoringRules) -> FrameErrors:
    """Classify every miss and every false detection of one frame.

    Parameters
    ----------
    score : FrameScore
        The frame, scored at a threshold. Rules about pixels require the columns of
        `skyduel.core.measure.pixel_features` and of the common aperture in both catalogues,
        and do not hold without them; the edge rule requires ``shape``.
    rules : ScoringRules
        The rules with which the frame was scored.

    Notes
    -----
    Missed, in this order: *faint* (S/N below 5); *blended* (within 1.5 FWHM of a
    brighter truth, on a streak, or within the radius of a detection that is paired with
    another truth); *halo* (of a star ten times brighter, see `Surroundings.in_halo`);
    *edge* (within one FWHM of the border or of a masked area); *artefact* (the pixels are sharper
    than a star, or a quarter of the flux is from a bright or dark line);
    *wrong_place* (a false detection between one and two radii away, one to one; for
    a streak also one at a wrong angle); *wrong_kind* (a false detection of the
    other kind on it); *other*.

    False, in this order: *streak_fragment* (on a true streak, within the larger
    of the radius and the FWHM); *split* (within the radius of a point, or twice the half-light
    radius of a galaxy, that is paired with another detection); *bad_line* (bad line or
    readout smear; applied before the next rule, because a line one pixel wide is also
    sharper than a star); *cosmic_ray* (sharper than a star: cosmic ray or hot pixel);
    *wrong_kind* and
    *wrong_place* (the partners of such misses, if not faint); *split* again
    (within 1.5 FWHM of a point of S/N 20 or more); *spike* (or bleeding: on the
    row or column of a very bright star); *halo*; *edge*; *noise* (S/N in the
    common aperture below 5); *other*.
    """
    around = surroundings(score.source)
    lost = Rows(score.source.truth, np.flatnonzero(score.pairing.truth_missed))
    wrong = Rows(score.source.found, np.flatnonzero(score.pairing.false))
    radius = rules.radius_for(score.source.fwhm)
    true_snr, found_snr = around.brightness[lost.index], _aperture_snr(wrong)
    near = _partners(lost, wrong, np.flatnonzero(~(true_snr < _FAINT_SNR)), radius)
    return FrameErrors(
        missed=lost.index,
        false=wrong.index,
        missed_kind=_missed_kinds(score, around, lost, near, radius),
        false_kind=_false_kinds(score, around, wrong, near, radius, found_snr),
        missed_mag=lost["mag"],
        false_mag=measured_mag(score.source.found)[wrong.index] + score.zero_point.offset_mag,
        missed_snr=true_snr,
        false_snr=found_snr,
    )


def classified(
    frames: Sequence[FrameScore], rules: ScoringRules
) -> Sequence[tuple[npt.NDArray[Any], ...]]:
    """Return index, kind number, magnitude and S/N of the misses and of the false detections.

    Cached, because both tables use every frame, for its group and for all groups together.
    """

    def columns(score: FrameScore) -> tuple[npt.NDArray[Any], ...]:
        m = classify(score, rules)
        missed = (m.missed, _number(MISSED_KINDS, m.missed_kind), m.missed_mag, m.missed_snr)
        return *missed, m.false, _number(FALSE_KINDS, m.false_kind), m.false_mag, m.false_snr

    return for_each(frames, ("mistakes", rules), columns)


def _number(kinds: Sequence[str], kind: Text) -> Ints:
    """Return the index of each kind among all kinds."""
    return np.argsort(kinds)[np.searchsorted(np.sort(kinds), kind)]


def _missed_kinds(
    score: FrameScore, around: Surroundings, lost: Rows, near: _Near, radius: float
) -> Text:
    n = len(lost)
    snr, point = around.brightness[lost.index], ~lost.is_streak
    right = score.source.found.xy[score.pairing.pairs.found_index]
    taken = hit(within(lost.xy, right, radius)[0], n)
    return _first(
        MISSED_KINDS,
        n,
        faint=snr < _FAINT_SNR,
        blended=around.blended[lost.index] | (taken & point),
        halo=around.haloed[lost.index],
        edge=around.at_edge(lost),
        artefact=point & (around.sharp(lost) | around.on_line(lost, dark=True)),
        wrong_place=hit(near.away[0], n),
        wrong_kind=hit(near.unlike[0], n),
    )


def _false_kinds(
    score: FrameScore,
    around: Surroundings,
    wrong: Rows,
    near: _Near,
    radius: float,
    snr: Floats,
) -> Text:
    x, y, n = wrong["x"], wrong["y"], len(wrong)
    held = np.zeros(len(around.truth), dtype=bool)
    for pairs in (score.pairing.pairs, score.pairing.ignored_pairs):
        held[pairs.truth_index] = True
    points = around.truth.xy[held & ~around.truth.is_streak]
    galaxies = around.truth.select(held & around.truth.is_galaxy)
    first = _first(
        FALSE_KINDS,
        n,
        streak_fragment=around.on_streak(x, y, max(radius, around.fwhm)),
        split=hit(within(wrong.xy, points, radius)[0], n) | _in_galaxy(wrong.xy, galaxies, radius),
        bad_line=around.on_line(wrong),
        cosmic_ray=around.sharp(wrong),
        wrong_kind=hit(near.unlike[1], n),
        wrong_place=hit(near.away[1], n),
    )
    last = _first(
        FALSE_KINDS,
        n,
        split=around.near_star(x, y, BLEND_FWHM * around.fwhm, _SHOULDER_SNR),
        spike=around.on_spike(x, y),
        halo=around.in_halo(x, y),
        edge=around.at_edge(wrong),
        noise=snr < _FAINT_SNR,
    )
    return np.where(first == "other", last, first)


def _in_galaxy(xy: Floats, galaxies: Catalog, radius: float) -> Bools:
    """Return a mask of positions within twice the half-light radius of a galaxy."""
    own = match_radii(galaxies, radius / _GALAXY_RADII)
    if own is None:
        return np.zeros(len(xy), dtype=bool)
    reach = _GALAXY_RADII * own
    i, j, separation = within(xy, galaxies.xy, float(reach.max()))
    return hit(i[separation <= reach[j]], len(xy))


@dataclass(frozen=True, eq=False)
class _Near:
    """Indices of misses and false detections that are near each other.

    ``away``: in the wrong place, one to one; ``unlike``: of the wrong kind.
    """

    away: tuple[Ints, Ints]
    unlike: tuple[Ints, Ints]


def _partners(lost: Rows, wrong: Rows, visible: Ints, radius: float) -> _Near:
    """Pair visible misses with false detections that may be of the same source."""
    none = np.zeros(0, dtype=np.int64)
    reach = _WRONG_PLACE_RADII * radius
    streak, other = lost.is_streak, wrong.is_streak
    points = visible[~streak[visible]]
    i, j, d = within(lost.xy[points], wrong.xy, reach)
    edges = [(points[i], j, d)]
    for row in visible[streak[visible]]:
        segment = [float(lost[k][row]) for k in _SEGMENT]
        d = np.where(
            other,
            segment_distance(*(wrong[k] for k in _SEGMENT), *segment),
            point_segment_distance(wrong["x"], wrong["y"], *segment),
        )
        near = np.flatnonzero(d <= reach)
        edges.append((np.full(near.size, row), near, d[near]))
    i, j, d = (np.concatenate(part) for part in zip(*edges, strict=True))
    unlike = (streak[i] != other[j]) & (d <= radius)
    kinds = [(i[unlike], j[unlike]), (none, none)]
    # A point under a found streak is far from its centre.
    for row in np.flatnonzero(other):
        segment = [float(wrong[k][row]) for k in _SEGMENT]
        x, y = lost["x"][points], lost["y"][points]
        under = points[point_segment_distance(x, y, *segment) <= radius]
        kinds.append((under, np.full(under.size, row)))
    like = np.flatnonzero(~unlike)
    like = like[np.lexsort((j[like], i[like]))]
    taken = like[assign(i[like], j[like], d[like], reach)]
    a, b = (np.concatenate(part) for part in zip(*kinds, strict=True))
    return _Near((i[taken], j[taken]), (a, b))


def _first(kinds: Sequence[str], n: int, **holds: Bools) -> Text:
    """Return the first kind whose rule holds, or the last kind if none does."""
    out = np.full(n, kinds[-1], dtype="U16")
    for kind in reversed(kinds):
        if kind in holds:
            out[holds[kind]] = kind
    return out


def _aperture_snr(catalog: Rows) -> Floats:
    """Return the S/N in the common aperture: 0 if the flux is not positive, NaN without a flux."""
    if "aper_flux" not in catalog or "aper_flux_err" not in catalog:
        return np.full(len(catalog), np.nan)
    flux, error = catalog["aper_flux"], catalog["aper_flux_err"]
    out = np.full(len(catalog), np.nan)
    np.divide(np.maximum(flux, 0.0), error, out=out, where=error > 0)
    return out


def error_kind_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return the number of errors of each kind, with `ERROR_KIND_COLUMNS`.

    Misses are binned by true, false detections by measured magnitude; bin -2
    (every kind, also with ``n`` 0) is all bins together. ``share`` is the fraction of all
    errors of that side in the bin, with its Wilson interval.
    """
    parts = classified(frames, rules)
    bins = bin_table(edges)
    tables = []
    for at, (side, kinds) in enumerate((("missed", MISSED_KINDS), ("false", FALSE_KINDS))):
        code = np.concatenate([np.zeros(0, dtype=np.int64), *(p[4 * at + 1] for p in parts)])
        mag = np.concatenate([np.zeros(0), *(p[4 * at + 2] for p in parts)])
        n = np.zeros((len(bins), len(kinds)), dtype=np.int64)
        np.add.at(n, (bin_index(mag, edges), code), 1)
        row, column = np.nonzero(n)
        total = n.sum(axis=0)
        table = pd.DataFrame(
            {
                "side": side,
                "kind": [*kinds, *(kinds[c] for c in column)],
                "bin": np.concatenate([np.full(len(kinds), ALL_BINS), bins["bin"].to_numpy()[row]]),
                "bin_lo": np.concatenate(
                    [np.full(len(kinds), np.nan), bins["bin_lo"].to_numpy()[row]]
                ),
                "bin_hi": np.concatenate(
                    [np.full(len(kinds), np.nan), bins["bin_hi"].to_numpy()[row]]
                ),
                "n": np.concatenate([total, n[row, column]]),
            }
        )
        whole = np.concatenate([np.full(len(kinds), total.sum()), n.sum(axis=1)[row]])
        table["share"] = ratio(table["n"], whole)
        table["lo"], table["hi"] = wilson(table["n"], whole, rules.confidence)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)[list(ERROR_KIND_COLUMNS)]


def error_source_table(
    frames: Sequence[FrameScore], rules: ScoringRules, edges: Sequence[float]
) -> pd.DataFrame:
    """Return up to twelve examples of each error kind, with `ERROR_SOURCE_COLUMNS`.

    Missed truths of highest S/N and false detections of highest score; equal ones in
    the order of frames and rows. ``edges`` is not used.
    """
    parts = classified(frames, rules)
    if not frames:
        return pd.DataFrame({c: pd.Series(dtype="float64") for c in ERROR_SOURCE_COLUMNS})
    # Only the sorting keys of all errors are collected; other columns only for those listed.
    keys, codes = [], []
    for f, m in zip(frames, parts, strict=True):
        keys += [m[3], f.source.found["score"][m[4]]]
        codes += [m[1].astype(np.int8), (m[5] + len(MISSED_KINDS)).astype(np.int8)]
    key, code = np.concatenate(keys), np.concatenate(codes)
    frame = np.repeat(np.arange(len(frames)), [p[0].size + p[4].size for p in parts])
    order = np.argsort(-np.where(np.isnan(key), -np.inf, key), kind="stable")
    listed = np.zeros(order.size, dtype=bool)
    for kind in range(len(MISSED_KINDS) + len(FALSE_KINDS)):
        listed[np.flatnonzero(code[order] == kind)[:_EXAMPLES]] = True
    rows = [_source(frames, parts, int(frame[k]), int(k - np.searchsorted(frame, frame[k])))
            for k in order[listed]]  # fmt: skip
    table = pd.DataFrame(rows, columns=list(ERROR_SOURCE_COLUMNS))
    text = dict.fromkeys(ERROR_SOURCE_COLUMNS[:3], object)
    index = dict.fromkeys(ERROR_SOURCE_COLUMNS[3:5], np.int64)
    return table.astype(text | index | dict.fromkeys(ERROR_SOURCE_COLUMNS[5:], np.float64))


def _source(
    frames: Sequence[FrameScore],
    parts: Sequence[tuple[npt.NDArray[Any], ...]],
    frame: int,
    place: int,
) -> tuple[Any, ...]:
    """Return the row of one error of a frame; the misses are numbered first."""
    source, m = frames[frame].source, parts[frame]
    side = "missed" if place < m[0].size else "false"
    if side == "false":
        place, m = place - m[0].size, m[4:]
    index, code, mag, snr = (column[place] for column in m[:4])
    of = source.truth if side == "missed" else source.found
    rest = (float(of["x"][index]), float(of["y"][index]), float(mag), float(snr))
    if side == "missed":
        return (source.frame, side, MISSED_KINDS[code], int(index), -1, *rest, np.nan)
    score = float(of["score"][index])
    return (source.frame, side, FALSE_KINDS[code], -1, int(index), *rest, score)
