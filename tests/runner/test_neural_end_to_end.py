"""Run the shipped network from the command line."""

import numpy as np
from helpers.command_line import skyduel
from helpers.paths import DATA, needs_data

from skyduel.core import read_catalog, read_frame, write_frame
from skyduel.detect.model.weights import SHIPPED, load_weights
from skyduel.evaluation import ScoringRules, apply_ignore, score_catalogs
from skyduel.simulation import draw_settings, simulate


def test_the_shipped_weights_are_small_safe_and_say_where_they_come_from() -> None:
    assert SHIPPED.stat().st_size < 16e6
    loaded = load_weights()
    assert loaded.facts["steps"] > 0
    assert loaded.facts["training"]["seed"] >= 0
    assert 0.1 < loaded.calibration.slope < 5
    parameters = sum(p.numel() for p in loaded.network.parameters())
    assert 1.8e6 < parameters < 4e6


def test_it_finds_stars_it_never_saw(tmp_path) -> None:
    rng = np.random.default_rng(991)
    frame, truth = simulate(draw_settings("field", rng, ny=256, nx=320), rng, "fresh")
    write_frame(frame, tmp_path / "fresh.fits.fz", dtype="uint16")
    out = tmp_path / "cats"
    assert skyduel("detect", tmp_path / "fresh.fits.fz", "--with", "neural", "--out", out) == 0
    found = read_catalog(out / "fresh.ecsv")
    rules = ScoringRules(min_snr=6.0, bins="10:30:20")
    report = score_catalogs(
        apply_ignore(truth, frame.shape, None, None, rules), found, rules, threshold=0.5
    )
    totals = report.counts.sums()
    assert totals["truths"] > 15
    assert totals["truths_found"] / totals["truths"] > 0.9
    assert totals["detections_right"] / totals["detections"] > 0.9
    # Positions to a fraction of a pixel, without bias.
    pairs = report.frame.pairing.to_table()
    pairs = pairs[pairs["outcome"] == "found"]
    shift = found.xy[pairs["found_index"]] - truth.xy[pairs["truth_index"]]
    assert np.abs(np.median(shift, axis=0)).max() < 0.15
    assert np.median(np.hypot(*shift.T)) < 0.35


def test_noise_alone_gives_almost_nothing(tmp_path) -> None:
    rng = np.random.default_rng(5)
    settings = draw_settings("sparse", rng).model_copy(update={"density": 0.0, "streaks": 0.0})
    frame, _ = simulate(settings, rng, "empty")
    write_frame(frame, tmp_path / "empty.fits", dtype="uint16")
    assert skyduel("detect", tmp_path / "empty.fits", "--out", tmp_path) == 0
    found = read_catalog(tmp_path / "empty.ecsv")
    assert (found["score"] >= 0.5).sum() <= 3  # in 0.26 Mpix


@needs_data
def test_it_takes_real_frames(tmp_path) -> None:
    frames = [
        DATA / "sdss_s82/frame-r-000094-1-0012.fits.bz2",
        DATA / "ystar_streak/long.fits",
        DATA / "wfsat_crops/242.fits",
        DATA / "panoptes_cygnus/solved.fits.fz",
    ]
    assert skyduel("detect", *frames, "--out", tmp_path) == 0
    sdss = read_catalog(tmp_path / "frame-r-000094-1-0012.ecsv")
    assert np.isfinite(sdss["ra"]).all()
    frame = read_frame(frames[0])
    coadd = DATA / "sdss_s82/stripe82_coadd_94_1_12.fits"
    truth = read_catalog(coadd, frame=frame, columns={"mag": "psfmag_r"})
    from skyduel.evaluation import pair

    bright = (truth["mag"] > 17) & (truth["mag"] < 20)
    sure = sdss.xy[sdss["score"] >= 0.5]
    assert len(pair(truth.xy[bright], sure, 4.0).truth_index) / bright.sum() > 0.85
    streak = read_catalog(tmp_path / "long.ecsv")
    assert streak.is_streak.any()
