"""The command `skyduel`: the application and its entry point. Each subcommand is a module."""

from __future__ import annotations

import copy
import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from skyduel.cli.examples import SUMMARIES, epilog
from skyduel.core.errors import ArgumentError, BadInputError, SkyduelError
from skyduel.core.extras import missing_extra

__all__ = ["ALIASES", "app", "main"]

#: Old names of commands that still work, hidden from the help.
ALIASES: Final[Mapping[str, str]] = {"blind": "truth-free"}


class _Command(TyperCommand):
    """A subcommand, whose errors name its options in place of Python's arguments."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except ArgumentError as error:
            from skyduel.cli.argument_names import option_names

            raise error.with_options(option_names(self.params)) from error


def _say(text: str, style: str) -> None:
    from skyduel.cli.console import warn

    warn(text, style=style)


def _alias(old: str, name: str, function: Callable[..., None]) -> Callable[..., None]:
    """Return a command that says its new name on stderr and then runs."""

    @functools.wraps(function)
    def renamed(*args: Any, **options: Any) -> None:
        _say(f"`{old}` is an old name; the command is now `{name}`", "yellow")
        function(*args, **options)

    return renamed


def _made(name: str, function: Callable[..., None], **settings: Any) -> Any:
    """Return a command of the library from a function."""
    single = typer.Typer(add_completion=False)
    single.command(name, cls=_Command, **settings)(function)
    return typer.main.get_command(single)


class _Loaded(Mapping[str, Any]):
    """The commands by name; a command's module is imported when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            known = ALIASES.get(name, name)
            if known not in SUMMARIES:
                raise KeyError(name)
            module = import_module(f"skyduel.cli.commands.{known.replace('-', '_')}")
            function = module.command if known == name else _alias(name, known, module.command)
            self._made[name] = _made(name, function, hidden=known != name, epilog=epilog(known))
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter([*SUMMARIES, *ALIASES])

    def __len__(self) -> int:
        return len(SUMMARIES) + len(ALIASES)


def _listed(summary: str) -> Callable[[], None]:
    def shown() -> None: ...

    shown.__doc__ = summary
    return shown


class _Commands(TyperGroup):
    """The subcommands. Only the one that runs, or whose help is asked for, is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Loaded()

    def _list(self) -> Any:
        """Return this group with commands that have a name and a summary, nothing else."""
        group = copy.copy(self)
        group.commands = {name: _made(name, _listed(text)) for name, text in SUMMARIES.items()}
        return group

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help, with the list of commands."""
        super(_Commands, self._list()).format_help(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Return the commands and options that complete a word."""
        return super(_Commands, self._list()).shell_complete(ctx, incomplete)


app = typer.Typer(
    name="skyduel",
    cls=_Commands,
    help="Does a neural detector find more real sources than SExtractor? Run both on the same "
    "frames, match their detections to the truth, and compare completeness (recall), purity "
    "(precision), F1 and F2 per magnitude.",
    epilog="Results go to stdout, progress to stderr. "
    "Exit status: 0 done, 1 the gate did not pass, 2 unusable input.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"skyduel {installed('skyduel')}")
        raise typer.Exit


def _refuse_empty(words: list[str]) -> None:
    """Refuse an empty argument, which a variable of a script without a value leaves.

    An empty path would be the folder that the command is called in.

    Raises
    ------
    BadInputError
        With the option before it or its number.
    """
    for number, word in enumerate(words):
        option, equals, value = word.partition("=")
        if word.strip() and not (option.startswith("--") and equals and not value.strip()):
            continue
        before = words[number - 1] if number else ""
        if word.strip():
            where = option
        else:
            where = f"argument behind {before}" if before.startswith("-") else f"word {number + 1}"
        raise BadInputError(where, "text", "an empty argument")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with 0, 1 or 2 (130 if interrupted from the keyboard)."""
    try:
        _refuse_empty(sys.argv[1:] if arguments is None else arguments)
        app(args=arguments)
    except SkyduelError as error:
        _say(f"{error}", "red")
        sys.exit(2)
    except ModuleNotFoundError as error:
        lacking = missing_extra("this command", error)
        if lacking is None:
            raise
        _say(f"{lacking}", "red")
        sys.exit(2)
