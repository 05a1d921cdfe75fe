"""Galaxies: matching, the table over size and magnitude, and what other tables leave out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core import BadInputError, Catalog
from skyduel.core.columnar_catalogs import packed
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses.astrometry import astrometry_table
from skyduel.evaluation.analyses.average_precision import average_precision_table
from skyduel.evaluation.analyses.binned_scores import binned_score_table
from skyduel.evaluation.analyses.error_kinds import error_kind_table
from skyduel.evaluation.analyses.snr_limit import ignore_limit_table
from skyduel.evaluation.matching.candidates import find_candidates, match_radii
from skyduel.evaluation.matching.matching import pair_candidates, pair_catalogs
from skyduel.evaluation.scoring.candidate_store import candidate_frames
from skyduel.evaluation.scoring.depth import fit_limits
from skyduel.evaluation.scoring.galaxies import SIZE_EDGES, galaxy_table, stated_extendedness
from skyduel.evaluation.scoring.table_columns import GALAXY_COLUMNS
from skyduel.evaluation.statistics.intervals import wilson

RULES = ScoringRules()
EDGES = (18.0, 20.0, 22.0)


def truth_of(**changes: object) -> Catalog:
    """Three galaxies of 1, 5 and 5 px, two points and a streak, far apart."""
    columns: dict[str, object] = {
        "x": [50.0, 150.0, 250.0, 350.0, 450.0, 250.0],
        "y": [50.0, 50.0, 50.0, 50.0, 50.0, 200.0],
        "mag": [19.0, 19.5, 21.0, 19.0, 21.0, 19.0],
        "kind": ["galaxy"] * 3 + ["point"] * 2 + ["streak"],
        "length": [0.0] * 5 + [40.0],
        "half_light_px": [1.0, 5.0, 5.0] + [np.nan] * 3,
        "snr": [20.0] * 6,
    }
    return Catalog.build(**(columns | changes))


def found_of(dx: list[float], **more: object) -> Catalog:
    """Detections so far to the right of the first truths."""
    x = np.array([50.0, 150.0, 250.0, 350.0, 450.0])[: len(dx)] + dx
    return Catalog.build(x=x, y=[50.0] * len(dx), mag=[19.0] * len(dx), **more)


def score(truth: Catalog, found: Catalog):
    truth = apply_ignore(truth, (300, 500), None, None, RULES)
    source = FrameInput(frame="f", truth=truth, found=found, mpix=0.15, fwhm=2.5, shape=(300, 500))
    return score_frame(source, RULES, EDGES)


def test_a_galaxy_is_matched_within_its_half_light_radius_or_the_radius_of_points() -> None:
    truth = truth_of()
    np.testing.assert_array_equal(match_radii(truth, 2.0), [2, 5, 5, 2, 2, 2])
    pairing = pair_catalogs(truth, found_of([1.9, 4.9, 5.1, 1.9, 2.1]), RULES)
    assert pairing.pairs.truth_index.tolist() == [0, 1, 3]
    # The separation is the distance in px, whatever the radius.
    assert pairing.pairs.separation == pytest.approx([1.9, 4.9, 1.9])
    # Detectors that call it a galaxy, a point or an extended source are matched alike.
    for kind in ("point", "galaxy"):
        found = found_of([1.9, 4.9, 5.1, 1.9, 2.1], kind=[kind] * 5)
        assert pair_catalogs(truth, found, RULES).pairs.truth_index.tolist() == [0, 1, 3]
    assert match_radii(truth.with_columns(half_light_px=np.full(6, np.nan)), 2.0) is None


def test_the_nearer_in_units_of_the_radius_takes_the_detection() -> None:
    truth = Catalog.build(
        x=[50.0, 54.5], y=[50.0, 50.0], kind=["galaxy", "point"], half_light_px=[6.0, np.nan]
    )
    # 3 px from the galaxy (half its radius), 1.5 px from the point (three quarters of its own).
    one = Catalog.build(x=[53.0], y=[50.0])
    assert pair_catalogs(truth, one, RULES).pairs.truth_index.tolist() == [0]
    two = Catalog.build(x=[53.0, 54.4], y=[50.0, 50.0])
    pairs = pair_catalogs(truth, two, RULES).pairs
    assert pairs.found_index.tolist() == [0, 1]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_candidates_are_those_of_all_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = 40, 60
    truth = Catalog.build(
        x=rng.uniform(0, 60, n), y=rng.uniform(0, 60, n),
        kind=rng.choice(["point", "galaxy"], n), half_light_px=rng.uniform(0.5, 9, n),
    )  # fmt: skip
    found = Catalog.build(x=rng.uniform(0, 60, m), y=rng.uniform(0, 60, m), score=rng.random(m))
    own = np.where(truth.is_galaxy, np.maximum(truth["half_light_px"], 2.0), 2.0)
    distance = np.hypot(*(truth.xy[:, None] - found.xy[None]).transpose(2, 0, 1))
    expected = {tuple(map(int, pair)) for pair in np.argwhere(distance <= own[:, None])}
    candidates = find_candidates(truth, found, RULES)
    got = zip(candidates.truth_index.tolist(), candidates.found_index.tolist(), strict=True)
    assert set(got) == expected
    # A stored frame gives the same candidates, and the same pairs, as the frame itself.
    source = FrameInput(frame="f", truth=truth, found=found, fwhm=2.5)
    (stored,) = candidate_frames([source], RULES)
    everyone = np.ones(m, dtype=bool)
    pairs = pair_candidates(candidates, everyone).pairs
    again = pair_candidates(stored.candidates, everyone).pairs
    np.testing.assert_array_equal(pairs.truth_index, again.truth_index)
    np.testing.assert_array_equal(pairs.found_index, again.found_index)
    assert (pairs.separation <= own[pairs.truth_index]).all()


def test_the_table_counts_by_size_and_magnitude() -> None:
    assert SIZE_EDGES[2] == 1.0
    assert SIZE_EDGES[6] == 4.0
    table = galaxy_table([score(truth_of(), found_of([0.5, 4.0, 9.0, 0.0]))], RULES, EDGES)
    assert tuple(table.columns) == GALAXY_COLUMNS
    rows = table.set_index(["kind", "size_bin", "bin"])
    assert rows.index.is_unique
    expected = {
        ("galaxy", -2, -2): (3, 2), ("galaxy", -2, 0): (2, 2), ("galaxy", -2, 1): (1, 0),
        ("galaxy", 2, -2): (1, 1), ("galaxy", 2, 0): (1, 1),
        ("galaxy", 6, -2): (2, 1), ("galaxy", 6, 0): (1, 1), ("galaxy", 6, 1): (1, 0),
        ("point", -2, -2): (2, 1), ("point", -2, 0): (1, 1), ("point", -2, 1): (1, 0),
    }  # fmt: skip
    assert {key: (row["n"], row["k"]) for key, row in rows.iterrows()} == expected
    cell = rows.loc[("galaxy", 6, 1)]
    assert (cell["size_lo"], cell["size_hi"], cell["bin_lo"], cell["bin_hi"]) == (4, 6, 20, 22)
    all_ = rows.loc[("galaxy", -2, -2)]
    lo, hi = wilson(np.array([2]), np.array([3]), 0.95)
    assert (all_["lo"], all_["hi"]) == (pytest.approx(lo[0]), pytest.approx(hi[0]))
    assert all_["value"] == pytest.approx(2 / 3)
    assert np.isnan(all_[["size_lo", "size_hi", "bin_lo", "bin_hi"]].astype(float)).all()
    # This detector says nothing of the extent, and loses nothing by it.
    assert (table["told"] == 0).all()
    assert table["told_share"].isna().all()


def test_ignored_and_faint_galaxies_do_not_count_and_unknown_sizes_have_a_bin() -> None:
    truth = truth_of(
        ignore=[True] + [False] * 5, snr=[20, 20, 1, 20, 20, 20],
        half_light_px=[1.0, np.nan, 5.0] + [np.nan] * 3,
    )  # fmt: skip
    table = galaxy_table([score(truth, found_of([0.5, 1.0, 9.0]))], RULES, EDGES)
    galaxies = table[table["kind"] == "galaxy"].set_index(["size_bin", "bin"])
    assert set(galaxies.index) == {(-2, -2), (-2, 0), (len(SIZE_EDGES) - 1, -2),
                                   (len(SIZE_EDGES) - 1, 0)}  # fmt: skip
    assert (galaxies["n"] == 1).all()
    assert (galaxies["k"] == 1).all()
    none = galaxy_table([score(truth_of(kind=["point"] * 6), found_of([0.5]))], RULES, EDGES)
    assert not len(none)
    assert tuple(none.columns) == GALAXY_COLUMNS
    assert not len(galaxy_table([], RULES, EDGES))


@pytest.mark.parametrize(
    ("columns", "stated"),
    [
        ({}, [np.nan] * 4),
        ({"extendedness": [1.0, 0.0, np.nan, 0.7]}, [1, 0, np.nan, 0.7]),
        ({"extendedness": [1.0, 7.0, -1.0, 0.0], "kind": ["galaxy"] * 4}, [1, np.nan, np.nan, 0]),
        ({"extended": [True, False, False, True]}, [1, 0, 0, 1]),
        ({"CLASS_STAR": [0.9, 0.1, 0.5, 99.0]}, [0.1, 0.9, 0.5, np.nan]),
        ({"class_star": ["a", "b", "c", "d"]}, [np.nan] * 4),
        ({"kind": ["galaxy", "point", "streak", "point"]}, [1, 0, np.nan, 0]),
    ],
)
def test_what_a_detector_says_of_the_extent(columns: dict, stated: list) -> None:
    found = Catalog.build(x=np.arange(4.0), y=np.zeros(4), **columns)
    np.testing.assert_allclose(stated_extendedness(found), stated)
    np.testing.assert_allclose(stated_extendedness(packed(found)), stated)


def test_who_tells_them_apart_is_scored_on_it() -> None:
    right = [1.0, 1.0, np.nan, 0.0, 1.0]
    frame = score(truth_of(), found_of([0.0, 0.0, 0.0, 0.0, 0.0], extendedness=right))
    table = galaxy_table([frame], RULES, EDGES)
    rows = table.set_index(["kind", "size_bin", "bin"])
    assert tuple(rows.loc[("galaxy", -2, -2), ["n", "k", "told", "told_right"]]) == (3, 3, 2, 2)
    assert tuple(rows.loc[("point", -2, -2), ["n", "k", "told", "told_right"]]) == (2, 2, 2, 1)
    assert rows.loc[("point", -2, -2), "told_share"] == 0.5
    # One that names galaxies on one frame tells them apart on all.
    named = score(truth_of(), found_of([0.0] * 2, kind=["galaxy", "point"]))
    silent = score(truth_of(), found_of([0.0] * 2))
    table = galaxy_table([named, silent], RULES, EDGES).set_index(["kind", "size_bin", "bin"])
    assert tuple(table.loc[("galaxy", -2, -2), ["told", "told_right"]]) == (4, 1)


def test_galaxies_are_with_the_points_in_scores_and_apart_in_what_is_of_points() -> None:
    found = found_of([0.5, 3.0, 4.0, 0.1, 0.1])
    one = score(truth_of(), found)
    assert one.counts.sums()["truths_found"] == 5
    assert one.counts.sums()["detections_right"] == 5
    assert fit_limits((one,), RULES).n == 2
    residuals = astrometry_table([one], RULES, EDGES)
    assert residuals[(residuals["quantity"] == "x") & (residuals["bin"] == -2)]["n"].iloc[0] == 2
    facets = binned_score_table([one], RULES, EDGES)
    kinds = facets[(facets["facet"] == "kind") & (facets["quantity"] == "completeness")]
    assert dict(zip(kinds["label"], kinds["n"], strict=True)) == {
        "point": 2, "streak": 1, "galaxy": 3, "unknown": 0,
    }  # fmt: skip
    limits = ignore_limit_table([one], RULES, EDGES)
    assert (limits["truths_found"] == 5).all()
    precision = average_precision_table([], candidate_frames([one.source], RULES), RULES, EDGES)
    points = precision[(precision["method"] == "position") & (precision["kind"] == "point")]
    assert (points["truths"].iloc[0], points["detections"].iloc[0]) == (5, 5)
    # Of a detector that names its galaxies, nothing changes.
    named = score(truth_of(), found.with_columns(kind=np.array(["galaxy"] * 3 + ["point"] * 2)))
    again = average_precision_table([], candidate_frames([named.source], RULES), RULES, EDGES)
    np.testing.assert_array_equal(precision["value"], again["value"])


def test_pieces_of_a_galaxy_are_splits() -> None:
    # The centre, a piece within the radius of the match, one within twice the size, one beyond.
    found = Catalog.build(x=[150.0, 146.0, 159.0, 165.0], y=[50.0] * 4)
    one = score(truth_of(), found)
    assert one.pairing.duplicate.tolist() == [False, True, False, False]
    table = error_kind_table([one], RULES, EDGES)
    false = table[(table["side"] == "false") & (table["bin"] == -2)].set_index("kind")["n"]
    assert false["split"] == 2
    assert false.sum() == 3


def test_an_unknown_kind_is_still_refused() -> None:
    with pytest.raises(BadInputError, match="kind 'point', 'streak' or 'galaxy'; got 'blob'"):
        Catalog.build(x=[1.0], y=[1.0], kind=["blob"])


def test_sizes_at_the_edges_of_their_bins() -> None:
    edges = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0]
    assert [*edges, np.inf] == list(SIZE_EDGES)
    for sizes, bins in (
        (edges, range(12)),
        (np.nextafter(edges[1:], 0), range(11)),
        ([1e9, np.inf, np.nan, -0.5], [11, 11, 12, 12]),
    ):
        n = len(sizes)
        truth = Catalog.build(
            x=30.0 * np.arange(n + 1), y=np.full(n + 1, 50.0), mag=np.full(n + 1, 19.0),
            kind=[*["galaxy"] * n, "point"], half_light_px=[*sizes, 0.2],
        )  # fmt: skip
        table = galaxy_table([score(truth, found_of([]))], RULES, EDGES)
        table = table[(table["size_bin"] != -2) & (table["bin"] == 0)]
        assert set(table["kind"]) == {"galaxy"}  # the size of a point is none
        want = np.bincount(list(bins), minlength=13)
        assert dict(zip(table["size_bin"], table["n"], strict=True)) == {
            at: want[at] for at in np.flatnonzero(want)
        }
        for row in table.itertuples():
            limits = [*edges, np.nan][row.size_bin], [*edges[1:], np.inf, np.nan][row.size_bin]
            np.testing.assert_array_equal([row.size_lo, row.size_hi], limits)


def test_galaxies_beyond_the_magnitudes_and_without_one_have_their_cells() -> None:
    truth = truth_of(mag=[17.9, 22.0, np.nan, 19.0, 19.0, 19.0])
    table = galaxy_table([score(truth, found_of([0.0]))], RULES, EDGES)
    cells = table[(table["kind"] == "galaxy") & (table["size_bin"] == -2)]
    assert dict(zip(cells["bin"], cells["n"], strict=True)) == {-2: 3, -1: 1, 2: 1, 3: 1}


def test_half_extended_is_not_extended() -> None:
    stated = [0.5, 0.51, np.nan, 0.5, 0.51]
    frame = score(truth_of(), found_of([0.0] * 5, extendedness=stated))
    rows = galaxy_table([frame], RULES, EDGES).set_index(["kind", "size_bin", "bin"])
    assert tuple(rows.loc[("galaxy", -2, -2), ["told", "told_right"]]) == (2, 1)
    assert tuple(rows.loc[("point", -2, -2), ["told", "told_right"]]) == (2, 1)
    found = found_of([0.0] * 3, extendedness=[1.0, 1.01, -0.01])
    np.testing.assert_array_equal(stated_extendedness(found), [1.0, np.nan, np.nan])
