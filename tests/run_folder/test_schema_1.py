"""A run folder of schema 1, stored here, is read, drawn and compared by every later version."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.command_line import skyduel
from helpers.paths import ROOT

from skyduel.core import BadInputError
from skyduel.run_folder import load_run
from skyduel.run_folder.provenance import PROMISES

STORED = ROOT / "tests" / "data" / "run_schema_1"


@pytest.fixture
def stored(tmp_path) -> Path:
    """A copy, for a report is written into the folder."""
    return Path(shutil.copytree(STORED, tmp_path / "run_schema_1"))


def test_it_is_read(stored) -> None:
    run = load_run(stored)
    assert run.record.schema == 1
    assert list(run.detectors) == ["sep", "sep-matched"]
    assert set(run.scored_frames) == {"field_0", "dirty_0"}
    assert run.missing == ()
    scores = run.scores.set_index(["detector", "point", "group", "bin", "quantity", "interval"])
    row = scores.loc[("sep-matched", "default", "all", -2, "completeness", "wilson")]
    assert 0 < row["k"] <= row["n"]
    assert row["value"] == row["k"] / row["n"]


# Of so small a run one figure is too crowded for matplotlib to lay out.
@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_it_is_drawn(stored) -> None:
    assert skyduel("report", str(stored)) == 0
    page = (stored / "report" / "index.html").read_text()
    assert "sep-matched" in page
    assert (stored / "report" / "report.md").is_file()


def test_it_is_compared(stored, capsys) -> None:
    assert skyduel("compare", str(stored / "sep-matched"), str(stored / "sep")) == 0
    assert "completeness" in capsys.readouterr().out


@pytest.fixture
def oldest(stored) -> Path:
    """The stored run without anything that came after the first runs of schema 1."""
    record = json.loads((stored / "run.json").read_text())
    for key in ("promises", "sections", "tuning", "configuration_sha256", "seeds", "git_dirty"):
        record.pop(key, None)
    for entry in record["detectors"]:
        for key in ("program_version", "calibrated_threshold", "peak_memory_mib"):
            entry.pop(key, None)
    (stored / "run.json").write_text(json.dumps(record))
    for name in ("analyses", "previews"):
        shutil.rmtree(stored / name, ignore_errors=True)
    (stored / "comparisons.parquet").unlink(missing_ok=True)
    limits = pd.read_parquet(stored / "limits.parquet")
    first = limits.columns[: list(limits.columns).index("n_frames") + 1]
    limits[first].to_parquet(stored / "limits.parquet")
    return stored


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")
def test_what_older_runs_lack_is_absent_not_an_error(oldest, capsys) -> None:
    assert load_run(oldest).limits["snr90"].isna().all()
    assert skyduel("report", str(oldest)) == 0
    assert "sep-matched" in (oldest / "report" / "index.html").read_text()
    assert skyduel("compare", str(oldest / "sep-matched"), str(oldest / "sep")) == 0
    assert "completeness" in capsys.readouterr().out
    assert skyduel("compare", str(oldest / "sep"), str(STORED / "sep")) == 0


def test_a_run_says_what_it_cannot_promise(stored) -> None:
    record = json.loads((stored / "run.json").read_text())
    assert "other processors or accelerators" in PROMISES["not_promised"]
    for key in ("cpu", "platform", "cores"):
        assert key in record["machine"]
    (stored / "run.json").write_text(json.dumps(record | {"promises": PROMISES}))
    html = page_html_of(stored)
    assert "other processors or accelerators" in html
    assert "any number of workers" in html


def page_html_of(folder: Path) -> str:
    from skyduel.reports.page.html_page import page_html

    return page_html(load_run(folder), [])


def test_a_later_schema_is_refused_in_one_line(stored) -> None:
    record = json.loads((stored / "run.json").read_text())
    (stored / "run.json").write_text(json.dumps(record | {"schema": 2}))
    with pytest.raises(BadInputError, match="schema"):
        load_run(stored)
