"""Catalogues and frames reach the programs on a SAMP hub, run here on this machine only."""

from __future__ import annotations

import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from astropy.wcs import WCS
from helpers.command_line import skyduel

from skyduel.cli.commands.send.samp import _library
from skyduel.core import Catalog, Frame, write_catalog, write_frame


class Receiver:
    """A program on the hub that loads what it is sent."""

    def __init__(self, samp: Any, name: str, *mtypes: str, refuses: bool = False) -> None:
        self.client = samp.SAMPIntegratedClient(name=name, addr="localhost")
        self.client.connect()
        self.got: list[tuple[str, dict[str, str], Any]] = []
        self._refuses = refuses
        for mtype in mtypes:
            self.client.bind_receive_call(mtype, self._load)

    def _load(
        self, key: str, sender: str, msg_id: str, mtype: str, params: dict[str, str], extra: object
    ) -> None:
        path = Path(urllib.parse.unquote(urllib.parse.urlsplit(params["url"]).path))
        loaded = Table.read(path, format="votable") if "votable" in mtype else path.read_bytes()
        self.got.append((mtype, params, loaded))
        if self._refuses:
            fault = {"samp.errortxt": "too many rows"}
            self.client.reply(
                msg_id, {"samp.status": "samp.error", "samp.result": {}, "samp.error": fault}
            )
        else:
            self.client.reply(msg_id, {"samp.status": "samp.ok", "samp.result": {}})


@pytest.fixture
def samp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A hub of this test alone, which no program outside finds."""
    library = _library()
    lock = tmp_path / "hub.lock"
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
    with library.conf.set_temp("use_internet", False):
        hub = library.SAMPHubServer(
            addr="localhost", lockfile=str(lock), mode="multiple", web_profile=False
        )
        hub.start()
        yield library
        hub.stop()


@pytest.fixture
def night(tmp_path: Path) -> Path:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ("RA---TAN", "DEC--TAN"), (150.0, 20.0)
    wcs.wcs.crpix, wcs.wcs.cdelt = (32.5, 24.5), (-1 / 3600, 1 / 3600)
    data = np.random.default_rng(0).normal(100, 5, (48, 64))
    write_frame(Frame(data=data, name="a", wcs=wcs), tmp_path / "a.fits")
    found = Catalog.build(x=[31.5, 10.0], y=[23.5, 40.0], mag=[20.0, 21.5], score=[0.9, 0.5])
    write_catalog(found, tmp_path / "found 1.csv")
    return tmp_path


def test_a_table_and_a_frame_reach_every_program_that_takes_them(
    samp: Any, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topcat = Receiver(samp, "TOPCAT", "table.load.votable")
    ds9 = Receiver(samp, "DS9", "image.load.fits", "table.load.votable")
    frame, table = night / "a.fits", night / "found 1.csv"
    assert skyduel("send", table, frame, "--frame", frame) == 0
    said = capsys.readouterr().out.splitlines()
    assert sorted(said) == [
        "DS9: a.fits loaded", "DS9: found 1.csv loaded", "TOPCAT: found 1.csv loaded"]  # fmt: skip
    ((mtype, params, loaded),) = topcat.got
    assert mtype == "table.load.votable"
    assert params["name"] == "found 1.csv"
    assert loaded["mag"].tolist() == [20.0, 21.5]
    assert loaded["ra"][0] == pytest.approx(150.0, abs=1e-9)
    assert loaded["dec"][0] == pytest.approx(20.0, abs=1e-9)
    images = [one for one in ds9.got if one[0] == "image.load.fits"]
    assert [one[2] for one in images] == [frame.read_bytes()]
    # What was written for them is gone when they have loaded it.
    assert not Path(urllib.parse.unquote(urllib.parse.urlsplit(params["url"]).path)).exists()

    assert skyduel("send", table, "--to", "top") == 0
    assert capsys.readouterr().out == "TOPCAT: found 1.csv loaded\n"
    assert "ra" not in topcat.got[-1][2].colnames
    assert skyduel("send", frame, "--to", "aladin") == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(
        "SAMP: required a program named like 'aladin' on the hub that takes image.load.fits; "
        "got DS9 for a.fits"
    )


def test_a_program_that_cannot_load_says_why(
    samp: Any, night: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver = Receiver(samp, "Viewer", "table.load.votable", refuses=True)
    assert skyduel("detect", night / "a.fits", "--with", "sep", "--out", night / "c", "--samp") == 2
    assert "Viewer: a.ecsv not loaded: too many rows" in capsys.readouterr().out
    assert len(receiver.got) == 1


def test_without_a_hub_or_a_program_one_line_says_so(
    samp: Any, night: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = night / "found 1.csv"
    assert skyduel("send", table) == 2
    assert "a program on the hub that takes table.load.votable; got none" in capsys.readouterr().err
    monkeypatch.setenv("SAMP_HUB", f"std-lockurl:{(night / 'no.lock').as_uri()}")
    assert skyduel("send", table) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.endswith("SAMP: required a running SAMP hub: start TOPCAT or Aladin, or DS9 with "
                         "SAMP on; got none")  # fmt: skip
    assert skyduel("send", night / "none.csv") == 2
    assert "none.csv: required an existing file" in capsys.readouterr().err


def test_without_either_library_the_extra_is_named(
    night: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pyvo", "astropy.samp"):
        monkeypatch.setitem(sys.modules, name, None)
    import astropy

    monkeypatch.delitem(vars(astropy), "samp", raising=False)
    assert skyduel("send", night / "found 1.csv") == 2
    assert "pyvo (pip install 'skyduel[online]')" in capsys.readouterr().err
