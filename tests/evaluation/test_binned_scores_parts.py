"""Every row of the tables by other axes, of migration and of residuals, counted in loops."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, score_frame
from skyduel.evaluation.analyses.astrometry import astrometry_table
from skyduel.evaluation.analyses.bin_migration import migration_table
from skyduel.evaluation.analyses.binned_scores import PURITY_AXES, binned_score_table
from skyduel.evaluation.analyses.truth_properties import (
    COMPLETENESS_AXES,
    axis_bin,
    field_radius,
    truth_facts,
)
from skyduel.evaluation.scoring.counts import measured_mag
from skyduel.evaluation.statistics.intervals import jeffreys, wilson

RULES = ScoringRules(confidence=0.9)
EDGES = (15.0, 17.0, 19.0, 21.0)
SHAPE = (300, 500)
INF, NAN = float("inf"), float("nan")
AXES = {f.name: f for f in (*COMPLETENESS_AXES, *PURITY_AXES)}


def scored(seed: int, *, galaxies: bool = False, n: int = 90):
    """Return the score of a frame of points, streaks and, if asked for, galaxies."""
    rng = np.random.default_rng(seed)
    kind = np.where(np.arange(n) % 9 == 4, "streak", "point")
    if galaxies:
        kind[np.arange(n) % 7 == 2] = "galaxy"
    line = kind == "streak"
    snr = 10 ** rng.uniform(-0.5, 2, n)
    snr[3] = NAN
    x, y, mag = rng.uniform(0, 499, n), rng.uniform(0, 299, n), 21 - 2.5 * np.log10(snr)
    length, theta = np.where(line, 20.0, 0.0), np.where(line, rng.uniform(-1.5, 1.5, n), 0.0)
    truth = Catalog.build(
        x=x, y=y, mag=mag, kind=kind, theta=theta, length=length, snr=snr,
        half_light_px=np.where(kind == "galaxy", 2.0, NAN),
    )  # fmt: skip
    s = np.flatnonzero(rng.random(n) < 0.7)
    m = s.size + 20
    flux, err = rng.uniform(-5, 90, m), rng.choice([2.0, 0.0], m, p=[0.9, 0.1])
    found = Catalog.build(
        x=np.append(x[s] + rng.normal(0.2, 0.3, s.size), rng.uniform(0, 499, 20)),
        y=np.append(y[s] + rng.normal(-0.1, 0.3, s.size), rng.uniform(0, 299, 20)),
        mag=np.append(
            np.where(s % 15 == 1, NAN, mag[s] + rng.normal(0.2, 0.4, s.size)), np.full(20, NAN)
        ),
        kind=np.append(kind[s], ["point"] * 20), score=np.round(rng.random(m), 1),
        length=np.append(length[s] * 0.9, np.zeros(20)),
        theta=np.append(theta[s] + line[s] * rng.normal(0, 0.05, s.size), np.zeros(20)),
        aper_flux=flux, aper_flux_err=err, ignore=rng.random(m) < 0.1,
    )  # fmt: skip
    source = FrameInput(
        frame=f"{seed}", truth=apply_ignore(truth, SHAPE, None, None, RULES), found=found,
        mpix=0.15, fwhm=2.5, shape=SHAPE,
    )  # fmt: skip
    return score_frame(source, RULES, EDGES, threshold=0.15)


FRAMES = [scored(1), scored(2), scored(3, galaxies=True)]


def bin_of(value: float, edges: tuple[float, ...]) -> int:
    """Return the bin that holds a value; the last but one is of what is above."""
    if math.isnan(value):
        return len(edges) - 1
    return max(sum(value >= e for e in edges[:-1]) - 1, 0)


def rows_by_loop(quantity: str) -> list[tuple[str, float, bool]]:
    """Return (axis, value, found) of each source that counts."""
    out = []
    for f in FRAMES:
        truth, found, p = f.source.truth, f.source.found, f.pairing
        if quantity == "completeness":
            for k in np.flatnonzero(~p.truth_ignored):
                hit = bool(p.truth_found[k])
                out.append(("snr", truth["snr"][k], hit))
                out.append(("kind", ["point", "streak", "galaxy"].index(truth["kind"][k]), hit))
                r = math.dist((truth["x"][k], truth["y"][k]), (249.5, 149.5))
                out.append(("radius", r / (math.hypot(500, 300) / 2), hit))
        else:
            for k in np.flatnonzero(p.used & ~p.found_ignored):
                hit = bool(p.right[k])
                flux, err = found["aper_flux"][k], found["aper_flux_err"][k]
                out.append(("measured_snr", flux / err if err else NAN, hit))
                out.append(("kind", ["point", "streak", "galaxy"].index(found["kind"][k]), hit))
                r = math.dist((found["x"][k], found["y"][k]), (249.5, 149.5))
                out.append(("radius", r / (math.hypot(500, 300) / 2), hit))
    return out


@pytest.mark.parametrize("quantity", ["completeness", "purity"])
def test_rows_are_what_loops_count(quantity: str) -> None:
    table = binned_score_table(FRAMES, RULES, EDGES)
    assert table.index.tolist() == list(range(len(table)))
    table = table[table["quantity"] == quantity]
    assert (table["n_frames"] == 3).all()
    for axis in ("snr", "radius", "kind") if quantity == "completeness" else (
        "measured_snr", "radius", "kind"):  # fmt: skip
        rows = table[table["facet"] == axis]
        edges = (0.0, 1.0, 2.0, 3.0) if axis == "kind" else AXES[axis].edges
        want = np.zeros((2, len(edges)), dtype=int)
        for name, value, hit in rows_by_loop(quantity):
            if name == axis:
                want[:, bin_of(value, edges)] += 1, hit
        assert rows["bin"].tolist() == list(range(len(edges)))
        assert rows["n"].tolist() == want[0].tolist()
        assert rows["k"].tolist() == want[1].tolist()
        np.testing.assert_array_equal(rows["bin_lo"], [*edges[:-1], NAN])
        np.testing.assert_array_equal(rows["bin_hi"], [*edges[1:], NAN])
        np.testing.assert_allclose(rows[["lo", "hi"]].T, wilson(want[1], want[0], 0.9))
        labels = ["point", "streak", "galaxy"] if axis == "kind" else [""] * (len(edges) - 1)
        assert rows["label"].tolist() == [*labels, "unknown"]
        assert set(rows["unit"]) == {"half diagonals" if axis == "radius" else ""}


def test_the_interval_is_that_of_the_rules() -> None:
    rules = ScoringRules(proportion_interval="jeffreys")
    table = binned_score_table(FRAMES, rules, EDGES)
    np.testing.assert_allclose(table[["lo", "hi"]].T, jeffreys(table["k"], table["n"], 0.95))


def of_scores(score: list[float]) -> pd.DataFrame:
    n = len(score)
    found = Catalog.build(x=np.arange(n) * 9.0, y=np.zeros(n), score=score)
    source = FrameInput(frame="a", truth=Catalog.empty(), found=found, shape=SHAPE)
    table = binned_score_table([score_frame(source, RULES, EDGES)], RULES, EDGES)
    return table[table["facet"] == "score"]


@pytest.mark.parametrize(
    ("n", "sizes"),
    [
        (10, [1] * 10), (25, [2, 3] * 5), (3, [1, 1, 1]), (1, [1]),
        (111, [11, 11, 11, 11, 11, 11, 11, 11, 11, 12]),
    ],
)  # fmt: skip
def test_each_tenth_of_the_scores_has_a_tenth_of_the_detections(n: int, sizes: list[int]) -> None:
    score = np.random.default_rng(n).permutation(n) / 8.0
    rows = of_scores([*score, NAN])
    assert rows["n"].tolist() == [*sizes, 1]
    cuts = np.cumsum([0, *sizes[:-1]]) / 8.0
    np.testing.assert_array_equal(rows["bin_lo"], [*cuts, NAN])
    np.testing.assert_array_equal(rows["bin_hi"], [*cuts[1:], INF, NAN])


def test_without_a_score_there_are_no_tenths() -> None:
    assert of_scores([NAN, NAN]).empty
    assert of_scores([2.0, INF])["n"].tolist() == [2, 0]


def test_rings_of_the_radius_have_equal_areas() -> None:
    y, x = (v.astype(float) for v in np.mgrid[:300, :300])
    # A square frame: the circle around it is 1.
    at = axis_bin(field_radius(x.ravel(), y.ravel(), (300, 300)), AXES["radius"].edges)
    inside = np.hypot(x - 149.5, y - 149.5) < 150 * 0.999
    share = np.bincount(at[inside.ravel()], minlength=6) / inside.sum()
    # The inscribed circle has half the area: two and a half of five rings.
    np.testing.assert_allclose(share, [0.4, 0.4, 0.2, 0, 0, 0], atol=2e-3)
    assert field_radius(np.zeros(2), np.zeros(2), None).tolist() == pytest.approx(
        [NAN, NAN], nan_ok=True
    )


def test_facts_of_a_truth_without_snr_or_fwhm_or_neighbours() -> None:
    one = FrameInput(frame="a", truth=Catalog.build(x=[3.0], y=[4.0]), found=Catalog.empty())
    bins = {name: at.tolist() for name, at in truth_facts(one).bins.items()}
    unknown = {name: AXES[name].n_bins for name in ("snr", "neighbour", "radius")}
    assert bins == {"density": [0]} | {name: [n] for name, n in unknown.items()}
    faint = Catalog.build(x=[3.0, 4.0], y=[4.0, 4.0], snr=[1.0, 1.5], ignore=[True, True],
                          ignore_reason=["faint", "faint"])  # fmt: skip
    alone = truth_facts(FrameInput(frame="a", truth=faint, found=Catalog.empty(), fwhm=2.0)).bins
    assert alone["neighbour"].tolist() == [AXES["neighbour"].n_bins - 1] * 2
    assert alone["density"].tolist() == [0, 0]
    near = Catalog.build(x=[3.0, 4.0], y=[4.0, 4.0])
    facts = truth_facts(FrameInput(frame="a", truth=near, found=Catalog.empty(), fwhm=2.0))
    assert facts.bins["neighbour"].tolist() == [1, 1]  # half a FWHM
    assert truth_facts(FrameInput(frame="b", truth=near, found=Catalog.empty())) is facts


def test_the_axes_of_completeness_are_the_same_in_every_run() -> None:
    assert {f.name: f.edges for f in COMPLETENESS_AXES} == {
        "snr": (0, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 8, 12, 20, 50, INF),
        "density": (0, 0.1, 0.3, 1, 3, 10, 30, 100, INF),
        "neighbour": (0, 0.5, 1, 1.5, 2, 3, 5, 10, 30, INF),
        "radius": (0, 0.4472, 0.6325, 0.7746, 0.8944, 1.0001),
    }
    values = [-1.0, 0.0, 0.99, 1.0, 1.1, NAN]
    assert axis_bin(np.array(values), AXES["density"].edges).tolist() == [0, 0, 2, 3, 3, 8]


@pytest.mark.parametrize(("density", "at"), [(0.9995, 2), (1.0005, 3)])
def test_the_density_is_that_of_five_neighbours_in_a_circle(density: float, at: int) -> None:
    r, angle = np.sqrt(5000 / np.pi / density), 2 * np.pi * np.arange(5) / 5
    truth = Catalog.build(
        x=[200.0, *(200 + r * np.cos(angle))], y=[100.0, *(100 + r * np.sin(angle))]
    )
    facts = truth_facts(FrameInput(frame="a", truth=truth, found=Catalog.empty(), fwhm=2.0))
    assert facts.bins["density"][0] == at


@pytest.mark.parametrize("missing", ["aper_flux", "aper_flux_err"])
def test_a_flux_without_its_error_is_no_snr(missing: str) -> None:
    columns = {"aper_flux": [9.0], "aper_flux_err": [1.0]}
    del columns[missing]
    found = Catalog.build(x=[5.0], y=[5.0], **columns)
    source = FrameInput(frame="a", truth=Catalog.empty(), found=found, shape=SHAPE)
    table = binned_score_table([score_frame(source, RULES, EDGES)], RULES, EDGES)
    rows = table[(table["facet"] == "measured_snr") & (table["n"] > 0)]
    assert rows["bin"].tolist() == [AXES["snr"].n_bins]


def pairs_by_loop():
    for f in FRAMES:
        for t, d in zip(f.pairing.pairs.truth_index, f.pairing.pairs.found_index, strict=True):
            yield f, f.source.truth, f.source.found, t, d


def summary(values: list[float], right: float) -> list[float]:
    values = [v for v in values if math.isfinite(v)]
    if not values:
        return [0, NAN, NAN, NAN]
    middle = np.median(values)
    scatter = 1.482602218505602 * np.median(np.abs(np.array(values) - middle))
    return [
        len(values),
        middle,
        scatter,
        math.sqrt(sum((v - right) ** 2 for v in values) / len(values)),
    ]


def test_residuals_of_every_bin_are_those_of_loops() -> None:
    snr_edges = AXES["snr"].edges
    values: dict[tuple[str, int], list[float]] = {}
    for f, truth, found, t, d in pairs_by_loop():
        if truth["kind"][t] == found["kind"][d] == "point":
            at = bin_of(truth["snr"][t], snr_edges)
            m = truth["mag"][t]
            mag_bin = 4 if math.isnan(m) else sum(m >= e for e in EDGES) - 1
            mag = measured_mag(found)[d] + f.zero_point.offset_mag - m
            dx, dy = found["x"][d] - truth["x"][t], found["y"][d] - truth["y"][t]
            for q, b, v in (("x", at, dx), ("y", at, dy), ("mag", mag_bin, mag)):
                values.setdefault((q, b), []).append(v)
                values.setdefault((q, -2), []).append(v)
        elif truth["kind"][t] == found["kind"][d] == "streak":
            values.setdefault(("length_ratio", -2), []).append(
                found["length"][d] / truth["length"][t]
            )
            turn = math.degrees(found["theta"][d] - truth["theta"][t])
            values.setdefault(("angle", -2), []).append((turn + 90) % 180 - 90)
    table = astrometry_table(FRAMES, RULES, EDGES)
    n = len(snr_edges)
    assert table["quantity"].tolist() == (
        ["x"] * (n + 1) + ["y"] * (n + 1) + ["mag"] * 7 + ["length_ratio", "angle"]
    )
    assert table["bin"].tolist() == [*[*range(n), -2] * 2, *range(-1, 5), -2, -2, -2]
    for row in table.itertuples():
        want = summary(
            values.get((row.quantity, row.bin), []), float(row.quantity == "length_ratio")
        )
        np.testing.assert_allclose([row.n, row.bias, row.scatter, row.rms], want, rtol=1e-12)
    units = table.drop_duplicates("quantity").set_index("quantity")
    assert units["unit"].to_dict() == {
        "x": "px", "y": "px", "mag": "mag", "length_ratio": "", "angle": "deg"}  # fmt: skip
    assert units["by"].to_dict() == {
        "x": "snr", "y": "snr", "mag": "mag", "length_ratio": "", "angle": ""}  # fmt: skip
    x = table[table["quantity"] == "x"]
    np.testing.assert_array_equal(x["bin_lo"], [*snr_edges[:-1], NAN, NAN])
    np.testing.assert_array_equal(x["bin_hi"], [*snr_edges[1:], NAN, NAN])
    mag = table[table["quantity"] == "mag"]
    np.testing.assert_array_equal(mag["bin_lo"], [-INF, *EDGES, NAN, NAN])
    np.testing.assert_array_equal(mag["bin_hi"], [*EDGES, INF, NAN, NAN])


def test_a_streak_across_is_turned_by_minus_ninety_degrees() -> None:
    rules = ScoringRules(streak_angle_deg=90.0)
    line = {"x": [50.0], "y": [50.0], "kind": ["streak"]}
    truth = Catalog.build(**line, length=[2.0], theta=[0.0])
    for theta, turn in ((math.pi / 2, -90.0), (-math.pi / 2, -90.0), (math.radians(89), 89.0)):
        found = Catalog.build(**line, length=[3.0], theta=[theta])
        source = FrameInput(frame="a", truth=truth, found=found)
        table = astrometry_table([score_frame(source, rules, EDGES)], rules, EDGES)
        rows = table.set_index("quantity")
        assert rows.loc["angle", "bias"] == pytest.approx(turn)
        assert rows.loc["length_ratio", "bias"] == pytest.approx(1.5)


def test_a_streak_of_no_length_has_no_ratio_and_no_frame_has_residuals() -> None:
    line = {"x": [50.0], "y": [50.0], "kind": ["streak"], "theta": [0.0]}
    for length, ratio in ((0.0, NAN), (1.0, 2.0)):
        source = FrameInput(
            frame="a", truth=Catalog.build(**line, length=[length]),
            found=Catalog.build(**line, length=[2.0]),
        )  # fmt: skip
        table = astrometry_table([score_frame(source, RULES, EDGES)], RULES, EDGES)
        np.testing.assert_equal(table.set_index("quantity").loc["length_ratio", "bias"], ratio)
    none = astrometry_table([], RULES, EDGES)
    assert none["bin"].tolist() == table["bin"].tolist()
    assert not none["n"].any()
    assert none[["bias", "scatter", "rms"]].isna().all(axis=None)


def test_migration_is_counted_in_loops() -> None:
    want: dict[tuple[int, int], int] = {}
    for f, truth, found, t, d in pairs_by_loop():
        mags = truth["mag"][t], measured_mag(found)[d] + f.zero_point.offset_mag
        cell = tuple(4 if math.isnan(m) else sum(m >= e for e in EDGES) - 1 for m in mags)
        want[cell] = want.get(cell, 0) + 1
    table = migration_table(FRAMES, RULES, EDGES)
    got = {(r.true_bin, r.measured_bin): r.n for r in table.itertuples()}
    assert got == want
    assert len(want) > 6
    edges = dict(
        zip(range(-1, 5), zip([-INF, *EDGES, NAN], [*EDGES, INF, NAN], strict=True), strict=True)
    )
    for side in ("true", "measured"):
        ends = np.array([edges[b] for b in table[f"{side}_bin"]])
        np.testing.assert_array_equal(table[[f"{side}_lo", f"{side}_hi"]], ends)
