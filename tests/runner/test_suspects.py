"""Suspects in the truth: exactly those that were planted are listed, and ignored on request."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import skyduel
from helpers.runs import two_detector_plan

from skyduel.core import BadInputError, Catalog, read_catalog, write_catalog
from skyduel.evaluation import FrameInput, ScoringRules, apply_ignore, evaluate_detector
from skyduel.evaluation.analyses.suspects import SuspectCollector
from skyduel.evaluation.suspect_list import (
    counting_suspects,
    mark_suspects,
    n_suspects,
    read_suspects,
)
from skyduel.reports.page.html_page import page_html
from skyduel.reports.page.markdown_report import markdown
from skyduel.run_folder import load_run
from skyduel.runner.run import run

FRAME = "sparse_000"


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated frame from whose truth a bright star is gone, and to which one is added."""
    folder = tmp_path_factory.mktemp("suspects")
    words = ("--family", "sparse", "--count", "1", "--calibration", "0", "--seed", "5")
    assert skyduel("simulate", "--out", folder / "sky", *words, "--ny", "320", "--nx", "320") == 0
    truth = read_catalog(folder / "sky" / f"{FRAME}.ecsv")
    shutil.copy(folder / "sky" / f"{FRAME}.ecsv", folder / "whole.ecsv")
    np.savetxt(folder / "planted.txt", [_lone_star(truth), _empty_place(truth)])
    star, _ = np.loadtxt(folder / "planted.txt")
    gone = np.hypot(truth["x"] - star[0], truth["y"] - star[1]) < 0.01
    ghost = {"x": [_empty_place(truth)[0]], "y": [_empty_place(truth)[1]]}
    ghost |= {"mag": [float(truth["mag"].min() + 1)], "snr": [80.0]}
    columns = {n: np.append(truth[n][~gone], ghost[n]) for n in ("x", "y", "mag", "snr")}
    write_catalog(Catalog.build(**columns), folder / "sky" / f"{FRAME}.ecsv")
    return folder


def _lone_star(truth: Catalog) -> tuple[float, float]:
    """The position of a star of an S/N of 40 or more without a neighbour that can be seen."""
    for row in np.argsort(-truth["snr"]):
        x, y = truth["x"][row], truth["y"][row]
        away = np.hypot(truth["x"] - x, truth["y"] - y)
        inside = 20 < x < 300 and 20 < y < 300
        if (
            inside
            and 40 < truth["snr"][row] < 2000
            and not (truth["snr"][(away > 0) & (away < 15)] > 3).any()
        ):
            return float(x), float(y)
    raise AssertionError("no such star")


def _empty_place(truth: Catalog) -> tuple[float, float]:
    """The place farthest from all truths."""
    y, x = np.mgrid[30:290:2, 30:290:2].reshape(2, -1)
    near = np.hypot(x[:, None] - truth["x"], y[:, None] - truth["y"]).min(axis=1)
    best = int(np.argmax(near))
    return float(x[best]), float(y[best])


@pytest.fixture(scope="module")
def folder(sky: Path) -> Path:
    """The run of two detectors on this frame."""
    run(two_detector_plan(sky / "sky", sky / "run"))
    return sky / "run"


def test_exactly_the_planted_suspects_are_listed(sky: Path, folder: Path) -> None:
    table = load_run(folder).analysis("suspects")
    star, place = np.loadtxt(sky / "planted.txt")
    assert table["frame"].tolist() == [FRAME, FRAME]
    assert table["side"].tolist() == ["not in truth", "never found"]
    assert table["detectors"].tolist() == [2, 2]
    np.testing.assert_allclose(table[["x", "y"]].iloc[0], star, atol=0.5)
    np.testing.assert_allclose(table[["x", "y"]].iloc[1], place, atol=1e-9)
    whole = read_catalog(sky / "whole.ecsv")
    mine = np.hypot(whole["x"] - star[0], whole["y"] - star[1]) < 0.01
    assert table["mag"].iloc[0] == pytest.approx(whole["mag"][mine][0], abs=0.2)
    assert table["snr"].iloc[1] == 80.0
    assert 0.5 <= table["rank"].iloc[0] <= 1
    assert np.isnan(table["rank"].iloc[1])
    assert len(load_run(folder).analysis("suspects_ignored")) == 0
    assert not any("suspects" in line for line in load_run(folder).record.warnings)


