"""Scoring rules, and the sources that they ignore."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from skyduel.core.catalog import Catalog
from skyduel.core.defaults import FAINT_SNR, PAIRING_RADIUS_PX, STREAK_ANGLE_DEG
from skyduel.core.errors import BadInputError, require_kind, takes
from skyduel.core.sections.large_image import PackedMask
from skyduel.core.settings import nearest, settings_error

__all__ = [
    "IGNORE_REASONS",
    "MOST_RESAMPLES",
    "PairingRule",
    "ScoringRules",
    "apply_ignore",
    "auto_bins",
    "ignore_note",
    "mark_ignored_regions",
    "parse_bins",
    "require_shape",
]

Bools = npt.NDArray[np.bool_]

#: More resamples say nothing more, and fill the memory.
MOST_RESAMPLES: Final = 1_000_000

#: How rivals for a source are told apart, see `skyduel.evaluation.matching.assignment_rules.take`.
PairingRule = Literal["most-pairs", "mutual-nearest", "score-first"]

#: Why a truth is ignored; the first that applies is the one recorded.
IGNORE_REASONS: Final = (
    *("given", "off_frame", "edge", "area"),
    *("masked", "saturated", "faint", "no_mag", "suspect"),
)


class ScoringRules(BaseModel):
    """Everything that a score depends on besides the catalogues.

    Raises
    ------
    BadInputError
        If a key is unknown (the nearest one is suggested) or a value cannot be.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    radius_px: float = Field(
        PAIRING_RADIUS_PX, gt=0, description="largest distance of a pair [px], inclusive"
    )
    radius_fwhm: float | None = Field(
        None, gt=0, description="the radius in units of each frame's FWHM; replaces radius_px"
    )
    pairing: PairingRule = Field(
        "most-pairs",
        description="most-pairs (then the least distance); mutual-nearest and score-first are "
        "other tools' rules, for comparison",
    )
    bins: str | None = Field(
        None, description="magnitude bins as start:stop:step; chosen from the truth without it"
    )
    min_snr: float = Field(
        FAINT_SNR, ge=0, description="a truth with an ideal S/N below this is ignored as faint"
    )
    edge_px: float = Field(0.0, ge=0, description="width of the ignored band along the edges [px]")
    ignore_masked: bool = Field(True, description="ignore what lies on masked pixels")
    ignore_saturated: bool = Field(
        False,
        description="ignore truths on saturated pixels; off: such a star is there to be found",
    )
    require_kind: bool = Field(False, description="pair points only with points")
    streak_angle_deg: float = Field(
        STREAK_ANGLE_DEG, ge=0, le=90, description="largest angle between paired streaks [deg]"
    )
    confidence: float = Field(0.95, gt=0, lt=1, description="level of all intervals")
    proportion_interval: Literal["wilson", "jeffreys"] = Field(
        "wilson", description="interval of completeness and purity"
    )
    n_bootstrap: int = Field(1000, ge=1, le=MOST_RESAMPLES, description="resamples of the frames")
    block_px: float | None = Field(
        None,
        gt=0,
        description="side of the square blocks that are resampled instead of frames [px];"
        " a single frame is cut into 8 x 8 blocks without it",
    )
    n_thresholds: int = Field(64, ge=2, le=1_000_000, description="rows of a sweep")
    seed: int = Field(0, ge=0, description="of the bootstrap")

    def __init__(self, **values: Any) -> None:
        unknown = sorted(set(values) - set(type(self).model_fields))
        if unknown:
            near = nearest(unknown[0], type(self).model_fields)
            hint = f"; did you mean {near!r}?" if near else ""
            known = ", ".join(type(self).model_fields)
            raise BadInputError("scoring rules", f"keys among {known}", f"{unknown[0]!r}{hint}")
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise settings_error("scoring rules", error) from error

    @field_validator("pairing", mode="before")
    @classmethod
    def _pairs_are_one_to_one(cls, name: Any) -> Any:
        if name == "jia2020":
            raise ValueError(
                "a one-to-one rule; jia2020 gives no pairs and is a metric of its own: "
                "score --metric jia2020, and the table analyses/jia2020 of a run"
            )
        return name

    @field_validator("bins")
    @classmethod
    def _bins_parse(cls, text: str | None) -> str | None:
        if text is not None:
            parse_bins(text)
        return text

    def radius_for(self, fwhm: float | None) -> float:
        """Return the pairing radius [px] in a frame of the given FWHM [px]."""
        if self.radius_fwhm is None:
            return self.radius_px
        if fwhm is None or not (np.isfinite(fwhm) and fwhm > 0):
            raise BadInputError(
                "radius_fwhm", "a frame whose FWHM is known", f"FWHM {fwhm!r}; use radius_px"
            )
        return self.radius_fwhm * fwhm

    def edges(self) -> tuple[float, ...] | None:
        """Return the bin edges [mag], or None where they are left to the truth."""
        return None if self.bins is None else parse_bins(self.bins)


