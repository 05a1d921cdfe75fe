"""The truth of a frame from a reference catalogue: bands, epochs, files, services, counts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

from skyduel.core import BadInputError, Catalog, Frame, add_sky_positions, entry_of, read_frame
from skyduel.core.io.tabular.given_table import GivenTable
from skyduel.core.measure import star_width
from skyduel.core.measure.background import estimate_background
from skyduel.core.reference import frame_truth
from skyduel.core.reference.bands import (
    band_of_column,
    band_of_filter,
    choose_magnitude,
    filter_of,
)
from skyduel.core.reference.cones import Cone, cone_of
from skyduel.core.reference.epochs import Epoch, julian_years, observation_epoch, positions_at
from skyduel.core.reference.frame_truth import measured_depth, truth_of_frame
from skyduel.core.reference.origin import Reference
from skyduel.core.reference.parquet_trees import parquet_region
from skyduel.core.reference.services import SERVICES, service_region
from skyduel.core.reference.solutions import read_solution, solution_beside
from skyduel.core.reference.sources import ReferenceSources, reference_sources
from skyduel.core.reference.unresolved import closest_resolved
from skyduel.core.sections.large_image import LargeImage, Sectioning, open_large_image

#: One arcsec per pixel.
SCALE = 1 / 3600


def wcs(ra: float = 150.0, dec: float = 20.0, nx: int = 100, ny: int = 80) -> WCS:
    made = WCS(naxis=2)
    made.wcs.ctype = "RA---TAN", "DEC--TAN"
    made.wcs.crpix = (nx + 1) / 2, (ny + 1) / 2
    made.wcs.crval = ra, dec
    made.wcs.cdelt = -SCALE, SCALE
    made.wcs.set()
    return made


def frame(pixels: np.ndarray | None = None, **facts) -> Frame:
    data = np.random.default_rng(0).normal(100, 5, (80, 100)) if pixels is None else pixels
    return Frame(data=data, **{"name": "f", "wcs": wcs(), **facts})


def sources(**columns) -> ReferenceSources:
    return reference_sources(GivenTable(Table(columns)), "ref")


def at_pixels(x, y, **columns) -> ReferenceSources:
    """Reference sources at pixels of `frame`, through its WCS by the oracle of astropy."""
    ra, dec = wcs().all_pix2world(np.asarray(x, float), np.asarray(y, float), 0)
    return sources(ra=ra, dec=dec, **columns)


# -- magnitudes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("r", "r"), ("SDSS r'", "r"), ("rp", "r"), ("r.MP9601", "r"), ("HSC-R", "r"),
        ("r DECam SDSS c0002 6415.0 1480.0", "r"), ("ZTF_g", "g"), ("zs", "z"), ("u_SDSS", "u"),
        ("V", "V"), ("Bessell V", "V"), ("R_c", "R"), ("Cousins R", "R"), ("B Harris", "B"),
        ("Clear", "clear"), ("L", "clear"), ("No filter", "clear"), ("G", "green"),
        ("Gaia G", "Gaia G"), ("Ks", "K"), ("Red", "R"), ("Y", "y"), ("F606W", "F606W"),
    ],
)  # fmt: skip
def test_filters_by_the_names_of_headers(name: str, band: str) -> None:
    found = band_of_filter(name)
    assert found is not None
    assert found.name == band


def test_wide_filters_of_space_telescopes_have_their_wavelength() -> None:
    assert [band_of_filter(n).wavelength_nm for n in ("F606W", "F160W", "OIII")] == [606, 1600, 501]
    assert band_of_filter("Filter 2") is None


@pytest.mark.parametrize(
    ("name", "band"),
    [
        ("phot_g_mean_mag", "Gaia G"), ("Gmag", "Gaia G"), ("gmag", "g"), ("BPmag", "BP"),
        ("rMeanPSFMag", "r"), ("psfmag_r", "r"), ("Vmag", "V"), ("BTmag", "BT"), ("j_m", "J"),
        ("r_psf", "r"), ("i'mag", "i"), ("Kmag", "K"),
    ],
)  # fmt: skip
def test_magnitude_columns_by_band(name: str, band: str) -> None:
    assert band_of_column(name).name == band


@pytest.mark.parametrize("name", ["e_rmag", "rMeanPSFMagErr", "x", "y", "z", "ra", "ruwe", "pmra"])
def test_other_columns_are_no_magnitudes(name: str) -> None:
    assert band_of_column(name) is None


GAIA = ("phot_g_mean_mag", "phot_bp_mean_mag", "phot_rp_mean_mag")


@pytest.mark.parametrize(
    ("columns", "filter_name", "chosen"),
    [
        (GAIA, "V", "phot_bp_mean_mag"), (GAIA, "r", "phot_g_mean_mag"),
        (GAIA, "I", "phot_rp_mean_mag"), (GAIA, "", "phot_g_mean_mag"),
        (("gmag", "rmag", "imag"), "SDSS i", "imag"), (("gmag", "rmag"), "V", "gmag"),
        (("rMeanKronMag", "rMeanPSFMag"), "r", "rMeanPSFMag"), (("mag", "x"), "r", ""),
    ],
)  # fmt: skip
def test_the_magnitude_is_that_of_the_nearest_band(columns, filter_name, chosen) -> None:
    assert choose_magnitude(columns, filter_name).column == chosen


def test_a_wheel_at_clear_is_passed_by() -> None:
    assert filter_of({"FILTER1": "CLEAR1L", "FILTER2": "F606W"}) == "F606W"
    assert filter_of({"FILTER": "Clear"}) == "Clear"
    assert filter_of({"FILTER": 3}) == ""


# -- epochs ----------------------------------------------------------------------------


def test_barnards_star_moves_as_simbad_has_it() -> None:
    # Gaia DR3 4472832130942575872 at 2016.0, and SIMBAD's position at 2000.0 from it:
    # 17 57 48.49847 +04 41 36.1139.
    ra, dec = positions_at(
        *(np.array([v]) for v in (269.44850252543836, 4.739420051112412, -801.551, 10362.394,
                                  2016.0)), 2000.0
    )  # fmt: skip
    hours = 15 * (17 + 57 / 60 + 48.49847 / 3600)
    mas = 3.6e6
    assert (ra[0] - hours) * mas * math.cos(math.radians(dec[0])) == pytest.approx(0, abs=1)
    assert (dec[0] - (4 + 41 / 60 + 36.1139 / 3600)) * mas == pytest.approx(0, abs=1)


def test_motion_is_along_a_great_circle_near_the_pole() -> None:
    # Straight on in space, by vectors.
    a, d = np.deg2rad(37.0), np.deg2rad(89.2)
    east = np.array([-np.sin(a), np.cos(a), 0])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    here = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    there = here + np.deg2rad((east * 3000 + north * -2000) * 24.5 / 3.6e6)
    there /= np.linalg.norm(there)
    ra, dec = positions_at(
        *(np.array([v]) for v in (37.0, 89.2, 3000.0, -2000.0, 2000.0)), 2024.5
    )  # fmt: skip
    wanted = np.rad2deg(np.arctan2(there[1], there[0])), np.rad2deg(np.arcsin(there[2]))
    assert (ra[0] - wanted[0]) * 3.6e6 * math.cos(d) == pytest.approx(0, abs=0.05)
    assert (dec[0] - wanted[1]) * 3.6e6 == pytest.approx(0, abs=0.05)


def test_what_has_no_motion_or_epoch_stays() -> None:
    ra, dec = positions_at(
        np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]), np.array([np.nan, 50.0, 0.0]),
        np.array([1.0, 60.0, 0.0]), np.array([2016.0, np.nan, 2016.0]), 2000.0,
    )  # fmt: skip
    np.testing.assert_allclose([ra, dec], [[1, 2, 3], [4, 5, 6]], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("header", "year"),
    [
        ({"DATE-OBS": "2000-01-01T12:00:00"}, 2000.0),
        ({"DATE-OBS": "2000-01-01", "UT": "12:00:00"}, 2000.0),
        ({"DATE-OBS": "17/06/98"}, 1998.4586),
        ({"MJD-OBS": 51544.5}, 2000.0),
        ({"MJD-OBS": 0.0, "JD": 2451545.0}, 2000.0),
        ({"TAI": 51544.5 * 86400}, 2000.0),
        ({"DATE-OBS": "unknown", "MJD-OBS": "51544.5"}, 2000.0),
        ({"DATE-OBS": "2024-13-77"}, None),
        ({"DATE": "2020-01-01T00:00:00", "MJD-OBS": True}, None),
    ],
)  # fmt: skip
def test_the_epoch_of_a_header(header: dict[str, object], year: float | None) -> None:
    found = observation_epoch(header)
    if year is None:
        assert found is None
    else:
        assert found is not None
        assert found.year == pytest.approx(year, abs=1e-4)


def test_epochs_may_be_years_or_days() -> None:
    made = julian_years([2016.0, 57388.0, 2457388.5, -999.0, np.nan])
    np.testing.assert_allclose(made[:3], [2016.0, 2015.9986, 2015.9986], atol=1e-3)
    assert np.isnan(made[3:]).all()


# -- tables ----------------------------------------------------------------------------


def test_a_table_under_the_names_of_the_gaia_archive() -> None:
    made = reference_sources(
        GivenTable(Table({
            "source_id": [1, 2], "ra": [10.0, 370.0], "dec": [1.0, 2.0], "pmra": [3.0, np.nan],
            "pmdec": [4.0, np.nan], "ref_epoch": [2016.0, 2016.0], "phot_g_mean_mag": [12.0, 13.0],
            "phot_bp_mean_mag": [12.5, 13.5], "x": [1.0, 2.0], "y": [3.0, 4.0],
        })), "gaia", filter_name="B",
    )  # fmt: skip
    assert made.ra.tolist() == [10.0, 10.0]
    assert made.epoch.tolist() == [2016.0, 2016.0]
    assert made.mag.tolist() == [12.5, 13.5]
    assert made.names.tolist() == [1, 2]
    assert made.magnitude == "phot_bp_mean_mag (BP band; filter B)"


def test_units_of_motions_and_an_epoch_in_a_description() -> None:
    table = Table({"RA_ICRS": [1.0], "DE_ICRS": [2.0], "pmRA": [0.001], "pmDE": [0.002]})
    table["pmRA"].unit = table["pmDE"].unit = "arcsec/yr"
    table["RA_ICRS"].description = "Right ascension (ICRS) at Ep=2016.0 (ra)"
    made = reference_sources(GivenTable(table), "vizier")
    assert (made.pmra[0], made.pmdec[0]) == pytest.approx((1.0, 2.0))
    assert made.epoch.tolist() == [2016.0]
    assert reference_sources(GivenTable(table), "v", epoch=2000.0).epoch.tolist() == [2000.0]
    table["pmRA"].unit = "m"
    with pytest.raises(BadInputError, match="'pmRA' in mas/yr"):
        reference_sources(GivenTable(table), "vizier")


def test_a_table_that_is_no_reference() -> None:
    with pytest.raises(
        BadInputError, match="required ra and dec, under these or other usual names"
    ):
        sources(x=[1.0], y=[2.0])
    with pytest.raises(BadInputError, match="pmra and pmdec, both or neither"):
        reference_sources(GivenTable(Table({"ra": [1.0], "dec": [2.0], "a": [1.0]})), "t",
                          columns={"pmra": "a"})  # fmt: skip
    with pytest.raises(BadInputError, match="'dec' from -90 to 90"):
        sources(ra=[1.0], dec=[91.0])


# -- the truth of a frame --------------------------------------------------------------


def test_sources_are_placed_clipped_and_counted() -> None:
    mask = np.zeros((80, 100), bool)
    mask[10:13, 20:23] = True
    x = [21.0, 50.25, 99.4, 99.6, 105.0, 60.0, 70.0, 3.0, 300.0]
    y = [11.0, 40.5, 10.0, 12.0, 10.0, 50.0, 60.0, 40.0, 10.0]
    mag = [15.0, 16.0, 17.0, 17.0, 17.0, 21.0, np.nan, 15.5, 12.0]
    made = truth_of_frame(frame(mask=mask), at_pixels(x, y, mag=mag), depth=20.0, edge_px=5.0)
    got = {
        (round(a, 6), round(b, 6)): (c, bool(d))
        for a, b, c, d in zip(
            made.catalog["x"], made.catalog["y"], made.catalog["reason"], made.catalog["ignore"],
            strict=True,
        )
    }  # fmt: skip
    assert got == {
        (21.0, 11.0): ("masked", True),
        (50.25, 40.5): ("", False),
        (99.4, 10.0): ("edge", True),
        (99.6, 12.0): ("off_frame", True),
        (105.0, 10.0): ("off_frame", True),
        (60.0, 50.0): ("faint", True),
        (70.0, 60.0): ("no_mag", True),
        (3.0, 40.0): ("edge", True),
    }
    assert made.summary() == (
        "6 sources on the frame, 1 fainter than the limit 20.0, 1 without a magnitude, "
        "2 at the edge, 1 in masks ignored, 1 count"
    )
    assert made.catalog.table.meta["depth"] == 20.0


def test_proper_motions_are_applied_to_the_epoch_of_the_frame() -> None:
    given = at_pixels([50.0], [40.0], mag=[15.0], pmra=[-1000.0], pmdec=[500.0],
                      ref_epoch=[2016.0])  # fmt: skip
    made = truth_of_frame(frame(), given, epoch=Epoch(2026.0, "DATE-OBS"))
    # Ten years: 10 arcsec to the west, where x grows, and 5 to the north.
    assert made.catalog["x"][0] == pytest.approx(60.0, abs=1e-3)
    assert made.catalog["y"][0] == pytest.approx(45.0, abs=1e-3)
    assert "1 of 1 positions moved from 2016.00 to 2026.00 (DATE-OBS)" in made.notes
    still = truth_of_frame(frame(), given)
    assert still.catalog["x"][0] == pytest.approx(50.0, abs=1e-6)
    assert any("proper motions are not applied" in note for note in still.notes)
    undated = at_pixels([50.0], [40.0], pmra=[-1000.0], pmdec=[500.0])
    notes = truth_of_frame(frame(), undated, epoch=Epoch(2026.0, "x")).notes
    assert any("`Reference.epoch` sets it" in note for note in notes)


def test_a_frame_elsewhere_is_an_error() -> None:
    with pytest.raises(BadInputError, match="a source on the frame f; got none of 1 rows"):
        truth_of_frame(frame(), sources(ra=[10.0], dec=[20.0]))


def test_the_measured_depth_is_where_the_matched_filter_has_s_n_two() -> None:
    rng = np.random.default_rng(3)
    fwhm, sigma, zero = 3.0, 5.0, 25.0
    s = fwhm / 2.3548
    x, y = rng.uniform(15, 285, (2, 120))
    flux = 10 ** rng.uniform(2.5, 4.5, 120)
    yy, xx = np.mgrid[:300, :300]
    pixels = rng.normal(100, sigma, (300, 300))
    for a, b, f in zip(x, y, flux, strict=True):
        pixels += f / (2 * np.pi * s**2) * np.exp(-((xx - a) ** 2 + (yy - b) ** 2) / (2 * s**2))
    image = Frame(data=pixels.astype("f4"), name="d", wcs=wcs(nx=300, ny=300))
    depth = measured_depth(image, x, y, zero - 2.5 * np.log10(flux))
    assert depth is not None
    ideal = zero - 2.5 * np.log10(2 * sigma * s * np.sqrt(4 * np.pi))
    assert depth.mag == pytest.approx(ideal - 0.1, abs=0.1)
    few = slice(0, 3)
    assert measured_depth(image, x[few], y[few], zero - 2.5 * np.log10(flux[few])) is None


@pytest.mark.parametrize("large", [False, True])
def test_a_frame_is_read_and_its_background_estimated_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    rng = np.random.default_rng(4)
    x, y = rng.uniform(10, 290, (2, 60))
    mag = rng.uniform(12, 17, 60)
    yy, xx = np.mgrid[:300, :300]
    pixels = rng.normal(100, 5, (300, 300))
    for a, b, m in zip(x, y, mag, strict=True):
        pixels += 10 ** (0.4 * (22 - m)) * np.exp(-((xx - a) ** 2 + (yy - b) ** 2) / 4)
    coordinates = wcs(nx=300, ny=300)
    file = tmp_path / "d.fits"
    fits.PrimaryHDU(pixels.astype("f4"), coordinates.to_header()).writeto(file)
    ra, dec = coordinates.all_pix2world(x, y, 0)

    def opened() -> Frame | LargeImage:
        if not large:
            return read_frame(file)
        image = open_large_image(entry_of(str(file)), Sectioning(section_px=64, overlap_px=0))
        assert image is not None
        return image

    # The same numbers as each measurement alone.
    depth = measured_depth(opened(), x, y, mag)
    middle = opened()
    middle = middle.middle() if isinstance(middle, LargeImage) else middle
    apart = closest_resolved(middle)
    assert depth is not None
    assert apart.px > 0.5
    image, calls = opened(), Counter()

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def count(*args: Any, **options: Any) -> Any:
            calls[name] += 1
            return call(*args, **options)

        return count

    for module in (frame_truth, star_width):
        monkeypatch.setattr(
            module, "estimate_background", counted("background", estimate_background)
        )
    monkeypatch.setattr(LargeImage, "middle", counted("middle", LargeImage.middle))
    truth = truth_of_frame(image, sources(ra=ra, dec=dec, mag=mag))
    assert calls == ({"background": 1, "middle": 1} if large else {"background": 1})
    assert truth.depth is not None
    assert truth.depth.words == depth.words
    assert truth.depth.mag == pytest.approx(depth.mag, abs=1e-9)  # positions went through the WCS
    assert truth.catalog.table.meta["unresolv"] == round(apart.px, 3)
    calls.clear()
    truth_of_frame(image, sources(ra=ra, dec=dec, mag=mag), depth=16.0, unresolved_px=0.0)
    assert not calls


# -- files -----------------------------------------------------------------------------


@pytest.mark.parametrize("ra", [150.0, 0.001])
def test_the_circle_holds_the_frame(ra: float) -> None:
    cone = cone_of(frame(wcs=wcs(ra=ra)))
    assert cone.radius == pytest.approx((np.hypot(50, 40) + 120) / 3600, rel=1e-3)
    ranges = cone.ra_ranges()
    assert any(low <= ra - 0.01 <= high for low, high in ranges)
    assert any(low <= (ra - 0.01) % 360 <= high for low, high in ranges)
    assert Cone(10.0, 89.9, 0.2).ra_ranges() == [(-np.inf, np.inf)]


def tree(folder: Path, n: int = 4000) -> Table:
    """Write a tree with the names of HATS, its partitions belts of declination; return its rows."""
    rng = np.random.default_rng(5)
    table = Table({
        "source_id": np.arange(n), "ra": rng.uniform(0, 360, n), "other": np.zeros(n),
        "dec": np.rad2deg(np.arcsin(rng.uniform(-1, 1, n))),
        "phot_g_mean_mag": rng.uniform(8, 20, n),
    })  # fmt: skip
    order = np.argsort(table["dec"])
    for k, rows in enumerate(np.array_split(order, 12)):
        place = folder / "dataset" / "Norder=0" / "Dir=0"
        place.mkdir(parents=True, exist_ok=True)
        part = table[rows]
        part.sort("ra")
        arrow = pa.table({name: np.asarray(part[name]) for name in part.colnames})
        pq.write_table(arrow, place / f"Npix={k}.parquet", row_group_size=64)
    pq.write_table(pa.table({"Norder": [0], "Npix": [1]}), folder / "partition_info.parquet")
    return table


def test_a_tree_gives_the_rows_of_the_circles_box(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("skyduel.core.reference.parquet_trees.is_installed", lambda name: False)
    table = tree(tmp_path)
    for cone in (Cone(150.0, 20.0, 6.0), Cone(1.0, -5.0, 8.0), Cone(90.0, 88.0, 5.0)):
        got = parquet_region(tmp_path, cone).table
        half = np.rad2deg(np.arcsin(min(1, np.sin(np.deg2rad(cone.radius))
                                        / np.cos(np.deg2rad(cone.dec)))))  # fmt: skip
        off = np.abs((table["ra"] - cone.ra + 180) % 360 - 180)
        inside = np.abs(table["dec"] - cone.dec) <= cone.radius
        if abs(cone.dec) + cone.radius < 90:
            inside &= off <= half
        assert sorted(got["source_id"]) == sorted(table["source_id"][inside])
        assert set(got.colnames) == {"ra", "dec", "phot_g_mean_mag", "source_id"}
    assert len(parquet_region(tmp_path, Cone(150.0, 20.0, 1e-6)).table) == 0


def test_a_broken_partition_is_an_error(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("skyduel.core.reference.parquet_trees.is_installed", lambda name: False)
    tree(tmp_path)
    (tmp_path / "dataset" / "Norder=0" / "Dir=0" / "Npix=0.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(BadInputError, match="readable Parquet files"):
        parquet_region(tmp_path, Cone(150.0, 20.0, 6.0))


def test_partitions_are_chosen_by_healpix(tmp_path: Path) -> None:
    healpix = pytest.importorskip("astropy_healpix")
    rng = np.random.default_rng(5)
    n = 3000
    ra, dec = rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    grid = healpix.HEALPix(nside=4, order="nested")
    from astropy import units as u

    pixels = grid.lonlat_to_healpix(ra * u.deg, dec * u.deg)
    for k in range(grid.npix):
        place = tmp_path / "Norder=2" / "Dir=0" / f"Npix={k}"
        place.mkdir(parents=True)
        mine = pixels == k
        pq.write_table(pa.table({"ra": ra[mine], "dec": dec[mine]}), place / "part0.parquet")
    cone = Cone(200.0, -41.0, 7.0)
    whole = parquet_region(tmp_path, cone).table
    inside = np.abs(dec - cone.dec) <= cone.radius
    assert len(whole) > 5
    # A partition far away is not opened at all.
    far = grid.lonlat_to_healpix(20 * u.deg, 60 * u.deg)
    (tmp_path / "Norder=2" / "Dir=0" / f"Npix={far}" / "part0.parquet").write_bytes(b"PAR1 broken")
    np.testing.assert_array_equal(parquet_region(tmp_path, cone).table["ra"], whole["ra"])
    assert inside.sum() >= len(whole)


def test_radians_are_understood_by_their_unit(tmp_path: Path) -> None:
    schema = pa.schema([pa.field(n, pa.float64(), metadata={"unit": "rad"})
                        for n in ("coord_ra", "coord_dec")])  # fmt: skip
    values = [np.deg2rad([150.0, 10.0]), np.deg2rad([20.0, 20.0])]
    pq.write_table(pa.table(values, schema=schema), tmp_path / "a.parquet")
    made, _ = Reference(str(tmp_path / "a.parquet")).sources_on(frame())
    assert made.ra == pytest.approx([150.0])


@pytest.mark.parametrize(
    ("name", "message"),
    [("gaja", "did you mean gaia"), ("none.fits", "a table, a folder of Parquet files, or one")],
)
def test_an_origin_that_is_none(name: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Reference(name)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="a folder with Parquet files; got none in it"):
        Reference(str(tmp_path)).sources_on(frame())


# -- services --------------------------------------------------------------------------


def votable(rows: str, fields: str, status: str = "OK", more: str = "") -> bytes:
    return (
        '<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
        f'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="{status}">said why</INFO>'
        f"<TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>{more}"
        "</RESOURCE></VOTABLE>"
    ).encode()


GAIA_FIELDS = (
    '<FIELD name="ra" datatype="double" unit="deg"/>'
    '<FIELD name="dec" datatype="double" unit="deg"/>'
    '<FIELD name="phot_g_mean_mag" datatype="float" unit="mag"/>'
    '<FIELD name="phot_bp_mean_mag" datatype="float" unit="mag"/>'
    '<FIELD name="phot_rp_mean_mag" datatype="float" unit="mag"/>'
    '<FIELD name="source_id" datatype="long"/>'
    '<FIELD name="pmra" datatype="double" unit="mas.yr**-1"/>'
    '<FIELD name="pmdec" datatype="double" unit="mas.yr**-1"/>'
    '<FIELD name="ref_epoch" datatype="double" unit="yr"/><FIELD name="ruwe" datatype="float"/>'
)


def cells(*values: object) -> str:
    return "<TR>" + "".join(f"<TD>{'' if v is None else v}</TD>" for v in values) + "</TR>"


GAIA_ROWS = cells(150.0, 20.0, 14.5, 14.9, 13.8, 4472832130942575872, -1000.0, 500.0, 2016.0, 1.0)
GAIA_ROWS += cells(150.001, 20.001, 18.5, None, 17.8, 5, None, None, 2016.0, None)


def test_gaia_answers_with_its_own_column_names() -> None:
    asked = []

    def ask(url: str, adql: str, rows: int, seconds: float) -> bytes:
        asked.append((url, adql, rows, seconds))
        return votable(GAIA_ROWS, GAIA_FIELDS)

    reference = Reference("gaia", ask=ask, max_rows=50, timeout_s=7.0)
    made, notes = reference.sources_on(frame(), "V")
    ((url, adql, rows, seconds),) = asked
    assert (url, rows, seconds) == (SERVICES["gaia"].url, 50, 7.0)
    assert adql == (
        "SELECT TOP 50 ra, dec, phot_g_mean_mag, phot_bp_mean_mag, phot_rp_mean_mag, source_id, "
        "pmra, pmdec, ref_epoch, ruwe FROM gaiadr3.gaia_source WHERE 1 = CONTAINS("
        "POINT('ICRS', ra, dec), CIRCLE('ICRS', 150.0000000, 20.0000000, 0.051120)) "
        "ORDER BY phot_bp_mean_mag"
    )
    assert notes == ()
    assert made.names.tolist() == [4472832130942575872, 5]
    assert made.mag[0] == pytest.approx(14.9)
    assert np.isnan(made.mag[1])
    assert made.pmra.tolist()[0] == -1000.0
    assert np.isnan(made.pmra[1])
    truth = truth_of_frame(frame(), made, epoch=Epoch(2026.0, "x"))
    assert truth.catalog["x"][0] == pytest.approx(59.5, abs=1e-3)
    assert truth.catalog["ref_id"][0] == 4472832130942575872


def test_tycho_has_an_epoch_of_its_own_and_other_names() -> None:
    fields = "".join(f'<FIELD name="{n}" datatype="double"/>'
                     for n in ("RAmdeg", "DEmdeg", "BTmag", "VTmag", "pmRA", "pmDE"))  # fmt: skip
    answer = votable(cells(150.0, 20.0, 9.5, 9.0, 10.0, 20.0), fields)
    made, _ = Reference("tycho2", ask=lambda *a: answer).sources_on(frame(), "V")
    assert made.epoch.tolist() == [2000.0]
    assert made.mag.tolist() == [9.0]


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (votable(GAIA_ROWS, GAIA_FIELDS, more='<INFO name="QUERY_STATUS" value="OVERFLOW"/>'), 50),
        (votable(GAIA_ROWS, GAIA_FIELDS), 2),
    ],
    ids=["said", "full"],
)
def test_an_answer_that_was_cut_short_is_noticed(answer: bytes, rows: int) -> None:
    _, notes = service_region("gaia", Cone(1, 2, 3), max_rows=rows, ask=lambda *a: answer)
    assert notes == (
        "Gaia DR3: the answer was cut short at 2 rows, the brightest in phot_g_mean_mag; "
        "`Reference.max_rows` asks for more",
    )


def test_what_goes_wrong_with_a_service_is_one_line() -> None:
    def late(*_: object) -> bytes:
        raise TimeoutError("read timed out")

    with pytest.raises(BadInputError, match=r"Gaia DR3 \(https.*an answer within 7 s.*timed out"):
        service_region("gaia", Cone(1, 2, 3), timeout_s=7, ask=late)
    for answer, message in (
        (votable("", GAIA_FIELDS, status="ERROR"), "a refusal: said why"),
        (b"<html>busy</html>", "got"),
        (b"\x00\x01", "got"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><VOTABLE/>', "got"),
    ):
        with pytest.raises(BadInputError, match=message):
            service_region("gaia", Cone(1, 2, 3), ask=lambda *a, answer=answer: answer)


# -- solutions of astrometry.net -------------------------------------------------------


def test_the_header_of_a_solution_is_read(tmp_path: Path) -> None:
    plain = frame(wcs=None)
    header = wcs().to_header()
    header["IMAGEW"], header["IMAGEH"] = 100, 80
    fits.PrimaryHDU(header=header).writeto(tmp_path / "f.wcs")
    solved, words = read_solution(tmp_path / "f.wcs", plain)
    assert words == "coordinates of f.wcs"
    assert solved.all_pix2world([[3.0, 4.0]], 0) == pytest.approx(
        wcs().all_pix2world([[3.0, 4.0]], 0)
    )
    header["IMAGEW"] = 101
    fits.PrimaryHDU(header=header).writeto(tmp_path / "g.wcs")
    with pytest.raises(BadInputError, match=r"of 100 x 80 px \(f\); got one of 101 x 80 px"):
        read_solution(tmp_path / "g.wcs", plain)
    fits.PrimaryHDU(np.zeros((80, 100)), wcs().to_header()).writeto(tmp_path / "f.new")
    assert read_solution(tmp_path / "f.new", plain)[1] == "coordinates of f.new"


@pytest.mark.parametrize("n", [12, 60])
def test_matched_stars_give_a_solution(tmp_path: Path, n: int) -> None:
    x, y = np.random.default_rng(2).uniform([[0], [0]], [[99], [79]], (2, n))
    ra, dec = wcs().all_pix2world(x, y, 0)
    table = Table({"field_x": x + 1, "field_y": y + 1, "index_ra": ra, "index_dec": dec})
    table.write(tmp_path / "f.corr", format="fits")
    solved, words = read_solution(tmp_path / "f.corr", frame(wcs=None))
    assert f"fitted to {n} stars of f.corr, rms 0.00 px" in words
    there = solved.all_world2pix(ra, dec, 0)
    np.testing.assert_allclose(there, [x, y], atol=0.01)


@pytest.mark.parametrize("content", [b"", b"text", b"SIMPLE  =                    T" * 200])
def test_a_file_that_is_no_solution(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wcs").write_bytes(content)
    with pytest.raises(BadInputError, match=r"a\.wcs"):
        read_solution(tmp_path / "a.wcs", frame(wcs=None))


@pytest.mark.parametrize("name", ["a.wcs", "a.fits.wcs", "a.new", "a.corr"])
def test_a_solution_beside_a_frame_is_found(tmp_path: Path, name: str) -> None:
    assert solution_beside(tmp_path / "a.fits.fz") is None
    (tmp_path / name).write_bytes(b"x")
    assert solution_beside(Path(f"{tmp_path}/a.fits.fz[1]")) == tmp_path / name


def test_placing_agrees_with_the_projects_own_sky_positions() -> None:
    image = frame()
    there = add_sky_positions(image, Catalog.build(x=[10.0, 90.5], y=[20.25, 70.0]))
    made = truth_of_frame(image, sources(ra=there["ra"], dec=there["dec"]))
    assert sorted(made.catalog["x"]) == pytest.approx([10.0, 90.5], abs=1e-8)
    assert made.catalog.table.meta["refmag"] == "none"
