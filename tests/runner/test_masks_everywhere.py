"""Every command uses masks and weight maps that are named or in the folder of a frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from astropy.io import fits
from helpers.command_line import skyduel
from PIL import Image

import skyduel.detect.finetune as finetuning
from skyduel.core import (
    Catalog,
    Entry,
    Frame,
    entry_of,
    open_dataset,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
)
from skyduel.detect.model.network import Network, NetworkSettings
from skyduel.detect.model.weights import Calibration, save_weights
from skyduel.detect.training.adapt import FrameCrops
from skyduel.detect.training.crops import item
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.detect_frame import detect_frame, prepare_truth
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.read_region import read_region
from skyduel.runner.truth_free import flip_table
from skyduel.runner.tune_frame import try_on_frame
from skyduel.simulation import SceneSettings, simulate

NY, NX, EDGE = 240, 330, 150
SEP = DetectorSpec(name="sep", use="sep")
#: What stands for the same mask: a mask, one whose bit 4 alone means bad, a weight map.
KINDS = ("mask", "bits", "weight")


def scene(seed: int) -> tuple[Frame, Catalog]:
    settings = SceneSettings(ny=NY, nx=NX, sky=200.0, density=160 / (NY * NX), min_snr=10.0)
    return simulate(settings, np.random.default_rng(seed), "field")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A frame and its truth without a mask."""
    folder = tmp_path_factory.mktemp("bare")
    frame, truth = scene(5)
    write_frame(frame, folder / "field.fits", dtype="uint16")
    write_catalog(truth, folder / "field.ecsv")
    return folder / "field.fits"


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and a mask beside it: everything left of column 150."""
    folder = tmp_path_factory.mktemp("masked")
    frame, truth = scene(5)
    write_frame(frame, folder / "field.fits", dtype="uint16")
    write_catalog(truth, folder / "field.ecsv")
    fits.writeto(folder / "field_mask.fits", left(1))
    return folder / "field.fits"


def left(value: int) -> np.ndarray:
    image = np.zeros((NY, NX), dtype=np.int16)
    image[:, :EDGE] = value
    return image


def entry(bare: Path, kind: str, folder: Path) -> Entry:
    """An entry of a manifest that names a mask of another name in another folder."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    image = {"mask": left(7), "bits": left(4) + 1, "weight": 1 - left(1)}[kind]
    fits.writeto(elsewhere / "plane.fits", image)
    column = "weight" if kind == "weight" else "mask"
    lines = ["frame,truth,split,mask_bits," + column]
    bits = "4" if kind == "bits" else ""
    path = elsewhere / "plane.fits"
    lines.append(f"{bare},{bare.with_suffix('.ecsv')},calibration,{bits},{path}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    (only,) = open_dataset(folder).entries
    return only


def test_detect_reports_nothing_on_masked_pixels(bare: Path, masked: Path, tmp_path: Path) -> None:
    columns = []
    for k, frame in enumerate((bare, masked)):
        assert skyduel("detect", frame, "--with", "sep", "--out", tmp_path / f"{k}.ecsv") == 0
        columns.append(read_catalog(tmp_path / f"{k}.ecsv")["x"])
    assert (columns[0] < EDGE - 1).sum() > 20
    assert (columns[1] < EDGE - 1).sum() == 0
    assert (columns[1] >= EDGE).sum() > 20


def test_score_ignores_what_is_masked(
    bare: Path, masked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = masked.with_suffix(".ecsv")
    counted = []
    for frame in (bare, masked):
        assert skyduel("score", table, table, "--frame", frame, "--json") == 0
        rows = pd.DataFrame(json.loads(capsys.readouterr().out)["scores"])
        row = rows[(rows["bin"] == -2) & (rows["quantity"] == "completeness")].iloc[0]
        counted.append(int(row["n"]))
    x = read_catalog(table)["x"]
    assert counted == [len(x), int((x >= EDGE - 0.5).sum())]


@pytest.mark.parametrize("kind", KINDS)
def test_run_and_tune_count_usable_pixels_only(bare: Path, kind: str, tmp_path: Path) -> None:
    one = entry(bare, kind, tmp_path)
    rules = ScoringRules()
    paths = RunPaths(tmp_path)
    outcome = prepare_truth(one, rules, paths)
    assert outcome.facts["mpix"] == NY * (NX - EDGE) / 1e6
    truth = read_catalog(paths.truth(one.name))
    reasons = np.asarray(truth["ignore_reason"]).astype(str)
    np.testing.assert_array_equal(reasons == "masked", truth["x"] < EDGE - 0.5)
    # What the page draws, and what puts a miss at the edge.
    shown = np.asarray(Image.open(paths.mask(one.name)))
    assert shown.shape == (NY, NX)
    assert shown[:, :EDGE].all()
    assert not shown[:, EDGE:].any()
    near = (truth["x"] >= EDGE) & (truth["x"] < EDGE + 40)
    want = truth["x"][near] - EDGE + 0.5
    np.testing.assert_allclose(truth["mask_distance"][near], want, atol=1e-6)
    assert detect_frame(SEP, one, rules, tmp_path / "f.parquet").reason is None
    assert read_catalog(tmp_path / "f.parquet")["x"].min() > EDGE - 1
    tried = try_on_frame(SEP, [{}], one, rules, tmp_path / "x.npz", "d")
    assert tried.trials[0] is not None
    assert tried.trials[0].mpix == NY * (NX - EDGE) / 1e6


def test_inject_puts_nothing_on_masked_pixels(bare: Path, masked: Path, tmp_path: Path) -> None:
    shares = []
    for frame in (bare, masked):
        out = tmp_path / frame.parent.name
        words = ("--number", 40, "--snr", "20:60", "--psf", "gaussian:2.5", "--with", "sep")
        assert skyduel("inject", frame, "--out", out, *words) == 0
        (made,) = open_dataset(out).entries
        truth = read_catalog(made.truth)
        injected = truth.select(np.asarray(truth["injected"], dtype=bool))
        shares.append(float((injected["x"] < EDGE - 0.5).mean()))
        changed = (made.read().data != read_frame(frame).data)[:, :EDGE]
        assert changed.any() == (frame is bare)
        assert made.read().bad[:, :EDGE].all() == (frame is masked)
    assert shares[0] > 0.2
    assert shares[1] == 0


def test_truth_free_uses_the_mask_in_the_folder_of_a_frame(
    bare: Path, masked: Path, tmp_path: Path
) -> None:
    areas, found = [], []
    for k, frame in enumerate((bare, masked)):
        assert skyduel("blind", frame, "--with", "sep", "--out", tmp_path / str(k)) == 0
        row = pd.read_csv(tmp_path / str(k) / "flipped.csv").iloc[0]
        areas.append(row["mpix"])
        found.append(row["n_found"])
    assert areas == [NY * NX / 1e6, NY * (NX - EDGE) / 1e6]
    assert found[1] < 0.75 * found[0]
    # A detector that reports something on masked pixels is not counted for it.
    piece = read_region(str(masked))

    class Everywhere:
        name, settings = "everywhere", SEP

        def __call__(self, frame: Frame) -> Catalog:
            return Catalog.build(x=[10.0, 20.0, 200.0], y=[5.0, 50.0, 50.0])

    table = flip_table([piece], {"e": Everywhere()}, keep_sigma=np.inf)
    assert (table["n_found"][0], table["n_flipped"][0]) == (1, 1)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_finetune_learns_nothing_from_masked_pixels(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unlabelled: bool
) -> None:
    entry(bare, "bits", tmp_path)
    begin = tmp_path / "begin.safetensors"
    torch.manual_seed(0)
    tiny = NetworkSettings(
        stem=8, blocks=(1, 1, 1, 1), planes=(4, 8, 8, 8), pyramid=8, proposals=8, head=16
    )
    save_weights(begin, Network(tiny).state_dict(), tiny, Calibration(), {"steps": 1})
    _, truth = scene(5)
    # An untrained network finds no stars to take for labels.
    monkeypatch.setattr(
        "skyduel.detect.NeuralDetector.__call__",
        lambda self, frame: truth.with_columns(score=np.ones(len(truth))),
    )
    seen: list[finetuning.LabelledFrame] = []

    def learn(start: Path, frames: list[finetuning.LabelledFrame], *rest: object) -> object:
        seen.extend(frames)
        return finetuning.Finetuned(1, 1, 1.0, 0.5, 1.0, 1.0)

    monkeypatch.setattr(finetuning, "finetune", learn)
    words = ("--from", begin, "--out", tmp_path / "own.safetensors")
    assert skyduel("finetune", tmp_path, *words, *["--unlabelled"] * unlabelled) == 0
    (one,) = seen
    assert one.frame.bad[:, :EDGE].all()
    assert not one.frame.bad[:, EDGE:].any()
    crops = FrameCrops([one], 64, 1, 0, 40, lambda f, t, _: item(f, t))
    masked_cells = sources = 0
    for k in range(len(crops)):
        crop = crops[k]
        bad = crop["image"][3] == 1
        cells = bad.reshape(32, 2, 32, 2).any(3).any(1)
        masked_cells += int(cells.sum())
        assert not crop["maps"][[0, 3, 8, 9]][:, cells].any()
        column, row = (crop["points"][:, :2] + 0.5).floor().long().unbind(1)
        on = (column >= 0) & (column < 64) & (row >= 0) & (row < 64)
        assert not crop["points"][on][bad[row[on], column[on]], 2].any()
        sources += int((crop["points"][:, 2] > 0).sum())
        assert bad.float().mean() <= 0.5
    assert masked_cells > 1000
    assert sources > 40


def test_a_lone_frame_is_opened_with_what_lies_beside_it(masked: Path) -> None:
    assert entry_of(masked).read(gain=7.0).gain == 7.0
    assert read_region(str(masked)).bad[:, :EDGE].all()
    assert read_region(str(masked), "100:200,0:50").bad[:, :50].all()