#: More than anybody looks at; each is a row of every table.
_MOST_BINS: Final = 1000


def parse_bins(text: str) -> tuple[float, ...]:
    """Return the bin edges [mag] of ``start:stop:step``; the stop is the last edge."""
    try:
        start, stop, step = (float(part) for part in text.split(":"))
        n = (stop - start) / step
        whole = round(n)  # fails of what is not finite
        ok = step > 0 and whole >= 1
    except (ValueError, ZeroDivisionError, OverflowError):
        ok = False
    if not ok or abs(n - whole) > 1e-6:
        raise BadInputError(
            "bins", "start:stop:step with a whole number of steps, such as 15:24:1", repr(text)
        )
    if whole > _MOST_BINS:
        raise BadInputError("bins", f"at most {_MOST_BINS} bins", f"{whole:.6g} by {text[:60]!r}")
    return tuple(float(round(start + k * step, 9)) for k in range(whole + 1))


def auto_bins(mag: npt.ArrayLike, width: float | None = None) -> tuple[float, ...]:
    """Return bin edges [mag] that cover the truth, about ten bins at round places.

    Parameters
    ----------
    mag : array_like
        Magnitudes of the truths that count; NaN is left out.
    width : float, optional
        Width of a bin [mag]; else the one of 0.1, 0.2, 0.25, 0.5, 1, 2, 5 that
        comes nearest to ten bins between the 0.5 % and 99.5 % quantiles.

    Notes
    -----
    Edges are multiples of the width. Without any magnitude they are those of
    one bin from 0 to the width (or 1).
    """
    values = np.asarray(mag, dtype=np.float64)
    values = values[np.isfinite(values)]
    if width is not None and not (np.isfinite(width) and width > 0):
        raise BadInputError("width", "a bin width > 0", repr(width))
    if values.size == 0:
        return (0.0, width or 1.0)
    lo, hi = np.quantile(values, [0.005, 0.995])
    if width is None:
        steps = np.array([0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0])
        width = float(steps[np.argmin(np.abs(np.log(np.maximum(hi - lo, 1e-9) / steps / 10)))])
    first = int(np.floor(lo / width))
    last = max(int(np.ceil(hi / width)), first + 1)
    return tuple(float(round(k * width, 9)) for k in range(first, last + 1))