def test_the_page_shows_both_with_cut_outs(folder: Path) -> None:
    page = page_html(load_run(folder), [])
    section = page.partition('<section id="suspects"')[2].partition("</section>")[0]
    assert "2 suspects in the truth. They count as the truth has them" in section
    assert section.count("<svg") == section.count("<image href=") == 2
    assert "Found by all detectors with a high score, not in the truth: sparse_000, x " in section
    assert "Bright in the truth, found by none: sparse_000, x " in section
    assert "as asked for" not in section


def test_ignored_on_request_both_scores_are_stated(sky: Path, folder: Path) -> None:
    listed = read_suspects(folder / "analyses" / "suspects.csv")
    assert len(listed) == 2
    run(two_detector_plan(sky / "sky", sky / "without", suspects=listed))
    done = load_run(sky / "without")
    before = load_run(folder)
    both = done.analysis("suspects_ignored")
    assert (both["truths"] == 1).all()
    assert (both["detections"] == 1).all()
    for row in both.itertuples():
        for run_, value in ((done, row.ignored), (before, row.counted)):
            scores = run_.scores
            one = scores[
                (scores["detector"] == row.detector) & (scores["point"] == row.point)
                & (scores["quantity"] == row.quantity) & (scores["bin"] == -2)
                & (scores["group"] == "all")
            ]  # fmt: skip
            assert one["value"].item() == pytest.approx(value, abs=1e-12)
        assert row.ignored > row.counted or row.quantity == "completeness"
    assert set(both["detector"]) == {"sep", "deep"}
    (line,) = [w for w in done.record.warnings if "suspects" in w]
    assert "suspects.csv are ignored as asked for: 1 truth that no detector found, 1 place" in line
    assert re.search(r"F1 of sep \(default\) 0\.\d{3}, counted 0\.\d{3}; of deep", line)
    truth = done.truth(FRAME)
    assert truth is not None
    assert (truth["ignore_reason"] == "suspect").sum() == 2
    # What is ignored is no suspect any more.
    assert len(done.analysis("suspects")) == 0
    page = page_html(done, [])
    assert (
        "as asked for, 1 truth that no detector found and 1 place that the truth lacks count"
        in page
    )
    assert "Scores with and without the suspects" in page
    assert "Scores with and without the suspects" in markdown(done)


