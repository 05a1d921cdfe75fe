"""Blocks of a frame, counted in loops, and the galaxies of some frames, cell by cell."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, FrameScore, ScoringRules, score_frame
from skyduel.evaluation.scoring.counts import COUNT_COLUMNS, measured_mag, total
from skyduel.evaluation.scoring.galaxies import SIZE_EDGES, galaxy_table, stated_extendedness
from skyduel.evaluation.scoring.resampling_units import (
    block_grid,
    resampling_units,
    split_blocks,
    truth_blocks,
)
from skyduel.evaluation.statistics.intervals import jeffreys, wilson

NAN, INF = float("nan"), float("inf")
EDGES = (16.0, 18.0, 20.0)
RULES = ScoringRules(confidence=0.8, proportion_interval="jeffreys")


def scored(seed: int, shape: tuple[int, int] | None = (60, 90), **more: object) -> FrameScore:
    """Return the score of a crowded frame of galaxies, points and streaks, some of them ignored."""
    rng = np.random.default_rng(seed)
    n = 120
    kind = rng.choice(["galaxy", "point", "streak"], n, p=[0.5, 0.4, 0.1])
    length = np.where(kind == "streak", 6.0, 0.0)
    x, y, mag = rng.uniform(-1, 91, n), rng.uniform(-1, 61, n), rng.uniform(15, 21, n)
    mag[:5] = NAN
    size = rng.choice([*SIZE_EDGES[:-1], 0.3, 30.0, NAN], n)
    truth = Catalog.build(
        x=x, y=y, mag=mag, kind=kind, length=length, ignore=rng.random(n) < 0.15,
        half_light_px=np.where(kind == "galaxy", size, NAN),
    )  # fmt: skip
    seen = np.flatnonzero(rng.random(n) < 0.8)
    m = seen.size + 30
    found = Catalog.build(
        x=np.append(x[seen] + rng.normal(0, 0.7, seen.size), rng.uniform(-1, 91, 30)),
        y=np.append(y[seen] + rng.normal(0, 0.7, seen.size), rng.uniform(-1, 61, 30)),
        mag=rng.uniform(15, 21, m), score=rng.random(m), ignore=rng.random(m) < 0.1,
        extendedness=rng.choice([0.0, 0.3, 0.5, 0.51, 1.0, 1.01, -0.01, NAN], m), **more,
    )  # fmt: skip
    source = FrameInput(frame=f"{seed}", truth=truth, found=found, mpix=0.01, shape=shape)
    return score_frame(source, RULES, EDGES, threshold=0.2)


FRAMES = [scored(1), scored(2), scored(3, None)]


def bin_of(mag: float) -> int:
    return len(EDGES) + 1 if math.isnan(mag) else sum(mag >= e for e in EDGES)


@pytest.mark.parametrize("block_px", [None, 20.0, 1000.0])
def test_each_block_counts_what_lies_in_it(block_px: float | None) -> None:
    f = replace(FRAMES[0], zero_point=replace(FRAMES[0].zero_point, offset_mag=0.7))
    rows, columns = (8, 8) if block_px is None else (3, 4) if block_px == 20 else (1, 1)
    assert block_grid(f, block_px) == (60.0, 90.0, rows, columns)

    def block(x: float, y: float) -> int:
        row = min(max(math.floor((y + 0.5) * rows / 60), 0), rows - 1)
        column = min(max(math.floor((x + 0.5) * columns / 90), 0), columns - 1)
        return row * columns + column

    truth, found, p = f.source.truth, f.source.found, f.pairing
    at = [block(x, y) for x, y in truth.xy]
    assert truth_blocks(f, block_px).tolist() == at
    of_found = [block(x, y) for x, y in found.xy]
    for pairs in (p.pairs, p.ignored_pairs):
        for i, j in zip(pairs.truth_index, pairs.found_index, strict=True):
            of_found[j] = at[i]
    want = {name: np.zeros((rows * columns, 5), dtype=int) for name in COUNT_COLUMNS}
    for k in range(len(truth)):
        b = at[k], bin_of(truth["mag"][k])
        want["truths"][b] += not p.truth_ignored[k]
        want["truths_found"][b] += bool(p.truth_found[k])
        want["truths_ignored"][b] += bool(p.truth_ignored[k])
    mag = measured_mag(found) + f.zero_point.offset_mag
    for k in range(len(found)):
        b = of_found[k], bin_of(mag[k])
        want["detections"][b] += bool(p.used[k] and not p.found_ignored[k])
        want["detections_right"][b] += bool(p.right[k])
        want["detections_ignored"][b] += bool(p.found_ignored[k])
        want["duplicates"][b] += bool(p.duplicate[k])
    got = split_blocks(f, block_px)
    for name in COUNT_COLUMNS:
        assert [getattr(c, name).tolist() for c in got] == want[name].tolist(), name


@pytest.mark.parametrize(
    ("shape", "block_px", "grid"),
    [
        ((60, 90), 90.0, (60.0, 90.0, 1, 1)),
        ((60, 90), 121.0, (60.0, 90.0, 1, 1)),
        ((60, 90), 25.0, (60.0, 90.0, 2, 4)),
        ((60, 90), None, (60.0, 90.0, 8, 8)),
        (None, 10.0, (48.5, 31.0, 5, 3)),  # to the farthest truth
    ],
)
def test_blocks_are_as_large_as_whole_numbers_allow(shape, block_px, grid) -> None:
    truth = Catalog.build(x=[-3.0, 30.0], y=[47.5, 2.0])
    source = FrameInput(frame="a", truth=truth, found=Catalog.empty(), shape=shape)
    assert block_grid(score_frame(source, RULES, EDGES), block_px) == grid
    for xy, end in (([], 1.0), ([-9.0], 1.0)):
        off = FrameInput(frame="a", truth=Catalog.build(x=xy, y=xy), found=Catalog.empty())
        assert block_grid(score_frame(off, RULES, EDGES), None) == (end, end, 8, 8)


def test_a_border_of_blocks_is_one_of_pixels() -> None:
    # Blocks of 22.5 by 20 px: they end at x = 22 and at y = 19.5.
    truth = Catalog.build(x=[21.96, 22.0, 0.0, 0.0], y=[0.0, 0.0, 19.46, 19.5])
    one = FrameInput(frame="a", truth=truth, found=Catalog.empty(), shape=(60, 90))
    assert truth_blocks(score_frame(one, RULES, EDGES), 20.0).tolist() == [0, 1, 0, 4]


def test_units_are_frames_or_blocks() -> None:
    whole = resampling_units(FRAMES, RULES)
    assert (len(whole), whole.interval) == (3, "bootstrap")
    assert list(whole.counts) == [f.counts for f in FRAMES]
    assert [u.tolist() for u in whole.truth_unit] == [[k] * 120 for k in range(3)]
    for frames, rules, n in ((FRAMES[:1], RULES, 64), (FRAMES[:2], ScoringRules(block_px=20), 24)):
        units = resampling_units(frames, rules)
        assert (len(units), units.interval, units.blocks) == (n, "block bootstrap", True)
        parts = [split_blocks(f, rules.block_px) for f in frames]
        assert list(units.counts) == [c for part in parts for c in part]
        for k, f in enumerate(frames):
            own = truth_blocks(f, rules.block_px) + k * len(parts[0])
            assert units.truth_unit[k].tolist() == own.tolist()
        assert total(units.counts, EDGES) == total([f.counts for f in frames], EDGES)


def test_galaxies_are_counted_in_loops() -> None:
    cells: dict[tuple[str, int, int], list[int]] = {}
    for f in FRAMES:
        truth, p = f.source.truth, f.pairing
        partner = dict(zip(p.pairs.truth_index.tolist(), p.pairs.found_index.tolist(), strict=True))
        for k in range(len(truth)):
            kind = str(truth["kind"][k])
            if kind == "streak" or p.truth_ignored[k]:
                continue
            px, said = truth["half_light_px"][k], NAN
            size = 12 if math.isnan(px) else min(sum(px >= e for e in SIZE_EDGES) - 1, 11)
            if k in partner:
                said = f.source.found["extendedness"][partner[k]]
            told = 0 <= said <= 1
            right = told and (said > 0.5) == (kind == "galaxy")
            for s in (-2, size) if kind == "galaxy" else (-2,):
                for m in (-2, bin_of(truth["mag"][k]) - 1):
                    cell = cells.setdefault((kind, s, m), [0, 0, 0, 0])
                    for i, one in enumerate((1, k in partner, told, right)):
                        cell[i] += one
    table = galaxy_table(FRAMES, RULES, EDGES)
    got = {
        (r.kind, r.size_bin, r.bin): [r.n, r.k, r.told, r.told_right] for r in table.itertuples()
    }
    assert got == cells
    assert len(cells) > 50
    np.testing.assert_allclose(table[["lo", "hi"]].T, jeffreys(table["k"], table["n"], 0.8))
    ends = jeffreys(table["told_right"], table["told"], 0.8)
    np.testing.assert_allclose(table[["told_lo", "told_hi"]].T, ends)
    np.testing.assert_allclose(table["value"], table["k"] / table["n"])
    assert (table["n_frames"] == 3).all()
    sizes = {-2: (NAN, NAN), 12: (NAN, NAN)} | dict(enumerate(pairwise(SIZE_EDGES)))
    mags = {
        -2: (NAN, NAN),
        3: (NAN, NAN),
        -1: (-INF, 16.0),
        0: (16.0, 18.0),
        1: (18.0, 20.0),
        2: (20.0, INF),
    }
    for column, limits in (("size", sizes), ("bin", mags)):
        number = table["size_bin" if column == "size" else "bin"]
        want = [limits[b] for b in number]
        np.testing.assert_array_equal(table[[f"{column}_lo", f"{column}_hi"]], want)


def test_bins_of_the_size_are_the_same_in_every_run() -> None:
    assert SIZE_EDGES == (0, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, INF)


def test_without_a_galaxy_that_counts_there_is_no_table() -> None:
    truth = Catalog.build(
        x=[5.0, 9.0], y=[5.0, 9.0], kind=["galaxy", "point"], ignore=[True, False]
    )
    one = FrameInput(frame="a", truth=truth, found=Catalog.empty())
    assert galaxy_table([score_frame(one, RULES, EDGES)], RULES, EDGES).empty
    # Without a column of sizes all are of unknown size.
    plain = FrameInput(
        frame="a", truth=truth.with_columns(ignore=[False, False]), found=Catalog.empty()
    )
    table = galaxy_table([score_frame(plain, RULES, EDGES)], RULES, EDGES)
    assert set(table["size_bin"]) == {-2, 12}
    lo, hi = wilson(0, 1, 0.95)
    table = galaxy_table([score_frame(plain, RULES, EDGES)], ScoringRules(), EDGES)
    assert table[["lo", "hi"]].to_numpy().tolist() == [[lo, hi]] * len(table)


def test_the_first_column_that_tells_the_extent_counts() -> None:
    columns = {
        "CLASS_STAR": [0.25, 1.0, 0.0],
        "extended": [1.0, 0.0, 1.0],
        "extendedness": [0.5, 0.0, 1.0],
    }
    for names, want in ((("CLASS_STAR",), [0.75, 0, 1]), (("CLASS_STAR", "extended"), [1, 0, 1]),
                        (tuple(columns), [0.5, 0, 1])):  # fmt: skip
        found = Catalog.build(x=np.zeros(3), y=np.zeros(3), **{n: columns[n] for n in names})
        assert stated_extendedness(found).tolist() == want
    kinds = Catalog.build(x=np.zeros(2), y=np.zeros(2), kind=["point", "streak"])
    assert np.isnan(stated_extendedness(kinds)).all()
    np.testing.assert_array_equal(stated_extendedness(kinds, by_kind=True), [0, NAN])
