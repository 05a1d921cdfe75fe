"""The page on the run folder and the schema say the same, and the stored run has its columns."""

import dataclasses
import json
import re

import pandas as pd
import pytest
from helpers.paths import ROOT

from skyduel.run_folder.columns import describe
from skyduel.run_folder.layout import RunPaths
from skyduel.run_folder.record import FrameRecord, RunRecord, read_record, write_record
from skyduel.run_folder.reference import BEGIN, END, reference, with_reference
from skyduel.run_folder.schema import ANALYSIS_TABLES, run_tables

PAGE = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
STORED = RunPaths(ROOT / "tests" / "data" / "run_schema_1")
KINDS = {"text": "O", "int": "iu", "float": "f", "bool": "b"}


def test_the_page_has_every_key_and_column_of_the_schema_and_no_other() -> None:
    assert PAGE.count(BEGIN) == PAGE.count(END) == 1
    assert with_reference(PAGE) == PAGE
    for name in ("`fwhm`", "`n_truth`", "`n_frames`"):
        assert f"| {name} |" in reference()


def test_a_key_that_the_page_lacks_or_invents_is_seen() -> None:
    assert with_reference(PAGE.replace("| `n_truth` |", "| `n_truths_of_old` |")) != PAGE.replace(
        "| `n_truth` |", "| `n_truths_of_old` |"
    )


def test_every_table_in_the_text_is_one_of_the_schema() -> None:
    known = {t.name for t in ANALYSIS_TABLES}
    named = set(re.findall(r"^`analyses/(\w+)`", PAGE, re.MULTILINE))
    assert named == known


@pytest.mark.parametrize("table", [*run_tables(), *ANALYSIS_TABLES], ids=lambda t: t.name)
def test_the_stored_run_has_the_columns_and_their_kinds(table) -> None:
    path = STORED.table(table.name)
    path = path if path.is_file() else STORED.analysis(table.name)
    if not path.is_file():
        pytest.skip("not in the stored run")
    found = pd.read_parquet(path)
    assert set(found.columns) <= set(table.columns)
    assert set(table.columns) - set(found.columns) <= set(table.later) | {"jaccard"}
    for name in found.columns if len(found) else ():
        kind = found[name].dtype.kind if not pd.api.types.is_string_dtype(found[name]) else "O"
        assert kind in KINDS[table.column(name).kind], name


def test_an_unknown_column_is_no_column() -> None:
    with pytest.raises(KeyError, match="nothing"):
        describe("scores", "nothing")


def test_a_record_is_written_as_it_was_read(tmp_path) -> None:
    record = read_record(STORED.record)
    write_record(record, tmp_path / "run.json")
    assert read_record(tmp_path / "run.json") == record
    before, after = (json.loads(p.read_text()) for p in (STORED.record, tmp_path / "run.json"))
    assert set(before) <= set(after)
    assert {k: after[k] for k in before if k not in ("dataset", "detectors", "failures")} == {
        k: v for k, v in before.items() if k not in ("dataset", "detectors", "failures")
    }


def test_a_record_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="status"):
        RunRecord().status = "complete"  # type: ignore[misc]
    assert FrameRecord("a").mpix is None
