"""Each pixel belongs to one tile, and there are no seams between tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial import KDTree

from skyduel.core import BadInputError, Frame
from skyduel.core.measure.background import estimate_background
from skyduel.detect.inference import find_sources as inference
from skyduel.detect.inference.find_sources import RawSources, Tiling, find_sources
from skyduel.detect.inference.torch_runtime import TorchRuntime
from skyduel.detect.model.backbones import ResNetSettings
from skyduel.detect.model.backbones.resnet import Bottleneck
from skyduel.detect.model.network import Network, NetworkSettings

TINY = NetworkSettings(
    backbone=ResNetSettings(stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8)),
    pyramid=8,
    proposals=8,
    head=16,
)
#: The tiny network sees less than 48 px far, so these margins are context enough.
SMALL = Tiling(size_px=192, margin_px=48)


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(5)
    made = Network(TINY)
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, Bottleneck):
                module.residual.fill_(0.7)
        made.dense.weight.normal_(std=0.3)
        made.dense.bias[0] = -0.5
        made.dense.bias[3] = -30.0  # streaks have tests of their own
        made.roi_out.weight.normal_(std=0.3)
    return made.eval().requires_grad_(False).fold().to(memory_format=torch.channels_last)


def noise(ny: int, nx: int, seed: int = 2) -> Frame:
    data = np.random.default_rng(seed).normal(500, 20, (ny, nx)).astype(np.float32)
    return Frame(data=data, name="noise")


def found(frame: Frame, network: Network, **options: Any) -> RawSources:
    defaults: dict[str, Any] = {"floor": 0.5, "most_per_mpix": 10**6}
    runtime = TorchRuntime(network, bf16=options.pop("bf16", False))
    return find_sources(frame, estimate_background(frame), runtime, **(defaults | options))


@given(
    n=st.integers(1, 3000),
    size=st.integers(16, 700),
    margin=st.integers(0, 200),
    multiple=st.sampled_from([1, 16]),
)
def test_cores_cover_every_pixel_once_and_tiles_start_on_the_grid(
    n: int, size: int, margin: int, multiple: int
) -> None:
    if size - 2 * margin < 16:
        with pytest.raises(BadInputError, match="tiling"):
            Tiling(size, margin)
        return
    covered = np.zeros(n, int)
    tiles = inference.tile_spans(n, Tiling(size, margin), multiple)
    for start, stop, core_start, core_stop in tiles:
        covered[core_start:core_stop] += 1
        assert 0 <= start <= core_start < core_stop <= stop <= n
        assert stop - start <= (size if n > size * 4 / 3 else n)
        assert start % multiple == core_start % multiple == 0
        context = margin // multiple * multiple
        assert core_start - start == min(context, core_start)
        assert stop - core_stop == min(context, n - core_stop)
    assert (covered == 1).all()


def test_tiles_leave_no_seams(network: Network) -> None:
    frame = noise(203, 250)
    whole = found(frame, network, tiling=Tiling(size_px=512))
    tiled = found(frame, network, tiling=SMALL)
    assert len(whole.xy) > 200
    assert len(tiled.xy) == len(whole.xy)
    distance, which = KDTree(tiled.xy).query(whole.xy)
    assert distance.max() < 1e-3
    assert len(set(which)) == len(which)
    np.testing.assert_allclose(tiled.logit[which], whole.logit, atol=1e-3)
    on_seams = (np.abs((whole.xy + 0.5) % 96 - 48) > 47).any(axis=1).sum()
    assert on_seams > 3, "the comparison should include sources on seams"


def test_the_maps_of_tiles_are_put_together_without_seams(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    maps: list[np.ndarray] = []

    def keep(whole: np.ndarray) -> np.ndarray:
        maps.append(whole.copy())
        return np.zeros((0, 5))

    monkeypatch.setattr(inference, "find_streaks", keep)
    for tiling in (Tiling(size_px=512), SMALL):
        found(noise(185, 197), network, tiling=tiling)
    assert maps[0].shape == (5, 93, 99)
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-4)


def part(xy: list[tuple[float, float]], logit: list[float], seam: bool = True) -> Any:
    """What one tile reports."""
    places = np.array(xy, dtype=float).reshape(-1, 2)
    return inference._Part(places, np.array(logit, dtype=float), places, np.full(len(xy), seam))


def test_what_two_tiles_report_is_taken_once_from_the_surer() -> None:
    xy, logit = inference._merge_tiles(
        [
            part([(10.0, 5.0), (40.0, 5.0), (40.4, 5.0)], [1.0, 3.0, 2.0]),
            part([(10.2, 5.1), (40.1, 5.0), (70.0, 5.0)], [2.0, 3.0, 0.0]),
            part([(10.1, 5.0)], [1.5]),
        ]
    )
    # Two of one tile are two, whatever their distance, as far as no other tile beats them.
    assert xy.tolist() == [[40.0, 5.0], [40.4, 5.0], [10.2, 5.1], [70.0, 5.0]]
    assert logit.tolist() == [3, 2, 2, 0]
    inner, _ = inference._merge_tiles([part([(9, 9)], [1], False), part([(9, 9)], [1], False)])
    assert len(inner) == 2
    assert inference._merge_tiles([])[0].shape == (0, 2)


@pytest.mark.parametrize("shape", [(1, 37), (23, 1), (1, 1), (15, 9), (33, 71)])
def test_odd_and_tiny_frames(network: Network, shape: tuple[int, int]) -> None:
    raw = found(noise(*shape), network, floor=0.01)
    ny, nx = shape
    assert ((raw.xy > -0.5) & (raw.xy < [nx - 0.5, ny - 0.5])).all()
    assert len(raw.xy) == len(raw.logit)
    assert raw.streaks.shape[1] == 5
    assert np.isfinite(raw.xy).all()
    assert np.isfinite(raw.logit).all()


def test_the_number_of_proposals_is_bounded(network: Network) -> None:
    frame = noise(160, 200)
    many = found(frame, network, floor=1e-4)
    few = found(frame, network, floor=1e-4, most_per_mpix=5000)
    assert len(many.xy) > 1000
    assert 100 < len(few.xy) <= 160 * 200 * 5000 / 1e6
    assert len(found(frame, network, floor=1e-4, most_per_mpix=1).xy) <= 64


def test_a_crowd_is_classified_in_parts(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = noise(96, 128)
    want = found(frame, network)
    monkeypatch.setattr(inference, "_REGIONS_AT_ONCE", 7)
    got = found(frame, network)
    assert len(got.xy) > 20
    np.testing.assert_allclose(got.xy, want.xy, atol=1e-4)
    np.testing.assert_allclose(got.logit, want.logit, atol=1e-4)


def test_half_precision_moves_nothing_far(network: Network) -> None:
    frame = noise(64, 608)
    single, half = found(frame, network), found(frame, network, bf16=True)
    far = single.xy[single.xy[:, 0] > 300]
    distance, _ = KDTree(half.xy).query(far)
    assert len(far) > 100
    assert np.median(distance) < 0.05


def test_proposals_below_the_limit_keep_their_logit_and_place(network: Network) -> None:
    frame = noise(160, 150)
    every = found(frame, network, floor=0.02)
    none = found(frame, network, floor=0.02, regions_above=np.inf)
    some = found(frame, network, floor=0.02, regions_above=-0.5)
    assert len(every.xy) == len(none.xy) == len(some.xy)
    decided = none.logit < -0.5
    assert 20 < decided.sum() < len(decided) - 20
    np.testing.assert_array_equal(some.logit[decided], none.logit[decided])
    np.testing.assert_array_equal(some.xy[decided], none.xy[decided])
    # The others are as without a limit, up to the rounding of another batch.
    np.testing.assert_allclose(some.logit[~decided], every.logit[~decided], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(some.xy[~decided], every.xy[~decided], rtol=0, atol=1e-4)
    assert (np.abs(every.logit - none.logit) > 0.01).mean() > 0.9
