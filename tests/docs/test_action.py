"""The GitHub action at the root: its steps call commands and options that exist."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT

from skyduel.evaluation.comparison.gate_report import COMMENT_MARK

ACTION: Any = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS = ACTION["runs"]["steps"]


def test_inputs_reach_the_scripts_as_variables_only() -> None:
    assert ACTION["runs"]["using"] == "composite"
    assert {name for name, one in ACTION["inputs"].items() if one.get("required")} == {
        "reference", "candidate", "allow",
    }  # fmt: skip
    for step in STEPS:
        assert step["shell"] == "bash"
        assert "${{" not in step["run"]


def test_the_comment_is_found_by_the_mark_that_the_report_has() -> None:
    assert f"mark='{COMMENT_MARK}'" in STEPS[1]["run"]


@pytest.mark.parametrize("code", [0, 1, 2])
@pytest.mark.parametrize("more", ["true", "false"])
def test_the_gate_step_runs_the_gate_and_keeps_its_status(
    tmp_path: Path, code: int, more: str
) -> None:
    program = tmp_path / "bin" / "skyduel"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > said\necho hello > skyduel-gate.md\nexit {code}\n'
    )
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "REFERENCE": "runs/old run", "CANDIDATE": "$(touch evil)", "ALLOW": "f1=0.01",
        "MORE": more, "ARGUMENTS": "--per-group --a sep",
        "GITHUB_OUTPUT": str(tmp_path / "out"), "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }  # fmt: skip

    def step(script: str) -> int:
        words = ["bash", "-e", "-o", "pipefail", "-c", script]
        return subprocess.run(words, cwd=tmp_path, env=environment, check=False).returncode

    assert step(STEPS[0]["run"]) == 0
    said = (tmp_path / "said").read_text().splitlines()
    wanted = [
        "gate",
        "runs/old run",
        "$(touch evil)",
        "--allow",
        "f1=0.01",
        "--per-group",
        "--a",
        "sep",
    ]
    assert said == [*wanted, *(["--more"] if more == "true" else []),
                    "--report", "skyduel-gate.md", "--junit", "skyduel-gate.xml"]  # fmt: skip
    assert (tmp_path / "out").read_text() == f"passed={'true' if code == 0 else 'false'}\n"
    assert (tmp_path / "summary").read_text() == "hello\n"
    assert not (tmp_path / "evil").exists()
    assert step(STEPS[2]["run"]) == code
