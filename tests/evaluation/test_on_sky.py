"""Compare pairing on the sky with astropy's coordinates and a dense assignment."""

from __future__ import annotations

import json

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from skyduel.cli import main as cli
from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.io.tables import read_catalog
from skyduel.core.wcs import plane_positions, sky_separation
from skyduel.evaluation import ScoringRules, pair, pair_sky, score_catalogs
from skyduel.evaluation.matching.matching import pair_candidates
from skyduel.evaluation.matching.on_sky import sky_candidates

#: Centres of fields where naive formulae fail, and one where they do not.
PLACES = {
    "across RA 0": (0.0, 12.0),
    "north pole": (40.0, 90.0),
    "south pole": (0.0, -90.0),
    "high": (201.0, 84.5),
    "plain": (150.0, -31.0),
}


def field(where: str, seed: int, n: int = 37, m: int = 29) -> tuple[np.ndarray, np.ndarray]:
    """Positions [deg] within 12 arcsec of a place: crowded for a radius of 3."""
    rng = np.random.default_rng(seed)
    centre = SkyCoord(*PLACES[where], unit="deg")
    out = []
    for k in (n, m):
        angle, off = rng.uniform(0, 360, k) * u.deg, 12 * np.sqrt(rng.random(k)) * u.arcsec
        at = centre.directional_offset_by(angle, off)
        out.append(np.column_stack([at.ra.deg, at.dec.deg]))
    return out[0], out[1]


def astropy_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    one, two = (SkyCoord(p[:, 0], p[:, 1], unit="deg") for p in (a, b))
    return one[:, None].separation(two[None]).arcsec


@pytest.mark.parametrize("where", PLACES)
def test_pairs_are_those_of_one_assignment_over_astropys_distances(where: str) -> None:
    for seed in range(5):
        a, b = field(where, seed)
        d = astropy_distances(a, b)
        i, j = linear_sum_assignment(np.where(d <= 3, d, 1e3))
        kept = d[i, j] <= 3
        pairs = pair_sky(a, b, 3.0)
        assert kept.sum() > 10
        assert len(pairs) == kept.sum()
        assert pairs.separation.sum() == pytest.approx(d[i, j][kept].sum(), abs=1e-7)
        np.testing.assert_allclose(
            pairs.separation, d[pairs.truth_index, pairs.found_index], atol=1e-8
        )


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(0, 360), st.floats(-90, 90))
@settings(deadline=None, max_examples=100)
def test_separations_are_astropys(ra: float, dec: float, ra2: float, dec2: float) -> None:
    want = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(ra2, dec2, unit="deg")).arcsec
    got = sky_separation(*(np.array(v) for v in (ra, dec, ra2, dec2)))
    # Near the antipode the haversine is flat.
    assert got == pytest.approx(want, abs=1e-8 if want < 3e5 else 0.01)


@pytest.mark.parametrize("dec", [0.0, -60.0, 89.9])
def test_the_gate_is_inclusive_and_right_ascension_shrinks_with_declination(dec: float) -> None:
    step = 1 / 3600
    assert len(pair_sky([[10.0, dec]], [[10.0, dec - step]], 1.0)) == 1
    assert len(pair_sky([[10.0, dec]], [[10.0, dec - step * 1.001]], 1.0)) == 0
    along = step / np.cos(np.deg2rad(dec))
    assert len(pair_sky([[359.9999999, dec]], [[359.9999999 + 0.999 * along - 360, dec]], 1.0)) == 1
    assert len(pair_sky([[0.0, dec]], [[360 - 1.001 * along, dec]], 1.0)) == 0


def test_a_turn_of_right_ascension_is_none() -> None:
    a, b = field("plain", 3)
    one, two = pair_sky(a, b, 3.0), pair_sky(a - [360, 0], b - [-720, 0], 3.0)
    np.testing.assert_array_equal(one.found_index, two.found_index)
    assert len(pair_sky([[10.0, 90.0]], [[200.0, 90.0]], 0.001)) == 1
    assert len(pair_sky([[0.0, 0.0]], [[180.0, 0.0]], 648000)) == 1
    assert len(pair_sky(np.zeros((0, 2)), b, 3.0)) == len(pair_sky(a, np.zeros((0, 2)), 3.0)) == 0


