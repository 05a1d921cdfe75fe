"""Compare binned scores, migration and residuals with counts by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses.astrometry import astrometry_table
from skyduel.evaluation.analyses.bin_migration import migration_table
from skyduel.evaluation.analyses.binned_scores import binned_score_table
from skyduel.evaluation.analyses.truth_properties import (
    COMPLETENESS_AXES,
    axis_bin,
    field_radius,
    truth_facts,
)
from skyduel.evaluation.scoring.counts import total
from skyduel.evaluation.scoring.table_columns import (
    ASTROMETRY_COLUMNS,
    BINNED_SCORE_COLUMNS,
    MIGRATION_COLUMNS,
)

RULES = ScoringRules()
EDGES = (15.0, 17.0, 19.0, 21.0)
SHAPE = (300, 500)


def frame(seed: int = 0, *, n: int = 200, bare: bool = False):
    rng = np.random.default_rng(seed)
    snr = 10 ** rng.uniform(0, 2, n)
    x, y = rng.uniform(0, 499, n), rng.uniform(0, 299, n)
    mag = 21 - 2.5 * np.log10(snr)
    mag[:2] = np.nan
    streak = np.arange(n) % 20 == 7
    theta = np.where(streak, 1.5, 0.0)
    truth = Catalog.build(
        x=x, y=y, mag=mag, kind=np.where(streak, "streak", "point"), theta=theta,
        length=np.where(streak, 20.0, 0.0), **({} if bare else {"snr": snr}),
    )  # fmt: skip
    seen, false = np.flatnonzero(rng.random(n) < 0.6), 25
    found = Catalog.build(
        x=np.concatenate([x[seen] + rng.normal(0.1, 0.3, seen.size), rng.uniform(0, 499, false)]),
        y=np.concatenate([y[seen] + rng.normal(0, 0.3, seen.size), rng.uniform(0, 299, false)]),
        mag=np.concatenate([mag[seen] + rng.normal(0.2, 0.4, seen.size), np.full(false, np.nan)]),
        kind=np.concatenate([np.where(streak[seen], "streak", "point"), ["point"] * false]),
        length=np.concatenate([np.where(streak[seen], 18.0, 0.0), np.zeros(false)]),
        theta=np.concatenate([np.where(streak[seen], -1.6, 0.0), np.zeros(false)]),
        score=rng.random(seen.size + false),
        **({} if bare else {"aper_flux": rng.uniform(1, 90, seen.size + false),
                            "aper_flux_err": np.full(seen.size + false, 2.0)}),
    )  # fmt: skip
    source = FrameInput(
        frame=f"f{seed}", truth=apply_ignore(truth, SHAPE, None, None, RULES), found=found,
        mpix=0.15, fwhm=None if bare else 2.5, shape=None if bare else SHAPE,
    )  # fmt: skip
    return score_frame(source, RULES, EDGES, threshold=0.2)


FRAMES = [frame(1), frame(2, n=320), frame(3, n=40)]


def test_every_axis_adds_up_to_the_counts() -> None:
    table = binned_score_table(FRAMES, RULES, EDGES)
    assert tuple(table.columns) == BINNED_SCORE_COLUMNS
    sums = total((f.counts for f in FRAMES), EDGES).sums()
    for quantity, n, k in (
        ("completeness", "truths", "truths_found"),
        ("purity", "detections", "detections_right"),
    ):
        rows = table[table["quantity"] == quantity].groupby("facet")[["n", "k"]].sum()
        assert len(rows) == 5 if quantity == "completeness" else 4
        assert (rows["n"] == sums[n]).all(), quantity
        assert (rows["k"] == sums[k]).all(), quantity
    some = table[table["n"] > 0]
    np.testing.assert_allclose(some["value"], some["k"] / some["n"])
    assert (some["lo"] <= some["value"]).all()
    assert (some["value"] <= some["hi"]).all()
    assert table.loc[table["n"] == 0, "value"].isna().all()
    assert not table.duplicated(["facet", "quantity", "bin"]).any()


def test_bins_of_snr_hold_what_a_loop_counts() -> None:
    table = binned_score_table(FRAMES, RULES, EDGES).query("facet == 'snr'")
    for row in table[np.isfinite(table["bin_lo"])].itertuples():
        n = k = 0
        for f in FRAMES:
            snr, hit = f.source.truth["snr"], f.pairing.truth_found
            for s, ignored, h in zip(snr, f.pairing.truth_ignored, hit, strict=True):
                inside = row.bin_lo <= s < row.bin_hi and not ignored
                n, k = n + inside, k + (inside and bool(h))
        assert (row.n, row.k) == (n, k)
    kinds = binned_score_table(FRAMES, RULES, EDGES).query(
        "facet == 'kind' and quantity == 'purity'"
    )
    assert list(kinds["label"]) == ["point", "streak", "unknown"]


def test_scores_are_cut_into_tenths() -> None:
    table = binned_score_table(FRAMES, RULES, EDGES).query("facet == 'score' and bin_lo == bin_lo")
    assert len(table) == 10
    assert table["n"].max() - table["n"].min() <= 1
    assert (table["bin_lo"].to_numpy()[1:] == table["bin_hi"].to_numpy()[:-1]).all()
    same = frame(4)
    flat = FrameInput(
        frame="flat", truth=same.source.truth, shape=SHAPE,
        found=same.source.found.with_columns(score=np.full(len(same.source.found), 0.5)),
    )  # fmt: skip
    score = score_frame(flat, RULES, EDGES)
    rows = binned_score_table([score], RULES, EDGES).query("facet == 'score'")
    assert list(rows["n"]) == [score.counts.sums()["detections"], 0]


@given(st.integers(0, 12), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_neighbours_are_those_of_a_brute_force_search(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    xy = rng.integers(0, 9, (n, 2)).astype(float)  # some at the same place
    snr = rng.choice([1.0, 9.0], n)
    truth = apply_ignore(Catalog.build(x=xy[:, 0], y=xy[:, 1], snr=snr), (9, 12), None, None, RULES)
    bins = truth_facts(FrameInput(frame="f", truth=truth, found=Catalog.empty(), fwhm=2.0)).bins
    axes = {f.name: f for f in COMPLETENESS_AXES}
    for i in range(n):
        others = sorted(
            np.hypot(*(xy[i] - xy[j])) for j in range(n) if j != i and snr[j] >= RULES.min_snr
        )
        near = others[0] / 2 if others else np.inf
        with np.errstate(divide="ignore"):
            dense = 5000 / (np.pi * np.square(others[4])) if len(others) > 4 else 0.0
        assert bins["neighbour"][i] == axis_bin(np.array([near]), axes["neighbour"].edges)[0]
        assert bins["density"][i] == axis_bin(np.array([dense]), axes["density"].edges)[0]
    assert (bins["radius"] == axes["radius"].n_bins).all()  # no shape, no radius


def test_bins_are_half_open_and_the_corner_is_at_one() -> None:
    got = axis_bin(np.array([-1.0, 0.0, 0.99, 1.0, 2.0, 99.0, np.nan]), (0.0, 1.0, 2.0))
    assert got.tolist() == [0, 0, 0, 1, 1, 1, 2]
    got = field_radius(np.array([249.5, -0.5]), np.array([149.5, -0.5]), SHAPE)
    np.testing.assert_allclose(got, [0, 1])


def test_migration_has_the_margins_of_the_counts() -> None:
    table = migration_table(FRAMES, RULES, EDGES)
    assert tuple(table.columns) == MIGRATION_COLUMNS
    summed = total((f.counts for f in FRAMES), EDGES)
    for column, want in (
        ("true_bin", summed.truths_found), ("measured_bin", summed.detections_right),
    ):  # fmt: skip
        got = table.groupby(column)["n"].sum().reindex(range(-1, 5), fill_value=0)
        assert got.tolist() == want.tolist()
    assert (table["n"] > 0).all()
    assert (table["true_bin"] == 4).any()  # the sources without magnitude
    assert len(migration_table([], RULES, EDGES)) == 0


def test_residuals_are_those_planted() -> None:
    table = astrometry_table(FRAMES, RULES, EDGES)
    assert tuple(table.columns) == ASTROMETRY_COLUMNS
    row = table[table["bin"] == -2].set_index("quantity")
    assert row.loc["x", "bias"] == pytest.approx(0.1, abs=0.08)
    assert row.loc["y", "bias"] == pytest.approx(0, abs=0.08)
    assert row.loc["x", "scatter"] == pytest.approx(0.3, abs=0.08)
    assert row.loc["y", "rms"] == pytest.approx(0.3, abs=0.08)
    # The zero-point of these frames is none: too few stars are bright and alone.
    offset = np.mean([f.zero_point.offset_mag for f in FRAMES])
    assert row.loc["mag", "bias"] == pytest.approx(0.2 + offset, abs=0.1)
    assert row.loc["mag", "scatter"] == pytest.approx(0.4, abs=0.1)
    assert row.loc["length_ratio", "bias"] == pytest.approx(0.9)
    assert row.loc["length_ratio", "rms"] == pytest.approx(0.1)
    # 1.5 and -1.6 rad are almost the same line.
    assert row.loc["angle", "bias"] == pytest.approx(np.degrees(np.pi - 3.1))
    for quantity in ("x", "mag"):
        rows = table[table["quantity"] == quantity]
        inner = rows[rows["bin"] != -2]["n"].sum()
        assert inner == row.loc[quantity, "n"] > 50


def test_what_is_unknown_has_its_own_bin_and_nothing_makes_no_rows() -> None:
    table = binned_score_table([frame(5, bare=True)], RULES, EDGES)
    for name in ("snr", "neighbour", "radius", "measured_snr"):
        rows = table[table["facet"] == name]
        known = rows["label"] != "unknown"
        assert rows.loc[known, "n"].sum() == 0
        assert rows.loc[~known, "n"].sum() > 0
    assert len(binned_score_table([], RULES, EDGES)) == 0
    nothing = astrometry_table([], RULES, EDGES)
    assert nothing["n"].sum() == 0
    assert nothing[["bias", "scatter", "rms"]].isna().all().all()
    lone = FrameInput(frame="e", truth=Catalog.empty(), found=Catalog.empty())
    empty = binned_score_table([score_frame(lone, RULES, EDGES)], RULES, EDGES)
    assert isinstance(empty, pd.DataFrame)
    assert empty["n"].sum() == 0
