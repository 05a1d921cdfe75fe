"""Compare detectors on real frames without truth: sign-flipped frames and repeated exposures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from skyduel.core import (
    BadInputError,
    Catalog,
    Detector,
    Frame,
    add_sky_positions,
    detector_info,
    pixel_positions,
)
from skyduel.core.scores.score_map import ScoreMap
from skyduel.evaluation import (
    ScoresOnRepeats,
    fit_score_shift,
    flip_estimate,
    flip_threshold,
    repeat_estimate,
    scores_on_repeats,
)
from skyduel.evaluation.score_shift import LEAST_FITTED_SCORE
from skyduel.runner.inject import at_default
from skyduel.simulation import sign_flipped

__all__ = [
    "ALL",
    "UpsideDown",
    "common_positions",
    "fit_score_map",
    "flip_rows",
    "flip_table",
    "look_upside_down",
    "recurrence_table",
    "repeat_scores_table",
    "repeat_table",
]

#: Name of the rows with the sums over all frames.
ALL: Final = "all"

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def flip_table(
    frames: Sequence[Frame],
    detectors: Mapping[str, Detector],
    *,
    keep_sigma: float = 5.0,
    found: Mapping[tuple[str, str], Catalog] | None = None,
    on_frame: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Estimate false detections of each detector at its default threshold from flipped frames.

    Parameters
    ----------
    frames : sequence of Frame
        Frames with different names.
    detectors : mapping of label to Detector
        The detectors; each runs on the frame and on the sign-flipped frame.
    keep_sigma : float
        As in `skyduel.simulation.sign_flipped`.
    found : mapping of (label, frame name) to Catalog, optional
        Catalogues of the original frames; missing ones are computed.
    on_frame : callable, optional
        Called with a label after each detector and frame.

    Returns
    -------
    DataFrame
        ``detector``, ``frame`` (``all`` for the sums), the fields of
        `evaluation.FlipEstimate`, ``threshold_95``, the `evaluation.flip_threshold` for 95 %
        purity, and ``n_found_95``, how many detections have such a score.
    """
    looks = look_upside_down(
        frames, detectors, keep_sigma=keep_sigma, found=found, on_frame=on_frame
    )
    return flip_rows(frames, detectors, looks)


def flip_rows(
    frames: Sequence[Frame],
    detectors: Mapping[str, Detector],
    looks: Mapping[str, Sequence[UpsideDown]],
) -> pd.DataFrame:
    """Return the table of `flip_table` from the looks of `look_upside_down`."""
    rows = []
    for label, detector in detectors.items():
        for frame, look in zip(frames, looks[label], strict=True):
            rows.append({"detector": label, "frame": frame.name, **_estimated(detector, [look])})
        if len(frames) > 1:
            rows.append({"detector": label, "frame": ALL, **_estimated(detector, looks[label])})
    return pd.DataFrame(rows)


def look_upside_down(
    frames: Sequence[Frame],
    detectors: Mapping[str, Detector],
    *,
    keep_sigma: float = 5.0,
    found: Mapping[tuple[str, str], Catalog] | None = None,
    on_frame: Callable[[str], None] | None = None,
) -> dict[str, list[UpsideDown]]:
    """Run detectors on frames and on the sign-flipped frames; parameters as of `flip_table`.

    Returns
    -------
    dict of label to list of UpsideDown
        One for each frame.
    """
    upside_down = [sign_flipped(frame, keep_sigma=keep_sigma) for frame in frames]
    looks: dict[str, list[UpsideDown]] = {}
    for label, detector in detectors.items():
        looks[label] = []
        for frame, flipped in zip(frames, upside_down, strict=True):
            looks[label].append(
                UpsideDown(
                    _on_usable(_found(found, label, detector, frame), frame),
                    _on_usable(detector(flipped.frame), sky := flipped.sky),
                    _mpix(frame),
                    _mpix(sky),
                )
            )
            if on_frame is not None:
                on_frame(label)
    return looks


@dataclass(frozen=True, eq=False)
class UpsideDown:
    """All detections on a frame and on the flipped one, on usable pixels, and both areas [Mpix]."""

    found: Catalog
    flipped: Catalog
    mpix: float
    mpix_flipped: float


def _estimated(detector: Detector, looks: Sequence[UpsideDown]) -> dict[str, object]:
    """Return the fields of a `FlipEstimate`, the threshold of the nominal purity, what it keeps."""
    mpix, mpix_flipped = sum(k.mpix for k in looks), sum(k.mpix_flipped for k in looks)
    n = sum(len(at_default(detector, k.found)) for k in looks)
    n_flipped = sum(len(at_default(detector, k.flipped)) for k in looks)
    found, flipped = _scores(k.found for k in looks), _scores(k.flipped for k in looks)
    threshold = flip_threshold(found, flipped, mpix, mpix_flipped)
    return {
        **asdict(flip_estimate(n, n_flipped, mpix, mpix_flipped)),
        "threshold_95": threshold,
        "n_found_95": int(np.count_nonzero(found >= threshold)),
    }


