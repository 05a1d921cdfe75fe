"""Two catalogues of one frame: each source, and the counts by magnitude, distance and place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.wcs import WCS

from skyduel.core import BadInputError, Catalog, Frame, forced_photometry
from skyduel.evaluation.comparison import catalog_difference as module
from skyduel.evaluation.comparison.catalog_difference import (
    BOTH,
    ONLY_A,
    ONLY_B,
    CatalogDifference,
    catalog_difference,
)

NAN, INF = float("nan"), float("inf")


def made(**columns: list) -> CatalogDifference:
    table = pd.DataFrame(columns)
    return CatalogDifference(("A", "B"), table, 2.0, 3)


def rows(table: pd.DataFrame) -> dict[str, tuple[int, int, int]]:
    assert table.columns.tolist() == ["bin", BOTH, ONLY_A, ONLY_B]
    return {r[0]: (int(r[1]), int(r[2]), int(r[3])) for r in table.itertuples(index=False)}


def test_counts_by_magnitude() -> None:
    d = made(
        where=[BOTH, ONLY_A, ONLY_B, BOTH, ONLY_A, ONLY_B],
        mag=[15.2, 15.99, 16.0, 18.0, NAN, INF],
    )
    assert [d.count(w) for w in (BOTH, ONLY_A, ONLY_B)] == [2, 2, 2]
    # 18 is the last edge and stands in the last bin; nothing lies between 16 and 17.
    assert list(rows(d.by_magnitude()).items()) == [
        ("15–16", (1, 1, 0)), ("16–17", (0, 0, 1)), ("17–18", (1, 0, 0)),
        ("no magnitude", (0, 1, 1)),
    ]  # fmt: skip
    assert rows(made(where=[BOTH], mag=[15.0]).by_magnitude()) == {"15–16": (1, 0, 0)}
    two = made(where=[BOTH, ONLY_A], mag=[15.9, 16.1])
    assert rows(two.by_magnitude()) == {"15–16": (1, 0, 0), "16–17": (0, 1, 0)}
    nothing = made(where=[BOTH, ONLY_A], mag=[NAN, NAN])
    assert rows(nothing.by_magnitude()) == {"no magnitude": (1, 1, 0)}


def test_counts_by_the_distance_to_a_bright_source() -> None:
    d = made(
        where=[ONLY_A] * 9,
        bright_px=[0.0, 9.99, 10.0, 25.0, 50.0, 99.0, 100.0, 1e6, INF],
    )
    assert rows(d.by_bright_distance()) == {
        "0–10 px": (0, 2, 0), "10–25 px": (0, 1, 0), "25–50 px": (0, 1, 0), "50–100 px": (0, 2, 0),
        "≥ 100 px": (0, 3, 0),
    }  # fmt: skip
    assert rows(made(where=[], bright_px=[]).by_bright_distance()) == {}


def test_counts_by_place_begin_at_the_top_left() -> None:
    d = made(where=[ONLY_B] * 4, row=[0, 2, 2, 1], column=[0, 0, 2, 1])
    assert list(rows(d.by_place())) == ["top left", "top right", "middle centre", "bottom left"]


def frame(shape: tuple[int, int] = (60, 90)) -> Frame:
    data = np.random.default_rng(1).normal(100, 2, shape).astype(np.float32)
    return Frame(data=data, name="noise")


def test_each_source_of_both() -> None:
    a = Catalog.build(x=[10.0, 40.0, 70.0], y=[10.0, 30.0, 50.0], score=[0.1, 0.2, 0.3])
    b = Catalog.build(x=[80.0, 41.0, 12.0, 10.0], y=[50.0, 30.0, 10.1, 5.0],
                      score=[1.0, 2.0, 3.0, 4.0])  # fmt: skip
    d = catalog_difference(a, b, frame(), names=("old", "new"))
    t = d.sources
    assert (d.names, d.radius_px, d.n_bright) == (("old", "new"), 2.0, 3)
    assert t["where"].tolist() == [ONLY_A, BOTH, ONLY_A, ONLY_B, ONLY_B, ONLY_B]
    assert t["x"].tolist() == [10.0, 40.0, 70.0, 80.0, 12.0, 10.0]
    assert t["y"].tolist() == [10.0, 30.0, 50.0, 50.0, 10.1, 5.0]
    np.testing.assert_array_equal(t["score_a"], [0.1, 0.2, 0.3, NAN, NAN, NAN])
    np.testing.assert_array_equal(t["score_b"], [NAN, 2.0, NAN, 1.0, 3.0, 4.0])
    np.testing.assert_array_equal(t["separation"], [NAN, 1.0, NAN, NAN, NAN, NAN])
    assert t["column"].tolist() == [0, 1, 2, 2, 0, 0]
    assert t["row"].tolist() == [0, 1, 2, 2, 0, 0]
    assert "ra" not in t
    measured = forced_photometry(frame(), Catalog.build(x=t["x"], y=t["y"]))
    flux, err = measured["aper_flux"], measured["aper_flux_err"]
    np.testing.assert_array_equal(t["mag"], measured["aper_mag"])
    np.testing.assert_array_equal(t["snr"], flux / err)
    assert len(set(t["snr"])) == 6
    sky = WCS(naxis=2)
    sky.wcs.ctype, sky.wcs.crval = ["RA---TAN", "DEC--TAN"], [10.0, 20.0]
    sky.wcs.crpix, sky.wcs.cdelt = [45.0, 30.0], [-1e-4, 1e-4]
    there = catalog_difference(a, b, replace(frame(), wcs=sky)).sources
    np.testing.assert_allclose(there[["ra", "dec"]].T, sky.pixel_to_world_values(t["x"], t["y"]))
    # The first of A and the third of B are 2.002 px apart.
    wider = catalog_difference(a, b, frame(), radius_px=2.01).sources
    assert wider["where"].tolist() == [BOTH, BOTH, ONLY_A, ONLY_B, ONLY_B]
    with pytest.raises(BadInputError, match="radius_px: required a finite radius > 0"):
        catalog_difference(a, b, frame(), radius_px=0.0)


def test_the_parts_of_the_chip_are_thirds() -> None:
    # Of 90 pixels, the first third ends at 29.5 px.
    x = [-0.5, 29.49, 29.5, 59.49, 59.5, 89.49]
    got = module._cell(np.array([*x, -3.0, 95.0]), 90)
    assert got.tolist() == [0, 0, 1, 1, 2, 2, 0, 2]


@pytest.mark.parametrize(
    ("n", "bright"), [(0, 0), (2, 2), (3, 3), (300, 3), (301, 4), (10_100, 100)]
)
def test_one_in_a_hundred_is_bright(n: int, bright: int) -> None:
    rng = np.random.default_rng(n)
    xy, flux = rng.uniform(0, 500, (n, 2)), rng.uniform(1, 9, n)
    distance, number = module._bright_distance(xy, flux)
    assert number == bright
    stars = np.argsort(-flux)[:bright]
    for k in range(0, n, max(1, n // 50)):
        others = [np.hypot(*(xy[k] - xy[s])) for s in stars if s != k]
        assert distance[k] == pytest.approx(min(others, default=INF))
    if n == 300:  # without a flux none is bright
        assert module._bright_distance(xy, np.where(np.arange(n) < 2, flux, NAN))[1] == 2
