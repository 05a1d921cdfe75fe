"""Two catalogues of one frame compared without a truth."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from helpers.command_line import skyduel

from skyduel.core import Catalog, Frame, write_catalog
from skyduel.evaluation.comparison.catalog_difference import catalog_difference
from skyduel.reports.page.difference_page import difference_page

STARS = ((20.0, 30.0, 9000.0), (61.0, 30.0, 3000.0), (40.0, 70.0, 1500.0), (70.0, 82.0, 600.0))


def image() -> np.ndarray:
    y, x = np.mgrid[:96, :90].astype(float)
    data = np.random.default_rng(1).normal(100, 1, x.shape)
    for sx, sy, flux in STARS:
        data += flux / (4 * np.pi) * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4)
    return data.astype("f4")


def catalog(*rows: int, shift: float = 0.0, score: float = 9.0) -> Catalog:
    x, y = (np.array([STARS[k][i] for k in rows]) + shift for i in (0, 1))
    return Catalog.build(x=x, y=y, score=np.full(len(rows), score))


@pytest.fixture
def frame() -> Frame:
    """The frame of four stars, with a zero-point."""
    return Frame(data=image(), name="a <b>", zero_point=25.0)


def test_each_source_is_in_both_or_only_in_one(frame: Frame) -> None:
    made = catalog_difference(catalog(0, 1, 2), catalog(3, 2, 0, shift=0.3), frame)
    rows = made.sources
    assert rows["where"].tolist() == ["both", "only A", "both", "only B"]
    assert rows["x"].tolist() == [20.0, 61.0, 40.0, 70.3]
    assert rows["separation"][:3].tolist() == pytest.approx([0.3 * 2**0.5, np.nan, 0.3 * 2**0.5],
                                                            nan_ok=True)  # fmt: skip
    assert rows["mag"].to_numpy() == pytest.approx(
        [25 - 2.5 * np.log10(STARS[k][2]) for k in range(4)], abs=0.2
    )
    assert rows["score_a"].notna().tolist() == [True, True, True, False]
    assert rows["score_b"].notna().tolist() == [True, False, True, True]
    # The three brightest are bright; the distance is to another one.
    assert made.n_bright == 3
    assert rows["bright_px"][0] == pytest.approx(41.0)
    assert rows["bright_px"][3] == pytest.approx(np.hypot(30.3, 12.3))
    assert [tuple(r) for r in rows[["column", "row"]].to_numpy()] == [
        (0, 0),
        (2, 0),
        (1, 2),
        (2, 2),
    ]


def test_counts_are_those_of_the_sources(frame: Frame) -> None:
    made = catalog_difference(catalog(0, 1, 2), catalog(0, 2, 3), frame)
    for table in (made.by_magnitude(), made.by_bright_distance(), made.by_place()):
        assert table[["both", "only A", "only B"]].sum().tolist() == [2, 1, 1]
    place = made.by_place().set_index("bin")
    assert place.loc["bottom left"].tolist() == [1, 0, 0]
    assert place.loc["bottom right"].tolist() == [0, 1, 0]
    assert place.loc["top right"].tolist() == [0, 0, 1]
    magnitude = made.by_magnitude().set_index("bin")
    assert magnitude.loc["15–16", "both"] == 1


def test_swapping_swaps_and_nothing_else(frame: Frame) -> None:
    one = catalog_difference(catalog(0, 1, 2), catalog(2, 3), frame)
    other = catalog_difference(catalog(2, 3), catalog(0, 1, 2), frame)
    for where, mirror in (("both", "both"), ("only A", "only B"), ("only B", "only A")):
        assert one.count(where) == other.count(mirror)


def test_empty_catalogues(frame: Frame) -> None:
    made = catalog_difference(Catalog.empty(), Catalog.empty(), frame)
    assert len(made.sources) == 0
    assert all(len(t) == 0 for t in (made.by_magnitude(), made.by_place()))
    assert "None." in difference_page(made, frame)
    made = catalog_difference(Catalog.empty(), catalog(0), frame)
    assert made.count("only B") == 1


def test_the_page_escapes_names_and_loads_nothing(frame: Frame) -> None:
    names = ("<script>alert(1)</script>", "b&c")
    made = catalog_difference(catalog(0, 1, 2), catalog(0, 2, 3), frame, names=names)
    page = difference_page(made, frame)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "a &lt;b&gt;" in page
    assert re.findall(r'(?:href|src)="(?!data:image/)[^"]*"', page) == []
    assert page.count("<svg") == 2
    assert page.count('role="img" aria-label="x ') == 2


def test_files_of_catalogues_and_detectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fits.writeto("f.fits", image(), fits.Header({"MAGZERO": 25.0}))
    write_catalog(catalog(0, 1, 2), "old.ecsv")
    faint = Catalog.build(x=[20.0, 61.0, 5.0], y=[30.0, 30.0, 5.0], score=[9.0, 8.0, 0.1],
                          meta={"thresh": 0.5})  # fmt: skip
    write_catalog(faint, "new.fits")
    words = ["--frame", "f.fits", "--out", "d"]
    assert skyduel("diff", "old.ecsv", "new.fits", *words) == 0
    said = capsys.readouterr().out
    # The row below the threshold that the catalogue states is no source.
    assert said.startswith("2 in both, 1 only in old.ecsv, 0 only in new.fits\n")
    assert "by distance to the 3 brightest sources" in said
    assert sorted(p.name for p in Path("d").iterdir()) == [
        "by_bright_distance.csv", "by_magnitude.csv", "by_place.csv", "index.html",
        "only_a.reg", "only_b.reg", "sources.csv",
    ]  # fmt: skip
    assert len(pd.read_csv("d/sources.csv")) == 3
    snr = pd.read_csv("d/sources.csv").query("where == 'only A'")["snr"].item()
    head, *regions = Path("d/only_a.reg").read_text().splitlines()[1:]
    assert head == "global color=orange"
    # The label is the S/N, and DS9 counts pixels from 1.
    assert regions == ["image", f"circle(41.000,71.000,6.000) # text={{{snr:.4g}}}"]
    assert Path("d/only_b.reg").read_text().endswith("global color=cyan\nimage\n")
    assert skyduel("diff", "old.ecsv", "new.fits", *words, "--threshold-b", "-inf") == 0
    assert ", 1 only in new.fits" in capsys.readouterr().out
    assert skyduel("diff", "sep", "old.ecsv", "--frame", "f.fits") == 0
    assert capsys.readouterr().out.startswith("3 in both, 1 only in sep, 0 only in old.ecsv")
    assert skyduel("diff", "old.ecsv", "old.ecsv", "--frame", "f.fits") == 0
    assert "0 only in old.ecsv (A), 0 only in old.ecsv (B)" in capsys.readouterr().out


def test_a_detector_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("night").mkdir()
    fits.writeto("night/f.fits", image(), fits.Header({"MAGZERO": 25.0}))
    rows = "".join(f"{x},{y},20\n" for x, y, _ in STARS)
    Path("night/f.csv").write_text("x,y,mag\n" + rows)
    assert skyduel("run", "night", "--with", "sep", "--out", "r") == 0
    write_catalog(catalog(0, 1), "old.ecsv")
    capsys.readouterr()
    assert skyduel("diff", "r/sep", "old.ecsv", "--frame", "night/f.fits") == 0
    assert capsys.readouterr().out.startswith("2 in both, 2 only in r/sep, 0 only in old.ecsv")
    fits.writeto("g.fits", image())
    assert skyduel("diff", "r/sep", "old.ecsv", "--frame", "g.fits") == 2
    assert "the frame 'g' in the run; got frames f" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["spe", "sep"], "a catalogue, RUN/DETECTOR of a run folder, or a detector"),
        (["spe", "sep"], "did you mean sep?"),
        (["none.ecsv", "sep"], "none.ecsv: required an existing file"),
        (["sep", "sep", "--radius-px", "0"], "radius"),
    ],
)
def test_what_cannot_be_compared_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    fits.writeto("f.fits", image())
    assert skyduel("diff", *words, "--frame", "f.fits") == 2
    assert message in capsys.readouterr().err