def test_score_states_both(sky: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame, truth = sky / "sky" / f"{FRAME}.fits.fz", sky / "sky" / f"{FRAME}.ecsv"
    found = folder / "catalogs" / "sep" / f"{FRAME}.parquet"
    words = ("score", found, truth, "--frame", frame)
    assert skyduel(*words, "--json") == 0
    plain = json.loads(capsys.readouterr().out)["totals"]
    words = (*words, "--ignore-suspects", folder / "analyses" / "suspects.csv")
    assert skyduel(*words, "--json") == 0
    said = capsys.readouterr()
    made = json.loads(said.out)
    assert made["suspects_counted"] == plain
    assert made["totals"]["truths"] == plain["truths"] - 1
    assert made["totals"]["detections"] == plain["detections"] - 1
    assert made["totals"]["truths_found"] == plain["truths_found"]
    assert (
        "are ignored as asked for: 1 of the truth, 1 that it lacks; with them counted: " in said.err
    )
    found_, all_ = plain["truths_found"], plain["truths"]
    assert f"completeness {found_ / all_:.3f}, purity " in said.err
    assert skyduel("score", found, truth, "--radius-arcsec", "1", *words[-2:]) == 2


def test_another_list_is_another_run(sky: Path, folder: Path) -> None:
    listed = read_suspects(folder / "analyses" / "suspects.csv")
    with pytest.raises(BadInputError, match="the folder of another run"):
        run(two_detector_plan(sky / "sky", folder, suspects=listed))


def hand_made(x: list[float], score: list[float]) -> FrameInput:
    """A truth of twelve stars on a grid and a bright one that none finds; detections beside."""
    gx, gy = np.meshgrid([20.0, 60.0, 100.0, 140.0], [20.0, 60.0, 100.0])
    stars = {"x": np.append(gx, 80.0), "y": np.append(gy, 140.0)}
    truth_ = Catalog.build(**stars, mag=np.full(13, 15.0), snr=np.full(13, 50.0))
    found = {
        "x": np.append(gx, x), "y": np.append(gy, np.full(len(x), 80.0)),
        "score": np.append(np.linspace(1, 12, 12), score), "aper_mag": np.full(12 + len(x), 15.0),
        "aper_flux": np.full(12 + len(x), 100.0), "aper_flux_err": np.full(12 + len(x), 2.0),
    }  # fmt: skip
    return FrameInput(frame="f", truth=truth_, found=Catalog.build(**found), shape=(160, 160))


def collected(*frames: FrameInput) -> pd.DataFrame:
    """The suspects of some detectors on one frame, through the evaluation."""

    class Nowhere:
        def counts(self, table: pd.DataFrame) -> None:
            """Take nothing."""

        def frames(self, *words: object) -> None:
            """Take nothing."""

    rules = ScoringRules(n_bootstrap=2)
    collector = SuspectCollector(Nowhere(), rules, "default")
    for k, frame in enumerate(frames):
        evaluate_detector(str(k), [frame], rules, (14.0, 16.0), sink=collector)
    return collector.table()


def test_all_detectors_have_to_be_sure() -> None:
    # At x 40 both are sure, at 80 only one is, at 120 only one has anything.
    table = collected(
        hand_made([40.0, 80.0], [9.0, 9.0]), hand_made([40.6, 80.0, 120.0], [7.0, 2.0, 9.0])
    )
    assert table["side"].tolist() == ["not in truth", "never found"]
    assert table["x"].tolist() == pytest.approx([40.3, 80.0])
    assert table["y"].tolist() == [80.0, 140.0]
    # Nine and seven of twelve right detections, less those of an equal score.
    assert table["rank"][0] == pytest.approx(6 / 12)
    assert table["snr"].tolist() == [50.0, 50.0]


def test_one_detector_alone_suspects_nothing() -> None:
    assert len(collected(hand_made([40.0], [9.0]))) == 0


# -- the list --------------------------------------------------------------------------


def listing(path: Path, **changes: list[object]) -> Path:
    columns = {
        "frame": ["f", "f"], "side": ["never found", "not in truth"], "x": [10.4, 40.0],
        "y": [10.0, 41.0], "mag": [15.0, 16.0],
    }  # fmt: skip
    pd.DataFrame(columns | changes).to_csv(path, index=False)
    return path


def truth() -> Catalog:
    return Catalog.build(
        x=[10.0, 20.0, 30.0], y=[10.0, 20.0, 30.0], mag=[15.0, 16.0, 17.0], snr=[50.0, 40.0, 1.0],
        ra=[1.0, 2.0, 3.0], dec=[0.0, 0.0, 0.0],
    )  # fmt: skip


def test_listed_suspects_are_ignored_and_come_back(tmp_path: Path) -> None:
    suspects = read_suspects(listing(tmp_path / "s.csv")).of("f")
    marked = apply_ignore(
        mark_suspects(truth(), suspects, 2.0), (50, 50), None, None, ScoringRules()
    )
    assert marked["ignore_reason"].tolist() == ["suspect", "", "faint", "suspect"]
    assert marked["x"].tolist() == [10.0, 20.0, 30.0, 40.0]
    assert n_suspects(marked) == (1, 1)
    plain = counting_suspects(marked)
    assert plain["ignore_reason"].tolist() == ["", "", "faint"]
    assert n_suspects(apply_ignore(truth(), None, None, None, ScoringRules())) == (0, 0)


def test_rows_that_the_user_keeps_are_left_out(tmp_path: Path) -> None:
    listed = read_suspects(listing(tmp_path / "s.csv", ignore=[0, 1]))
    assert len(listed) == 1
    assert listed.of("f")["x"].tolist() == [40.0]
    assert listed.of("g") is None


def test_a_list_of_another_truth_is_refused(tmp_path: Path) -> None:
    suspects = read_suspects(listing(tmp_path / "s.csv", x=[15.0, 40.0])).of("f")
    with pytest.raises(BadInputError, match="a truth within 2 px of every row 'never found'"):
        mark_suspects(truth(), suspects, 2.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"side": ["lost", "found"]}, "side 'not in truth' or 'never found'")],
)
def test_what_is_no_list(tmp_path: Path, changes: dict[str, list[object]], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        read_suspects(listing(tmp_path / "s.csv", **changes))
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    with pytest.raises(BadInputError, match="a column 'frame'"):
        read_suspects(tmp_path / "t.csv")


def test_a_list_of_other_frames_is_refused(
    sky: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--with", "sep", "--out", tmp_path / "r")
    suspects = listing(tmp_path / "s.csv")
    assert skyduel("run", sky / "sky", *words, "--ignore-suspects", suspects) == 2
    assert "s.csv: required frames of sky; got 'f'" in capsys.readouterr().err
