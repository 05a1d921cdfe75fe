"""Arrays stored end to end are returned unchanged, and computed once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError, Catalog
from skyduel.core.columnar_catalogs import packed
from skyduel.evaluation import FrameInput, ScoringRules, score_frame
from skyduel.evaluation.scoring.candidate_store import candidate_frame, candidate_frames
from skyduel.evaluation.scoring.ragged import FrameSequence, Ragged, for_each
from skyduel.evaluation.scoring.score_store import score_all
from skyduel.evaluation.statistics.intervals import frame_weights, resampled

RULES = ScoringRules(bins="15:22:1")
EDGES = RULES.edges()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1200), st.integers(0, 2**32 - 1), st.sampled_from([bool, float, int]))
def test_arrays_come_back_as_they_were_given(n, seed, kind) -> None:
    rng = np.random.default_rng(seed)
    high = int(rng.choice([2, 200, 40_000, 2**62]))
    given_ = [rng.integers(-high // 2, high, rng.integers(0, 4)).astype(kind) for _ in range(n)]
    kept = Ragged()
    for values in given_:
        kept.append(values)
    assert len(kept) == n
    for k, values in enumerate(given_):
        assert kept[k].dtype == values.dtype
        np.testing.assert_array_equal(kept[k], values)


def test_a_part_remembers_what_its_whole_does_and_lists_forget() -> None:
    asked = []

    def square(k: int):
        asked.append(k)
        return (np.array([k * k]),)

    whole = FrameSequence(lambda k: k, 7)
    part = whole.part([1, 4, 5])
    assert list(part) == [1, 4, 5]
    assert part[1:] == [4, 5]
    assert [int(a[0]) for (a,) in for_each(part, "square", square)] == [1, 16, 25]
    assert [int(a[0]) for (a,) in for_each(whole, "square", square)] == [k * k for k in range(7)]
    assert asked == list(range(7))
    assert whole.part(range(7)) is whole
    assert [int(a[0]) for (a,) in for_each([2, 3], "square", square)] == [4, 9]


def frames(n: int) -> list[FrameInput]:
    rng = np.random.default_rng(5)
    out = []
    for k in range(n):
        t, f = rng.integers(0, 9), rng.integers(0, 12)
        kind = rng.choice(["point", "streak"], t, p=[0.8, 0.2])
        truth = Catalog.build(
            x=rng.uniform(0, 30, t), y=rng.uniform(0, 20, t), mag=rng.uniform(14, 23, t), kind=kind,
            length=np.where(kind == "streak", 15.0, 0.0), snr=rng.uniform(1, 90, t),
            ignore=rng.random(t) < 0.3,
        )  # fmt: skip
        found = Catalog.build(
            x=rng.uniform(0, 30, f), y=rng.uniform(0, 20, f), mag=rng.uniform(14, 23, f),
            score=rng.random(f), ignore=rng.random(f) < 0.2,
        )  # fmt: skip
        out.append(FrameInput(frame=f"f{k}", truth=truth, found=found, shape=(20, 30), mpix=0.0006))
    return out


def test_stored_frames_are_the_frames() -> None:
    inputs = frames(530)  # more than are joined at a time
    stored = candidate_frames(inputs, RULES)
    cuts = [None if k % 3 else 0.4 for k in range(len(inputs))]
    scored = score_all(stored, RULES, EDGES, cuts)
    for k, source in enumerate(inputs):
        one, other = candidate_frame(source, RULES), stored[k]
        for a, b in zip(one.events, other.events, strict=True):
            np.testing.assert_array_equal(a, b)
        for name, value in vars(one.candidates).items():
            np.testing.assert_array_equal(value, getattr(other.candidates, name))
        whole, again = score_frame(source, RULES, EDGES, threshold=cuts[k]), scored[k]
        assert (again.source, again.threshold) == (source, cuts[k])
        assert (again.counts, again.zero_point) == (whole.counts, whole.zero_point)
        assert again.pairing.to_table().equals(whole.pairing.to_table())
        np.testing.assert_array_equal(again.pairing.duplicate, whole.pairing.duplicate)


def test_resamples_some_at_a_time_are_the_resamples(monkeypatch) -> None:
    values = np.random.default_rng(1).integers(0, 50, (40, 3))
    expected = frame_weights(40, 90, 7) @ values
    monkeypatch.setattr("skyduel.evaluation.statistics.intervals._DRAWS_AT_A_TIME", 333)
    for kept in (2**20, 0):
        monkeypatch.setattr("skyduel.evaluation.statistics.intervals._DRAWS_KEPT", kept)
        np.testing.assert_array_equal(resampled(90, 7, values)[0], expected)
        np.testing.assert_array_equal(resampled(90, 7, values[:, 0])[0], expected[:, 0])


def test_a_packed_catalogue_is_cut_and_moved_like_any_other() -> None:
    plain = frames(3)[2].found
    small = packed(plain)
    for rows in (np.arange(len(plain)) % 2 == 0, np.array([3, 1]), []):
        one, other = plain.select(rows), small.select(rows)
        for name in plain.table.colnames:
            np.testing.assert_array_equal(one[name], other[name])
    x = plain["x"] + 1
    moved = small.with_columns(x=x)
    x[:] = 0  # still the caller's
    np.testing.assert_array_equal(moved["x"], plain["x"] + 1)
    assert packed(moved) is moved
    with pytest.raises(BadInputError, match="a finite 'y' in every row"):
        small.with_columns(y=np.full(len(plain), np.nan))
