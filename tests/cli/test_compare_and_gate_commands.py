"""`skyduel compare`, `skyduel gate` and the pytest plugin, on run folders."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from helpers.command_line import skyduel
from helpers.paths import ROOT

from skyduel.core import BadInputError, Catalog, open_dataset, read_catalog, write_catalog
from skyduel.evaluation import ScoringRules
from skyduel.evaluation.comparison.possible_intervals import within_possible
from skyduel.run_folder import load_run
from skyduel.run_folder.compare_runs import compare_detectors, run_detector
from skyduel.runner.builtin_dataset import make_frames
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.run import RunPlan, run

pytest_plugins = ["pytester"]

PLAN = [
    ("field_000", "field", "test"),
    ("field_001", "field", "test"),
    ("dirty_000", "dirty", "test"),
    ("dirty_001", "dirty", "test"),
    ("cal_000", "field", "calibration"),
]
#: An installed copy loads the plugin itself, and twice is once too often.
LOADED = any(e.value == "skyduel.cli.pytest_plugin" for e in entry_points(group="pytest11"))
PLUGIN = () if LOADED else ("-p", "skyduel.cli.pytest_plugin")


def one_run(sky: Path, folder: Path, names: list[str]) -> Path:
    """Run detectors whose catalogues lie in the folder ``found`` beside the frames."""
    found = sky.parent / "found"
    changes = [f"{n.split('=')[0]}.folder={found / n.split('=')[1]}" for n in names]
    run(
        RunPlan(
            dataset=open_dataset(sky),
            specs=parse_specs([f"{n.split('=')[0]}=file" for n in names], changes),
            rules=ScoringRules(n_bootstrap=50),
            folder=folder,
        )
    )
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Two runs of the same frames: the old one with two detectors, the new one deafer."""
    place = tmp_path_factory.mktemp("runs")
    make_frames(place / "sky", PLAN, 7, ny=112, nx=160)
    for k, (name, limit) in enumerate((("good", 5.0), ("better", 4.0), ("deaf", 9.0))):
        for n, entry in enumerate(open_dataset(place / "sky").entries):
            truth = read_catalog(entry.truth)
            rng = np.random.default_rng([k, n])
            measured = truth["snr"] + rng.normal(0, 1, len(truth))
            seen = (measured > limit) & ~truth.is_streak
            false = rng.uniform(0, [159, 111], (6, 2))
            found = Catalog.build(
                x=np.append(truth["x"][seen], false[:, 0]),
                y=np.append(truth["y"][seen], false[:, 1]),
                score=np.append(measured[seen], limit + rng.exponential(1.0, 6)),
            )
            (place / "found" / name).mkdir(parents=True, exist_ok=True)
            write_catalog(found, place / "found" / name / f"{entry.name}.parquet")
    one_run(place / "sky", place / "old", ["sep=good", "deep=better"])
    one_run(place / "sky", place / "new", ["sep=deaf"])
    return place


@pytest.fixture
def copy(runs, tmp_path) -> Path:
    """A copy of the new run, to be spoiled."""
    return Path(shutil.copytree(runs / "new", tmp_path / "copy"))


def refused(capsys, *words: object) -> str:
    assert skyduel(*words) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def test_a_run_holds_the_comparisons_of_its_detectors(runs) -> None:
    table = load_run(runs / "old").comparisons
    assert table[["detector_a", "detector_b"]].drop_duplicates().to_numpy().tolist() == [
        ["sep", "deep"]
    ]
    assert set(table["point"]) == {"default", "calibrated", "purity95"}
    assert (runs / "old" / "comparisons.csv").is_file()
    whole = table.query("point == 'default' and group == 'all' and bin == -2")
    counts = load_run(runs / "old").counts.query("point == 'default'")
    found = counts.groupby("detector")["truths_found"].sum()
    row = whole[whole["interval"] == "newcombe"].iloc[0]
    assert row["n_both"] + row["n_a_only"] == found["sep"]
    assert row["n_both"] + row["n_b_only"] == found["deep"]
    assert len(load_run(runs / "new").comparisons) == 0  # a single detector


def test_the_folder_compared_again_gives_what_the_run_wrote(runs) -> None:
    a, b = run_detector(runs / "old" / "sep"), run_detector(runs / "old", "deep")
    points = ("default", "calibrated", "purity95")
    # What the gate decides with has the whole widths.
    made = within_possible(compare_detectors(a, b, points).table)
    wrote = load_run(runs / "old").comparisons
    keys = ["point", "group", "bin", "quantity", "interval"]
    numbers = ["delta", "lo", "hi", "p", "p_holm", "n_both", "n_a_only", "n_frames"]
    one, other = (t.set_index(keys)[numbers].sort_index() for t in (made, wrote))
    pd.testing.assert_frame_equal(one, other, check_dtype=False)


