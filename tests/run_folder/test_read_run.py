"""Reading run folders; `write_run` makes the synthetic one that the other report tests use."""

import html
import re
import webbrowser

import numpy as np
import pandas as pd
import pytest
from helpers.synthetic_run import DETECTORS, EDGES, GROUPS, N_BINS, POINTS, write_run

from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules
from skyduel.evaluation.table_keys import range_label
from skyduel.run_folder import load_run, read_run
from skyduel.run_folder.read_counts import COUNTED, SUMMED_COLUMNS
from skyduel.run_folder.read_run import bin_label
from skyduel.run_folder.show_page import in_notebook


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "spring")


def test_the_rules_of_the_record_are_rules_that_a_comparison_takes(folder):
    assert ScoringRules(**load_run(folder).record.rules).edges() == tuple(EDGES)


def test_the_record_and_the_tables_are_read(folder):
    run = load_run(folder)
    assert run.name == "spring"
    assert run.detectors == DETECTORS
    assert run.groups == GROUPS
    assert run.points == POINTS
    assert len(run.scored_frames) == 12
    assert len(run.counts) == 3 * 3 * 12
    assert run.missing == ()


def test_counts_are_summed_over_bins_however_many_rows_are_read_at_a_time(folder, monkeypatch):
    counts = pd.read_parquet(folder / "counts.parquet")
    assert len(counts) == 3 * 3 * 12 * (N_BINS + 3)
    keys = ["detector", "point", "frame", "group"]
    wanted = counts.groupby(keys, sort=False)[list(COUNTED)].sum().reset_index()
    for together in (65_536, 100, 7):
        monkeypatch.setattr("skyduel.run_folder.read_counts._TOGETHER", together)
        found = load_run(folder).counts
        assert list(found.columns) == list(SUMMED_COLUMNS)
        plain = found.astype(dict.fromkeys(keys, object) | dict.fromkeys(COUNTED, "int64"))
        pd.testing.assert_frame_equal(plain, wanted[list(SUMMED_COLUMNS)], check_dtype=False)


def test_counts_beyond_four_bytes_and_halves_keep_their_value(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    counts = pd.read_parquet(path / "counts.parquet")
    counts["detections"] = 2**40
    counts["truths"] = 0.5
    counts.to_parquet(path / "counts.parquet")
    found = load_run(path).counts
    assert set(found["detections"]) == {(N_BINS + 3) * 2**40}
    assert set(found["truths"]) == {(N_BINS + 3) / 2}


def test_counts_without_a_name_in_a_row_or_without_a_column_are_named(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    counts = pd.read_parquet(path / "counts.parquet")
    counts.drop(columns=["bin_lo", "truths"]).to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match=r"counts\.parquet: required columns bin_lo, truths"):
        load_run(path)
    counts.assign(truths="many").to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match=r"counts\.parquet: required numbers in column truths"):
        load_run(path)
    counts.loc[3, "frame"] = None
    counts.to_parquet(path / "counts.parquet")
    with pytest.raises(BadInputError, match="a name in every row of column frame"):
        load_run(path)