@pytest.mark.parametrize("rule", ["most-pairs", "mutual-nearest", "score-first"])
def test_a_small_field_pairs_as_its_tangent_plane_does(rule: str) -> None:
    a, b = field("plain", 8)
    score = np.random.default_rng(1).random(len(b))
    x, y = plane_positions(*np.concatenate([a, b]).T)
    flat = np.column_stack([x, y])
    plane = pair(flat[: len(a)], flat[len(a) :], 3.0, rule=rule, score=score)
    sky = pair_sky(a, b, 3.0, rule=rule, score=score)
    np.testing.assert_array_equal(sky.truth_index, plane.truth_index)
    np.testing.assert_array_equal(sky.found_index, plane.found_index)
    np.testing.assert_allclose(sky.separation, plane.separation, atol=1e-6)


def test_the_plane_shows_north_up_and_east_left() -> None:
    x, y = plane_positions(
        np.array([0.001, 359.999, 0.0, 0.0]), np.array([80.0, 80, 80.001, 79.999])
    )
    assert x[0] < 0 < x[1]
    assert y[2] > 3 > -3 > y[3]
    far = plane_positions(np.array([0.0, 180.0, 90.0]), np.array([0.0, 0.0, 0.0]))
    assert np.isfinite(far).all()


def catalogue(radec: np.ndarray, **more) -> Catalog:
    zero = np.zeros(len(radec))
    return Catalog.build(x=zero, y=zero, ra=radec[:, 0], dec=radec[:, 1], **more)


def test_whole_catalogues_pair_on_the_sky_whatever_their_pixels() -> None:
    a, b = field("across RA 0", 2)
    truth = catalogue(a, ignore=np.arange(len(a)) % 5 == 0)
    kind = np.where(np.arange(len(b)) % 7 == 0, "streak", "point")
    found = catalogue(b, kind=kind, length=np.where(kind == "streak", 9.0, 0.0))
    pairing = pair_candidates(
        sky_candidates(truth, found, ScoringRules(), 3.0), np.ones(len(b), dtype=bool)
    )
    counted = np.flatnonzero(~truth["ignore"])
    assert len(pairing.pairs) == len(pair_sky(a[counted], b, 3.0))
    assert "separation_arcsec" in pairing.to_table()
    only = ScoringRules(require_kind=True)
    points = np.flatnonzero(kind == "point")
    pairing = pair_candidates(sky_candidates(truth, found, only, 3.0), np.ones(len(b), dtype=bool))
    assert len(pairing.pairs) == len(pair_sky(a[counted], b[points], 3.0))
    report = score_catalogs(truth, found, ScoringRules(), radius_arcsec=3.0)
    assert report.to_dict()["radius_arcsec"] == 3.0
    assert report.counts.sums()["truths_found"] == len(pair_sky(a[counted], b, 3.0))


