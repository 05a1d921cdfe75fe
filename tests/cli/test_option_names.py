"""Errors name arguments in Python and options on the command line."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.command_line import skyduel as command
from helpers.paths import ROOT
from typer.main import get_command

import skyduel
from skyduel.cli.commands import truth
from skyduel.cli.main import app
from skyduel.core import BadInputError, Frame, write_frame
from skyduel.core.errors import ArgumentError, with_options
from skyduel.core.reference.origin import Reference
from skyduel.runner.detector_specs import parse_specs

#: What only a command calls, or whose hint names the command with the option.
COMMANDS_OWN = (
    "core/io/tabular/placement.py", "cuda_ops/_library.py", "core/reference/solutions.py",
    "evaluation/comparison/headline.py", "evaluation/rules.py", "baseline/sextractor_program.py",
    "detect/published/detector.py", "reports/page/pdf.py", "reports/sections/analyses/suspects.py",
    "run_folder/provenance.py", "run_folder/record.py",
)  # fmt: skip
OPTION = re.compile(r"(?<![-\w])--[a-z]")
FRAME = Frame(data=np.zeros((32, 32), np.float32), name="a")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"purity": 95}, "purity: required a number between 0 and 1; got 95"),
        ({"purity": 0.9}, "purity: required a detector whose scores are probabilities, as neural; "
         "got sep: give threshold, or run `skyduel run` on frames with a truth, which measures "
         "purity"),
        ({"most": 0}, "most: required a number, 1 or more; got 0"),
        ({"threshold": np.nan}, "threshold: required a finite score; got nan"),
        ({"purity": 0.9, "threshold": 3.0},
         "purity: required one choice of rows; got threshold as well"),
        ({"everything": True, "most": 3},
         "most: required a choice of rows; got everything as well"),
    ],
)  # fmt: skip
def test_python_is_told_of_arguments(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInputError) as error:
        skyduel.find_sources(FRAME, "sep", **options)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--purity", "95"), "--purity: required a number between 0 and 1; got 95.0"),
        (("--purity", "0.9"), "got sep: give --threshold, or run"),
        (("--max", "0"), "--max: required a number, 1 or more; got 0"),
        (("--purity", "0.9", "--threshold", "3"),
         "--purity: required one choice of rows; got --threshold as well"),
        (("--all", "--max", "3"), "--max: required a choice of rows; got --all as well"),
        (("--set", "a"), "--set: required LABEL.SETTING=VALUE; got 'a'"),
    ],
)  # fmt: skip
def test_the_command_line_is_told_of_options(
    words: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frame(FRAME, tmp_path / "a.fits")
    out = tmp_path / "out.ecsv"
    assert command("detect", tmp_path / "a.fits", "--with", "sep", "--out", out, *words) == 2
    assert said in capsys.readouterr().err


def test_an_option_may_have_another_name_than_the_argument(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInputError, match=r"^detectors: required each label once; got 'sep' tw"):
        parse_specs(["sep", "sep"])
    write_frame(FRAME, tmp_path / "a.fits")
    words = ("run", tmp_path, "--with", "sep", "--with", "sep", "--out", tmp_path / "run")
    assert command(*words) == 2
    assert "--with: required each label once; got 'sep' twice" in capsys.readouterr().err
    with pytest.raises(BadInputError, match=r"^origin: required a table, a folder of Parquet"):
        Reference("gaja")
    words = ("truth", tmp_path / "a.fits", "--from", "gaja")
    assert command(*words) == 2
    assert "--from: required a table, a folder of Parquet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--out", "."), "--out: required another folder than that of the frames; got ."),
        (("--order", "best"), "--order: required oldest or newest; got 'best'"),
        (("--queue", "-1"), "--queue: required a number, 0 or more; got -1"),
        (("--poll", "0"), "--poll: required a time above 0 s; got 0.0"),
        (("--patience", "-1"), "--patience: required a time of 0 s or more; got -1.0"),
        (("--radius-px", "0"), "--radius-px: required a radius above 0; got 0.0"),
        (("--new-snr", "-1"), "--new-snr: required a number, 0 or more; got -1.0"),
        (("--earlier", "2"), "--earlier: required 3 or more; got 2"),
        (("--mqtt", "http://a"), "--mqtt: required mqtt://"),
    ],
)
def test_watch_names_its_options(
    words: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    command_line = ("watch", ".", "--out", "out", "--with", "sep", "--once", "--poll", "0.01")
    assert command(*command_line, *words) == 2
    assert f"skyduel: {said}" in capsys.readouterr().err


def test_notes_on_a_truth_name_options_on_the_command_line() -> None:
    named = set()
    for path in ("frame_truth.py", "services.py"):
        for node in ast.walk(ast.parse((ROOT / "core" / "reference" / path).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named |= set(re.findall(r"[;(] ?`([\w.]+)` ", node.value))
    assert named == set(truth._OPTIONS)
    options = {option for one in get_command(app).commands["truth"].params for option in one.opts}
    assert {words.split()[0] for words in truth._OPTIONS.values()} <= options
    note = "the depth is unknown; `depth` sets a limit, `other` does not"
    said = "the depth is unknown; --depth MAG sets a limit, `other` does not"
    assert with_options(note, truth._OPTIONS) == said


def test_a_value_goes_with_its_argument_and_other_words_stay() -> None:
    error = ArgumentError("out", "no fresh_run", "a run; give fresh=True or fresh", ("fresh",))
    options = {"out": "--out", "fresh": "--fresh", "run": "--run"}
    said = "--out: required no fresh_run; got a run; give --fresh or --fresh"
    assert str(error.with_options(options)) == said
    assert str(error.with_options({})) == str(error)
    again = pickle.loads(pickle.dumps(error))
    assert str(again.with_options(options)) == said


def test_only_commands_speak_of_options() -> None:
    """No text of the library but docstrings has an option of the command line."""
    packages = ("baseline", "core", "cuda_ops", "detect", "evaluation", "reports", "run_folder",
                "runner", "simulation")  # fmt: skip
    files = [path for name in packages for path in sorted((ROOT / name).rglob("*.py"))]
    assert len(files) > 200
    found = []
    for path in files:
        where = path.relative_to(ROOT).as_posix()
        if where.startswith(COMMANDS_OWN):
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            value = node.value if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and id(node) not in texts and OPTION.search(value):
                found.append(f"{where}:{node.lineno}: {value!r}")
    assert found == []
