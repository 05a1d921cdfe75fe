"""Packed records of few frames: blocks of two arrays show what blocks of 512 do."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.scoring import ragged
from skyduel.evaluation.scoring.candidate_store import candidate_frame, candidate_frames
from skyduel.evaluation.scoring.ragged import FrameSequence, Ragged, for_each, remembered
from skyduel.evaluation.scoring.score_store import score_all

RULES = ScoringRules(bins="15:22:1")
EDGES = (15.0, 18.0, 22.0)


@pytest.mark.parametrize(
    "arrays",
    [
        [[0, 1], [], [2, 3, 255], [256], [1 << 40], [0], [7]],
        [[-300, 5], [127, -128], [-1], [(1 << 62) + 1, -5], [0]],  # no integer has both
        [[0.1, np.nan], [], [], [], [1e300, -np.inf]],
        [[True], [False, True], [], [False], [True]],
        [[], [], [3], []],
    ],
)
@pytest.mark.parametrize("together", [1, 2, 3, 512])
def test_arrays_of_any_length_come_back(
    arrays: list, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ragged, "_TOGETHER", together)
    dtype = np.concatenate([np.array(a) for a in arrays if a]).dtype
    given = [np.array(a, dtype=dtype) for a in arrays]
    kept = Ragged()
    for k, values in enumerate(given):
        assert len(kept) == k
        kept.append(values)
    for got, want in zip((*kept, *kept[1:3], kept[3]), (*given, *given[1:3], given[3]),
                         strict=True):  # fmt: skip
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, want)
    with pytest.raises(IndexError):
        kept[len(given)]


def test_what_is_packed_is_small_and_not_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "_TOGETHER", 2)
    kept = Ragged()
    for values in ([1.5], [2.5, 3.5]):
        kept.append(np.array(values))
    with pytest.raises(ValueError, match="read-only"):
        kept[1][0] = 0.0
    whole = Ragged()
    for values in ([0, 200], [7]):
        whole.append(np.array(values))
    assert whole._blocks[0][0].dtype == np.uint8


def test_records_and_their_parts() -> None:
    made: list[int] = []

    def record(k: int) -> int:
        made.append(k)
        return 10 * k

    whole = FrameSequence(record, 4)
    assert made == []
    assert (len(whole), whole[2], whole[-1], whole[1:3], [*whole]) == (
        4, 20, 30, [10, 20], [0, 10, 20, 30]
    )  # fmt: skip
    # Frames may be repeated: only all of them in their number are the whole.
    often = whole.part([1, 1, 3, 0, 2])
    assert ([*often], often[0], len(often)) == ([10, 10, 30, 0, 20], 10, 5)
    assert [*often.part([2, 0])] == [30, 10]
    squares = for_each(often.part([2, 0]), "square", lambda v: (np.array([v * v]),))
    assert [int(a[0]) for (a,) in squares] == [900, 100]
    assert len(squares) == 2


def test_what_is_remembered_is_made_once() -> None:
    whole, calls = FrameSequence(lambda k: k, 3), []
    for frames, expected in ((whole, 1), ([0, 1, 2], 3)):
        calls.clear()
        for _ in range(3):
            assert remembered(frames, "sum", lambda: calls.append(1) or 7) == 7
        assert len(calls) == expected


def frames(n: int) -> list[FrameInput]:
    rng = np.random.default_rng(5)
    out = []
    for k in range(n):
        t, f = (0, 4) if k == 1 else (rng.integers(5, 12), rng.integers(5, 15))
        kind = rng.choice(["point", "streak", "galaxy"], t)
        truth = Catalog.build(
            x=rng.uniform(0, 15, t), y=rng.uniform(0, 10, t), mag=rng.uniform(14, 23, t), kind=kind,
            length=np.where(kind == "streak", 5.0, 0.0), half_light_px=rng.uniform(1, 4, t),
            snr=rng.uniform(1, 90, t), ignore=rng.random(t) < 0.3,
        )  # fmt: skip
        found = Catalog.build(
            x=rng.uniform(0, 15, f), y=rng.uniform(0, 10, f), mag=rng.uniform(14, 23, f),
            score=rng.random(f), ignore=rng.random(f) < 0.2,
        )  # fmt: skip
        out.append(FrameInput(frame=f"f{k}", truth=truth, found=found, shape=(10, 15), mpix=0.1))
    return out


@pytest.mark.parametrize("rule", ["most-pairs", "score-first"])
def test_packed_frames_are_the_frames(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ragged, "_TOGETHER", 2)
    rules = RULES.model_copy(update={"pairing": rule})
    inputs = frames(5)
    stored = candidate_frames(inputs, rules)
    cuts = [None, 0.4, None, 0.2, 0.9]
    scored = score_all(stored, rules, EDGES, cuts)
    assert len(stored) == len(scored) == 5
    paired = ignored = 0
    for k, source in enumerate(inputs):
        one, other = candidate_frame(source, rules), stored[k]
        assert other.source is source
        for a, b in zip(one.events, other.events, strict=True):
            np.testing.assert_array_equal(a, b)
        for name, value in vars(one.candidates).items():
            np.testing.assert_array_equal(value, getattr(other.candidates, name))
        whole, again = score_frame(source, rules, EDGES, threshold=cuts[k]), scored[k]
        assert (again.source, again.threshold) == (source, cuts[k])
        assert (again.counts, again.zero_point) == (whole.counts, whole.zero_point)
        for name, value in vars(one.candidates).items():
            np.testing.assert_array_equal(value, getattr(again.candidates, name))
        mine, theirs = whole.pairing, again.pairing
        for a, b in ((mine.pairs, theirs.pairs), (mine.ignored_pairs, theirs.ignored_pairs)):
            for column in ("truth_index", "found_index", "separation"):
                np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
        for name in ("truth_ignored", "found_ignored", "duplicate", "used"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
        paired, ignored = paired + len(mine.pairs), ignored + len(mine.ignored_pairs)
    assert paired > 5
    assert ignored > 1
    with pytest.raises(ValueError, match="shorter"):  # a threshold each
        score_all(stored, rules, EDGES, cuts[:4])
