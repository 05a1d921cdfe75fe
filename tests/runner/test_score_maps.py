"""Score maps from frames without a truth: written, refused, applied and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import skyduel

from skyduel.core import (
    BadInputError,
    Frame,
    make_detector,
    read_catalog,
    read_frame,
    write_catalog,
    write_frame,
)
from skyduel.core.scores.score_map import ScoreMap, read_score_map, write_score_map
from skyduel.detect.detector import NeuralDetector, NeuralSettings, neural
from skyduel.evaluation import fit_score_shift
from skyduel.runner.truth_free import fit_score_map, look_upside_down
from skyduel.simulation import SceneSettings, simulate

SETTINGS = SceneSettings(ny=200, nx=260, sky=300.0, density=60 / (200 * 260), min_snr=3.0)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Three exposures of one field: the same stars, other noise, heavier than the network knows."""
    out = []
    for k in range(3):
        frame, _ = simulate(SETTINGS, np.random.default_rng(12), f"e{k}")
        rng = np.random.default_rng(k)
        noise = SETTINGS.sky_sigma * rng.standard_t(3, size=frame.shape)
        out.append(frame.with_(data=(frame.data + noise).astype(np.float32), name=f"e{k}"))
    return out


@pytest.fixture(scope="module")
def made(frames: list[Frame]) -> ScoreMap:
    return fit_score_map(frames, neural())


def test_the_map_is_that_of_the_scores_on_both_kinds_of_frames(
    frames: list[Frame], made: ScoreMap
) -> None:
    looks = look_upside_down(frames, {"neural": neural()})["neural"]
    fitted = fit_score_shift(
        np.concatenate([k.found["score"] for k in looks]),
        np.concatenate([k.flipped["score"] for k in looks]),
        sum(k.mpix for k in looks),
        sum(k.mpix_flipped for k in looks),
        exposures=[k.found.xy for k in looks],
        scores=[k.found["score"] for k in looks],
    )
    assert made.log_odds_shift == fitted.shift < 0
    assert (made.shift_lo, made.shift_hi) == (fitted.shift_lo, fitted.shift_hi)
    assert made.weights_sha256 == neural().weights_sha256
    assert made.frames == ("e0", "e1", "e2")
    assert made.mpix == pytest.approx(3 * 200 * 260 / 1e6)
    assert made.n_repeats == made.n_found > made.n_recur > 0
    without = fit_score_map(frames, neural(), repeats=False, looks=looks)
    assert (without.n_repeats, without.n_found) == (0, made.n_found)


def test_the_detector_lowers_its_scores_and_keeps_their_order(
    frames: list[Frame], made: ScoreMap, tmp_path: Path
) -> None:
    write_score_map(made, tmp_path / "map.toml")
    plain, mapped = neural(), neural(score_map=tmp_path / "map.toml")
    assert mapped.settings.score_map == made
    before, after = plain(frames[0]), mapped(frames[0])
    np.testing.assert_array_equal(after.xy, before.xy)
    np.testing.assert_array_equal(after["score"], made(before["score"]))
    assert (np.diff(after["score"]) <= 0).all()
    asked = [{}, {"score_map": made}, {"score_map": None}]
    one, two, none = (c["score"] for c in mapped.variants(frames[0], asked))
    np.testing.assert_array_equal(one, after["score"])
    np.testing.assert_array_equal(two, after["score"])
    np.testing.assert_array_equal(none, before["score"])


def test_other_weights_and_other_detectors_are_refused(frames: list[Frame], made: ScoreMap) -> None:
    with pytest.raises(BadInputError, match="score_map: required a map for weights"):
        neural(score_map=made, weights="small")
    with pytest.raises(BadInputError, match="score_map: required a map for neural; got for other"):
        NeuralDetector(NeuralSettings(score_map=made.model_copy(update={"detector": "other"})))
    with pytest.raises(BadInputError, match="no score_map"):
        fit_score_map(frames, neural(score_map=made))
    with pytest.raises(BadInputError, match="scores that are probabilities"):
        fit_score_map(frames, make_detector("sep", {}))


def test_a_map_from_the_command_line_is_applied_and_recorded(
    frames: list[Frame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    night = tmp_path / "night"
    _, truth = simulate(SETTINGS, np.random.default_rng(12), "truth")
    for frame in frames:
        write_frame(frame, night / f"{frame.name}.fits")
    paths, file = sorted(night.iterdir()), tmp_path / "scores.toml"
    both = ("--with", "sep", "--with", "neural")
    assert skyduel("truth-free", *paths, *both, "--repeats", "--score-map", file) == 0
    said = " ".join(capsys.readouterr().out.split())
    written = read_score_map(file)
    half = written([0.5])[0]
    assert f"{written.n_recur} of {written.n_repeats} detections that recur" in said
    assert f"so that 0.5 becomes {half:.2f}" in said
    again = fit_score_map([read_frame(p) for p in paths], neural())
    assert written == again

    apply = ("--set", f"neural.score_map={file}")
    for name, options in (("plain", ()), ("mapped", apply)):
        out = tmp_path / f"{name}.ecsv"
        assert skyduel("detect", paths[0], "--out", out, "--all", *options) == 0
    before, after = (read_catalog(tmp_path / f"{name}.ecsv") for name in ("plain", "mapped"))
    np.testing.assert_allclose(after["score"], written(before["score"]), rtol=1e-6)

    config = tmp_path / "duel.toml"
    config.write_text(f"[detector.neural]\nscore_map = {json.dumps(str(file))}\n")
    for frame in frames:
        write_catalog(truth, night / f"{frame.name}.ecsv")
    run = ("run", night, "--with", "neural", "--config", config, "--out", tmp_path / "run")
    assert skyduel(*run) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    [detector] = record["detectors"]
    assert ScoreMap.model_validate(detector["settings"]["score_map"]) == written


def test_what_the_command_cannot_map_is_refused_before_any_work(
    frames: list[Frame], made: ScoreMap, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"e{k}.fits" for k in (0, 1)]
    for frame, path in zip(frames, paths, strict=False):
        write_frame(frame, path)
    write_score_map(made, file := tmp_path / "map.toml")
    mapped, repeats = ("--set", f"neural.score_map={file}"), "--repeats"
    two = ("--with", "a=neural", "--with", "b=neural")
    for name, options, said in (
        ("new.toml", ("--with", "neural"), "exposures of one field, with --repeats; got no"),
        ("new.toml", (repeats, "--with", "sep"), "one detector whose scores are probabilities"),
        ("new.toml", (repeats, *two), "got a, b"),
        ("new.csv", (repeats, "--with", "neural"), "ending in .toml"),
        ("new.toml", (repeats, "--with", "neural", *mapped), "among the settings of neural"),
    ):
        target = tmp_path / name
        options = (*options, "--score-map", target)
        assert skyduel("truth-free", *paths, *options) == 2
        assert said in " ".join(capsys.readouterr().err.split())
        assert not target.exists()
