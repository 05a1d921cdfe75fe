"""The command `skyduel`: the application and its entry point. Each subcommand is a module."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from skyduel.cli.commands import (
    compare,
    detect,
    finetune,
    gate,
    init,
    inject,
    report,
    run,
    score,
    simulate,
    train,
    truth_free,
    tune,
)
from skyduel.cli.console import err
from skyduel.cli.examples import epilog
from skyduel.core.errors import SkyduelError

__all__ = ["ALIASES", "app", "main"]

app = typer.Typer(
    name="skyduel",
    help="Does a neural detector find more real sources than SExtractor? Run both on the same "
    "frames, match their detections to the truth, and compare completeness (recall), purity "
    "(precision), F1 and F2 per magnitude.",
    epilog="Results go to stdout, progress to stderr. "
    "Exit status: 0 done, 1 the gate did not pass, 2 unusable input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (
    run, init, simulate, inject, detect, score, tune, truth_free, compare, gate, report, train,
    finetune,
):  # fmt: skip
    app.command(module.NAME, epilog=epilog(module.NAME))(module.command)


def _alias(old: str, module: Any) -> Callable[..., None]:
    """Return a command that says its new name on stderr and then runs."""

    @functools.wraps(module.command)
    def renamed(*args: Any, **options: Any) -> None:
        line = f"skyduel: `{old}` is an old name; the command is now `{module.NAME}`"
        err.print(line, markup=False, highlight=False, style="yellow", soft_wrap=True)
        module.command(*args, **options)

    return renamed


#: Old names of commands that still work, hidden from the help.
ALIASES = {"blind": truth_free}
for _old, _module in ALIASES.items():
    app.command(_old, hidden=True, epilog=epilog(_module.NAME))(_alias(_old, _module))


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"skyduel {installed('skyduel')}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with 0, 1 or 2 (130 if interrupted from the keyboard)."""
    try:
        app(args=arguments)
    except SkyduelError as error:
        err.print(f"skyduel: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
