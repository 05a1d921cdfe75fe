"""Structured pruning of a trained network.

Blocks of the backbone are removed where the loss grows least. The 3×3 convolution over the
pyramid's map may become a 1×1 convolution fitted to its output. The proposal head keeps the
channels that reproduce its maps best; the pyramid and the RoI head keep those with the largest
weights in the layers that read them. A pruned network must be trained further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.core.errors import BadInputError
from skyduel.detect.model.backbones.protocol import PrunableStage
from skyduel.detect.model.layers import RELU_GAIN, Conv
from skyduel.detect.model.layout import DENSE_CHANNELS
from skyduel.detect.model.network import Network, NetworkSettings

__all__ = ["prune"]

#: Cells with a presence logit above this, of which there are few, have weight 1 in the fits.
_LOGIT: Final = -4.0
#: Weight of the other cells.
_EMPTY: Final = 0.05
#: Ridge penalty of the fits, as a fraction of the mean variance.
_RIDGE: Final = 1e-4
#: Settings of a network that pruning may lower.
_WIDTHS: Final = ("pyramid", "proposals", "head")

Loss = Callable[[Network], float]


def prune(
    network: Network, settings: NetworkSettings, images: Sequence[Tensor], loss: Loss
) -> Network:
    """Return a smaller network whose output is close to that of a trained one.

    Parameters
    ----------
    network : Network
        A trained network that is not folded; it is not changed.
    settings : NetworkSettings
        Shape of the result: a backbone that the network's can be pruned to
        (`Backbone.prunable`), a narrower pyramid, proposal head or RoI head, ``smooth``
        of 1; the rest unchanged.
    images : sequence of Tensor, each (n, 4, s, s)
        Input channels of the frames used for the fits.
    loss : callable
        Loss of a network, for the choice of the blocks.

    Raises
    ------
    BadInputError
        If the network cannot be pruned to these settings.
    """
    had = network.settings
    wanted = had.model_copy(
        update={name: getattr(settings, name) for name in ("backbone", "smooth", *_WIDTHS)}
    )
    new = _copy(network).eval()
    stages = new.backbone.prunable(settings.backbone)
    if (
        wanted != settings
        or stages is None
        or settings.smooth > had.smooth
        or any(getattr(settings, name) > getattr(had, name) for name in _WIDTHS)
    ):
        raise BadInputError("network", f"the shape of the weights, {had!r}, or a part of it",
                            repr(settings))  # fmt: skip
    teacher = _copy(network).eval()
    _remove_blocks(new, stages, loss)
    with torch.inference_mode():
        if settings.smooth < had.smooth:
            new.smooth = _fit_pointwise(new, teacher, images)
        if settings.proposals < had.proposals:
            _remove_channels(new, teacher, settings.proposals, images)
        if settings.pyramid < had.pyramid:
            _narrow_pyramid(new, settings.pyramid, images)
        if settings.head < had.head:
            _narrow_head(new, settings.head)
    out = Network(settings)
    out.load_state_dict(new.state_dict())
    return out


def _copy(network: Network) -> Network:
    out = Network(network.settings)
    out.load_state_dict(network.state_dict())
    return out


def _remove_blocks(network: Network, stages: Sequence[PrunableStage], loss: Loss) -> None:
    """Remove blocks in place, each time the one whose removal raises the loss least."""
    while True:
        trials: list[tuple[float, int, int]] = []
        for i, (blocks, n_blocks) in enumerate(stages):
            if len(blocks) <= n_blocks:
                continue
            for j in range(1, len(blocks)):  # the first of a stage changes its shape
                removed = blocks.pop(j)
                trials.append((loss(network), i, j))
                blocks.insert(j, removed)
        if not trials:
            return
        _, i, j = min(trials, key=lambda trial: trial[0])
        stages[i].blocks.pop(j)


def _layer_inputs(
    network: Network, teacher: Network, images: Sequence[Tensor]
) -> Iterator[tuple[dict[str, Tensor], Tensor, Any]]:
    """Yield for each image the inputs of both last layers, cell weights and teacher output."""
    seen: dict[str, Tensor] = {}
    hooks = [
        network.smooth.register_forward_pre_hook(
            lambda _, x: seen.__setitem__("smooth", x[0] * RELU_GAIN)
        ),
        network.propose.register_forward_hook(
            lambda _, __, out: seen.__setitem__("dense", F.relu(out) * RELU_GAIN)
        ),
    ]
    presence = [DENSE_CHANNELS.index(name) for name in ("point", "streak")]
    try:
        for image in images:
            network(image)
            output = teacher(image)
            sure = output.maps[:, presence].amax(dim=1) > _LOGIT
            yield seen, torch.where(sure, 1.0, _EMPTY).flatten(), output
    finally:
        for hook in hooks:
            hook.remove()


def _rows(maps: Tensor) -> Tensor:
    """Return maps (n, c, h, w) as rows (n·h·w, c) in double precision."""
    return maps.movedim(1, -1).flatten(0, -2).double()


def _moments(pairs: Iterator[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return the normal equations of y on x and a constant (last row), with the ridge."""
    xx = xy = torch.zeros(())
    for x, y, weight in pairs:
        x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        xx, xy = xx + x.T @ (x * weight[:, None]), xy + x.T @ (y * weight[:, None])
    ridge = torch.full((len(xx),), _RIDGE * float(xx.diagonal()[:-1].mean()), dtype=xx.dtype)
    ridge[-1] = 0
    return xx + torch.diag(ridge), xy