def _scores(catalogs: Iterable[Catalog]) -> Floats:
    """Return the scores of catalogues together; NaN for detections without one."""
    return np.concatenate(
        [np.asarray(c["score"] if "score" in c else [np.nan] * len(c), float) for c in catalogs]
    )


def repeat_table(
    frames: Sequence[Frame],
    detectors: Mapping[str, Detector],
    radius_px: float,
    *,
    found: Mapping[tuple[str, str], Catalog] | None = None,
) -> pd.DataFrame:
    """Measure the repeatability of each detector's detections at its default threshold.

    Parameters
    ----------
    frames : sequence of Frame
        Exposures of one field, aligned by WCS or registered to the pixel.
    detectors : mapping of label to Detector
        The detectors.
    radius_px : float
        Largest distance of a pair, in px of the first frame.
    found : mapping of (label, frame name) to Catalog, optional
        Catalogues of the frames; missing ones are computed.

    Returns
    -------
    DataFrame
        ``detector`` and the fields of `evaluation.RepeatEstimate`, ``detections`` as
        columns ``seen_1``, ``seen_2``, ….
    """
    rows = []
    for label, detector in detectors.items():
        catalogs = []
        for frame in frames:
            catalogs.append(at_default(detector, _found(found, label, detector, frame)))
        estimate = repeat_estimate(common_positions(frames, catalogs), radius_px)
        fields = asdict(estimate)
        seen = {f"seen_{k}": n for k, n in enumerate(fields.pop("detections"), start=1)}
        rows.append({"detector": label, **fields, **seen})
    return pd.DataFrame(rows)


def recurrence_table(repeats: pd.DataFrame) -> pd.DataFrame:
    """Return how many sources of each detector recur in how many exposures.

    Parameters
    ----------
    repeats : DataFrame
        As `repeat_table` returns it.

    Returns
    -------
    DataFrame
        One row for each detector and each number of exposures, from all of them down to one:
        ``detector``, ``exposures`` (how many there are), ``seen_in`` (in exactly how many),
        ``detections``, ``sources`` (detections over ``seen_in``: every source was detected so
        often), ``sources_at_least`` (those seen in so many exposures or more) and
        ``share_at_least`` (of all sources; NaN without one).
    """
    rows = []
    for row in repeats.to_dict("records"):
        n, sources = int(row["n_exposures"]), 0.0
        every = sum(row[f"seen_{k}"] / k for k in range(1, n + 1))
        for k in range(n, 0, -1):
            here = row[f"seen_{k}"] / k
            sources += here
            rows.append(
                {
                    "detector": row["detector"],
                    "exposures": n,
                    "seen_in": k,
                    "detections": int(row[f"seen_{k}"]),
                    "sources": here,
                    "sources_at_least": sources,
                    "share_at_least": sources / every if every else float("nan"),
                }
            )
    return pd.DataFrame(rows)


def repeat_scores_table(
    frames: Sequence[Frame],
    detectors: Mapping[str, Detector],
    radius_px: float,
    *,
    found: Mapping[tuple[str, str], Catalog] | None = None,
) -> pd.DataFrame:
    """Compare scores that are probabilities with how often the detections recur.

    Parameters
    ----------
    frames : sequence of Frame
        Exposures of one field, aligned by WCS or registered to the pixel.
    detectors : mapping of label to Detector
        The detectors. Those with a score outside 0 to 1, such as an S/N, are left out.
    radius_px : float
        Largest distance of a pair, in px of the first frame.
    found : mapping of (label, frame name) to Catalog, optional
        Catalogues of the frames; missing ones are computed.

    Returns
    -------
    DataFrame
        ``detector`` and the fields of `evaluation.ScoresOnRepeats`: one row for each range of
        scores, and last the whole of them.
    """
    rows = []
    for label, detector in detectors.items():
        catalogs = [_found(found, label, detector, frame) for frame in frames]
        scores = _scores(catalogs)
        if not (scores.size and ((scores >= 0) & (scores <= 1)).all()):
            continue
        rows += [
            {"detector": label, **asdict(one)}
            for one in scores_on_repeats(*_scored_positions(frames, catalogs), radius_px)
        ]
    columns = ["detector", *(field.name for field in fields(ScoresOnRepeats))]
    return pd.DataFrame(rows, columns=columns)


