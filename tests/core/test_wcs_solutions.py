"""Solutions of headers: many ways to write one, those refused, distortions honoured."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import (
    FK4,
    FK5,
    SkyCoord,
)
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS
from helpers.wcs_headers import (
    NX,
    NY,
    RNG,
    SCALE,
    X,
    Y,
    deproject,
    frame_of,
    gnomonic,
    header,
    ignored,
)
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core import read_frame, write_frame
from skyduel.core.io.images import celestial
from skyduel.core.wcs import pixel_positions, sky_positions

NO_MATRIX = dict.fromkeys(("CD1_1", "CD1_2", "CD2_1", "CD2_2"))
UNUSABLE: dict[str, tuple[dict[str, Any], str]] = {
    "pointing": (NO_MATRIX, "a pointing only"),
    "placeholder CDELT": (NO_MATRIX | {"CDELT1": 1.0, "CDELT2": 1.0}, "a pointing only"),
    "placeholder PC": (NO_MATRIX | {"PC1_1": 1.0, "PC2_2": 1.0}, "a pointing only"),
    "one CDELT": (NO_MATRIX | {"CDELT1": SCALE}, "only one CDELT"),
    "singular": ({"CD1_1": 0.0, "CD2_2": 0.0}, "no inverse"),
    "contradiction": (
        {"PC1_1": 2.0, "PC2_2": 2.0, "CDELT1": -SCALE, "CDELT2": SCALE},
        "contradict each other",
    ),
    "sexagesimal": ({"CRVAL1": "10:00:00"}, "CRVAL1 = '10:00:00' is no usable number"),
    "no CRVAL": ({"CRVAL1": None}, "there is no CRVAL1"),
    "no CRPIX": ({"CRPIX2": None}, "there is no CRPIX2"),
    "text nan": ({"CD1_1": "nan"}, "CD1_1 = 'nan' is no usable number"),
    "logical": ({"CRPIX1": True}, "CRPIX1 = 'True' is no usable number"),
    "declination": ({"crval": (150.0, 95.0)}, "CRVAL = 150, 95 deg"),
    "unit": ({"CUNIT1": "parsec"}, "CUNIT1 = 'parsec'"),
    "WCSAXES": ({"WCSAXES": 100}, "WCSAXES = 100"),
    "projection": ({"ctype": ("RA---XYZ", "DEC--XYZ")}, "projection XYZ is not read"),
    "ZPX": ({"ctype": ("RA---ZPX", "DEC--ZPX")}, "projection ZPX is not read"),
    "table": ({"ctype": ("RA---TAB", "DEC--TAB")}, "projection TAB is not read"),
    "TNX without WAT": ({"ctype": ("RA---TNX", "DEC--TNX")}, "without its distortion"),
    "TNX malformed": (
        {"ctype": ("RA---TNX", "DEC--TNX"), "WAT1_001": 'wtype=tnx lngcor = "3. 9. nan"'},
        "malformed",
    ),
    "TNX degree": (
        {
            "ctype": ("RA---TNX", "DEC--TNX"),
            "WAT1_001": 'wtype=tnx lngcor = "3. 1. 99. 2. -1. 1. -1. 1. 0."',
        },
        "malformed",
    ),
    "ZPN without parameters": ({"ctype": ("RA---ZPN", "DEC--ZPN")}, "unusable"),
    "two longitudes": ({"ctype": ("RA---TAN", "RA---TAN")}, "no pair of axes"),
    "mixed systems": ({"ctype": ("RA---TAN", "GLAT-TAN")}, "no pair of axes"),
    "mixed projections": ({"ctype": ("RA---TAN", "DEC--SIN")}, "no pair of axes"),
    "no projection": ({"ctype": ("RA", "DEC")}, "no known axis and projection"),
    "solar": ({"ctype": ("HPLN-TAN", "HPLT-TAN")}, "no known axis and projection"),
    "apparent": ({"RADESYS": "GAPPT"}, "geocentric apparent"),
    "PV index": ({"PV1_77": 1.0}, "PV1_77 has no meaning"),
    "PV of another projection": (
        {"ctype": ("RA---ARC", "DEC--ARC"), "PV2_7": 0.1},
        "PV2_7 has no meaning in projection ARC",
    ),
    "half a SIP": ({"A_ORDER": 2, "A_2_0": 1e-4}, "B_ORDER = None"),
    "SIP order": ({"A_ORDER": 90, "B_ORDER": 2}, "A_ORDER = 90"),
    "SIP without order": ({"A_2_0": 1e-4}, "without A_ORDER"),
    "polynomial distortion": ({"CPDIS1": "Polynomial"}, "CPDIS1 = 'Polynomial'"),
    "table missing": ({"CPDIS1": "Lookup"}, "WCSDVARR, 1 is missing"),
    "old detector table": ({"AXISCORR": 1}, "AXISCORR is not read"),
    "a cube's axis": ({"CTYPE3": "FREQ", "CD1_3": 0.1}, "an axis that the image does not have"),
    "sky on other axes": (
        {"ctype": ("LINEAR", "LINEAR"), "CTYPE3": "RA---TAN"},
        "no axis of the image",
    ),
    "plate without scale": (
        {"ctype": ("RA---DSS", "DEC--DSS"), "PLTRAH": 1, "AMDX1": 67.2},
        "plate's solution without",
    ),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_unusable_solutions_are_none_and_one_line(name: str, tmp_path: Path) -> None:
    cards, reason = UNUSABLE[name]
    frame = frame_of(header(**cards), tmp_path / "a.fits")
    assert frame.wcs is None
    assert reason in ignored(frame)
    assert "\n" not in ignored(frame)


def test_a_header_without_promise_is_silent(tmp_path: Path) -> None:
    for i, cards in enumerate([fits.Header(), header(("LINEAR", "LINEAR"))]):
        frame = frame_of(cards, tmp_path / f"{i}.fits")
        assert frame.wcs is None
        assert ignored(frame) == ""


C, S = np.cos(0.3), np.sin(0.3)
#: Other ways to write the same solution, rotated by 0.3 rad where they say so.
SAME: dict[str, tuple[dict[str, Any], bool]] = {
    "lower case": ({"ctype": ("ra---tan", "dec--tan")}, False),
    "numbers as text": ({"CRVAL1": "150.0", "CRPIX1": "30"}, False),
    "units": ({"CUNIT1": "degrees", "CUNIT2": "DEG"}, False),
    "arcsec": (
        {"CUNIT1": "arcsec", "CUNIT2": "arcsec", "crval": (540000.0, 7200.0)}
        | {"CD1_1": -1.5, "CD2_2": 1.5},
        False,
    ),
    "CDELT": (NO_MATRIX | {"CDELT1": -SCALE, "CDELT2": SCALE}, False),
    "CD beside old CDELT, CROTA": ({"CDELT1": 1.0, "CDELT2": 1.0, "CROTA2": 40.0}, False),
    "cube of one plane": (
        {"CTYPE3": "FREQ", "CRVAL3": 1e9, "CDELT3": 1e6, "CTYPE4": "STOKES"},
        False,
    ),
    "impossible alternative": ({"CTYPE1A": "RA---XYZ", "CRVAL1A": "x", "PV1_77A": 1.0}, False),
    "WAT of a plain projection": ({"WAT0_001": "system=image", "WAT1_001": "wtype=tan"}, False),
    "PV placeholders": ({"PV1_1": 0.0, "PV1_2": 0.0, "PV2_1": 0.0}, False),
    "SCAMP, first degree": ({"PV1_0": 0.0, "PV1_1": 1.0, "PV2_0": 0.0, "PV2_1": 1.0}, False),
    "TPV": ({"ctype": ("RA---TPV", "DEC--TPV"), "PV1_1": 1.0, "PV2_1": 1.0}, False),
    "unknown system": ({"RADESYS": "MEAN"}, False),
    "equinox 0": ({"EQUINOX": 0.0}, False),
    "rotated CD": (
        {"CD1_1": -SCALE * C, "CD1_2": SCALE * S, "CD2_1": SCALE * S, "CD2_2": SCALE * C},
        True,
    ),
    "rotated PC": (
        NO_MATRIX
        | {"CDELT1": -SCALE, "CDELT2": SCALE, "PC1_1": C, "PC1_2": -S, "PC2_1": S, "PC2_2": C},
        True,
    ),
    "rotated PC of 1988": (
        NO_MATRIX
        | {"CDELT1": -SCALE, "CDELT2": SCALE}
        | {"PC001001": C, "PC001002": -S, "PC002001": S, "PC002002": C},
        True,
    ),
    "CROTA2": (NO_MATRIX | {"CDELT1": -SCALE, "CDELT2": SCALE, "CROTA2": -np.rad2deg(0.3)}, True),
    "CROTA1 alone": (
        NO_MATRIX | {"CDELT1": -SCALE, "CDELT2": SCALE, "CROTA1": -np.rad2deg(0.3)},
        True,
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_one_solution_written_in_many_ways(name: str, tmp_path: Path) -> None:
    cards, rotated = SAME[name]
    frame = frame_of(header(**cards), tmp_path / "a.fits")
    u_, v = X + 1 - 30, Y + 1 - 25
    xi, eta = (-C * u_ + S * v, S * u_ + C * v) if rotated else (-u_, v)
    expected = deproject(np.deg2rad(SCALE * xi), np.deg2rad(SCALE * eta), 150.0, 2.0)

    np.testing.assert_allclose(sky_positions(X, Y, frame), expected, atol=1e-9)


def test_what_is_set_aside_of_a_used_solution_is_said(tmp_path: Path) -> None:
    frame = frame_of(header(RADESYS="MEAN", EQUINOX=0.0), tmp_path / "a.fits")
    assert frame.wcs is not None
    assert "RADESYS = 'MEAN'; EQUINOX = '0.0'" in ignored(frame)
    frame = frame_of(header(EPOCH=2016.7), tmp_path / "b.fits")
    assert "EPOCH = 2016.7 is taken for the equinox" in ignored(frame)


def test_only_known_cards_reach_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[fits.Header] = []

    def watched(cards: fits.Header, *args: Any, **kwargs: Any) -> WCS:
        assert not args
        assert not kwargs
        seen.append(cards)
        return WCS(cards)

    monkeypatch.setattr("astropy.wcs.WCS", watched)
    odd = {"CTYPE1A": "RA---TAN", "PV1_99A": 1.0, "PS1_0": "text", "WCSNAME": "x", "VELREF": 257,
           "WAT1_001": "wtype=tan", "OBSGEO-X": 1.0, "DATE-OBS": "2020-01-01", "AMDX1": 67.2,
           "A_DMAX": 1.0, "PPO3": 1.0, "SPECSYS": "LSRK", "MJDREF": 1.0, "CNAME1": "a"}  # fmt: skip
    frame = frame_of(header(EQUINOX=2000.0, **odd), tmp_path / "a.fits")
    assert frame.wcs is not None
    known = r"(WCSAXES|CTYPE[12]|CRVAL[12]|CRPIX[12]|CD[12]_[12]|CUNIT[12]|EQUINOX)"
    assert [key for key in seen[0] if not re.fullmatch(known, key)] == []
    assert "AMDX" in ignored(frame)

    for cards, _ in UNUSABLE.values():
        if cards.get("ctype") != ("RA---ZPN", "DEC--ZPN") and "CPDIS1" not in cards:
            seen.clear()
            frame_of(header(**cards), tmp_path / "b.fits")
            assert seen == []


@given(st.lists(st.tuples(
    st.sampled_from(["CTYPE1", "CRVAL2", "CD1_1", "CD2_1", "PC1_1", "CDELT1", "CROTA2", "CUNIT1",
                     "PV1_1", "PV2_1", "PV1_39", "A_ORDER", "B_ORDER", "A_2_0", "B_0_2", "WCSAXES",
                     "EQUINOX", "RADESYS", "LONPOLE", "LATPOLE", "CPDIS1", "WAT1_001", "AMDX1"]),
    st.one_of(st.floats(-1e5, 1e5), st.integers(-9, 400), st.booleans(),
              st.sampled_from(["", "RA---TNX", "RA---ZPN", "DEC--TAN", "deg", "x", "99", "FK4"])),
), max_size=6))  # fmt: skip
def test_odd_cards_are_a_solution_or_one_line(cards: list[tuple[str, Any]]) -> None:
    solution, reason = celestial.celestial_wcs(header(NAXIS1=NX, NAXIS2=NY, **dict(cards)))
    if solution is None:
        assert reason
        assert "\n" not in reason
    else:
        assert np.isfinite(solution.all_pix2world([[NX / 2, NY / 2]], 0)).all()


def tnx_cards(kind: int, cross: int, rng: np.random.Generator) -> tuple[dict[str, Any], Any]:
    """Return the cards of a TNX distortion of 3 by 4 terms, and its two surfaces as functions."""
    inside = {0: lambda i, j: i == 0 or j == 0, 1: lambda i, j: True, 2: lambda i, j: i + j < 4}
    pairs = [(i, j) for j in range(4) for i in range(3) if inside[cross](i, j)]
    base = {1: np.polynomial.Chebyshev, 2: np.polynomial.Legendre, 3: None}[kind]
    low, high = -0.03, 0.05

    def basis(n: int, at: np.ndarray) -> np.ndarray:
        return at**n if base is None else base.basis(n)((2 * at - low - high) / (high - low))

    cards, surfaces = {}, []
    for axis, name in ((1, "lngcor"), (2, "latcor")):
        values = rng.normal(0, 1e-3, len(pairs))
        numbers = [f"{kind}.", "3.", "4.", f"{cross}.", *[repr(low), repr(high)] * 2]
        # IRAF ends the list with a blank; without it xy2sky drops the last number.
        text = f'wtype=tnx {name} = "{" ".join([*numbers, *map(repr, map(float, values))])} "'
        for start in range(0, len(text), 68):
            cards[f"WAT{axis}_{start // 68 + 1:03d}"] = text[start : start + 68]
        surfaces.append(
            lambda xi, eta, values=values: sum(
                value * basis(i, xi) * basis(j, eta)
                for (i, j), value in zip(pairs, values, strict=True)
            )
        )
    return cards, surfaces


@pytest.mark.parametrize("swapped", [False, True], ids=["ra first", "dec first"])
@pytest.mark.parametrize("cross", [0, 1, 2], ids=["no cross terms", "all", "half"])
@pytest.mark.parametrize("kind", [1, 2, 3], ids=["chebyshev", "legendre", "polynomial"])
def test_tnx_distortions_are_honoured(kind: int, cross: int, swapped: bool, tmp_path: Path) -> None:
    wat, (lng, lat) = tnx_cards(kind, cross, np.random.default_rng(kind + 10 * cross))
    if swapped:
        wat = {key.translate({49: "2", 50: "1"})[:4] + key[4:]: v for key, v in wat.items()}
        turned = {"CD1_1": 0.0, "CD1_2": SCALE, "CD2_1": -SCALE, "CD2_2": 0.0}
        cards = header(("DEC--TNX", "RA---TNX"), (2.0, 150.0), **turned, **wat)
    else:
        cards = header(("RA---TNX", "DEC--TNX"), **wat)
    frame = frame_of(cards, tmp_path / "a.fits")
    xi, eta = -SCALE * (X + 1 - 30), SCALE * (Y + 1 - 25)
    expected = deproject(np.deg2rad(xi + lng(xi, eta)), np.deg2rad(eta + lat(xi, eta)), 150.0, 2.0)

    ra, dec = sky_positions(X, Y, frame)

    np.testing.assert_allclose([ra, dec], expected, atol=1e-9)
    assert np.abs(ra - gnomonic(X, Y, 150.0, 2.0)[0]).max() > 1e-4  # not the plain projection
    np.testing.assert_allclose(pixel_positions(ra, dec, frame), [X, Y], atol=1e-3)


def test_parameters_of_zpn_as_older_files_state_them(tmp_path: Path) -> None:
    places = []
    for i, (one, three) in enumerate((("PV2_1", "PV2_3"), ("PROJP1", "PROJP3"))):
        cards = header(("RA---ZPN", "DEC--ZPN"), **{one: 1.0, three: 4e4})
        frame = frame_of(cards, tmp_path / f"{i}.fits")
        assert ignored(frame) == ""
        places.append(sky_positions(X, Y, frame))
    np.testing.assert_array_equal(places[0], places[1])
    assert np.abs(places[0][0] - gnomonic(X, Y, 150.0, 2.0)[0]).max() > 1e-4


def plate() -> fits.Header:
    """Make the cards of a scanned plate, of 1.7 arcsec a pixel."""
    made = fits.Header()
    centre = {"PLTRAH": 10, "PLTRAM": 0, "PLTRAS": 12.5, "PLTDECSN": "-", "PLTDECD": 4,
              "PLTDECM": 30, "PLTDECS": 10.0}  # fmt: skip
    scan = {"XPIXELSZ": 25.28445, "YPIXELSZ": 25.28445, "CNPIX1": 7000, "CNPIX2": 6900,
            "PPO1": 0.0, "PPO2": 0.0, "PPO3": 177500.0, "PPO4": 0.0, "PPO5": 0.0,
            "PPO6": 177500.0, "PLTSCALE": 67.2}  # fmt: skip
    first = [67.2, 0.05, 1.2, 1e-4, 2e-4, -3e-4, 1e-5, 2e-6, 1e-7, 2e-6, -1e-7, 1e-7, 1e-9]
    second = [67.1, -0.05, -2.2, 1e-4, -2e-4, 3e-4, -1e-5, 2e-6, 2e-7, 2e-6, -2e-7, 2e-7, 2e-9]
    made.update(centre | {"EQUINOX": 2000.0} | scan)
    made.update({f"AMDX{i}": value for i, value in enumerate([*first, *[0.0] * 7], 1)})
    made.update({f"AMDY{i}": value for i, value in enumerate([*second, *[0.0] * 7], 1)})
    return made


@pytest.mark.parametrize("named", [False, True], ids=["no CTYPE", "CTYPE DSS"])
def test_plate_solutions_are_honoured_and_written_as_polynomials(
    named: bool, tmp_path: Path
) -> None:
    cards = plate()
    if named:
        cards["CTYPE1"], cards["CTYPE2"] = "RA---DSS", "DEC--DSS"
    frame = frame_of(cards, tmp_path / "plate.fits")
    x = (177500.0 - 25.28445 * (X + 1 + 7000 - 0.5)) / 1000
    y = (25.28445 * (Y + 1 + 6900 - 0.5) - 177500.0) / 1000
    r2 = x**2 + y**2
    a, b = ([cards[f"AMD{axis}{i}"] for i in range(1, 14)] for axis in "XY")

    def polynomial(c: list[float], u_: np.ndarray, v: np.ndarray) -> np.ndarray:
        terms = [u_, v, 1, u_**2, u_ * v, v**2, r2, u_**3, u_**2 * v, u_ * v**2, v**3, u_ * r2,
                 u_ * r2**2]  # fmt: skip
        return np.deg2rad(sum(k * t for k, t in zip(c, terms, strict=True)) / 3600)

    lon0, lat0 = 15 * (10 + 12.5 / 3600), -(4 + 30 / 60 + 10 / 3600)
    place = deproject(polynomial(a, x, y), polynomial(b, y, x), lon0, lat0)
    expected = SkyCoord(*place, unit="deg", frame=FK5()).icrs

    ra, dec = sky_positions(X, Y, frame)

    assert SkyCoord(ra, dec, unit="deg").separation(expected).max() < 1e-4 * u.arcsec
    write_frame(frame, tmp_path / "again.fits")
    written = fits.getheader(tmp_path / "again.fits")
    assert written["CTYPE1"] == "RA---TPV"
    assert [key for key in written if re.match(r"AMD|PPO|PLTRA|PLTDEC", key)] == []
    again = read_frame(tmp_path / "again.fits")
    np.testing.assert_allclose(sky_positions(X, Y, again), [ra, dec], atol=1e-9)


def lookup_file(path: Path) -> None:
    """Write an image whose solution has a distortion of 0.5 px in x at the right edge."""
    cards = header()
    image = fits.ImageHDU(RNG.normal(100, 5, (NY, NX)).astype("f4"), cards, name="SCI")
    image.header["CPDIS1"] = "Lookup"
    for name, value in (("EXTVER", 1.0), ("NAXES", 2.0), ("AXIS.1", 1.0), ("AXIS.2", 2.0)):
        image.header[f"DP1.{name}"] = value
    table = fits.ImageHDU(np.array([[0.0, 0.5], [0.0, 0.5]], "f4"), name="WCSDVARR", ver=1)
    for axis, n in ((1, NX), (2, NY)):
        table.header[f"CRPIX{axis}"] = 1.0
        table.header[f"CRVAL{axis}"], table.header[f"CDELT{axis}"] = 1.0, n - 1.0
    fits.HDUList([fits.PrimaryHDU(), image, table]).writeto(path)


def test_lookup_tables_are_honoured_and_written_as_a_fit(tmp_path: Path) -> None:
    lookup_file(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits[SCI]")

    ra, dec = sky_positions(X, Y, frame)

    shifted = X + 0.5 * X / (NX - 1)
    np.testing.assert_allclose([ra, dec], gnomonic(shifted, Y, 150.0, 2.0), atol=1e-8)
    write_frame(frame, tmp_path / "again.fits")
    assert fits.getval(tmp_path / "again.fits", "WCSFIT") < 0.01
    again = read_frame(tmp_path / "again.fits")
    np.testing.assert_allclose(sky_positions(X, Y, again), [ra, dec], atol=0.01 * SCALE)


def test_a_solution_of_the_primary_header_needs_inherit(tmp_path: Path) -> None:
    image = fits.ImageHDU(RNG.normal(100, 5, (NY, NX)).astype("f4"), name="SCI")
    for i, inherit in enumerate((True, False)):
        image.header["INHERIT"] = inherit
        file = tmp_path / f"{i}.fits"
        fits.HDUList([fits.PrimaryHDU(header=header(EQUINOX=1950.0)), image]).writeto(file)
        frame = read_frame(file)
        if inherit:
            sky = SkyCoord(
                *gnomonic(X, Y, 150.0, 2.0),
                unit="deg",
                frame=FK4(equinox=Time(1950.0, format="byear")),
            )
            ra, dec = sky_positions(X, Y, frame)
            assert SkyCoord(ra, dec, unit="deg").separation(sky.icrs).max() < 1e-4 * u.arcsec
        else:
            assert frame.wcs is None
            assert "the image has no INHERIT = T" in ignored(frame)


DIFFERENT = {
    "plain": {},
    "galactic": {"ctype": ("GLON-TAN", "GLAT-TAN")},
    "ecliptic": {"ctype": ("ELON-TAN", "ELAT-TAN")},
    "FK4": {"RADESYS": "FK4", "EQUINOX": 1950.0},
    "equinox of date": {"RADESYS": "FK5", "EQUINOX": 2013.4},
    "dec first": {"ctype": ("DEC--TAN", "RA---TAN"), "crval": (2.0, 150.0), "CD1_1": 0.0,
                  "CD1_2": SCALE, "CD2_1": -SCALE, "CD2_2": 0.0},
    "sine": {"ctype": ("RA---SIN", "DEC--SIN")},
    "arc": {"ctype": ("RA---ARC", "DEC--ARC")},
    **{f"TNX {kind} {cross}": {"ctype": ("RA---TNX", "DEC--TNX")}
       | tnx_cards(kind, cross, np.random.default_rng(kind + 10 * cross))[0]
       for kind in (1, 2, 3) for cross in (0, 1, 2)},
    "SIP": {"ctype": ("RA---TAN-SIP", "DEC--TAN-SIP"), "A_ORDER": 2, "B_ORDER": 2,
            "A_2_0": 1e-4, "B_1_1": -2e-4},
    "plate": plate(),
}  # fmt: skip


@pytest.mark.skipif(shutil.which("xy2sky") is None, reason="needs xy2sky: apt install wcstools")
@pytest.mark.parametrize("name", DIFFERENT)
def test_wcstools_agrees(name: str, tmp_path: Path) -> None:
    """Within 0.1 arcsec: xy2sky gives FK5 J2000, not ICRS."""
    cards = DIFFERENT[name]
    frame = frame_of(cards if isinstance(cards, fits.Header) else header(**cards),
                     tmp_path / "a.fits")  # fmt: skip
    x, y = X[:4], Y[:4]
    points = [str(value) for pair in zip(x + 1, y + 1, strict=True) for value in pair]
    done = subprocess.run(
        ["xy2sky", "-j", "-d", "-n", "7", str(tmp_path / "a.fits"), *points],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    theirs = np.array([line.split()[:2] for line in done.stdout.splitlines()], dtype=float)
    ours = SkyCoord(*sky_positions(x, y, frame), unit="deg")
    assert ours.separation(SkyCoord(*theirs.T, unit="deg")).max() < 0.1 * u.arcsec