def _fit_pointwise(network: Network, teacher: Network, images: Sequence[Tensor]) -> Conv:
    """Fit a 1×1 convolution to the output of the 3×3 convolution."""

    def pairs() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for seen, weight, output in _layer_inputs(network, teacher, images):
            x = _rows(seen["smooth"])
            # Standardised weights have mean 0, so the mean over channels has no effect.
            yield x - x.mean(dim=1, keepdim=True), _rows(output.features), weight

    solution = torch.linalg.solve(*_moments(pairs()))
    weight = solution[:-1].T - solution[:-1].mean(dim=0)[:, None]
    return _conv_of(weight[:, :, None, None], solution[-1])


def _remove_channels(
    network: Network, teacher: Network, most: int, images: Sequence[Tensor]
) -> None:
    """Keep the channels of the proposal head that reproduce the teacher's maps best.

    Backward elimination: each step removes the channel whose removal increases the
    squared residual of the maps least, each map in units of its variance.
    """
    xx, xy = _moments(
        (_rows(seen["dense"]), _rows(output.maps), weight)
        for seen, weight, output in _layer_inputs(network, teacher, images)
    )
    kept = list(range(len(xx)))  # the last is the constant
    scale = torch.linalg.solve(xx, xy).T @ xy
    while len(kept) > most + 1:
        inverse = torch.linalg.inv(xx[kept][:, kept])
        coefficients = inverse @ xy[kept]
        worse = (coefficients**2 / scale.diagonal().clamp_min(1e-12)).sum(dim=1)
        worse /= inverse.diagonal()
        del kept[int(worse[:-1].argmin())]
    solution = torch.linalg.solve(xx[kept][:, kept], xy[kept])
    channels = kept[:-1]
    old = network.propose
    new = Conv(old.in_channels, most, old.kernel_size[0])
    for name in ("weight", "bias", "gain"):
        getattr(new, name).copy_(getattr(old, name)[channels])
    network.propose = new
    dense = nn.Conv2d(most, len(DENSE_CHANNELS), 1)
    assert dense.bias is not None  # narrows the type
    dense.weight.copy_(solution[:-1].T[:, :, None, None])
    dense.bias.copy_(solution[-1])
    network.dense = dense


def _conv_of(weight: Tensor, bias: Tensor, stride: int = 1) -> Conv:
    """Return the convolution whose standardised weights are these, less their mean."""
    conv = Conv(weight.shape[1], weight.shape[0], weight.shape[2], stride)
    assert conv.bias is not None  # narrows the type
    conv.weight.copy_(weight)
    conv.bias.copy_(bias)
    # The gain at which standardisation only subtracts the mean.
    variance = weight.var(dim=(1, 2, 3), correction=0) * weight[0].numel()
    conv.gain.copy_(torch.sqrt(variance + Conv.EPSILON))
    return conv


def _selected(conv: Conv, outputs: list[int] | None, inputs: list[int] | None) -> Conv:
    """Return a convolution with some of the output and input channels; None for all."""
    assert conv.bias is not None  # narrows the type
    weight, bias = conv.standardised(), conv.bias
    if outputs is not None:
        weight, bias = weight[outputs], bias[outputs]
    if inputs is not None:
        weight = weight[:, inputs]
    return _conv_of(weight, bias, conv.stride[0])


def _largest(importance: Tensor, most: int) -> list[int]:
    """Return the indices of the largest values, in ascending order."""
    return sorted(importance.topk(most).indices.tolist())


def _narrow_pyramid(network: Network, most: int, images: Sequence[Tensor]) -> None:
    """Keep the pyramid's channels that weigh most in the layers that read them, in place.

    The weight of a channel is its root mean square over the images, times the norm of the
    weights that multiply it. Both readers of the features, the proposal head and the RoI
    head, count the same.
    """
    before = after = torch.zeros(())
    for seen, _, _ in _layer_inputs(network, network, images):
        before = before + _rows(seen["smooth"]).square().sum(dim=0)
        after = after + _rows(network.smooth(seen["smooth"])).square().sum(dim=0)
    size = network.settings.roi_size**2
    regions = network.roi1.weight.reshape(network.settings.head, -1, size)
    readers = [
        torch.linalg.vector_norm(network.propose.standardised(), dim=(0, 2, 3)),
        torch.linalg.vector_norm(regions, dim=(0, 2)),
    ]
    features = _largest(after.sqrt() * sum(r / r.mean() for r in readers), most)
    smooth = _selected(network.smooth, features, None)
    tops = _largest(
        before.sqrt() * torch.linalg.vector_norm(smooth.standardised(), dim=(0, 2, 3)), most
    )
    network.smooth = _selected(smooth, None, tops)
    for i, lateral in enumerate(network.lateral):
        network.lateral[i] = _selected(cast("Conv", lateral), tops, None)
    network.propose = _selected(network.propose, None, features)
    network.roi1 = _linear_of(regions[:, features].flatten(1), network.roi1.bias)


def _narrow_head(network: Network, most: int) -> None:
    """Keep the units of the RoI head with the largest product of their weights' norms."""
    first, second, last = network.roi1, network.roi2, network.roi_out
    one = _largest(first.weight.norm(dim=1) * second.weight.norm(dim=0), most)
    two = _largest(second.weight.norm(dim=1) * last.weight.norm(dim=0), most)
    network.roi1 = _linear_of(first.weight[one], first.bias[one])
    network.roi2 = _linear_of(second.weight[two][:, one], second.bias[two])
    network.roi_out = _linear_of(last.weight[:, two], last.bias)


def _linear_of(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer
