"""A frame of unknown gain: flux errors lack the sources' photon noise, and the table says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.command_line import skyduel
from helpers.star_shapes import disc, scattered, sky_with

GAIN = 2.0  # of `sky_with`
SAID = "flux errors hold the noise of the sky, not the photon noise of the source"
UNKNOWN = f"gain unknown: {SAID}"


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same pixels with a camera's gain setting, with and without the gain itself."""
    folder = tmp_path_factory.mktemp("gain")
    data = sky_with(disc(3.0), scattered(20, 1), np.geomspace(3e3, 2e5, 20), 2)
    for name, cards in {"setting": {}, "egain": {"EGAIN": GAIN}, "silent": None}.items():
        header = fits.Header()
        if cards is not None:
            header["GAIN"] = (110, "Sub Gain")
            header.update(cards)
        fits.PrimaryHDU(data.astype(np.float32), header).writeto(folder / f"{name}.fits")
    return folder


@pytest.mark.parametrize("detector", ["sep", "sep-matched", "daofind"])
@pytest.mark.parametrize("ending", ["ecsv", "fits"])
def test_the_catalogue_says_what_its_errors_lack(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], detector: str, ending: str
) -> None:
    rows = {}
    for name in ("setting", "egain", "silent"):
        target = tmp_path / f"{name}.{ending}"
        assert skyduel("detect", frames / f"{name}.fits", "--with", detector, "-o", target) == 0
        stderr = " ".join(capsys.readouterr().err.split())
        rows[name] = table = Table.read(target)
        # One line: where a card was set aside that of the card, else that of all such frames.
        of_card = f"setting: GAIN = 110: set aside (a camera's setting: Sub Gain); {UNKNOWN}"
        assert (of_card in stderr) == (name == "setting")
        assert ("no gain: errors leave out" in stderr) == (name == "silent")
        assert stderr.count("photon noise") == (name != "egain")
        assert (table.meta["FR_GAIN"] == f"unknown: {SAID}") == (name != "egain")
    for flux, error in (("flux", "flux_err"), ("aper_flux", "aper_flux_err")):
        known, unknown = rows["egain"], rows["setting"]
        bright = np.asarray(known[flux] > 5e4)
        assert bright.sum() >= 3
        # What is missing is the photon noise of the source.
        missing = known[error][bright] ** 2 - unknown[error][bright] ** 2
        np.testing.assert_allclose(missing, known[flux][bright] / GAIN, rtol=0.02)


def test_verbose_says_it_of_a_silent_frame(
    frames: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert skyduel("detect", frames / "silent.fits", "--with", "sep", "-o", tmp_path,
                   "--verbose") == 0  # fmt: skip
    assert f"silent: gain: unknown: {SAID}" in " ".join(capsys.readouterr().err.split())
