"""Fine-tune the shipped weights to one telescope with a few of its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.utils.data import Dataset

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import forced_photometry
from skyduel.detect.calibration.fit_calibration import (
    KnownFrame,
    calibration_frames,
    fit_calibration,
)
from skyduel.detect.model.network import Network
from skyduel.detect.model.weights import read_weights, save_weights
from skyduel.detect.training.crops import SimulatedCrops, collate, item
from skyduel.detect.training.train import (
    TrainingSettings,
    compute_losses,
    optimise,
    parameter_groups,
    update_average,
    validate,
    weighted_sum,
)
from skyduel.simulation import InjectionSettings, Psf, draw_injected, inject, measure_psf

__all__ = [
    "FinetuneSettings",
    "Finetuned",
    "LabelledFrame",
    "finetune",
    "labelled",
    "self_labelled",
]

#: Score limits for detections on an unlabelled frame: from the first on they are labelled as
#: sources, between the two they are ignored, below the second they are labelled as noise.
_SURE, _DOUBTFUL = 0.8, 0.1
_CROP_STREAM: Final = 7
#: Number of positions drawn for a crop in search of one that is not mostly masked.
_CROP_TRIES: Final = 20


class FinetuneSettings(BaseModel):
    """Settings of fine-tuning."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(300, ge=1, description="optimiser steps at most")
    batch: int = Field(6, ge=1, description="crops a step")
    replay: float = Field(0.34, ge=0, lt=1, description="share of simulated crops")
    crop_px: int = Field(256, ge=64, multiple_of=16, description="side of a crop [px]")
    learning_rate: float = Field(3e-4, gt=0, description="of pyramid and heads")
    backbone: float = Field(
        0.1, ge=0, le=1, description="share of that rate for the backbone; 0 freezes it"
    )
    warmup: int = Field(20, ge=1)
    weight_decay: float = Field(1e-2, ge=0)
    clip: float = Field(1.0, gt=0)
    averaging: float = Field(0.97, ge=0, lt=1, description="decay of the averaged weights")
    seed: int = Field(1, ge=0)
    bf16: bool = True
    validate_every: int = Field(25, ge=1)
    validation_crops: int = Field(24, ge=1, description="crops of the held-out frames")
    patience: int = Field(4, ge=1, description="validations without gain before it stops")
    calibration_per_kind: int = Field(4, ge=1, description="simulated frames for calibration")


class LabelledFrame(NamedTuple):
    """A frame, its sources, and the PSF for injecting further sources; None injects nothing."""

    frame: Frame
    truth: Catalog
    psf: Psf | None = None


@dataclass(frozen=True)
class Finetuned:
    """Result of fine-tuning.

    Attributes
    ----------
    steps, best_step : int
        Number of steps done, and the step whose averaged weights were kept; 0 for the
        initial weights, if no step was better.
    before, after : float
        Loss on the held-out crops of the initial weights and of the kept weights.
    replay_before, replay_after : float
        The same losses on simulated crops; a rise measures forgetting.
    """

    steps: int
    best_step: int
    before: float
    after: float
    replay_before: float
    replay_after: float


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


class _FrameCrops(Dataset[dict[str, Tensor]]):
    """Randomly flipped and transposed crops of a few frames; item i is always the same."""

    def __init__(
        self, frames: Sequence[LabelledFrame], size: int, seed: int, stream: int, length: int
    ) -> None:
        self.frames, self.size, self.length = frames, size, length
        self.seed, self.stream = seed, stream

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        rng = np.random.default_rng([self.seed, _CROP_STREAM, self.stream, index])
        frame, truth, psf = self.frames[int(rng.integers(len(self.frames)))]
        y0, x0 = _corner(frame, self.size, rng)
        frame, truth = _cut(frame, truth, x0, y0, self.size)
        if psf is not None:
            density = 10 ** rng.uniform(-3.8, -2.6)
            settings = InjectionSettings(
                number=int(rng.poisson(density * self.size**2)),
                snr=(1.5, 60.0),
                streaks=int(rng.random() < 0.3),
                separation=1.0,
                avoid=2.0,
            )
            more = draw_injected(frame, psf, settings, rng, there=truth)
            frame, truth = inject(frame, more, psf, rng), _joined(truth, more)
        return item(*_turned(frame, truth, int(rng.integers(8))))


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


