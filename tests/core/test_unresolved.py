"""Doubles of a reference that a frame cannot resolve are one source of the truth."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from scipy.spatial.distance import cdist

from skyduel.core import Catalog, Frame
from skyduel.core.reference.frame_truth import truth_of_frame
from skyduel.core.reference.sources import ReferenceSources
from skyduel.core.reference.unresolved import (
    closest_resolved,
    merge_unresolved,
    n_unresolved,
)
from skyduel.evaluation.matching.doubles import doubles_warning

NAN = np.nan


def sky(ra: float = 150.0) -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crpix = 50.5, 40.5
    made.wcs.crval = ra, 20.0
    made.wcs.cdelt = -1 / 3600, 1 / 3600
    made.wcs.set()
    return made


def frame(width: float | None = None, n_stars: int = 20, ra: float = 150.0, **facts) -> Frame:
    """Return a frame of noise, with stars of a FWHM [px] on pixel centres."""
    data = np.random.default_rng(0).normal(100, 5, (80, 100))
    yy, xx = np.mgrid[:80, :100]
    for i in range(n_stars if width else 0):
        x, y = 10 + 18 * (i % 5), 10 + 18 * (i // 5)
        r2 = (xx - x) ** 2 + (yy - y) ** 2
        data += 5000 * np.exp(-4 * np.log(2) * r2 / (width or 1.0) ** 2)
    return Frame(data=data, name="f", wcs=sky(ra), **facts)


def reference(x, y, mag, ignore=None, names=None, ra: float = 150.0) -> ReferenceSources:
    a, d = sky(ra).all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    n = len(a)
    return ReferenceSources(
        ra=a, dec=d, pmra=np.full(n, NAN), pmdec=np.full(n, NAN), epoch=np.full(n, NAN),
        mag=np.asarray(mag, float),
        ignore=np.zeros(n, bool) if ignore is None else np.asarray(ignore),
        names=None if names is None else np.asarray(names), magnitude="G", source="ref",
    )  # fmt: skip


def by_hand(x, y, mag, separation: float) -> list[int]:
    """The brightest takes all within reach, then the brightest of the rest, by all distances."""
    apart = cdist(np.column_stack([x, y]), np.column_stack([x, y]))
    leader = [-1] * len(x)
    for i in np.argsort(mag, kind="stable"):
        if leader[i] < 0:
            for j in np.flatnonzero(apart[i] <= separation):
                if leader[j] < 0:
                    leader[j] = int(i)
    return leader


@pytest.mark.parametrize("seed", range(20))
def test_the_brightest_takes_what_is_near_as_all_distances_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 80))
    # On a grid, so that many pairs are exactly at the distance.
    x, y = rng.integers(0, 20, (2, n)) / 2
    mag = rng.integers(10, 14, n).astype(float)
    merged = merge_unresolved(x, y, mag, 1.0)
    assert merged.leader.tolist() == by_hand(x, y, mag, 1.0)
    assert merged.n_sources.sum() == n
    flux = 10 ** (-0.4 * mag)
    total = [flux[merged.leader == row].sum() for row in merged.rows]
    np.testing.assert_allclose(10 ** (-0.4 * merged.magnitudes(mag)), total, rtol=1e-12)
    centre = [np.average(x[merged.leader == row], weights=flux[merged.leader == row])
              for row in merged.rows]  # fmt: skip
    np.testing.assert_allclose(merged.mean(x), centre, rtol=0, atol=1e-12)


def test_two_equal_stars_are_one_of_twice_the_flux_between_them() -> None:
    merged = merge_unresolved(np.array([3.0, 3.4]), np.array([7.0, 7.0]), np.full(2, 15.0), 0.5)
    assert merged.rows.tolist() == [0]
    assert merged.mean(np.array([3.0, 3.4])) == pytest.approx([3.2])
    assert merged.magnitudes(np.full(2, 15.0)) == pytest.approx([15 - 2.5 * np.log10(2)])


def test_a_chain_does_not_grow_beyond_the_distance() -> None:
    x = np.arange(5) * 0.4
    merged = merge_unresolved(x, np.zeros(5), np.arange(5.0), 0.5)
    assert merged.leader.tolist() == [0, 0, 2, 2, 4]
    assert merge_unresolved(x, np.zeros(5), np.arange(5.0), 0.0).leader.tolist() == [*range(5)]


def test_sources_without_a_magnitude_stay_alone_unless_none_has_one() -> None:
    x, y = np.array([1.0, 1.1, 1.2]), np.zeros(3)
    some = merge_unresolved(x, y, np.array([NAN, 12.0, 13.0]), 0.5)
    assert some.leader.tolist() == [0, 1, 1]
    assert np.isnan(some.magnitudes(np.array([NAN, 12.0, 13.0]))[0])
    none = merge_unresolved(x, y, np.full(3, NAN), 0.5)
    assert none.leader.tolist() == [0, 0, 0]
    assert none.mean(x) == pytest.approx([1.1])
    assert np.isnan(none.magnitudes(np.full(3, NAN))).all()


def test_angles_are_averaged_across_their_period() -> None:
    merged = merge_unresolved(np.array([1.0, 1.2]), np.zeros(2), np.full(2, 10.0), 0.5)
    got = merged.mean(np.array([359.9999, 0.0003]), 360.0)
    assert got == pytest.approx([0.0001], abs=1e-9)


@pytest.mark.parametrize(
    ("made", "px", "words"),
    [
        (frame(4.0), 2.0, "half the FWHM of 20 stars"),
        (frame(4.0, 2), 0.5, "half a pixel"),
        (frame(4.0, 2, fwhm=3.0), 1.5, "half the stated FWHM"),
        (frame(), 0.5, "half a pixel"),
        (None, 0.5, "half a pixel"),
    ],
)
def test_the_distance_is_half_an_fwhm(made: Frame | None, px: float, words: str) -> None:
    found = closest_resolved(made)
    assert found.px == pytest.approx(px, abs=0.06)
    assert found.words == words


def test_the_truth_of_a_frame_has_one_row_for_a_double() -> None:
    x, y = [50.0, 50.3, 20.0, 20.3, 70.0, 70.7], [40.0, 40.0, 30.0, 30.0, 10.0, 10.0]
    mag = [12.0, 12.0, 13.0, 11.0, 14.0, 14.0]
    given = [False, False, True, False, False, False]
    sources = reference(x, y, mag, ignore=given, names=["a", "b", "c", "d", "e", "f"], ra=0.0)
    made = truth_of_frame(frame(ra=0.0), sources, measure_depth=False)
    rows = {
        str(name): (round(px, 4), round(m, 4), int(n), bool(i))
        for name, px, m, n, i in zip(
            *(made.catalog[c] for c in ("ref_id", "x", "mag", "n_sources", "ignore")), strict=True
        )
    }
    # c is ignored by the catalogue, so d stays as it is; e and f are 0.7 px apart.
    assert rows == {
        "a": (50.15, round(12 - 2.5 * np.log10(2), 4), 2, False),
        "c": (20.0, 13.0, 1, True), "d": (20.3, 11.0, 1, False),
        "e": (70.0, 14.0, 1, False), "f": (70.7, 14.0, 1, False),
    }  # fmt: skip
    back = sky(0.0).all_world2pix(made.catalog["ra"], made.catalog["dec"], 0)
    np.testing.assert_allclose(np.transpose(back), made.catalog.xy, rtol=0, atol=1e-6)
    assert made.notes[-1] == (
        "1 source within 0.5 px of a brighter one (half a pixel) is one source with it"
    )
    assert made.catalog.table.meta["added"] == 1
    apart = truth_of_frame(frame(ra=0.0), sources, measure_depth=False, unresolved_px=0.0)
    assert len(apart.catalog) == 6
    assert not any("one source with it" in line for line in apart.notes)


def test_two_faint_ones_that_are_bright_together_count() -> None:
    sources = reference([50.0, 50.2, 10.0], [40.0, 40.0, 10.0], [20.4, 20.4, 20.4])
    made = truth_of_frame(frame(), sources, depth=20.0)
    assert made.counts[""] == 1
    assert made.counts["faint"] == 1


def test_unresolved_sources_are_counted_once_each() -> None:
    xy = np.array([[0.0, 0.0], [0.5, 0.0], [0.25, 0.1], [9.0, 9.0], [NAN, 0.0]])
    assert n_unresolved(xy) == 2
    assert n_unresolved(xy[:1]) == 0
    assert n_unresolved(xy[3:]) == 0


@pytest.mark.parametrize(
    ("n_doubles", "n_lone", "said"),
    [(3, 100, True), (2, 10, False), (3, 500, False), (6, 500, True)],
)
def test_many_doubles_in_a_truth_are_a_warning(n_doubles: int, n_lone: int, said: bool) -> None:
    x = [*range(n_doubles + n_lone), *(np.arange(n_doubles) + 0.4)]
    truth = Catalog.build(x=np.array(x, float) * 1.0, y=np.zeros(len(x)))
    line = doubles_warning(truth)
    assert (line is not None) == said
    if said:
        assert line.startswith(f"{n_doubles} of {len(x)} truths are within 0.5 px of another one")
    # Ignored sources and streaks need no detection of their own.
    ignore = np.arange(len(x)) >= n_doubles + n_lone
    assert doubles_warning(Catalog.build(x=truth["x"], y=truth["y"], ignore=ignore)) is None
    kind = np.where(ignore, "streak", "point")
    streaks = Catalog.build(
        x=truth["x"], y=truth["y"], kind=kind, length=np.where(ignore, 9.0, np.nan),
        theta=np.where(ignore, 0.0, np.nan),
    )  # fmt: skip
    assert doubles_warning(streaks) is None
