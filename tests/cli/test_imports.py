"""Comparing finished runs loads no plotting library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

STORED = ROOT / "tests" / "data" / "run_schema_1"
HEAVY = {"matplotlib", "jinja2", "torch"}
COMPARE = ("compare", str(STORED / "sep-matched"), str(STORED / "sep"))
GATE = ("gate", str(STORED / "sep"), str(STORED / "sep"), "--allow", "f1=0.5")
PYTEST = ("-q", "-p", "skyduel.cli.pytest_plugin", "-p", "no:cacheprovider",
          "--skyduel-reference", str(STORED / "sep"), "--skyduel-candidate", str(STORED / "sep"),
          "--skyduel-allow", "f1=0.5")  # fmt: skip
CODE = """
import sys
try:
    {call}
except SystemExit:
    pass
print("LOADED", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


def loaded(call: str, folder: Path) -> tuple[str, set[str]]:
    """Output of a call in a child process, and the packages it has loaded afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(call=call)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said, _, names = done.stdout.rpartition("LOADED")
    return said + done.stderr, set(names.split())


@pytest.mark.parametrize(
    ("call", "shows"),
    [
        (f"from skyduel.cli.main import main; main({[*COMPARE]!r})", "completeness"),
        (f"from skyduel.cli.main import main; main({[*GATE]!r})", "criterion"),
        (f"import pytest; pytest.main({[*PYTEST]!r})", "1 passed"),
    ],
    ids=["compare", "gate", "pytest"],
)
def test_no_plotting_library_is_loaded(call: str, shows: str, tmp_path: Path) -> None:
    said, names = loaded(call, tmp_path)
    assert shows in said
    assert {"skyduel", "pandas"} <= names
    assert not names & HEAVY
