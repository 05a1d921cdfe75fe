"""The command `skyduel init`: write a commented configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skyduel.cli.commands.options import With, installed
from skyduel.cli.console import out
from skyduel.core import BadInputError

__all__ = ["NAME", "command"]

NAME = "init"


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML file to write.")] = Path(
        "duel.toml"
    ),
    with_: With = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
) -> None:
    """Write a commented TOML file with every setting of a run, for --config.

    Each setting is listed with its description, its allowed values and its default,
    commented out. The settings of every installed detector are listed; the detectors
    named with --with run.
    """
    from skyduel.cli.settings_file import settings_file
    from skyduel.core import atomic_path
    from skyduel.core.registry import available
    from skyduel.runner.detector_specs import DEFAULT_DETECTORS

    if file.suffix != ".toml":
        raise BadInputError("FILE", "a name ending in .toml", repr(str(file)))
    if file.exists() and not force:
        raise BadInputError(str(file), "a new file, or --force", "one that exists")
    text = settings_file(with_ or installed(DEFAULT_DETECTORS), available())
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    out.print(str(file), markup=False, highlight=False, soft_wrap=True)
