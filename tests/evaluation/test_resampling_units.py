"""Tests of blocks of one frame as units of the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, evaluate, score_frame
from skyduel.evaluation.scoring.counts import total
from skyduel.evaluation.scoring.depth import fit_limits
from skyduel.evaluation.scoring.resampling_units import (
    block_grid,
    resampling_units,
    split_blocks,
    truth_blocks,
)

EDGES = (14.0, 16.0, 18.0, 20.0)
SHAPE = (600, 1000)


def frame(seed: int = 0, *, n: int = 900, shape=SHAPE, **rules):
    rng = np.random.default_rng(seed)
    snr = 10 ** rng.uniform(0, 1.6, n)
    x, y, mag = rng.uniform(-2, 1001, n), rng.uniform(0, 599, n), 20 - 2.5 * np.log10(snr)
    seen, false = np.flatnonzero(rng.random(n) < 1 / (1 + np.exp(-3 * (snr - 5)))), 70
    found = Catalog.build(
        x=np.concatenate([x[seen] + rng.normal(0, 0.5, seen.size), rng.uniform(0, 999, false)]),
        y=np.concatenate([y[seen], rng.uniform(0, 599, false)]),
        mag=np.concatenate([mag[seen], rng.uniform(16, 21, false)]),
    )
    truth = Catalog.build(x=x, y=y, mag=mag, snr=snr)
    made = ScoringRules(n_bootstrap=200, **rules)
    source = FrameInput(
        frame=f"f{seed}", found=found, mpix=0.6, fwhm=2.5, shape=shape,
        truth=apply_ignore(truth, SHAPE, None, None, made),
    )  # fmt: skip
    return score_frame(source, made, EDGES), made


@pytest.mark.parametrize(("block_px", "n"), [(None, 64), (200.0, 15), (333.0, 6), (5000.0, 1)])
def test_blocks_add_up_to_their_frame(block_px: float | None, n: int) -> None:
    score, _ = frame(1)
    parts = split_blocks(score, block_px)
    assert len(parts) == n
    assert total(parts, EDGES) == score.counts
    assert all((p.detections_right.sum() == p.truths_found.sum()) for p in parts)


def test_a_source_belongs_to_the_block_it_lies_in() -> None:
    score, _ = frame(2)
    ny, nx, rows, columns = block_grid(score, 200.0)
    assert (ny, nx, rows, columns) == (600.0, 1000.0, 3, 5)
    got, truth = truth_blocks(score, 200.0), score.source.truth
    for at, x, y in zip(got, truth["x"], truth["y"], strict=True):
        column, row = min(max(int((x + 0.5) // 200), 0), 4), min(max(int((y + 0.5) // 200), 0), 2)
        assert at == 5 * row + column
    unknown, _ = frame(2, shape=None)
    assert total(split_blocks(unknown, 250.0), EDGES) == unknown.counts


def test_frames_are_the_units_unless_there_is_one_or_blocks_are_asked_for() -> None:
    a, rules = frame(1)
    b, _ = frame(2, n=300)
    units = resampling_units([a, b], rules)
    assert (len(units), units.blocks, units.interval) == (2, False, "bootstrap")
    assert [set(u.tolist()) for u in units.truth_unit] == [{0}, {1}]
    lone = resampling_units([a], rules)
    assert (len(lone), lone.blocks, lone.interval) == (64, True, "block bootstrap")
    _, asked = frame(1, block_px=200)
    units = resampling_units([a, b], asked)
    assert len(units) == 30
    assert units.truth_unit[1].min() >= 15
    assert total(units.counts, EDGES) == total([a.counts, b.counts], EDGES)
    assert len(resampling_units([], rules)) == 0


def test_one_frame_has_intervals_of_scores_and_limits() -> None:
    score, rules = frame(3)
    limits = fit_limits([score], rules)
    assert limits.snr.half.lo < limits.snr.half.value < limits.snr.half.hi
    assert limits.snr.half.value == pytest.approx(5, rel=0.1)
    got = evaluate({"sep": [score.source]}, rules)
    row = got.scores.query("point == 'default' and quantity == 'f1' and bin == -2").iloc[0]
    assert row["lo"] < row["value"] < row["hi"]
    assert row["interval"] == "block bootstrap"
    assert row["n_frames"] == 1
    limit = got.limits.query("point == 'default'").iloc[0]
    assert limit["m90"] < limit["m50"]
    assert limit["m90_lo"] <= limit["m90"] <= limit["m90_hi"]
    assert limit["snr90"] > limit["snr50"]
    assert 0 < limit["width_mag"] < 1
    assert 0 <= limit["floor"] < 0.2 < 0.9 < limit["ceiling"] <= 1


def test_sources_of_one_block_share_their_fate_in_the_interval() -> None:
    # Half of the frame is blind: resampling sources one by one would not see it.
    rng = np.random.default_rng(5)
    x, y = rng.uniform(0, 999, 2000), rng.uniform(0, 599, 2000)
    truth = Catalog.build(x=x, y=y, mag=np.full(2000, 17.0))
    seen = x < 500
    source = FrameInput(
        frame="half", mpix=0.6, shape=SHAPE, found=truth.select(seen),
        truth=apply_ignore(truth, None, None, None, ScoringRules()),
    )  # fmt: skip
    scores = evaluate({"sep": [source]}, ScoringRules(n_bootstrap=300)).scores
    row = scores.query("point == 'default' and quantity == 'f1' and bin == -2").iloc[0]
    independent = 4 * 0.5 / 2000**0.5
    assert row["hi"] - row["lo"] > 3 * independent
