"""Reading, detecting, scoring and plotting from one import."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from astropy.io import fits
from helpers.command_line import skyduel as command

import skyduel
from skyduel.core import BadInputError, Catalog
from skyduel.evaluation import ScoreReport

STARS = ((20.0, 30.0, 9000.0), (60.0, 30.0, 3000.0), (40.0, 70.0, 1500.0), (70.0, 80.0, 9000.0))


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """A frame of four stars, the last on the mask beside it, and its truth."""
    y, x = np.mgrid[:96, :90].astype(float)
    data = np.random.default_rng(1).normal(100, 3, x.shape)
    for sx, sy, flux in STARS:
        data += flux / (4 * np.pi) * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4)
    mask = np.zeros(x.shape, "u1")
    mask[72:89, 62:79] = 1
    fits.writeto(tmp_path / "a.fits", data.astype("f4"), fits.Header({"MAGZERO": 25.0}))
    fits.writeto(tmp_path / "a_mask.fits", mask)
    rows = "".join(f"{x},{y},{25 - 2.5 * np.log10(flux)}\n" for x, y, flux in STARS)
    (tmp_path / "a.csv").write_text("x,y,mag\n" + rows)
    return tmp_path


def test_five_lines(night: Path) -> None:
    matplotlib.use("agg")
    frame = skyduel.read_frame(night / "a.fits")
    found = skyduel.find_sources(frame, "sep")
    truth = skyduel.read_catalog(night / "a.csv", frame=frame)
    scores = skyduel.score(truth, found, frame=frame)
    ax = skyduel.plot_completeness(scores)
    assert frame.bad[80, 70]
    assert len(found) == 3
    assert scores.counts.truths.sum() == 3  # the fourth lies on the mask
    assert scores.counts.truths_found.sum() == 3
    (bars,) = ax.containers
    assert bars.lines[0].get_ydata().tolist() == [1.0] * len(scores.points()[0])
    assert ax.get_xlabel() == "magnitude"


def test_python_finds_what_the_command_writes(night: Path) -> None:
    found = skyduel.find_sources(night / "a.fits", "sep", DETECT_THRESH=2.0)
    words = ["--with", "sep", "--set", "sep.DETECT_THRESH=2.0", "-o", night / "b.parquet"]
    assert command("detect", night / "a.fits", *words) == 0
    written = skyduel.read_catalog(night / "b.parquet")
    for name in found.table.colnames:
        assert np.array_equal(found[name], written[name], equal_nan=found[name].dtype.kind == "f")
    for key in ("settings", "rows", "program", "fluxtype"):
        assert found.table.meta[key] == written.table.meta[key]


def test_the_choice_of_rows(night: Path) -> None:
    assert len(skyduel.find_sources(night / "a.fits", "sep", most=2)) == 2
    best = skyduel.find_sources(night / "a.fits", "sep", threshold=50.0)
    assert (best["score"] >= 50).all()
    assert best.table.meta["thresh"] == 50.0
    with pytest.raises(BadInputError, match="a detector whose scores are probabilities"):
        skyduel.find_sources(night / "a.fits", "sep", purity=0.9)


def test_a_stated_threshold_is_used_and_may_be_overruled() -> None:
    truth = Catalog.build(x=[1.0, 5.0], y=[1.0, 5.0], mag=[15.0, 15.0])
    found = Catalog.build(
        x=[1.0, 5.0, 40.0], y=[1.0, 5.0, 40.0], mag=[15.0] * 3, score=[0.9, 0.8, 0.1],
        meta={"thresh": 0.5},
    )  # fmt: skip

    def row(scores: ScoreReport) -> tuple[int, int]:
        rows = scores.table[(scores.table["bin"] == -2) & (scores.table["quantity"] == "purity")]
        return int(rows["k"].iloc[0]), int(rows["n"].iloc[0])

    assert row(skyduel.score(truth, found)) == (2, 2)
    assert row(skyduel.score(truth, found, threshold=-np.inf)) == (2, 3)


def test_points_suit_errorbar() -> None:
    rng = np.random.default_rng(3)
    x, y, mag = rng.uniform(0, 500, 300), rng.uniform(0, 500, 300), rng.uniform(15, 22, 300)
    truth = Catalog.build(x=x, y=y, mag=mag)
    seen = rng.uniform(size=300) < 22 - mag
    found = Catalog.build(x=x[seen], y=y[seen], mag=mag[seen], score=np.ones(seen.sum()))
    scores = skyduel.score(truth, found)
    for quantity in ("completeness", "purity", "f1", "jaccard"):
        mag, value, error = scores.points(quantity)
        assert error.shape == (2, len(mag))
        assert (np.isnan(error) | (error >= 0)).all()
        assert ((value >= 0) & (value <= 1)).all()
    with pytest.raises(BadInputError, match="quantity: required one of completeness"):
        scores.points("recal")