def test_candidates_on_the_sky_are_all_pairs_within_the_radius() -> None:
    a, b = field("across RA 0", 4)
    kind = np.where(np.arange(len(b)) % 7 == 0, "streak", "point")
    score = np.random.default_rng(3).random(len(b))
    # Rows at one place are told apart by magnitude, with streaks behind points.
    a = np.vstack([a, a[:3], a[:3]])
    mag = np.random.default_rng(2).permutation(len(a)) / 10
    b[1], kind[1], kind[2], b[2] = b[0], "point", "streak", b[0]
    truth = catalogue(a, mag=mag, ignore=np.arange(len(a)) % 5 == 0)
    found = catalogue(
        b, kind=kind, length=np.where(kind == "streak", 9.0, 0.0), score=score,
        ignore=np.arange(len(b)) % 4 == 0,
    )  # fmt: skip
    for rules in (ScoringRules(), ScoringRules(require_kind=True, pairing="score-first")):
        got = sky_candidates(truth, found, rules, 3.0)
        near = astropy_distances(a, b) <= 3.0
        if rules.require_kind:
            near &= kind == "point"
        i, j = np.nonzero(near)
        pairs = sorted(zip(got.truth_index, got.found_index, strict=True))
        assert pairs == list(zip(i, j, strict=True))
        np.testing.assert_allclose(
            got.separation, astropy_distances(a, b)[got.truth_index, got.found_index], atol=1e-8
        )
        assert got.unlike.tolist() == (kind[got.found_index] == "streak").tolist()
        # Numbered by right ascension within a turn, declination, kind and magnitude.
        orders = [
            np.lexsort((mag, a[:, 1], a[:, 0] % 360)),
            np.lexsort((kind == "streak", b[:, 1], b[:, 0] % 360)),
        ]
        for rank, row, order in zip(
            (got.truth_rank, got.found_rank),
            (got.truth_index, got.found_index),
            orders,
            strict=True,
        ):
            assert rank.tolist() == np.argsort(order)[row].tolist()
        assert np.all(np.diff(got.truth_rank * 1000 + got.found_rank) > 0)
        assert got.radius_px == pytest.approx(3.0 + 1e-9, abs=1e-12)
        assert got.truth_ignore.tolist() == truth["ignore"].tolist()
        assert got.found_ignore.tolist() == found["ignore"].tolist()
        assert not got.truth_streak.any()
        assert got.rule == rules.pairing
        assert got.unit == "arcsec"
        assert got.found_score.tolist() == score.tolist()
        none = sky_candidates(truth, catalogue(b[:0]), rules, 3.0)
        assert none.truth_index.size == none.found_index.size == none.separation.size == 0


@pytest.mark.parametrize("off", [-1, 1])
def test_a_radius_may_be_off_by_a_rounding_and_no_more(off: int) -> None:
    dec = np.array([[10.0, 0.0]])
    for radius in (1e-3, 1.0, 3600.0):
        other = dec + np.array([0.0, (radius + 1e-9 * (1 + 0.1 * off)) / 3600])
        assert len(pair_sky(dec, other, radius)) == (off < 0)


def test_positions_at_the_bounds_are_positions() -> None:
    for radec in ([10.0, 90.0], [10.0, -90.0], [359.0, 0.0], [-1e9, 0.0]):
        assert len(pair_sky([radec], [radec], 1e-3)) == 1
    # From side to side of the sky: half a turn is the largest radius.
    assert len(pair_sky([[0.0, -90.0]], [[0.0, 90.0]], 648000.0)) == 1
    with pytest.raises(BadInputError, match=r"radius > 0, at most 648000; got 648000\.1"):
        pair_sky([[0.0, 0.0]], [[0.0, 0.0]], 648000.1)
    with pytest.raises(BadInputError, match=r"in row 1 \(2 such rows\)"):
        pair_sky([[0.0, 0.0], [0.0, -90.1], [np.inf, 0.0]], [[0.0, 0.0]], 1.0)


def test_each_of_the_two_columns_is_asked_for() -> None:
    one = catalogue(np.array([[1.0, 2.0]]))
    for name in ("ra", "dec"):
        half = Catalog.build(x=[1.0], y=[2.0], **{name: [3.0]})
        with pytest.raises(BadInputError, match=f"columns ra and dec to pair.*{name}"):
            sky_candidates(half, one, ScoringRules(), 1.0)


