"""What catalogues, scores and runs show in a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.synthetic_run import write_run

from skyduel.core import Catalog
from skyduel.evaluation import ScoringRules, score_catalogs
from skyduel.run_folder.compare_runs import PairedComparison, run_detector
from skyduel.run_folder.read_run import load_run


def test_a_catalogue_shows_its_first_rows() -> None:
    n = 12
    one = Catalog.build(source="<b>", x=np.arange(n) + 0.25, y=np.zeros(n), name=["a<i>"] * n)
    shown = one._repr_html_()
    assert "<caption>&lt;b&gt;: 12 rows, the first 10</caption>" in shown
    assert shown.count("<tr>") == 11
    assert "<td>9.25</td>" in shown
    assert "<td>a&lt;i&gt;</td>" in shown
    assert "<td>–</td>" in shown  # no flux
    assert "catalogue: 0 rows<" in Catalog.empty()._repr_html_()
    assert "1 row<" in Catalog.build(x=[1.0], y=[1.0])._repr_html_()


def test_scores_show_completeness_and_purity() -> None:
    truth = Catalog.build(x=[10.0, 50.0, 90.0], y=[5.0] * 3, mag=[15.2, 15.4, 17.5])
    found = Catalog.build(x=[10.0, 90.0, 200.0], y=[5.0] * 3, mag=[15.2, 17.5, np.nan])
    shown = score_catalogs(truth, found, ScoringRules(bins="15:18:1"))._repr_html_()
    assert "value [95 % interval] k/n" in shown
    (overall,) = [row for row in shown.split("<tr>") if "<td>all</td>" in row]
    assert "0.667 [0.208, 0.939] 2/3" in overall
    assert "<td>unmeasured</td>" in shown
    assert "<td>15–16</td><td>0.500 [0.095, 0.905] 1/2</td>" in shown


@pytest.mark.parametrize("quantity", ["completeness", "purity", "f1"])
def test_a_run_shows_every_detector_and_point(tmp_path: Path, quantity: str) -> None:
    run = load_run(write_run(tmp_path / "run"))
    shown = run._repr_html_()
    assert shown.startswith("<table><caption>")
    assert f">{quantity}</th>" in shown
    for detector in run.detectors:
        assert f"<td>{detector}</td>" in shown
    assert shown.count("<tr>") == 1 + len(run.detectors) * len(run.points)


def test_scores_and_runs_print_as_one_line(tmp_path: Path) -> None:
    truth = Catalog.build(x=[10.0, 50.0, 90.0], y=[5.0] * 3, mag=[15.2, 15.4, 17.5])
    found = Catalog.build(x=[10.0, 90.0, 200.0], y=[5.0] * 3, mag=[15.2, 17.5, np.nan])
    scores = score_catalogs(truth, found, ScoringRules(bins="15:18:1"))
    assert (
        str(scores)
        == repr(scores)
        == (
            "ScoreReport(completeness 0.667 [0.208, 0.939] 2/3, purity 0.667 [0.208, 0.939] 2/3; "
            "the rows by magnitude are in .table)"
        )
    )
    run = load_run(write_run(tmp_path / "run", detectors=("a", "b")))
    n = len(run.scored_frames)
    assert repr(run) == f"Run({run.name!r}: a, b; {n} scored frames; {tmp_path / 'run'})"
    one, two = (run_detector(run.path, name) for name in "ab")
    made = PairedComparison(one, two, "a", "b", run.scores, ScoringRules(), ("f",))
    assert repr(made) == ("PairedComparison(a with b on 1 frame; the differences are in .table)")
    assert len(repr(one)) < 300