def test_counts_without_rows_are_no_frames(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    pd.read_parquet(path / "counts.parquet").iloc[:0].to_parquet(path / "counts.parquet")
    assert load_run(path).scored_frames == ()


def test_a_preview_has_the_first_row_first(folder):
    run = load_run(folder)
    picture = run.preview("sparse_001")
    truth = run.truth("sparse_001")
    assert picture.shape == (192, 320)
    brightest = truth.loc[truth["mag"].idxmin()]
    peak = picture[round(brightest["y"]), round(brightest["x"])]
    assert peak > picture.mean() + 0.3


def test_files_of_a_frame_are_read_when_asked_for_and_may_be_absent(folder):
    run = load_run(folder)
    assert len(run.pairs("sep", "default", "dirty_002")) >= len(run.truth("dirty_002"))
    assert run.pairs("sep", "default", "nowhere") is None
    assert run.catalog("sep", "nowhere") is None
    assert run.preview("nowhere") is None


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(BadInputError, match="no such folder"):
        load_run(tmp_path / "absent")
    with pytest.raises(BadInputError, match=r"as `skyduel run` makes it; got no run\.json in it"):
        load_run(tmp_path)
    for content, match in (
        ("{", "readable JSON"),
        ("[1]", "another file"),
        ('{"schema": 2}', "newer version"),
        ('{"schema": "a"}', "required schema 1"),
        (
            '{"schema": 1, "detectors": 3}',
            "detectors: required input should be a valid array",
        ),
        ('{"schema": 1, "detectors": [3]}', r"detectors\.0: required input"),
        (
            '{"schema": 1, "bins_mag": [1, null]}',
            r"bins_mag\.1: required input should be a valid number",
        ),
        ('{"schema": 1, "bins_mag": [2, 2]}', "edges that rise"),
        ('{"schema": 1, "dataset": {"frames": [{"name": "a", "ny": -3}]}}', "greater than 0"),
        ('{"schema": 1, "dataset": {"frames": [{"name": "a", "mpix": NaN}]}}', "finite number"),
        ('{"schema": 1, "failures": [null]}', r"failures\.0"),
        (
            '{"schema": 1, "rules": {"confidence": 3}}',
            "rules: required confidence between 0 and 1",
        ),
        ('{"schema": 1, "status": "running"}', "counts.*'running'"),
    ):
        (tmp_path / "run.json").write_text(content)
        with pytest.raises(BadInputError, match=match):
            load_run(tmp_path)


def test_a_table_without_its_columns_or_unreadable_is_named(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    scores = pd.read_parquet(path / "scores.parquet")
    scores.drop(columns=["lo"]).to_parquet(path / "scores.parquet")
    with pytest.raises(BadInputError, match=r"scores\.parquet: required columns lo"):
        load_run(path)
    (path / "scores.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(BadInputError, match="readable Parquet"):
        load_run(path)


@pytest.mark.parametrize(
    ("column", "value", "match"),
    [("lo", "low", "numbers in column lo"), ("quantity", 3, "words in column quantity")],
)
def test_a_table_of_other_columns_than_it_should_have_is_named(tmp_path, column, value, match):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    scores = pd.read_parquet(path / "scores.parquet")
    scores[column] = value
    scores.to_parquet(path / "scores.parquet")
    with pytest.raises(BadInputError, match=rf"scores\.parquet: required {match}"):
        load_run(path)


@pytest.mark.parametrize("name", ["scores", "limits"])
def test_a_table_with_a_row_twice_is_named(tmp_path, name):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    table = pd.read_parquet(path / f"{name}.parquet")
    pd.concat([table, table.iloc[:1]]).to_parquet(path / f"{name}.parquet")
    with pytest.raises(BadInputError, match=rf"{name}\.parquet: required one row for each"):
        load_run(path)


def test_missing_sweep_and_limits_are_listed_not_fatal(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    (path / "sweep.parquet").unlink()
    (path / "limits.parquet").unlink()
    run = load_run(path)
    assert run.missing == ("sweep.parquet", "limits.parquet")
    assert len(run.sweep) == len(run.limits) == 0


def test_a_run_from_before_nine_tenths_were_told_is_read(tmp_path):
    path = write_run(tmp_path / "r", frames_per_group=1, groups=("a",), points=("default",))
    assert "m90" not in pd.read_parquet(path / "limits.parquet")
    limits = load_run(path).limits
    assert len(limits) > 0
    assert limits[["m90", "snr90_lo", "width_mag", "ceiling"]].isna().all().all()


def test_bins_are_named_by_their_edges():
    assert bin_label(-2, np.nan, np.nan, 9) == "all"
    assert bin_label(-1, -np.inf, 15.0, 9) == "< 15"
    assert bin_label(0, 15.0, 15.5, 9) == "15–15.5"
    assert bin_label(9, 24.0, np.inf, 9) == "≥ 24"
    assert bin_label(1, -16.0, -15.0, 9) == "−16 to −15"
    assert bin_label(-1, -np.inf, -16.5, 9) == "< −16.5"
    assert range_label(-0.5, -0.0) == "−0.5 to 0"
    assert range_label(-0.0, 0.5) == "0–0.5"
    assert range_label(-1, np.inf) == "≥ −1"
    assert range_label(-0.04, 1, ".2f") == "−0.04 to 1.00"
    assert bin_label(10, np.nan, np.nan, 9) == "no magnitude"


def test_show_opens_the_page_in_the_browser_and_inline_in_a_notebook(tmp_path, monkeypatch, capsys):
    run = load_run(write_run(tmp_path / "r", groups=("a",), frames_per_group=1))
    with pytest.raises(BadInputError, match=r"index.html: required the run's page .*write_report"):
        run.show()
    run.paths.page.parent.mkdir()
    source = '<p>"quoted" & <b>bold</b> 3 < 4 σ</p>'
    run.paths.page.write_text(source, encoding="utf-8")
    opened, displayed = [], []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    assert not in_notebook()
    run.show()
    assert opened == [run.paths.page.as_uri()]
    assert capsys.readouterr().out == f"{run.paths.page.as_uri()}\n"

    class Shell:
        kernel = object()

    monkeypatch.setattr("IPython.get_ipython", Shell)
    monkeypatch.setattr("IPython.display.display", displayed.append)
    assert in_notebook()
    run.show(height_px=555)
    (shown,) = displayed
    pattern = r'<div><iframe srcdoc="([^"]*)" sandbox="allow-scripts" .*</iframe></div>'
    frame = re.fullmatch(pattern, shown.data)
    assert html.unescape(frame[1]) == source
    assert "height: 555px" in shown.data
    assert len(opened) == 1


def test_tables_are_those_that_pandas_reads(folder):
    run = load_run(folder)
    for path in sorted(folder.rglob("*.parquet")):
        read = read_run._optional(path)
        pd.testing.assert_frame_equal(read, pd.read_parquet(path), check_exact=True)
    frame, detector = run.scored_frames[0], run.detectors[0]
    for _ in range(2):  # from the file, and from memory
        table = run.catalog(detector, frame)
        pd.testing.assert_frame_equal(table, pd.read_parquet(run.paths.catalog(detector, frame)))
        table["own"] = 1
        table["x"] = 0.0
        assert "own" not in run.catalog(detector, frame)


def test_tables_of_frames_are_read_once_and_the_latest_are_kept(folder, monkeypatch):
    reads = []
    read = read_run._optional

    def noted(path, columns=()):
        reads.append(path.parent.name)
        return read(path, columns)

    monkeypatch.setattr(read_run, "_optional", noted)
    run = load_run(folder)
    frame, (one, two) = run.scored_frames[0], run.detectors[:2]
    reads.clear()
    for detector in (one, two, one):
        run.catalog(detector, frame)
    assert reads == [one, two]
    reads.clear()
    cells = run.catalog(one, frame).size
    monkeypatch.setattr(read_run, "_MOST_CELLS", cells)  # room for one
    other = load_run(folder)
    reads.clear()
    for detector in (one, one, two, one):
        other.catalog(detector, frame)
    assert reads == [one, two, one]
