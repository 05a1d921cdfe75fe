"""Run the commands of a page, and compare or replace the outputs shown on it.

``python docs/record.py docs/tutorial.md`` writes the current outputs of the commands into the
page. A command is a line ``$ skyduel ...`` in a console block. Its output is the text below it,
up to the next command or the end of the block. A block ``toml`` or ``python`` below a comment
``<!-- file: NAME -->`` is written to that file first. All commands run in an empty folder.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Step", "alike", "files", "replace_outputs", "run_step", "steps"]

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"[-−+]?\d+(?:\.\d+)?(?:e[-−+]?\d+)?")
#: Placeholder for values that differ from machine to machine.
DOTS = "…"
#: Tolerances: processors round the sums of the network differently.
RELATIVE, ABSOLUTE = 0.1, 0.05


@dataclass(frozen=True)
class Step:
    """A command of a page with its output and the position of the output."""

    command: str
    output: str
    start: int
    end: int


def steps(page: str) -> list[Step]:
    """Return the commands of a page in order."""
    found = []
    for block in _BLOCK.finditer(page):
        text, at = block.group(1), block.start(1)
        starts = [m.start() for m in re.finditer(r"^\$ ", text, re.MULTILINE)]
        for begin, end in zip(starts, [*starts[1:], len(text)], strict=True):
            command, _, output = text[begin:end].partition("\n")
            start = at + begin + len(command) + 1
            found.append(Step(command.removeprefix("$ "), output, start, at + end))
    return found


def files(page: str) -> list[tuple[str, str, int]]:
    """Return name, content and position of every file defined on a page."""
    return [(m.group(1), m.group(2), m.start()) for m in _FILE.finditer(page)]


def run_step(command: str, folder: Path) -> str:
    """Run a command and return its stdout as shown on a page.

    Raises
    ------
    RuntimeError
        If the exit status is neither 0 nor 1 (a gate may fail).
    """
    program, *words = shlex.split(command)
    if program != "skyduel":
        raise RuntimeError(f"only skyduel is run, not {program!r}")
    done = subprocess.run(
        [sys.executable, "-c", "from skyduel.cli.main import main; main()", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{command}: exit status {done.returncode}\n{done.stderr}")
    return _masked(done.stdout)


def _masked(output: str) -> str:
    """Return an output without trailing blanks and with dots instead of speeds."""
    lines, speeds = [], False
    for raw in output.splitlines():
        line = raw.rstrip()
        if "Mpix/s" in line:
            speeds = True
        elif not line:
            speeds = False
        elif speeds:
            line = re.sub(r"\d+\.\d+$", DOTS, line)
        lines.append(line)
    return "\n".join(lines) + "\n" if lines else ""


def alike(shown: str, printed: str) -> str:
    """Return the first significant difference between two outputs, or ''."""
    ours, theirs = shown.split(), printed.split()
    for mine, other in zip(ours, theirs, strict=False):
        if DOTS in (mine, other) or mine == other or set(mine + other) <= set("─━-"):
            continue
        words = _NUMBER.sub("#", mine), _NUMBER.sub("#", other)
        numbers = zip(_NUMBER.findall(mine), _NUMBER.findall(other), strict=False)
        near = all(
            abs(a - b) <= ABSOLUTE + RELATIVE * max(abs(a), abs(b))
            for a, b in ((_value(a), _value(b)) for a, b in numbers)
        )
        if words[0].strip("*") != words[1].strip("*") or not near:
            return f"{mine!r} is shown, {other!r} is printed"
    if len(ours) != len(theirs):
        return f"{len(ours)} words are shown, {len(theirs)} are printed"
    return ""


def _value(number: str) -> float:
    return float(number.replace("−", "-"))


def replace_outputs(page: str, folder: Path) -> str:
    """Run the commands of a page in a folder and return the page with their outputs."""
    todo = files(page)
    made, at = [], 0
    for step in steps(page):
        for name, content, _ in [f for f in todo if f[2] < step.start]:
            (folder / name).write_text(content, encoding="utf-8")
        todo = [f for f in todo if f[2] >= step.start]
        made += [page[at : step.start], run_step(step.command, folder)]
        at = step.end
    return "".join([*made, page[at:]])


def main(paths: list[str]) -> None:
    """Rewrite the outputs of pages."""
    for path in map(Path, paths):
        with tempfile.TemporaryDirectory() as folder:
            page = replace_outputs(path.read_text(encoding="utf-8"), Path(folder))
        path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