def test_compare_says_one_sentence_first(runs, capsys) -> None:
    words = ("compare", runs / "old", runs / "new", "--detector", "sep", "--point", "default")
    assert skyduel(*words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "old/sep" in lines[0]
    assert "new/sep" in lines[0]
    assert lines[0].endswith("; with fewer than 20, intervals are rough.")
    assert any("neither" in line for line in lines)
    assert any(line.lstrip().startswith("dirty") for line in lines)
    assert lines[-1].startswith("The intervals take the 4 frames as independent: ")
    assert "fewer than 75 % of frames may be missing" in lines[-1]


def test_compare_as_json_and_markdown(runs, capsys) -> None:
    words = ("compare", runs / "old/sep", runs / "old/deep", "--point", "default")
    assert skyduel(*words, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == 1
    assert (document["a"], document["b"]) == ("sep", "deep")
    assert document["frames"] == ["dirty_000", "dirty_001", "field_000", "field_001"]
    assert {"delta", "lo", "hi", "p_holm"} <= set(document["rows"][0])
    assert skyduel(*words, "--markdown") == 0
    text = capsys.readouterr().out
    assert text.startswith(document["sentence"])
    widths = [line.count("|") for line in text.splitlines() if line.startswith("|")]
    assert len(widths) > 6
    assert set(widths) == {9, 10}  # two whole tables
    assert text.splitlines()[-1].startswith("The intervals take the 4 frames as independent: ")
    assert skyduel("compare", runs / "old", "--a", "sep", "--b", "deep") == 0


def test_what_names_no_detector_or_a_wrong_one_is_refused(runs, capsys) -> None:
    old, new = runs / "old", runs / "new"
    assert "one of sep, deep" in refused(capsys, "compare", old, new)
    assert "did you mean deep" in refused(capsys, "compare", old, new, "--a", "dep")
    assert "either --detector" in refused(
        capsys, "compare", old, new, "--a", "deep", "--detector", "sep"
    )
    assert "two detectors" in refused(capsys, "compare", new)
    assert "no such folder" in refused(capsys, "compare", runs / "none", new)
    assert "purity80" in refused(capsys, "compare", old / "sep", new, "--point", "purity80")


def edit_record(folder: Path, change) -> None:
    path = folder / "run.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_other_rules_are_named(runs, copy, capsys) -> None:
    edit_record(copy, lambda r: r["rules"].update(radius_px=3.0))
    text = refused(capsys, "compare", runs / "old/sep", copy)
    assert "the same rules" in text
    assert "radius_px 2.0" in text


def test_statistics_may_differ(runs, copy) -> None:
    edit_record(copy, lambda r: r["rules"].update(n_bootstrap=70, seed=5))
    assert (
        compare_detectors(
            run_detector(runs / "old/sep"), run_detector(copy), ["default"]
        ).rules.n_bootstrap
        == 50
    )


def spoil(folder: Path, frame: str, change) -> None:
    path = folder / "truth" / f"{frame}.parquet"
    table = pd.read_parquet(path)
    change(table).to_parquet(path)


def test_another_truth_is_named(runs, copy, capsys) -> None:
    spoil(copy, "dirty_000", lambda t: t.assign(mag=t["mag"].where(t.index != 3, 15.0)))
    text = refused(capsys, "compare", runs / "old/sep", copy)
    assert "'dirty_000'" in text
    assert "another mag of 1 sources" in text


def test_other_pixels_are_noticed(runs, copy, capsys) -> None:
    spoil(copy, "field_000", lambda t: t.assign(aper_mag=t["aper_mag"] + 0.1))
    assert "other pixels" in refused(capsys, "compare", runs / "old/sep", copy)


def test_pairs_that_are_not_its_catalogues_are_noticed(runs, copy, capsys) -> None:
    path = copy / "catalogs" / "sep" / "field_000.parquet"
    table = pd.read_parquet(path)
    table["x"] = table["x"] + 30
    table.to_parquet(path)
    assert "run it again" in refused(
        capsys, "compare", runs / "old/sep", copy, "--point", "default"
    )


def test_fewer_frames_are_refused_unless_common_ones_will_do(runs, copy, capsys) -> None:
    for name in ("counts", "scores"):
        table = pd.read_parquet(copy / f"{name}.parquet")
        if "frame" in table:
            table = table[table["frame"] != "dirty_001"]
        table.to_parquet(copy / f"{name}.parquet")
    words = ("compare", runs / "old/sep", copy)
    text = refused(capsys, *words)
    assert "'dirty_001'" in text
    assert "--common-frames" in text
    assert skyduel(*words, "--common-frames", "--json") == 0
    assert json.loads(capsys.readouterr().out)["frames"] == ["dirty_000", "field_000", "field_001"]


def test_a_version_passes_against_itself_and_a_deafer_one_does_not(runs, tmp_path, capsys) -> None:
    old, new = runs / "old/sep", runs / "new"
    assert skyduel("gate", old, old, "--allow", "f1=0,f2=0,completeness=0,purity=0") == 0
    assert capsys.readouterr().out.startswith("pass:")
    files = ("--report", tmp_path / "r" / "gate.md", "--junit", tmp_path / "r" / "gate.xml")
    # Each repetition of the option adds criteria; none replaces another.
    allowed = ("--allow", "completeness=0.01", "--allow", "purity=0.5")
    status = skyduel("gate", old, new, *allowed, *files)
    assert status == 1
    said = capsys.readouterr().out
    assert said.startswith(("worse:", "undecided:"))
    assert "the intervals are rough." in said
    assert "the intervals are rough." in files[1].read_text()
    mark, title = (tmp_path / "r" / "gate.md").read_text().splitlines()[:2]
    assert mark == "<!-- skyduel gate -->"
    assert title == "# Gate: new/sep against old/sep"
    suite = ElementTree.parse(tmp_path / "r" / "gate.xml").getroot()[0]
    assert suite.get("tests") == "2"
    assert int(suite.get("failures")) + int(suite.get("errors")) >= 1


def test_speed_is_judged_if_the_machine_is_the_same(runs, copy, capsys) -> None:
    old = runs / "old/sep"

    def speed(value: float, **machine) -> None:
        def change(record) -> None:
            record["detectors"][0]["mpix_per_s"] = value
            record["machine"].update(machine)

        edit_record(copy, change)

    words = ("gate", old, copy, "--allow", "completeness=1,speed=0.5")
    speed(1e-6)
    assert skyduel(*words) == 1
    assert "100 % slower" in capsys.readouterr().out
    speed(1e-6, cpu="another")
    assert skyduel(*words) == 0
    assert "not comparable: another cpu" in capsys.readouterr().out


def test_the_gate_refuses_what_it_cannot_use(runs, capsys) -> None:
    assert "did you mean" in refused(
        capsys, "gate", runs / "old/sep", runs / "new", "--allow", "m5=1"
    )


# --- pytest -----------------------------------------------------------------------


def test_items_of_the_plugin(runs, pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    allow = "--skyduel-allow=f1=0,completeness=0"
    words = ("-rA", f"--skyduel-reference={runs / 'old/sep'}", allow)
    result = pytester.runpytest_inprocess(
        *PLUGIN, *words, f"--skyduel-candidate={runs / 'old/sep'}", "--skyduel-per-group"
    )
    result.assert_outcomes(passed=1 + 2 * 3)
    result = pytester.runpytest_inprocess(*PLUGIN, *words, f"--skyduel-candidate={runs / 'new'}")
    counts = result.parseoutcomes()
    assert counts["failed"] >= 1
    assert counts["passed"] + counts["failed"] == 3
    result.stdout.re_match_lines([r".*completeness@default: (worse|undecided): .*"])


def test_without_its_options_the_plugin_does_nothing_and_imports_nothing(pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_light():
            heavy = {"numpy", "torch", "pandas", "skyduel.core", "matplotlib"}
            assert not heavy & set(sys.modules)
        """
    )
    root = str(ROOT / "src")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:hypothesispytest",
            "-p",
            "no:zarr",
            *PLUGIN,
        ],
        cwd=pytester.path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_refuses_in_one_line(runs, pytester) -> None:
    one = f"--skyduel-reference={runs / 'old/sep'}"
    for words, message in (
        ((one,), "go together"),
        ((one, f"--skyduel-candidate={runs / 'none'}"), "no such folder"),
        (
            (one, f"--skyduel-candidate={runs / 'new'}", "--skyduel-allow=f9=1"),
            "one of completeness",
        ),
    ):
        result = pytester.runpytest_inprocess(*PLUGIN, *words)
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines([f"*{message}*"])


def test_a_detector_may_be_told_by_its_folder(runs) -> None:
    assert run_detector(runs / "old" / "deep").detector == "deep"
    assert run_detector(runs / "new").detector == "sep"
    with pytest.raises(BadInputError, match="the detector 'sep'"):
        run_detector(runs / "old" / "deep", "sep")
    assert np.isfinite(run_detector(runs / "new").speed.mpix_per_s)