@takes(truth=Catalog, rules=ScoringRules)
def apply_ignore(
    truth: Catalog,
    frame_shape: tuple[int, int] | None,
    mask: Bools | PackedMask | None,
    saturated: Bools | PackedMask | None,
    rules: ScoringRules,
    area: Bools | PackedMask | None = None,
) -> Catalog:
    """Return the truth with ``ignore`` and ``ignore_reason`` set by the rules.

    Parameters
    ----------
    truth : Catalog
        Its own ``ignore``, where present, is kept with the reason ``given``;
        what earlier rules set (``ignore_reason``) is decided again.
    frame_shape : (ny, nx) or None
        None leaves out whatever needs the frame.
    mask, saturated : ndarray of bool, shape (ny, nx), optional
        Unusable and saturated pixels.
    rules : ScoringRules
        ``min_snr``, ``edge_px``, ``ignore_masked``, ``ignore_saturated``.
    area : ndarray of bool, shape (ny, nx), optional
        Ignore areas of the data set, whatever the rules.

    Raises
    ------
    BadInputError
        If an argument has another type or a mask another shape.

    Notes
    -----
    ``ignore_reason`` is the first that applies of `IGNORE_REASONS`, or empty:
    *given*; *off_frame*: the centre is on no pixel; *edge*: closer to the
    frame's border than ``edge_px``; *area*: in an ignore area; *masked*, *saturated*: on
    such a pixel;
    *faint*: ``snr`` below ``min_snr`` (no ``snr`` column, or NaN: not faint); *no_mag*: a source
    with neither a magnitude nor an S/N among others with a magnitude, for nobody knows whether it
    can be seen (a streak is not ignored for this); *suspect*: the
    user asked for it (`skyduel.evaluation.suspect_list`).
    A streak is at the edge, in an area, masked or saturated when more than half of its
    points on the frame are, sampled at most a pixel apart.
    """
    n = len(truth)
    given = np.array(truth["ignore"], dtype=bool) if "ignore" in truth else np.zeros(n, bool)
    if "ignore_reason" in truth:
        # Rules were applied before: only what was not theirs is given.
        given &= np.isin(np.asarray(truth["ignore_reason"]).astype(str), ["", "given"])
    snr = truth["snr"] if "snr" in truth else np.full(n, np.nan)
    known = np.isfinite(truth["mag"])
    unknown = ~known & ~np.isfinite(snr) & ~truth.is_streak & known.any()
    flags: dict[str, Bools] = {"given": given, "faint": snr < rules.min_snr, "no_mag": unknown}
    if frame_shape is not None:
        shape = require_shape(frame_shape, mask=mask, saturated=saturated, area=area)
        flags["off_frame"] = ~_on_frame(truth["x"], truth["y"], shape)
        flags["edge"] = _mostly(truth, shape, lambda x, y: _in_edge(x, y, shape, rules.edge_px))
        if area is not None:
            flags["area"] = _mostly(truth, shape, lambda x, y: area[_row(y), _row(x)])
        if mask is not None and rules.ignore_masked:
            flags["masked"] = _mostly(truth, shape, lambda x, y: mask[_row(y), _row(x)])
        if saturated is not None and rules.ignore_saturated:
            flags["saturated"] = _mostly(truth, shape, lambda x, y: saturated[_row(y), _row(x)])
    if "suspect" in truth:
        flags["suspect"] = np.asarray(truth["suspect"], dtype=np.int64) > 0
    reason = np.full(n, "", dtype="U9")
    for name in reversed(IGNORE_REASONS):
        if name in flags:
            reason[flags[name]] = name
    return truth.with_columns(ignore=reason != "", ignore_reason=reason)


