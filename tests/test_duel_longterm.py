"""A run folder of schema 1, stored here, is read, drawn and compared by every later version."""

import json
import shutil
from pathlib import Path

import pytest

from catalog import BadInputError
from duel import cli
from reports import load_run

STORED = Path(__file__).resolve().parent / "data" / "run_schema_1"


@pytest.fixture
def stored(tmp_path) -> Path:
    """A copy, for a report is written into the folder."""
    return Path(shutil.copytree(STORED, tmp_path / "run_schema_1"))


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    return int(stop.value.code or 0)


def test_it_is_read(stored) -> None:
    run = load_run(stored)
    assert run.record["schema"] == 1
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
    assert call("report", str(stored)) == 0
    page = (stored / "report" / "index.html").read_text()
    assert "sep-matched" in page
    assert (stored / "report" / "report.md").is_file()


def test_it_is_compared(stored, capsys) -> None:
    assert call("compare", str(stored / "sep-matched"), str(stored / "sep")) == 0
    assert "completeness" in capsys.readouterr().out


def test_a_later_schema_is_refused_in_one_line(stored) -> None:
    record = json.loads((stored / "run.json").read_text())
    (stored / "run.json").write_text(json.dumps(record | {"schema": 2}))
    with pytest.raises(BadInputError, match="schema"):
        load_run(stored)
