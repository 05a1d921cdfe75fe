"""Compare losses and labels of regions with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from skyduel.core import Catalog
from skyduel.detect.model.network import DenseOutput
from skyduel.detect.training.losses import (
    dense_losses,
    imitation_losses,
    roi_losses,
    roi_targets,
)
from skyduel.detect.training.targets import make_targets

place = st.tuples(st.integers(0, 30), st.integers(0, 20))


def oracle(
    proposals: list[tuple[float, float]], points: list[tuple[float, ...]], streak: list[bool]
) -> list[tuple[int, float, float, float]]:
    """Class, offset and weight of each proposal; of equally near ones the first counts."""
    out = []
    for i, p in enumerate(proposals):
        kind, dx, dy, weight = 2 if streak[i] else 0, 0.0, 0.0, 1.0
        if points:
            to = [math.dist(p, q[:2]) for q in points]
            j = min(range(len(points)), key=lambda k: to[k])
            back = [math.dist(q, points[j][:2]) for q in proposals]
            mutual = min(range(len(proposals)), key=lambda k: back[k]) == i
            if to[j] <= 2 and points[j][2] == 0:
                weight = 0.0
            elif to[j] <= 2 and mutual:
                kind, dx, dy = 1, points[j][0] - p[0], points[j][1] - p[1]
        out.append((kind, dx, dy, weight))
    return out


@given(
    proposals=st.lists(place, max_size=8, unique=True),
    points=st.lists(st.tuples(place, st.integers(0, 1)), max_size=6, unique_by=lambda p: p[0]),
    data=st.data(),
)
@settings(max_examples=150, deadline=None)
def test_a_proposal_is_right_if_it_is_a_truth_s_mutual_nearest(proposals, points, data) -> None:
    # Irrational steps keep places apart and distances clear of ties and of the radius.
    near = [(x * 0.7071 + y * 0.01371, y * 0.5773 + x * 0.00919) for x, y in proposals]
    truth = [
        (x * 0.7123 + y * 0.0117, y * 0.5711 + x * 0.0071, known, 2.0) for (x, y), known in points
    ]
    streak = data.draw(st.lists(st.booleans(), min_size=len(near), max_size=len(near)))
    kinds, offsets, weights = roi_targets(
        torch.tensor(near).reshape(-1, 2).float(),
        torch.tensor(truth).reshape(-1, 4).float(),
        torch.tensor(streak, dtype=torch.bool),
    )
    want = np.array(oracle(near, truth, streak)).reshape(-1, 4)
    np.testing.assert_array_equal(kinds.numpy(), want[:, 0])
    np.testing.assert_allclose(offsets.numpy(), want[:, 1:3], atol=1e-4)
    np.testing.assert_array_equal(weights.numpy(), want[:, 3])


def test_labels_of_regions_are_one_to_one_and_within_two_pixels() -> None:
    proposals = torch.tensor([[10.0, 10.0], [11.0, 10.0], [30.0, 10.0], [50.0, 10.0]])
    points = torch.tensor([[10.2, 10.0, 1.0, 2.0], [32.5, 10.0, 1.0, 2.0], [50.5, 10.0, 0.0, 2.0]])
    kinds, offsets, weights = roi_targets(proposals, points, torch.tensor([True, True, True, True]))
    assert kinds.tolist() == [1, 2, 2, 2]
    assert weights.tolist() == [1, 1, 1, 0]
    assert offsets[0].tolist() == pytest.approx([0.2, 0.0], abs=1e-5)
    assert not offsets[1:].any()


def test_within_an_ignored_galaxy_only_a_known_star_counts() -> None:
    points = torch.tensor([[20.0, 20.0, 0.0, 8.0], [25.0, 20.0, 1.0, 2.0]])
    proposals = torch.tensor([[20.0, 27.0], [25.3, 20.0], [20.0, 29.0], [13.0, 20.0]])
    kinds, _, weights = roi_targets(proposals, points, torch.zeros(4, dtype=torch.bool))
    assert kinds.tolist() == [0, 1, 0, 0]
    assert weights.tolist() == [0, 1, 1, 0]


def batch(logit: float = -3.0) -> tuple[Tensor, Tensor]:
    truth = Catalog.build(
        x=[9.3, 20.0],
        y=[12.1, 8.0],
        snr=[30.0, 40.0],
        kind=np.array(["point", "streak"]),
        length=[0.0, 14.0],
        theta=[0.0, 0.5],
    )
    target = torch.from_numpy(make_targets(truth, (24, 40)).maps)[None]
    maps = torch.full((1, 8, 12, 20), 0.0)
    maps[:, [0, 3]] = logit
    return maps, target


def test_perfect_maps_cost_nothing_and_blank_ones_something() -> None:
    maps, target = batch()
    blank = dense_losses(DenseOutput(maps, maps), target)
    assert set(blank) == {"point", "streak", "offset", "ridge"}
    assert all(float(v) > 1e-3 for v in blank.values())
    best = target[:, :8].clone()
    best[:, [0, 3]] = 60 * best[:, [0, 3]] - 30
    assert all(float(v) < 1e-6 for v in dense_losses(DenseOutput(best, best), target).values())


def test_cells_without_a_label_do_not_count() -> None:
    maps, target = batch()
    before = dense_losses(DenseOutput(maps, maps), target)
    wild = maps.clone()
    wild[:, 0][target[:, 8] == 0] = 25.0
    wild[:, 3][target[:, 9] == 0] = 25.0
    wild[:, 1:3][:, :, target[0, 0] == 0] = 9.0  # offsets away from sources
    wild[:, 4:8][:, :, target[0, 3] == 0] = 9.0
    assert (wild != maps).any()
    after = dense_losses(DenseOutput(wild, wild), target)
    for name, value in before.items():
        assert float(after[name]) == pytest.approx(float(value), rel=1e-5), name


def test_a_frame_without_sources_gives_finite_losses_and_gradients() -> None:
    target = torch.from_numpy(make_targets(Catalog.empty(), (16, 32)).maps)[None]
    maps = torch.zeros(1, 8, 8, 16, requires_grad=True)
    losses = dense_losses(DenseOutput(maps, maps), target)
    losses |= roi_losses(
        torch.zeros(4, 3), torch.ones(4, 2), torch.zeros(4, dtype=torch.long), torch.zeros(4, 2),
        torch.zeros(4),
    )  # fmt: skip
    sum(losses.values()).backward()
    assert all(torch.isfinite(v) for v in losses.values())
    assert torch.isfinite(maps.grad).all()
    assert all(float(losses[name].detach()) == 0 for name in ("offset", "position", "kind"))


def test_regions_weigh_as_said() -> None:
    logits = torch.tensor([[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 4.0]])
    kinds, offsets = torch.tensor([0, 1, 2]), torch.zeros(3, 2)
    far = torch.tensor([[9.0, 9.0], [0.5, 0.0], [9.0, 9.0]])
    right = roi_losses(logits, far, kinds, offsets, torch.ones(3))
    # Only the point's offset counts: |0.5| - 0.2/2 over one point and one more.
    assert float(right["position"]) == pytest.approx((0.5 - 0.1) / 2)
    assert float(right["kind"]) == pytest.approx(3 * math.log(1 + 2 * math.exp(-4)) / 4, rel=1e-4)
    wrong = roi_losses(logits, far, torch.tensor([1, 1, 2]), offsets, torch.tensor([0.0, 1, 1]))
    assert float(wrong["kind"]) < 0.05, "an ignored proposal cannot be wrong"


def taught(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Maps, class logits and offsets of a network."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((2, 8, 5, 6), (7, 3), (7, 2))
    return tuple(2 * torch.randn(*shape, generator=draw) for shape in shapes)


def imitated(own: tuple[Tensor, ...], teacher: tuple[Tensor, ...]) -> dict[str, Tensor]:
    return imitation_losses(*(v for pair in zip(own, teacher, strict=True) for v in pair))


def test_the_losses_against_a_teacher_are_least_for_its_own_output() -> None:
    teacher = taught(1)
    own = tuple(v.clone().requires_grad_() for v in teacher)
    least = imitated(own, teacher)
    torch.stack(list(least.values())).sum().backward()
    assert all(v.grad.abs().max() < 1e-6 for v in own)
    other = imitated(taught(2), teacher)
    assert set(least) == set(other) == {"point", "streak", "offset", "ridge", "kind", "position"}
    assert all(other[k] > least[k] for k in least)


def test_a_certain_teacher_counts_as_the_truth_does() -> None:
    maps, logits, offsets = taught(3)
    truth = torch.zeros(2, 10, 5, 6)
    truth[:, 8:] = 1  # every cell has a label
    truth[0, 0, 2, 3] = truth[1, 3, 1, 1] = 1
    truth[0, 1:3, 2, 3] = torch.tensor([0.3, -0.2])
    truth[1, 4:8, 1, 1] = torch.tensor([0.5, -0.5, 0.1, 0.9])
    sure = truth[:, :8].clone()
    sure[:, [0, 3]] = 80 * sure[:, [0, 3]] - 40
    kinds = torch.tensor([0, 1, 2, 1, 0, 0, 2])
    shift = torch.linspace(-1, 1, 14).reshape(7, 2)
    by_truth = dense_losses(DenseOutput(maps, maps), truth)
    by_truth |= roi_losses(logits, offsets, kinds, shift, torch.ones(7))
    by_teacher = imitated(
        (maps, logits, offsets), (sure, 80 * torch.nn.functional.one_hot(kinds, 3).float(), shift)
    )
    for name, value in by_truth.items():
        assert float(by_teacher[name]) == pytest.approx(float(value), rel=1e-5), name
