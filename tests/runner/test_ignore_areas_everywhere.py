"""Ignore areas count in every command that scores, alike for truth and for detectors."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from helpers.command_line import skyduel

from skyduel.core import (
    BadInputError,
    Catalog,
    Entry,
    Sectioning,
    entry_of,
    open_dataset,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
    write_manifest,
)
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.api import score
from skyduel.runner.detect_frame import detect_frame, frame_fingerprint, prepare_truth
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.tune_frame import try_on_frame
from skyduel.simulation import SceneSettings, simulate

NY, NX = 220, 260
SEP = DetectorSpec(name="sep", use="sep")
RULES = ScoringRules()
AREA = np.zeros((NY, NX), dtype=bool)
AREA[40:120, 30:200] = True
CUTTING = Sectioning(section_px=192, overlap_px=64)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a frame, its truth and a mask of ignore areas."""
    folder = tmp_path_factory.mktemp("night")
    settings = SceneSettings(ny=NY, nx=NX, sky=200.0, density=140 / (NY * NX), min_snr=10.0)
    frame, truth = simulate(settings, np.random.default_rng(3), "a")
    write_frame(frame, folder / "a.fits", dtype="uint16")
    write_catalog(truth, folder / "a.ecsv")
    fits.writeto(folder / "a_ignore.fits", AREA.astype(np.uint8))
    return folder


def inside(catalog: Catalog) -> np.ndarray:
    row, column = (np.rint(catalog[k]).astype(int) for k in "yx")
    on = (row >= 0) & (row < NY) & (column >= 0) & (column < NX)
    return on & AREA[row.clip(0, NY - 1), column.clip(0, NX - 1)]


def test_the_areas_beside_a_frame_are_found_and_are_no_frame(night: Path, tmp_path: Path) -> None:
    (one,) = open_dataset(night).entries
    assert (one.name, one.ignore, one.mask) == ("a", night / "a_ignore.fits", None)
    assert one.truth == night / "a.ecsv"
    for name in ("a_ignore.reg", "a.moc.fits", "a.ignore.fits"):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(night / "a.fits", folder)
        shutil.copy(night / "a_ignore.fits", folder / name)
        assert [e.ignore for e in open_dataset(folder)] == [folder / name]
    write_manifest(open_dataset(night), night.parent / "manifest.csv")
    assert [e.ignore for e in open_dataset(night.parent / "manifest.csv")] == [one.ignore]
    assert frame_fingerprint(one) != frame_fingerprint(Entry("a", one.frame, one.truth))


@pytest.mark.parametrize("sectioning", [Sectioning(), CUTTING], ids=["whole", "sections"])
def test_a_run_ignores_truth_and_detections_alike(
    night: Path, tmp_path: Path, sectioning: Sectioning
) -> None:
    one, paths = entry_of(night / "a.fits"), RunPaths(tmp_path)
    outcome = prepare_truth(one, RULES, paths, sectioning)
    truth = read_catalog(paths.truth("a"))
    reasons = np.asarray(truth["ignore_reason"]).astype(str)
    np.testing.assert_array_equal(reasons == "area", inside(truth))
    assert outcome.facts["mpix"] == (NY * NX - AREA.sum()) / 1e6
    n, share = inside(truth).sum(), AREA.mean()
    assert outcome.facts["ignore_notes"] == [
        f"a: {n} of {len(truth)} truths and {100 * share:.1f} % of the pixels lie in the ignore "
        "areas of a_ignore.fits; detections there count neither way"
    ]
    from PIL import Image

    np.testing.assert_array_equal(np.asarray(Image.open(paths.ignored("a"))), AREA[::-1])
    assert not paths.mask("a").exists()
    found = tmp_path / "c.parquet"
    assert detect_frame(SEP, one, RULES, found, sectioning=sectioning).reason is None
    got = read_catalog(found)
    # The pixels are seen: detections are there, and are marked.
    assert inside(got).sum() > 20
    np.testing.assert_array_equal(got["ignore"], inside(got))


def test_tuning_counts_outside_only(night: Path, tmp_path: Path) -> None:
    for sectioning in (Sectioning(), CUTTING):
        one = entry_of(night / "a.fits")
        tried = try_on_frame(SEP, [{}], one, RULES, tmp_path / "x.npz", "d", sectioning)
        assert tried.trials[0] is not None
        assert tried.trials[0].mpix == (NY * NX - AREA.sum()) / 1e6
        truth = one.read_truth()
        assert tried.trials[0].truths == (~inside(truth)).sum()


def test_score_takes_the_areas_beside_the_frame_or_a_file(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, n = night / "a.ecsv", len(read_catalog(night / "a.ecsv"))
    truth = read_catalog(table)
    bare = tmp_path / "a.fits"
    shutil.copy(night / "a.fits", bare)

    def counted(*more: object) -> tuple[int, str]:
        assert skyduel("score", table, table, "--json", *more) == 0
        said = capsys.readouterr()
        rows = pd.DataFrame(json.loads(said.out)["scores"])
        row = rows[(rows["bin"] == -2) & (rows["quantity"] == "completeness")].iloc[0]
        return int(row["n"]), said.err

    outside = int((~inside(truth)).sum())
    assert counted("--frame", bare)[0] == n
    beside, said = counted("--frame", night / "a.fits")
    assert beside == outside
    assert f"{n - outside} of {n} truths and {100 * AREA.mean():.1f} % of the pixels" in said
    assert counted("--frame", bare, "--ignore", night / "a_ignore.fits")[0] == outside
    assert skyduel("score", table, table, "--ignore", night / "a_ignore.fits") == 2
    assert "--ignore: required a frame, --frame FRAME" in capsys.readouterr().err
    # And from Python.
    frame = read_frame(bare)
    report = score(truth, truth, frame=frame, ignore=night / "a_ignore.fits")
    assert int(report.counts.sums()["truths"]) == outside
    with pytest.raises(BadInputError, match="the frame of the ignore areas with them"):
        score(truth, truth, ignore=night / "a_ignore.fits")


@pytest.mark.skipif(importlib.util.find_spec("regions") is None, reason="regions not installed")
def test_a_run_with_regions_for_all_frames(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = tmp_path / "bright.reg"
    regions.write_text("image\nbox(115.5,80.5,170,80,0)\n")  # the same area, counted from 1
    out = tmp_path / "run"
    words = ("run", night, "--with", "sep", "--out", out, "--ignore", regions)
    assert skyduel(*words) == 0
    assert "in the ignore areas of bright.reg" in capsys.readouterr().err
    record = json.loads((out / "run.json").read_text())
    assert any("ignore areas of bright.reg" in line for line in record["warnings"])
    truth = read_catalog(RunPaths(out).truth("a"))
    assert int((~truth["ignore"]).sum()) == int((~inside(truth)).sum())
    regions.write_text("image\nbox(115.5\n")
    assert skyduel(*words, "--fresh") == 2
    assert "bright.reg: required shapes such as circle" in capsys.readouterr().err