def fit_score_map(
    frames: Sequence[Frame],
    detector: Detector,
    *,
    radius_px: float = 2.0,
    repeats: bool = True,
    looks: Sequence[UpsideDown] | None = None,
    keep_sigma: float = 5.0,
) -> ScoreMap:
    """Fit how much less a detector's scores promise on the telescope of some frames.

    Parameters
    ----------
    frames : sequence of Frame
        Exposures of one field with different names, aligned by WCS or registered to the pixel.
        They need no truth.
    detector : Detector
        A detector whose scores are probabilities.
    radius_px : float
        Largest distance of a pair, in px of the first frame.
    repeats : bool
        If False, the frames may show any fields, and only flipped noise counts. This helps
        little, and harms where noise is correlated.
    looks : sequence of UpsideDown, optional
        Those of this detector, of `look_upside_down`; computed if not given.
    keep_sigma : float
        As in `skyduel.simulation.sign_flipped`.

    Returns
    -------
    ScoreMap
        See `skyduel.evaluation.fit_score_shift`; the detector's setting ``score_map`` takes it.

    Raises
    ------
    BadInputError
        If the detector does not state that its scores are probabilities, or has a score map.
    """
    info = detector_info(detector)
    source = f"detector {detector.name!r}"
    if not info.score_is_probability:
        raise BadInputError(source, "scores that are probabilities, for a score map", "others")
    if getattr(detector.settings, "score_map", None) is not None:
        raise BadInputError(source, "no score_map, to fit one", "a score_map among its settings")
    if looks is None:
        both = look_upside_down(frames, {detector.name: detector}, keep_sigma=keep_sigma)
        looks = both[detector.name]
    positions, scores = (
        _scored_positions(frames, [look.found for look in looks]) if repeats else ([], [])
    )
    mpix, mpix_flipped = sum(k.mpix for k in looks), sum(k.mpix_flipped for k in looks)
    fitted = fit_score_shift(
        _scores(k.found for k in looks),
        _scores(k.flipped for k in looks),
        mpix,
        mpix_flipped,
        exposures=positions,
        scores=scores,
        radius_px=radius_px,
    )
    return ScoreMap(
        detector=detector.name,
        weights_sha256=info.weights_sha256,
        log_odds_shift=fitted.shift,
        shift_lo=fitted.shift_lo,
        shift_hi=fitted.shift_hi,
        least_score=LEAST_FITTED_SCORE,
        frames=tuple(frame.name for frame in frames),
        mpix=mpix,
        n_found=fitted.n_found,
        mpix_flipped=mpix_flipped,
        n_flipped=fitted.n_flipped,
        n_repeats=fitted.n_repeats,
        n_recur=fitted.n_recur,
        skyduel=version("skyduel"),
    )


def _scored_positions(
    frames: Sequence[Frame], catalogs: Sequence[Catalog]
) -> tuple[list[Floats], list[Floats]]:
    """Return positions and scores of the detections in the area common to all frames."""
    positions, scores = [], []
    for found, (xy, usable) in zip(catalogs, _in_common(frames, catalogs), strict=True):
        positions.append(xy[usable])
        scores.append(np.asarray(found["score"], dtype=np.float64)[usable])
    return positions, scores


def common_positions(frames: Sequence[Frame], catalogs: Sequence[Catalog]) -> list[Floats]:
    """Convert positions of catalogues to px of the first frame, within the area common to all.

    Parameters
    ----------
    frames : sequence of Frame
        Frames that all have a WCS, or all have none; without WCS they must be registered.
    catalogs : sequence of Catalog
        One catalogue per frame, with positions in pixels of that frame.

    Returns
    -------
    list of ndarray of float64, each of shape (n_i, 2)
        Positions of the detections that lie on a usable pixel of every frame.

    Raises
    ------
    BadInputError
        If only some frames have a WCS, or if registered frames differ in shape.
    """
    return [xy[usable] for xy, usable in _in_common(frames, catalogs)]


def _in_common(
    frames: Sequence[Frame], catalogs: Sequence[Catalog]
) -> Iterator[tuple[Floats, Bools]]:
    """Yield positions in px of the first frame, and which lie on a usable pixel of every frame."""
    with_wcs = [frame.wcs is not None for frame in frames]
    if any(with_wcs) and not all(with_wcs):
        lone = frames[with_wcs.index(False)].name
        raise BadInputError(lone, "a WCS, as the other exposures have", "none")
    shapes = {frame.shape for frame in frames}
    if not any(with_wcs) and len(shapes) > 1:
        required = "exposures with a WCS, or of one shape"
        raise BadInputError("repeats", required, " and ".join(str(s) for s in sorted(shapes)))
    for own, catalog in zip(frames, catalogs, strict=True):
        first = catalog.xy
        usable = np.ones(len(catalog), dtype=bool)
        placed = add_sky_positions(own, catalog) if all(with_wcs) else catalog
        for number, frame in enumerate(frames):
            xy = catalog.xy
            if all(with_wcs) and frame is not own:
                xy = np.column_stack(pixel_positions(placed["ra"], placed["dec"], frame))
            usable &= frame.usable_at(*xy.T)
            first = xy if number == 0 else first
        yield first, usable


def _found(
    found: Mapping[tuple[str, str], Catalog] | None, label: str, detector: Detector, frame: Frame
) -> Catalog:
    """Return the given catalogue of a frame, or a new one where there is none."""
    given = None if found is None else found.get((label, frame.name))
    return detector(frame) if given is None else given


def _on_usable(found: Catalog, frame: Frame) -> Catalog:
    """Select the detections on usable pixels."""
    return found.select(frame.usable_at(found["x"], found["y"]))


def _mpix(frame: Frame) -> float:
    return float(np.count_nonzero(~frame.bad)) / 1e6
