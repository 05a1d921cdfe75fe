"""Trailed stars are said in one line, for every detector: it is a fact of the frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import skyduel
from helpers.star_shapes import disc, star_frame, trail

from skyduel.core import Catalog, Frame, Sectioning, entry_of, write_catalog, write_frame
from skyduel.runner.detect_frame import detect_frame
from skyduel.runner.detector_specs import DetectorSpec

LINE = "the stars of this frame are elongated 4.8:1"


@pytest.fixture(scope="module")
def trailed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one trailed frame, with its truth, and one of round stars."""
    folder = tmp_path_factory.mktemp("trailed")
    for name, profile in (("long", trail(15, 0.4)), ("round", disc(3.0))):
        frame, xy = star_frame(profile)
        write_frame(frame.with_(name=name), folder / f"{name}.fits")
        truth = Catalog.build(x=xy[:, 0], y=xy[:, 1], snr=np.full(len(xy), 50.0))
        write_catalog(truth, folder / f"{name}.ecsv")
    return folder


@pytest.mark.parametrize("name", ["sep", "sep-matched", "daofind"])
def test_detect_says_it(
    trailed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    frames = [trailed / "long.fits", trailed / "round.fits"]
    assert skyduel("detect", *frames, "--with", name, "--out", tmp_path) == 0
    stderr = " ".join(capsys.readouterr().err.split())
    assert stderr.count("the stars of this frame") == 1
    assert f"long: {LINE}" in stderr


def test_run_says_it_in_its_record(
    trailed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert skyduel("run", trailed, "--with", "sep", "--out", tmp_path / "run") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (line,) = record["warnings"]
    assert line.startswith(f"long: {LINE}")
    assert LINE in " ".join(capsys.readouterr().err.split())


def test_run_says_of_stars_what_a_detector_alone_would_measure(
    trailed: Path, tmp_path: Path
) -> None:
    assert skyduel("run", trailed, "--with", "sep", "--out", tmp_path / "run") == 0
    for name in ("long", "round"):
        entry = entry_of(str(trailed / f"{name}.fits"))
        spec = DetectorSpec(name="sep", use="sep")
        measured = detect_frame(spec, entry, None, tmp_path / f"{name}.parquet").facts
        file = tmp_path / "run" / "catalogs" / "sep" / f"{name}.json"
        assert json.loads(file.read_text()).get("notes", []) == measured.get("notes", [])


def test_large_images_are_judged_by_their_middle(trailed: Path, tmp_path: Path) -> None:
    sectioning = Sectioning(section_px=384, overlap_px=64)
    spec = DetectorSpec(name="sep", use="sep")
    for name, said in (("long", [f"long: {LINE}"]), ("round", [])):
        entry = entry_of(str(trailed / f"{name}.fits"))
        outcome = detect_frame(spec, entry, None, tmp_path / "t.ecsv", sectioning=sectioning)
        assert outcome.facts["sections"] > 1
        assert [note[: len(LINE) + 6] for note in outcome.facts.get("notes", [])] == said


def test_a_detector_says_how_it_treats_an_undersampled_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    image = rng.normal(300.0, 5.0, (128, 128))
    yy, xx = np.mgrid[0:128, 0:128]
    xy = np.mgrid[12:120:12, 12:120:12].reshape(2, -1).T + rng.uniform(-0.5, 0.5, (81, 2))
    for x, y in xy:
        image += 1500 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * 0.65**2))
    write_frame(Frame(data=image.astype(np.float32), name="a"), tmp_path / "data" / "a.fits")
    truth = Catalog.build(x=xy[:, 0], y=xy[:, 1], snr=np.full(len(xy), 50.0))
    write_catalog(truth, tmp_path / "data" / "a.ecsv")
    names = ("--with", "sep", "--with", "sep-cleaned")
    line = "sep-cleaned on a: undersampled (stars 1.6 px wide)"
    frame = tmp_path / "data" / "a.fits"
    assert skyduel("detect", frame, "--with", "sep-cleaned", "-o", tmp_path / "a.ecsv") == 0
    assert line in " ".join(capsys.readouterr().err.split())
    assert skyduel("run", tmp_path / "data", *names, "--out", tmp_path / "run") == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    (said,) = record["warnings"]
    assert said.startswith(line)
