"""Positions are ICRS degrees, whatever the axes of the frame's world coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BarycentricMeanEcliptic,
    BaseCoordinateFrame,
    Galactic,
    SkyCoord,
    Supergalactic,
)
from astropy.time import Time
from helpers.wcs_headers import (
    SCALE,
    X,
    Y,
    frame_of,
    gnomonic,
    header,
)
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core import BadInputError
from skyduel.core.wcs import pixel_positions, sky_centre, sky_positions

J2013, B1950 = Time(2013.4, format="jyear"), Time(1950.0, format="byear")
SYSTEMS: dict[str, tuple[dict[str, Any], BaseCoordinateFrame]] = {
    "nothing said": ({}, ICRS()),
    "ICRS": ({"RADESYS": "ICRS"}, ICRS()),
    "ICRS stands above an equinox": ({"RADESYS": "ICRS", "EQUINOX": 1950.0}, ICRS()),
    "FK5": ({"RADESYS": "FK5"}, FK5()),
    "equinox 2000": ({"EQUINOX": 2000.0}, FK5()),
    "equinox as text": ({"EQUINOX": "J2000"}, FK5()),
    "equinox of date": ({"RADESYS": "FK5", "EQUINOX": 2013.4}, FK5(equinox=J2013)),
    "equinox of date alone": ({"EQUINOX": 2013.4}, FK5(equinox=J2013)),
    "old name": ({"RADECSYS": "FK5", "EQUINOX": 2013.4}, FK5(equinox=J2013)),
    "FK4": ({"RADESYS": "FK4"}, FK4(equinox=B1950)),
    "equinox 1950": ({"EQUINOX": 1950.0}, FK4(equinox=B1950)),
    "epoch 1950": ({"EPOCH": 1950.0}, FK4(equinox=B1950)),
    "galactic": ({"ctype": ("GLON-TAN", "GLAT-TAN")}, Galactic()),
    "galactic labelled ICRS": (
        {"ctype": ("GLON-TAN", "GLAT-TAN"), "RADESYS": "ICRS", "EQUINOX": 2000.0},
        Galactic(),
    ),
    "supergalactic": ({"ctype": ("SLON-TAN", "SLAT-TAN")}, Supergalactic()),
    "ecliptic": (
        {"ctype": ("ELON-TAN", "ELAT-TAN")},
        BarycentricMeanEcliptic(equinox=Time(2000, format="jyear")),
    ),
    "ecliptic of date": (
        {"ctype": ("ELON-TAN", "ELAT-TAN"), "EQUINOX": 2013.4},
        BarycentricMeanEcliptic(equinox=J2013),
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_positions_are_icrs_in_every_system(name: str, tmp_path: Path) -> None:
    cards, system = SYSTEMS[name]
    frame = frame_of(header(**cards), tmp_path / "a.fits")
    sky = SkyCoord(*gnomonic(X, Y, 150.0, 2.0), unit="deg", frame=system).icrs

    ra, dec = sky_positions(X, Y, frame)

    assert SkyCoord(ra, dec, unit="deg").separation(sky).max() < 1e-5 * u.arcsec
    x, y = pixel_positions(np.asarray(sky.ra.deg), np.asarray(sky.dec.deg), frame)
    np.testing.assert_allclose(np.c_[x, y], np.c_[X, Y], atol=1e-5)


@pytest.mark.parametrize(
    ("lon", "lat"), [("RA---TAN", "DEC--TAN"), ("GLON-TAN", "GLAT-TAN")], ids=["equatorial", "gal"]
)
def test_latitude_as_the_first_axis(lon: str, lat: str, tmp_path: Path) -> None:
    swapped = header((lat, lon), (2.0, 150.0), CD1_1=0.0, CD1_2=SCALE, CD2_1=-SCALE, CD2_2=0.0)
    straight = header((lon, lat))

    one, other = (frame_of(h, tmp_path / f"{i}.fits") for i, h in enumerate([swapped, straight]))

    np.testing.assert_allclose(sky_positions(X, Y, one), sky_positions(X, Y, other), atol=1e-10)
    ra, dec = sky_positions(X, Y, other)
    np.testing.assert_allclose(pixel_positions(ra, dec, one), [X, Y], atol=1e-6)
    assert sky_centre(one) == pytest.approx(sky_centre(other), abs=1e-10)


def test_known_positions_of_the_galactic_pole_and_of_an_old_star(tmp_path: Path) -> None:
    """Numbers from the literature: the pole of IAU 1958 in ICRS, Barnard's precession B1950."""
    cards = header(("GLON-TAN", "GLAT-TAN"), (0.0, 90.0))
    frame = frame_of(cards, tmp_path / "pole.fits")
    ra, dec = sky_positions(np.array([29.0]), np.array([24.0]), frame)
    assert (ra[0], dec[0]) == (
        pytest.approx(192.85948, abs=1e-4),
        pytest.approx(27.12825, abs=1e-4),
    )

    # Equinox B1950 (0h, 0 deg) is 0h 2m 33.77s, +0d 16' 42.1" in J2000 (Lieske et al. 1977).
    frame = frame_of(header(crval=(0.0, 0.0), EQUINOX=1950.0), tmp_path / "old.fits")
    ra, dec = sky_positions(np.array([29.0]), np.array([24.0]), frame)
    assert ra[0] == pytest.approx(15 * (2 / 60 + 33.77 / 3600), abs=3e-4)
    assert dec[0] == pytest.approx(16 / 60 + 42.1 / 3600, abs=3e-4)


def test_axes_without_a_way_to_icrs_are_one_line(tmp_path: Path) -> None:
    frame = frame_of(header(), tmp_path / "a.fits")
    assert frame.wcs is not None
    frame.wcs.wcs.radesys = "GAPPT"
    with pytest.raises(BadInputError, match="converted to ICRS"):
        sky_positions(X, Y, frame)
    with pytest.raises(BadInputError, match="converted to ICRS"):
        pixel_positions(X, Y, frame)


def test_no_positions_are_no_rows(tmp_path: Path) -> None:
    frame = frame_of(header(EQUINOX=1950.0), tmp_path / "a.fits")
    none = np.zeros(0)
    assert [
        len(a) for a in (*sky_positions(none, none, frame), *pixel_positions(none, none, frame))
    ] == [0] * 4


@given(
    st.sampled_from(sorted(SYSTEMS)),
    st.floats(0, 359.9),
    st.floats(-89, 89),
    st.booleans(),
    st.floats(0, 6.28),
)
def test_pixels_to_icrs_and_back(
    tmp_path_factory: pytest.TempPathFactory,
    name: str, lon: float, lat: float, swap: bool, angle: float,
) -> None:  # fmt: skip
    cards = dict(SYSTEMS[name][0])
    names = cards.pop("ctype", ("RA---TAN", "DEC--TAN"))
    c, s = SCALE * np.cos(angle), SCALE * np.sin(angle)
    one, two = {"CD{}_1": -c, "CD{}_2": s}, {"CD{}_1": s, "CD{}_2": c}
    rows = [one, two]
    crval = (lon, lat)
    if swap:
        names, crval, rows = names[::-1], crval[::-1], rows[::-1]
    for axis, row in enumerate(rows, start=1):
        cards |= {key.format(axis): value for key, value in row.items()}
    frame = frame_of(header(names, crval, **cards), tmp_path_factory.mktemp("w") / "a.fits")

    x, y = pixel_positions(*sky_positions(X, Y, frame), frame)

    np.testing.assert_allclose(np.c_[x, y], np.c_[X, Y], atol=1e-3)
