"""Tests of help, examples, completion, colours and progress on the terminal."""

import io
import os
import re
import shlex
import subprocess
import sys

import pytest
import typer
from helpers.command_line import skyduel
from rich.console import Console

from skyduel.cli import console
from skyduel.cli import main as cli
from skyduel.cli.examples import EXAMPLES

ALL = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
COMMANDS = {name: command for name, command in ALL.items() if not command.hidden}


def program(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from skyduel.cli.main import main; sys.argv[0] = 'skyduel'; main()"
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env=kept | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_has_a_sentence_on_everything_and_examples(name, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert skyduel(name, "--help") == 0
    shown = capsys.readouterr().out
    command = COMMANDS[name]
    assert command.help.split("\n")[0].endswith(".")
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name
        # Text in square brackets would vanish as markup.
        assert re.search(r"(?<!\\)\[\w+\]", parameter.help) is None, parameter.name
    for line in EXAMPLES[name]:
        assert f"$ skyduel {line}" in shown


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_examples_are_commands_that_exist(line) -> None:
    name, *words = shlex.split(line)
    COMMANDS[name].make_context(name, words)  # raises where an option is unknown


def test_every_command_has_an_example_of_its_own() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    assert all(any(line.split()[0] == name for line in EXAMPLES[name]) for name in EXAMPLES)


def complete(words: str) -> list[str]:
    done = program(
        _SKYDUEL_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(len(words.split(" ")) - 1),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_detectors() -> None:
    assert complete("skyduel ga") == ["gate"]
    assert complete("skyduel run --conf") == ["--config"]
    assert complete("skyduel run --with sep-m") == ["sep-matched"]


def test_completion_is_installed_into_the_home_folder(tmp_path) -> None:
    # With detection off typer takes the shell's name, so this passes under any shell.
    words = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = program("--install-completion", "bash", **words)
    assert done.returncode == 0, done.stderr
    scripts = [p for p in tmp_path.rglob("*") if p.is_file() and "skyduel" in p.name]
    assert len(scripts) == 1
    assert "_SKYDUEL_COMPLETE=complete_bash" in scripts[0].read_text()
    assert scripts[0].name in (tmp_path / ".bashrc").read_text()


def test_no_colour_in_a_pipe_nor_where_it_is_declined() -> None:
    for environment in ({}, {"NO_COLOR": "1", "TERM": "xterm-256color"}):
        done = program("score", "there-is-none.ecsv", "nor-here.ecsv", **environment)
        assert done.returncode == 2
        assert "there-is-none" in done.stderr
        assert "\x1b" not in done.stdout + done.stderr


def test_a_terminal_has_colour_unless_declined(monkeypatch) -> None:
    for declined in (False, True):
        monkeypatch.delenv("NO_COLOR", raising=False)
        if declined:
            monkeypatch.setenv("NO_COLOR", "1")
        stream = io.StringIO()
        Console(file=stream, force_terminal=True, color_system="standard").print("x", style="red")
        assert ("\x1b[31m" in stream.getvalue()) is not declined


def test_rate_and_remaining_time(monkeypatch) -> None:
    now = 100.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    rate = console.Rate()
    assert rate.describe(4000, 6000) == ""  # resumed: what was done before says nothing
    now = 110.0
    assert rate.describe(4005, 6000) == "2.00 s each, 1:06:30 left"
    assert rate.describe(4100, 6000) == "10.0/s, 0:03:10 left"
    assert rate.describe(6000, 6000) == "200.0/s"
    assert rate.describe(4005, None) == "2.00 s each"


def test_the_bar_shows_the_rate_from_the_second_step_on(monkeypatch) -> None:
    now = 0.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    monkeypatch.setattr(console, "err", Console(file=io.StringIO(), width=150, force_terminal=True))
    bar = console.progress()
    task = bar.add_task("detect", total=30, note="noted")

    def shown() -> str:
        with console.err.capture() as capture:
            console.err.print(bar.get_renderable())
        return capture.get()

    assert "each" not in shown()
    bar.update(task, completed=10)
    assert "each" not in shown()
    now = 6.0
    bar.update(task, completed=14)
    assert "1.50 s each, 0:00:24 left" in shown()
    now = 60.0
    assert "1.50 s each, 0:00:24 left" in shown()
    assert "noted" in shown()
