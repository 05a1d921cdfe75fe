"""Shifts and chance pairs of a few sources, by the words of their docstrings."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.analyses import chance_matches as chance
from skyduel.evaluation.analyses.chance_matches import chance_pairs, chance_table, shifts
from skyduel.evaluation.matching.matching import pair_catalogs

RULES = ScoringRules()
EDGES = (0.0, 1.0)
NY, NX = 80, 100


@pytest.mark.parametrize(
    ("radius", "ny", "nx", "n"),
    [(2.0, 700, 500, 8), (2.0, 500, 700, 3), (9.0, 400, 8000, 8), (10.0, 201, 900, 8)],
)
def test_shifts_by_hand(radius: float, ny: float, nx: float, n: int) -> None:
    got = shifts(radius, ny, nx, n)
    assert got.shape == (n, 2)
    for k in range(n):
        length = math.sqrt(radius * min(ny, nx)) * (1 + 0.5 * k / n)
        length = min(max(length, 5 * radius), min(ny, nx) / 4)
        turn = 0.4 + k * 2.399963229728653  # the golden angle
        assert got[k].tolist() == pytest.approx([length * math.cos(turn), length * math.sin(turn)])


def test_a_frame_of_twenty_radii_is_too_small() -> None:
    assert shifts(10.0, 200, 300).shape == (0, 2)
    assert shifts(10.0, 200.1, 300).shape == (8, 2)


def scored(truth: Catalog, found: Catalog, shape: tuple[int, int] | None = (NY, NX)):
    return score_frame(FrameInput(frame="f", truth=truth, found=found, shape=shape), RULES, EDGES)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("at", "true"), [(-0.48, 0.0), (-0.52, -1.0)])
def test_what_leaves_the_frame_comes_in_on_the_other_side(
    axis: int, at: float, true: float
) -> None:
    # A detection that the first shift brings to `at`: on the frame's border -0.5, or beyond it.
    size, step = (NX, NY)[axis], shifts(2.0, NY, NX)[0]
    place, there = [40.0, 40.0], [40.0, 40.0]
    place[axis] = at
    there[axis] = true if at > -0.5 else size + true
    x, y = np.array(place) - step
    truth = Catalog.build(x=[there[0]], y=[there[1]])
    score = scored(truth, Catalog.build(x=[x % NX], y=[y % NY]))
    assert chance_pairs(score, RULES).tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def crowd(seed: int, n: int, m: int, **more: object) -> tuple[Catalog, Catalog]:
    rng = np.random.default_rng(seed)
    truth = Catalog.build(x=rng.uniform(0, 99, n), y=rng.uniform(0, 79, n), **more)
    return truth, Catalog.build(x=rng.uniform(0, 99, m), y=rng.uniform(0, 79, m))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("n", "m", "more"),
    [
        (30, 7, {}),
        (5, 3, {}),
        (30, 7, {"ignore": np.arange(30) % 3 == 0}),
        (6, 9, {"kind": ["streak"] * 2 + ["point"] * 4, "length": [60.0] * 2 + [0.0] * 4,
                "theta": np.linspace(0, 1.5, 6)}),
        (6, 9, {"kind": ["galaxy"] * 3 + ["point"] * 3, "half_light_px": [9.0] * 6}),
    ],
)  # fmt: skip
def test_pairs_of_every_shift_are_those_of_moved_catalogues(
    known: bool, n: int, m: int, more: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, found = crowd(n, n, m, **more)
    x0, y0, nx, ny = -0.5, -0.5, NX, NY
    if not known:  # the box around all, wherever it is
        truth, found = (c.with_columns(x=c["x"] + 300, y=c["y"] + 200) for c in (truth, found))
        xy = np.concatenate([truth.xy, found.xy])
        (x0, y0), (nx, ny) = xy.min(axis=0), np.ptp(xy, axis=0)
    want = []
    for dx, dy in shifts(2.0, ny, nx):
        moved = found.with_columns(
            x=x0 + (found["x"] - x0 + dx) % nx, y=y0 + (found["y"] - y0 + dy) % ny
        )
        want.append(len(pair_catalogs(truth, moved, RULES).pairs))
    score = scored(truth, found, (NY, NX) if known else None)
    # Shifts without a possible pair may be left out in advance, or not.
    for few in (0, 64):
        monkeypatch.setattr(chance, "_FEW", few)
        assert chance_pairs(score, RULES).tolist() == want


def test_a_streak_found_pairs_with_a_point_by_its_centre() -> None:
    step = shifts(2.0, NY, NX)[3]
    found = Catalog.build(x=[50 - step[0], 9.0], y=[40 - step[1], 9.0], kind=["streak", "point"],
                          length=[80.0, 0.0], theta=[0.3, 0.0])  # fmt: skip
    score = scored(Catalog.build(x=[50.0], y=[40.0]), found)
    assert chance_pairs(score, RULES).tolist() == [0, 0, 0, 1, 0, 0, 0, 0]


def test_frames_without_truths_or_detections_have_no_chance_pairs() -> None:
    none, some = Catalog.empty(), Catalog.build(x=[9.0], y=[9.0])
    for truth, found in ((none, some), (some, none), (none, none)):
        assert chance_pairs(scored(truth, found), RULES).tolist() == [0] * 8
        assert chance_pairs(scored(truth, found, None), RULES).size == 0


@pytest.mark.parametrize(
    ("detections", "n"),
    [(0, 8), (1, 8), (125_000, 8), (125_001, 7), (150_000, 6), (500_000, 2), (600_000, 2)],
)
def test_fewer_shifts_of_many_detections(
    detections: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairing = SimpleNamespace(
        used=np.ones(detections, dtype=bool), pairs=range(10), truth_ignored=np.arange(20) < 5
    )
    monkeypatch.setattr(chance, "chance_pairs", lambda score, rules, n: np.arange(n))
    row = chance_table([SimpleNamespace(pairing=pairing)], RULES, EDGES).iloc[0]
    assert (row["shifts"], row["n_frames"], row["truths"], row["pairs"]) == (n, 1, 15, 10)
    assert row["chance_pairs"] == pytest.approx((n - 1) / 2)
    assert row["chance_share"] == pytest.approx((n - 1) / 20)
