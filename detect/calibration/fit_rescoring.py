"""Fit the perceptron that combines the network's logit with the context features."""

from __future__ import annotations

from itertools import chain, pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from skyduel.detect.model.score_model import Rescoring

__all__ = ["ENOUGH", "fit_rescoring"]

Floats = npt.NDArray[np.float64]

#: Minimum number of proposals for a fit; with fewer only Platt's two parameters are fitted.
ENOUGH: Final = 20_000
_HIDDEN: Final = (24, 24)
_BATCH: Final = 2048
_EPOCHS: Final = 30
_RATE: Final = 5e-3
_DECAY: Final = 0.03
#: Number of decimals stored in the weights file.
_DECIMALS: Final = 6


def fit_rescoring(
    logits: Floats,
    context_features: npt.NDArray[np.floating],
    right: npt.NDArray[np.bool_],
    weights: Floats,
    seed: int = 0,
) -> Rescoring:
    """Fit the perceptron whose logits best predict whether a proposal is right.

    Parameters
    ----------
    logits : ndarray of float64, shape (k,)
        Logits of the network after soft-NMS.
    context_features : ndarray, shape (k, 15)
        Features from `skyduel.detect.inference.context_features.measure_context_features`.
    right : ndarray of bool, shape (k,)
        True for proposals that are sources.
    weights : ndarray of float64, shape (k,)
        Weight of each proposal.
    seed : int
        Seed of the initial weights and the batches.

    Notes
    -----
    Cross-entropy, AdamW, one-cycle learning rate. The initial perceptron returns the network's
    logit.
    """
    raw = np.arcsinh(np.column_stack([logits, context_features]))
    mean, scale = raw.mean(axis=0), np.maximum(raw.std(axis=0), 1e-3)
    blank = Rescoring(
        tuple(np.round(mean, _DECIMALS).tolist()), tuple(np.round(scale, _DECIMALS).tolist()), ()
    )
    inputs = torch.from_numpy(blank.inputs(logits, context_features)).float()
    own, wanted = torch.from_numpy(logits).float(), torch.from_numpy(right).float()
    weight = torch.from_numpy(weights / weights.mean()).float()
    # The global seed is not changed: this may run during a training.
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        wide = (inputs.shape[1], *_HIDDEN, 1)
        layers = [nn.Linear(a, b) for a, b in pairwise(wide)]
        nn.init.zeros_(layers[-1].weight)
        nn.init.zeros_(layers[-1].bias)
        steps = max(1, _EPOCHS * len(own) // _BATCH)
        optimiser = torch.optim.AdamW(
            chain(*(layer.parameters() for layer in layers)), lr=_RATE, weight_decay=_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps + 1)
        for _ in range(steps):
            some = torch.randint(0, len(own), (_BATCH,))
            u = inputs[some]
            for layer in layers[:-1]:
                u = torch.tanh(layer(u))
            said = own[some] + layers[-1](u)[:, 0]
            loss = F.binary_cross_entropy_with_logits(said, wanted[some], weight=weight[some])
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
    return Rescoring(
        blank.mean,
        blank.scale,
        tuple(_rows(layer) for layer in layers),
    )


def _rows(layer: nn.Linear) -> tuple[tuple[float, ...], ...]:
    """Return the rows of a layer's weights, each with the bias last."""
    table = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().double().numpy()
    return tuple(tuple(row) for row in np.round(table, _DECIMALS).tolist())