@takes(found=Catalog, rules=ScoringRules)
def mark_ignored_regions(
    found: Catalog,
    frame_shape: tuple[int, int],
    mask: Bools | PackedMask | None,
    rules: ScoringRules,
    area: Bools | PackedMask | None = None,
) -> Catalog:
    """Return the detections with ``ignore`` set where they lie in an ignored region.

    Such a detection counts neither way *unless it is paired* with a truth that
    counts. Regions are masked pixels, the edge band, ignore areas and whatever is off
    the frame, by the detection's centre. Saturated pixels are none: hot pixels and
    cosmic rays saturate too, and whoever reports them shall be charged.

    Parameters
    ----------
    found : Catalog
        Its own ``ignore``, where present, is kept.
    frame_shape : (ny, nx)
        Of the frame.
    mask : ndarray of bool, shape (ny, nx), optional
        Unusable pixels.
    rules : ScoringRules
        ``edge_px`` and ``ignore_masked``.
    area : ndarray of bool, shape (ny, nx), optional
        Ignore areas of the data set, whatever the rules.

    Raises
    ------
    BadInputError
        As `apply_ignore`.
    """
    shape = require_shape(frame_shape, mask=mask, area=area)
    x, y = found["x"], found["y"]
    on = _on_frame(x, y, shape)
    ignore = ~on | _in_edge(x, y, shape, rules.edge_px)
    if "ignore" in found:
        ignore |= found["ignore"]
    used = [area, mask if rules.ignore_masked else None]
    for region in (one for one in used if one is not None):
        ignore[on] |= region[_row(y[on]), _row(x[on])]
    return found.with_columns(ignore=ignore)


def ignore_note(file: Path, area: PackedMask, truth: Catalog) -> str:
    """Return a line that says how much of a frame and of its truth lies in ignore areas."""
    n = int((np.asarray(truth["ignore_reason"]).astype(str) == "area").sum())
    share = area.count() / (area.shape[0] * area.shape[1])
    return (
        f"{n} of {len(truth)} truths and {100 * share:.1f} % of the pixels lie in the ignore "
        f"areas of {file.name}; detections there count neither way"
    )


def require_shape(shape: tuple[int, int], **arrays: Bools | PackedMask | None) -> tuple[int, int]:
    """Return the shape of a frame, to which all arrays have to be."""
    pair = isinstance(shape, Sequence) and len(shape) == 2
    if not pair or not all(isinstance(n, Integral) for n in shape):
        raise BadInputError("frame_shape", "(ny, nx), two whole numbers", repr(shape))
    for name, array in arrays.items():
        if array is None:
            continue
        require_kind(name, array, (np.ndarray, PackedMask))
        if isinstance(array, np.ndarray) and array.dtype != np.bool_:
            raise BadInputError(name, "an array of bool, such as array != 0", f"{array.dtype}")
        if array.shape != tuple(shape):
            raise BadInputError(name, f"the frame's shape {tuple(shape)}", f"shape {array.shape}")
    return shape


def _row(v: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return the pixel that holds a coordinate; a border belongs to the next pixel."""
    return np.floor(v + 0.5).astype(np.int64)


def _on_frame(x: Any, y: Any, shape: tuple[int, int]) -> Bools:
    ny, nx = shape
    return np.asarray((x >= -0.5) & (x < nx - 0.5) & (y >= -0.5) & (y < ny - 0.5))


def _in_edge(x: Any, y: Any, shape: tuple[int, int], edge_px: float) -> Bools:
    ny, nx = shape
    near = np.minimum(np.minimum(x + 0.5, nx - 0.5 - x), np.minimum(y + 0.5, ny - 0.5 - y))
    return np.asarray(near < edge_px)


def _mostly(truth: Catalog, shape: tuple[int, int], test: Any) -> Bools:
    """Return a mask of truths that pass a test at their centre or along most of a streak."""
    x, y = truth["x"], truth["y"]
    out = np.zeros(len(truth), dtype=bool)
    on = _on_frame(x, y, shape)
    plain = on & ~truth.is_streak
    out[plain] = test(x[plain], y[plain])
    for row in np.flatnonzero(truth.is_streak):
        length, theta = float(truth["length"][row]), float(truth["theta"][row])
        # An odd number, so that the centre is among them.
        t = np.linspace(-length / 2, length / 2, 2 * int(np.ceil(length / 2)) + 1)
        px, py = x[row] + t * np.cos(theta), y[row] + t * np.sin(theta)
        inside = _on_frame(px, py, shape)
        if inside.any():
            out[row] = np.mean(test(px[inside], py[inside])) > 0.5
    return out
