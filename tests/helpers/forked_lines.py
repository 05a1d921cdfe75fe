"""Command lines in children of one process that has loaded libraries, but none of our modules."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from helpers.paths import ROOT

#: Each line starts as in a new process, but for libraries, which take most of a start.
CODE = """
import json, os, shlex, sys
import astropy.io.fits, astropy.table, numpy, pydantic, rich.console, scipy.spatial, sep, typer

results = []
for number, line in enumerate(sys.argv[1:]):
    said = f"said{number}"
    child = os.fork()
    if child == 0:
        code = 70
        try:
            out = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(out, 2)
            from skyduel.cli.main import main
            sys.argv[:] = ["skyduel"]
            main(shlex.split(line))
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(said) as file:
        results.append((code, file.read()))
    os.remove(said)
print(json.dumps(results))
"""


class Done(NamedTuple):
    """The exit code and the standard error of a command line."""

    returncode: int
    stderr: str


def run_lines(lines: Sequence[str], folder: Path, *first: Path) -> dict[str, Done]:
    """Run command lines in a folder, one after the other, and return what each came to.

    Parameters
    ----------
    lines : sequence of str
        Arguments of ``skyduel``.
    folder : Path
        The current folder of all.
    first : Path
        Folders in front of the sources, for a `sitecustomize`.
    """
    path = os.pathsep.join(map(str, [*first, ROOT / "src"]))
    done = subprocess.run(
        [sys.executable, "-c", CODE, *lines], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(zip(lines, (Done(*one) for one in json.loads(done.stdout)), strict=True))
