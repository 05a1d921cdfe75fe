"""A faster network from a trained one: what it can best do without is left out.

Blocks that start as the identity are cut where the loss misses them least; the convolution
over the pyramid's map may become one of 1×1, fitted to what it did; of the proposal head's
channels those are kept from which its maps can be had best. What comes out is where a training
begins, not ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skyduel.core.errors import BadInputError
from skyduel.detect.model.network import DENSE_CHANNELS, RELU_GAIN, Conv, Network, NetworkSettings

__all__ = ["slimmed"]

#: Cells whose presence logit exceeds this decide what a layer must reproduce; there are few.
_LOGIT: Final = -4.0
#: Weight of the other cells.
_EMPTY: Final = 0.05
#: Ridge of the fits, as a share of the mean variance.
_RIDGE: Final = 1e-4

Loss = Callable[[Network], float]


def slimmed(
    network: Network, settings: NetworkSettings, images: Sequence[Tensor], loss: Loss
) -> Network:
    """Return a smaller network of the family that does nearly what a trained one does.

    Parameters
    ----------
    network : Network
        Trained, not folded; it is not changed.
    settings : NetworkSettings
        The shape wanted: fewer blocks, a narrower proposal head, ``smooth`` of 1; all else
        as it is.
    images : sequence of Tensor, each (n, 4, s, s)
        Input channels of frames to fit to.
    loss : callable
        Loss of a network, by which blocks are chosen.

    Raises
    ------
    BadInputError
        If the shape is not a part of the network's.
    """
    had = network.settings
    wanted = had.model_copy(
        update={name: getattr(settings, name) for name in ("blocks", "proposals", "smooth")}
    )
    if (
        wanted != settings
        or any(new > old for new, old in zip(settings.blocks, had.blocks, strict=True))
        or settings.proposals > had.proposals
        or settings.smooth > had.smooth
    ):
        raise BadInputError("network", f"the shape of the weights, {had!r}, or a part of it",
                            repr(settings))  # fmt: skip
    teacher = _copy(network).eval()
    new = _fewer_blocks(_copy(network).eval(), settings.blocks, loss)
    with torch.inference_mode():
        if settings.smooth < had.smooth:
            new.smooth = _pointwise(new, teacher, images)
        if settings.proposals < had.proposals:
            _fewer_channels(new, teacher, settings.proposals, images)
    out = Network(settings)
    out.load_state_dict(new.state_dict())
    return out


def _copy(network: Network) -> Network:
    out = Network(network.settings)
    out.load_state_dict(network.state_dict())
    return out


def _fewer_blocks(network: Network, blocks: Sequence[int], loss: Loss) -> Network:
    """Take blocks out, one by one, each time the one whose absence costs least."""
    stages = network.stages
    while True:
        trials: list[tuple[float, int, nn.Sequential]] = []
        for i, (whole, most) in enumerate(zip(list(stages), blocks, strict=True)):
            assert isinstance(whole, nn.Sequential)  # narrows the type
            if len(whole) <= most:
                continue
            for j in range(1, len(whole)):  # the first of a stage changes its shape
                part = nn.Sequential(*(b for k, b in enumerate(whole) if k != j))
                stages[i] = part
                trials.append((loss(network), i, part))
            stages[i] = whole
        if not trials:
            return network
        _, i, stage = min(trials, key=lambda trial: trial[0])
        stages[i] = stage


def _seen(
    network: Network, teacher: Network, images: Sequence[Tensor]
) -> Iterator[tuple[dict[str, Tensor], Tensor, Any]]:
    """Yield inputs of both last layers, weights of the cells, and the teacher's output."""
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
    """Return the normal equations of y on x and 1, the latter's row last; ridge included."""
    xx = xy = torch.zeros(())
    for x, y, weight in pairs:
        x = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        xx, xy = xx + x.T @ (x * weight[:, None]), xy + x.T @ (y * weight[:, None])
    ridge = torch.full((len(xx),), _RIDGE * float(xx.diagonal()[:-1].mean()), dtype=xx.dtype)
    ridge[-1] = 0
    return xx + torch.diag(ridge), xy


def _pointwise(network: Network, teacher: Network, images: Sequence[Tensor]) -> Conv:
    """Return a 1×1 convolution that does what the one of 3×3 did, as well as one can."""

    def pairs() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for seen, weight, output in _seen(network, teacher, images):
            x = _rows(seen["smooth"])
            # Standardised weights have no mean, so they cannot see that of the channels.
            yield x - x.mean(dim=1, keepdim=True), _rows(output.features), weight

    solution = torch.linalg.solve(*_moments(pairs()))
    conv = Conv(network.smooth.in_channels, network.smooth.out_channels, 1)
    assert conv.bias is not None  # narrows the type
    weight = solution[:-1].T - solution[:-1].mean(dim=0)[:, None]
    conv.weight.copy_(weight[:, :, None, None])
    conv.bias.copy_(solution[-1])
    # The gain under which standardising changes nothing.
    variance = weight.var(dim=1, correction=0) * weight.shape[1]
    conv.gain.copy_(torch.sqrt(variance + Conv.EPSILON))
    return conv


def _fewer_channels(
    network: Network, teacher: Network, most: int, images: Sequence[Tensor]
) -> None:
    """Keep the proposal head's channels from which the teacher's maps follow best.

    One by one the channel goes without which the maps' squared residual, each in units of
    its own variance, grows least (backward elimination).
    """
    xx, xy = _moments(
        (_rows(seen["dense"]), _rows(output.maps), weight)
        for seen, weight, output in _seen(network, teacher, images)
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
