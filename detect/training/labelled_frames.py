"""Labelled frames of one telescope, and their crops, for fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError, takes
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import forced_photometry
from skyduel.simulation import InjectionSettings, Psf, draw_injected, inject, measure_psf

__all__ = ["LabelledFrame", "draw_crop", "hold_out", "labelled", "self_labelled"]

#: Score limits for detections on an unlabelled frame: from the first on they are labelled as
#: sources, between the two they are ignored, below the second they are labelled as noise.
_SURE, _DOUBTFUL = 0.8, 0.1
#: Number of positions drawn for a crop in search of one that is not mostly masked.
_CROP_TRIES: Final = 20


class LabelledFrame(NamedTuple):
    """A frame, its sources, and the PSF for injecting further sources; None injects nothing."""

    frame: Frame
    truth: Catalog
    psf: Psf | None = None


@takes(frame=Frame, truth=Catalog)
def labelled(frame: Frame, truth: Catalog) -> LabelledFrame:
    """Label a frame with a catalogue; measure the S/N if the catalogue has none.

    The S/N is that of forced photometry in the common aperture, so that sources which a
    deep catalogue lists but the frame does not show are not trained on.
    """
    if "snr" in truth or not len(truth):
        return LabelledFrame(frame, truth)
    measured = forced_photometry(frame, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = measured["aper_flux"] / measured["aper_flux_err"]
    return LabelledFrame(frame, truth.with_columns(snr=np.nan_to_num(snr, nan=0.0)))


@takes(frame=Frame, found=Catalog)
def self_labelled(frame: Frame, found: Catalog) -> LabelledFrame:
    """Label a frame with its own detections, for training with injected sources.

    Parameters
    ----------
    frame : Frame
        A real frame without labels.
    found : Catalog
        The detections of the initial weights on it, with scores. Detections of score 0.8
        or more are labelled as sources, those from 0.1 to 0.8 are ignored.

    Raises
    ------
    BadInputError
        If the frame has too few stars to measure the PSF.
    """
    kept = found.select(found["score"] >= _DOUBTFUL)
    points = kept.select(~kept.is_streak)
    psf = measure_psf(frame, points.xy).psf
    truth = kept.with_columns(
        ignore=kept["score"] < _SURE, snr=np.full(len(kept), np.finfo(np.float64).max)
    )
    return LabelledFrame(frame, truth, psf)


def draw_crop(
    frames: Sequence[LabelledFrame], size: int, rng: np.random.Generator
) -> tuple[Frame, Catalog]:
    """Draw a flipped and transposed square of one of the frames, with its labels.

    Parameters
    ----------
    frames : sequence of LabelledFrame
        Frames of at least ``size`` rows and columns.
    size : int
        Side of the square [px].
    rng : Generator
        Draws frame, place, orientation, and injected sources if the frame has a PSF.

    Returns
    -------
    frame : Frame
        The square, without WCS.
    truth : Catalog
        Its sources and those that may reach into it; pixels 0-based, integer at the centre.
    """
    frame, truth, psf = frames[int(rng.integers(len(frames)))]
    y0, x0 = _corner(frame, size, rng)
    frame, truth = _cut(frame, truth, x0, y0, size)
    if psf is not None:
        density = 10 ** rng.uniform(-3.8, -2.6)
        settings = InjectionSettings(
            number=int(rng.poisson(density * size**2)),
            snr=(1.5, 60.0),
            streaks=int(rng.random() < 0.3),
            separation=1.0,
            avoid=2.0,
        )
        more = draw_injected(frame, psf, settings, rng, there=truth)
        frame, truth = inject(frame, more, psf, rng), _joined(truth, more)
    return _turned(frame, truth, int(rng.integers(8)))


def _corner(frame: Frame, size: int, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the first row and column of a crop, preferring those at most half masked."""
    ny, nx = frame.shape
    best, least = (0, 0), np.inf
    for _ in range(_CROP_TRIES):
        y0, x0 = int(rng.integers(0, ny - size + 1)), int(rng.integers(0, nx - size + 1))
        masked = float(frame.bad[y0 : y0 + size, x0 : x0 + size].mean())
        if masked <= 0.5:
            return y0, x0
        if masked < least:
            best, least = (y0, x0), masked
    if least < 1:
        return best
    rows, columns = np.nonzero(~frame.bad)  # a frame has a usable pixel
    k = int(rng.integers(rows.size))
    return min(int(rows[k]), ny - size), min(int(columns[k]), nx - size)


def _cut(frame: Frame, truth: Catalog, x0: int, y0: int, size: int) -> tuple[Frame, Catalog]:
    """Cut a square out of a frame, with the sources that may reach into it."""
    part = np.s_[y0 : y0 + size, x0 : x0 + size]
    mask = None if frame.mask is None else frame.mask[part]
    moved = truth.with_columns(x=truth["x"] - x0, y=truth["y"] - y0)
    reach = 16 + moved["length"] / 2
    near = (
        (moved["x"] > -reach)
        & (moved["x"] < size + reach)
        & (moved["y"] > -reach)
        & (moved["y"] < size + reach)
    )
    return frame.with_(data=frame.data[part], mask=mask, wcs=None), moved.select(near)


def _turned(frame: Frame, truth: Catalog, way: int) -> tuple[Frame, Catalog]:
    """Flip a square frame in x (bit 1) and in y (bit 2) and transpose it (bit 4)."""
    data, mask = frame.data, frame.mask
    x, y, theta = truth["x"], truth["y"], truth["theta"]
    last = data.shape[0] - 1
    if way & 1:
        data, mask = data[:, ::-1], None if mask is None else mask[:, ::-1]
        x, theta = last - x, -theta
    if way & 2:
        data, mask = data[::-1], None if mask is None else mask[::-1]
        y, theta = last - y, -theta
    if way & 4:
        data, mask = data.T, None if mask is None else mask.T
        x, y, theta = y, x, np.pi / 2 - theta
    theta = (theta + np.pi / 2) % np.pi - np.pi / 2
    copied = None if mask is None else np.ascontiguousarray(mask)
    return (
        frame.with_(data=np.ascontiguousarray(data), mask=copied),
        truth.with_columns(x=x, y=y, theta=theta),
    )


def _joined(truth: Catalog, more: Catalog) -> Catalog:
    """Concatenate two catalogues, with the columns that labels need."""
    both: dict[str, Any] = {
        name: np.concatenate([truth[name], more[name]])
        for name in ("x", "y", "kind", "length", "theta", "snr")
    }
    ignored = truth["ignore"] if "ignore" in truth else np.zeros(len(truth), dtype=bool)
    ignore = np.concatenate([ignored, np.zeros(len(more), dtype=bool)])
    return Catalog.build(source=truth.source, ignore=ignore, **both)


def hold_out(
    frames: Sequence[LabelledFrame], crop_px: int
) -> tuple[list[LabelledFrame], list[LabelledFrame]]:
    """Split the frames into a training set and a held-out set.

    A quarter of the frames, at least one, is held out. Of a single frame the last third of
    the rows is held out, or a little more or less so that both parts are at least as high
    as a crop.

    Raises
    ------
    BadInputError
        If there is no frame, or a single frame is too small to be split.
    """
    if not frames:
        raise BadInputError("finetune", "at least one frame", "none")
    if len(frames) > 1:
        k = max(1, len(frames) // 4)
        return list(frames[:-k]), list(frames[-k:])
    frame, truth, psf = frames[0]
    ny = frame.shape[0]
    at = max(ny * 2 // 3, crop_px)
    if ny - at < crop_px:
        at = ny - crop_px
    if at < crop_px:
        raise BadInputError(
            frame.name, f"several frames, or one of {2 * crop_px} rows", f"one of {ny} rows"
        )
    mask = frame.mask
    parts = []
    for rows in (slice(0, at), slice(at, ny)):
        inside = (truth["y"] > rows.start - 0.5) & (truth["y"] < rows.stop - 0.5)
        part = frame.with_(
            data=frame.data[rows], mask=None if mask is None else mask[rows], wcs=None
        )
        moved = truth.with_columns(y=truth["y"] - rows.start)
        parts.append(LabelledFrame(part, moved.select(inside | truth.is_streak), psf))
    return parts[:1], parts[1:]
