"""Loss functions of the proposal head and the RoI head."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from skyduel.core.defaults import PAIRING_RADIUS_PX
from skyduel.detect.model.network import DenseOutput

__all__ = ["dense_losses", "imitation_losses", "roi_losses", "roi_targets"]

#: Added to the number of positives, so that a batch without positives has a finite weight.
_FEW: Final = 64.0


def dense_losses(output: DenseOutput, target: Tensor) -> dict[str, Tensor]:
    """Return the losses of the proposal head, by name, each a scalar.

    Parameters
    ----------
    output : DenseOutput
        Output for a batch of n frames.
    target : Tensor, shape (n, 10, h, w)
        Targets, as `skyduel.detect.training.targets.Targets.maps`.

    Notes
    -----
    The presence loss is plain cross-entropy over every cell that has a label,
    without sampling and without focal weights: both bias the predicted
    probability.
    """
    maps = output.maps
    point, streak = target[:, 0], target[:, 3]
    n_point, n_streak = point.sum() + _FEW, streak.sum() + _FEW
    losses = {
        "point": (
            F.binary_cross_entropy_with_logits(maps[:, 0], point, reduction="none") * target[:, 8]
        ).sum()
        / n_point,
        "streak": (
            F.binary_cross_entropy_with_logits(maps[:, 3], streak, reduction="none") * target[:, 9]
        ).sum()
        / n_streak,
    }
    offset = F.smooth_l1_loss(maps[:, 1:3], target[:, 1:3], reduction="none", beta=0.3)
    losses["offset"] = (offset * point[:, None]).sum() / n_point
    ridge = F.smooth_l1_loss(maps[:, 4:8], target[:, 4:8], reduction="none", beta=0.3)
    losses["ridge"] = (ridge * streak[:, None]).sum() / n_streak
    return losses


def roi_targets(proposals: Tensor, points: Tensor, streak: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the target class, centre offset and weight of each proposal of one frame.

    Parameters
    ----------
    proposals : Tensor, shape (k, 2)
        x, y [px].
    points : Tensor, shape (n, 4)
        Sources, as `skyduel.detect.training.targets.Targets.points`.
    streak : Tensor of bool, shape (k,)
        True for proposals on a true streak.

    Returns
    -------
    kinds : Tensor of int64, shape (k,)
        Index into `skyduel.detect.model.network.ROI_KINDS`.
    offsets : Tensor, shape (k, 2)
        Offset from the proposal to the source [px], 0 for proposals without a source.
    weights : Tensor, shape (k,)
        0 where the proposal is nearest to an ignored source, or is a second proposal
        closer to a known source than any matching rule could reject, or lies within an
        ignored galaxy.

    Notes
    -----
    A proposal is right if it and a known truth are mutual nearest neighbours within
    `PAIRING_RADIUS_PX`, which is the rule of the scorer.
    """
    k = len(proposals)
    kinds = torch.where(streak, 2, 0)
    offsets = proposals.new_zeros(k, 2)
    weights = proposals.new_ones(k)
    if k and len(points):
        distance = torch.cdist(proposals, points[:, :2])
        near, which = distance.min(dim=1)
        mutual = distance.argmin(dim=0)[which] == torch.arange(k, device=proposals.device)
        right = mutual & (near <= PAIRING_RADIUS_PX) & (points[which, 2] > 0)
        kinds[right] = 1
        offsets[right] = points[which[right], :2] - proposals[right]
        weights[(near <= PAIRING_RADIUS_PX) & (points[which, 2] == 0)] = 0.0
        wide = (points[:, 2] == 0) & (points[:, 3] > PAIRING_RADIUS_PX)
        within = (distance[:, wide] <= points[wide, 3]).any(dim=1)
        weights[within & ~right] = 0.0
    return kinds, offsets, weights


def roi_losses(
    logits: Tensor, offsets: Tensor, kinds: Tensor, true_offsets: Tensor, weights: Tensor
) -> dict[str, Tensor]:
    """Return the losses of the RoI head, by name; arguments as returned by `roi_targets`."""
    total = weights.sum() + 1.0
    kind = (F.cross_entropy(logits, kinds, reduction="none") * weights).sum() / total
    point = (kinds == 1).float() * weights
    offset = F.smooth_l1_loss(offsets, true_offsets, reduction="none", beta=0.2).sum(dim=1)
    return {"kind": kind, "position": (offset * point).sum() / (point.sum() + 1.0)}


def imitation_losses(
    maps: Tensor, taught: Tensor, logits: Tensor, taught_logits: Tensor,
    offsets: Tensor, taught_offsets: Tensor,
) -> dict[str, Tensor]:  # fmt: skip
    """Return the losses against the output of a teacher, by the names of those against the truth.

    Parameters
    ----------
    maps, taught : Tensor, shape (n, 8, h, w)
        Dense maps of the network and of its teacher, in the order of `DENSE_CHANNELS`.
    logits, taught_logits : Tensor, shape (k, 3)
        Class logits at the same proposals.
    offsets, taught_offsets : Tensor, shape (k, 2)
        Centre offsets at the same proposals [px].

    Notes
    -----
    The probabilities of the teacher take the place of the labels (Hinton, Vinyals & Dean
    2015, arXiv:1503.02531, at temperature 1: a higher one would change what a probability
    means). At a faint source a label is one draw of the noise; the teacher's probability is
    the mean over many.
    """
    labelled = torch.ones_like(taught[:, :2])
    presence = taught[:, [0, 3]].sigmoid()
    soft = torch.cat(
        [presence[:, :1], taught[:, 1:3], presence[:, 1:], taught[:, 4:8], labelled], dim=1
    )
    kinds = taught_logits.softmax(dim=1)
    shift = F.smooth_l1_loss(offsets, taught_offsets, reduction="none", beta=0.2).sum(dim=1)
    return dense_losses(DenseOutput(maps, maps), soft) | {
        "kind": F.cross_entropy(logits, kinds, reduction="sum") / (len(kinds) + 1.0),
        "position": (shift * kinds[:, 1]).sum() / (kinds[:, 1].sum() + 1.0),
    }