@pytest.mark.parametrize(
    ("truth", "radius", "says"),
    [
        (
            [[0.0, 91.0]],
            1.0,
            r"dec between -90 and 90 deg in every row; got \[0.0, 91.0\] in row 0",
        ),
        ([[np.nan, 1.0]], 1.0, "truth positions: required a finite ra"),
        ([[0.0, 1.0, 2.0]], 1.0, r"shape \(n, 2\)"),
        ([[0.0, 1.0]], 0.0, "radius_arcsec: required a radius > 0"),
        ([[0.0, 1.0]], np.nan, "radius_arcsec"),
    ],
)
def test_unusable_positions_are_refused(truth, radius: float, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        pair_sky(truth, [[0.0, 1.0]], radius)


def test_true_streaks_and_tables_without_sky_are_refused() -> None:
    one = catalogue(np.array([[1.0, 2.0]]))
    streak = catalogue(np.array([[1.0, 2.0]]), kind=["streak"], length=[9.0])
    with pytest.raises(BadInputError, match=r"streaks have lengths in px.*got 1 streaks"):
        sky_candidates(streak, one, ScoringRules(), 1.0)
    with pytest.raises(BadInputError, match="columns ra and dec to pair on the sky"):
        sky_candidates(one, Catalog.build(x=[1.0], y=[2.0]), ScoringRules(), 1.0)


def main(words: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    return int(stop.value.code or 0)


def test_a_frame_gives_pixel_tables_their_sky(tmp_path, capsys) -> None:
    header = fits.Header(
        {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 0.0, "CRVAL2": 60.0,
         "CRPIX1": 30.0, "CRPIX2": 20.0, "CDELT1": -0.5 / 3600, "CDELT2": 0.5 / 3600}
    )  # fmt: skip
    image = tmp_path / "frame.fits"
    pixels = np.random.default_rng(0).normal(100, 5, (40, 60)).astype(np.float32)
    fits.PrimaryHDU(pixels, header).writeto(image)
    paths = [tmp_path / "found.csv", tmp_path / "truth.csv"]
    Table({"x": [10.0, 30.0], "y": [9.0, 30.0]}).write(paths[0])
    Table({"x": [13.0, 30.0], "y": [9.0, 26.0], "mag": [20.0, 20.0]}).write(paths[1])
    words = ["score", *map(str, paths), "--json", "--frame", str(image)]
    # 3 and 4 px of half an arcsec: on the sky 1.5 and 2 arcsec.
    for radius, found in ((1.6, 1), (2.001, 2), (1.4, 0)):
        assert main([*words, "--radius-arcsec", str(radius)]) == 0
        assert json.loads(capsys.readouterr().out)["totals"]["truths_found"] == found


def test_score_pairs_tables_without_pixels(tmp_path, capsys) -> None:
    a, b = field("north pole", 4)
    truth = tmp_path / "truth.csv"
    Table({"ra": a[:, 0], "dec": a[:, 1], "mag": np.linspace(15, 20, len(a))}).write(truth)
    found = tmp_path / "found.csv"
    Table({"ALPHA_J2000": b[:, 0], "DELTA_J2000": b[:, 1]}).write(found)
    words = ["score", str(found), str(truth), "--json"]
    assert main([*words, "--radius-arcsec", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["truths_found"] == len(pair_sky(a, b, 3.0))
    assert report["radius_arcsec"] == 3.0
    assert main([*words, "--radius-arcsec", "3", "--pairing", "mutual-nearest"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["truths_found"] == len(pair_sky(a, b, 3.0, rule="mutual-nearest"))
    assert report["rules"]["pairing"] == "mutual-nearest"
    assert main(words) == 2
    assert "a frame with celestial coordinates" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--radius-arcsec", "3", "--radius-px", "2"]) == 2
    assert "one radius" in capsys.readouterr().err
    assert main([*words, "--radius-arcsec", "3", "--pairing", "jia2020"]) == 2
    assert "metric of its own" in " ".join(capsys.readouterr().err.split())
    assert len(read_catalog(truth, on_sky=True)) == len(a)


def test_no_positions_have_no_pairs() -> None:
    one, none = [[10.0, 20.0]], np.zeros((0, 2))
    for a, b in ((one, none), (none, one), (none, none)):
        pairs = pair_sky(a, b, 1.0)
        assert (len(pairs), pairs.separation.tolist()) == (0, [])


def test_one_streak_among_true_points_and_a_rule_that_needs_scores_are_refused() -> None:
    at = np.array([[1.0, 2.0], [1.1, 2.0]])
    points = catalogue(at)
    mixed = catalogue(at, kind=["point", "streak"], length=[0.0, 9.0])
    with pytest.raises(BadInputError, match=r"streaks have lengths in px.*got 1 streaks"):
        sky_candidates(mixed, points, ScoringRules(), 1.0)
    with pytest.raises(BadInputError, match="score"):
        sky_candidates(points, points, ScoringRules(pairing="score-first"), 1.0)