def finetune(
    start: Path,
    frames: Sequence[LabelledFrame],
    target: Path,
    settings: FinetuneSettings | None = None,
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> Finetuned:
    """Fine-tune weights to the telescope of a few frames, and write them.

    Parameters
    ----------
    start : Path
        The file of the initial weights.
    frames : sequence of LabelledFrame
        Frames of one telescope; see `labelled` and `self_labelled`.
    target : Path
        The weights file to write.
    settings : FinetuneSettings, optional
        Settings; the defaults if not given.
    on_step : callable, optional
        Called with the number of the step and its losses by name.

    Returns
    -------
    Finetuned
        Losses before and after, on held-out and on simulated crops.

    Raises
    ------
    BadInputError
        If the weights or the frames cannot be used.

    Notes
    -----
    The pyramid and the heads are trained at the full learning rate, the backbone at a
    fraction of it. Each batch also holds simulated crops. The averaged weights with the
    lowest loss on the held-out frames are kept, or the initial weights if none are better.
    Labelled held-out frames and simulated frames together fit the calibration. With
    self-labelled frames the calibration is unchanged, because their labels depend on it.
    """
    s = settings or FinetuneSettings()
    smallest = min((min(f.frame.shape) for f in frames), default=s.crop_px)
    size = min(s.crop_px, smallest // 16 * 16)
    if size < 64:
        raise BadInputError("finetune", "frames of at least 64 px", f"one of {smallest} px")
    torch.manual_seed(s.seed)
    stored = read_weights(start)
    network = Network(stored.settings)
    network.load_state_dict(dict(stored.tensors))
    network.to(memory_format=torch.channels_last)
    t = TrainingSettings(
        steps=s.steps, batch=s.batch, crop_px=size, learning_rate=s.learning_rate,
        seed=s.seed, bf16=s.bf16, network=stored.settings,
    )  # fmt: skip
    own, held = hold_out(frames, size)
    validation = [
        _FrameCrops(held, size, s.seed, 1, s.validation_crops)[i] for i in range(s.validation_crops)
    ]
    simulated = SimulatedCrops(s.seed, 1, size, max(8, s.validation_crops // 3))
    replayed = [simulated[i] for i in range(len(simulated))]

    optimiser = torch.optim.AdamW(parameter_rates(network, s), lr=s.learning_rate)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    before, replay_before = (validate(network, average, c, t) for c in (validation, replayed))
    best, best_step, step = before, 0, 0
    kept = {k: v.clone() for k, v in average.items()}
    waited = 0
    network.train()
    for step, batch in enumerate(_batches(own, s, size), start=1):
        losses = compute_losses(network, batch, t, torch.Generator().manual_seed(step))
        rate = (
            s.learning_rate * min(1.0, step / s.warmup) * min(1.0, 2 * (1 - (step - 1) / s.steps))
        )
        norm = optimise(network, optimiser, weighted_sum(losses), rate, s.clip)
        update_average(average, network, min(s.averaging, step / (10 + step)))
        values = {k: float(v.detach()) for k, v in losses.items()} | {"norm": norm}
        if step % s.validate_every == 0 or step == s.steps:
            values["held out"] = now = validate(network, average, validation, t)
            waited += 1
            if now < best:
                best, best_step, waited = now, step, 0
                kept = {k: v.clone() for k, v in average.items()}
        if on_step is not None:
            on_step(step, values)
        if waited >= s.patience:
            break
    replay_after = validate(network, kept, replayed, t)
    result = Finetuned(step, best_step, before, best, replay_before, replay_after)

    calibration = stored.calibration
    if best_step and all(f.psf is None for f in frames):
        final = Network(stored.settings)
        final.load_state_dict({k: v.half().float() for k, v in kept.items()})
        final.eval().requires_grad_(False).fold()
        known = [KnownFrame("own", f.frame, f.truth) for f in held]
        calibration = fit_calibration(
            final,
            chain(known, calibration_frames(s.seed, s.calibration_per_kind)),
            stored.calibration,
        )
    facts = dict(stored.facts) | {
        "finetuned": {
            "from_sha256": stored.sha256,
            "frames": [f.frame.name for f in frames],
            "injected": any(f.psf is not None for f in frames),
            "settings": s.model_dump(mode="json"),
            "best_step": best_step,
            "held_out_loss": [before, best],
        }
    }
    save_weights(target, kept, stored.settings, calibration, facts)
    return result


def parameter_rates(network: Network, s: FinetuneSettings) -> list[dict[str, Any]]:
    """Return the parameter groups to train, each with ``scale``, its fraction of the rate.

    The fraction of the backbone is ``s.backbone``; at 0 the backbone is frozen and left out.
    """
    backbone = {id(p) for p in network.backbone.parameters()}
    if not s.backbone:
        network.backbone.requires_grad_(False)
    groups = []
    for group in parameter_groups(network, s.weight_decay):
        for slow, scale in ((False, 1.0), (True, s.backbone)):
            chosen = [p for p in group["params"] if (id(p) in backbone) == slow]
            if scale:
                groups.append({**group, "params": chosen, "scale": scale})
    return groups


def _batches(
    frames: Sequence[LabelledFrame], s: FinetuneSettings, size: int
) -> Iterator[dict[str, Any]]:
    """Yield the batches: each holds crops of the frames, then simulated crops."""
    replay = min(round(s.replay * s.batch), s.batch - 1)
    real = s.batch - replay
    own = _FrameCrops(frames, size, s.seed, 0, s.steps * real)
    simulated = SimulatedCrops(s.seed, _CROP_STREAM, size, s.steps * s.batch)
    for step in range(s.steps):
        items = [own[step * real + i] for i in range(real)]
        items += [simulated[step * replay + i] for i in range(replay)]
        yield collate(items)
