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

import skyduel
from skyduel.core import BadInputError, Frame, write_frame
from skyduel.core.errors import ArgumentError
from skyduel.core.reference.origin import Reference
from skyduel.runner.detector_specs import parse_specs

#: What only a command calls, or whose hint names the command with the option.
COMMANDS_OWN = (
    "core/io/column_names.py", "core/io/tabular/placement.py", "core/reference/frame_truth.py",
    "core/reference/services.py", "core/reference/solutions.py", "cuda_ops/_library.py",
    "evaluation/comparison/headline.py", "evaluation/rules.py", "baseline/sextractor_program.py",
    "detect/published/detector.py", "reports/page/pdf.py", "reports/sections/analyses/suspects.py",
    "run_folder/provenance.py", "run_folder/record.py", "runner/watch/",
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
