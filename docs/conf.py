"""Sphinx configuration of the documentation: `make docs`.

Pages are Markdown. Three pages are completed when they are read: the command-line reference
and the configuration from the program, and the notebook's page from the notebook. The Python
reference comes from docstrings. Built pages load nothing from other addresses.
"""

from __future__ import annotations

import json
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from skyduel.cli.examples import EXAMPLES
from skyduel.cli.main import app as program
from skyduel.cli.settings_file import allowed_values, field_descriptions, settings_file
from skyduel.core.registry import available

HERE = Path(__file__).parent

project = "Skyduel"
author = "The Skyduel developers"
release = version = installed("skyduel")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns: list[str] = []
source_suffix = {".md": "markdown"}
default_role = "py:obj"

myst_heading_anchors = 3
autodoc_typehints = "none"  # docstrings give types with their shapes and units
autodoc_member_order = "groupwise"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
# As fields, types would be linked word by word, e.g. "shape" to an attribute of that name.
napoleon_use_param = False

html_theme = "alabaster"
html_title = "Skyduel"
html_static_path = ["static"]
html_css_files = ["skyduel.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "description": "A fair comparison of a neural source detector with SExtractor",
    "fixed_sidebar": True,
    "page_width": "76rem",
    "sidebar_width": "15rem",
    "show_powered_by": False,
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}


def command_line() -> str:
    """Return the command-line reference as Markdown, generated from the help of the program."""
    group: Any = typer.main.get_command(program)
    group.epilog = ""
    group.commands = {n: c for n, c in group.commands.items() if not c.hidden}
    for name, command in group.commands.items():
        lines = "\n".join(f"$ skyduel {line}" for line in EXAMPLES[name])
        command.short_help = command.help.partition("\n")[0]  # not cut short
        command.epilog = f"**Examples**:\n\n```console\n{lines}\n```"
    context = typer.Context(group, info_name="skyduel")
    text: str = get_docs_for_click(obj=group, ctx=context, name="skyduel", indent=1)
    return text.replace("\\[", "[")


def notebook(path: Path) -> str:
    """Return the cells of a notebook as Markdown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
    return "\n\n".join(parts)


def fill(_app: Any, page: str, source: list[str]) -> None:
    """Insert the generated text into the pages that ask for it."""
    if page == "cli":
        source[0] = source[0].replace("<!-- commands -->", command_line())
    if page == "configuration":
        # Only our own detectors, without installed plug-ins.
        names = [n for n, entry in available().items() if entry.dist.name == "skyduel"]
        source[0] = source[0].replace("<!-- settings -->", settings_file(others=names))
    if page == "first-duel":
        cells = notebook(HERE / "notebooks" / "first_duel.ipynb")
        source[0] = source[0].replace("<!-- notebook -->", cells)


def add_settings(
    _app: Any, kind: str, _name: str, thing: Any, _options: Any, lines: list[str]
) -> None:
    """List the fields of a settings model below its docstring, unless the docstring does."""
    if kind != "class" or not issubclass(thing, BaseModel) or ":ivar" in "".join(lines):
        return
    said = field_descriptions(thing)
    if said and not any(line.startswith(":Parameters:") for line in lines):
        lines += ["", "Settings:", ""]
        for name, field in thing.model_fields.items():
            limits = allowed_values(thing, name)
            default = "required" if field.is_required() else f"default ``{field.get_default()!r}``"
            known = ", ".join(p for p in (limits, default) if p)
            lines.append(f"* ``{name}``: {said.get(name, '')} ({known})")
        lines.append("")


def plain_signature(
    _app: Any, kind: str, _name: str, thing: Any, _options: Any, _args: str, _returns: str
) -> tuple[str, str] | None:
    """Leave out the signature of settings models, because their fields are listed."""
    return ("", "") if kind == "class" and issubclass(thing, BaseModel) else None


def setup(app: Any) -> None:
    """Register the functions above with Sphinx."""
    app.connect("source-read", fill)
    app.connect("autodoc-process-docstring", add_settings, priority=900)
    app.connect("autodoc-process-signature", plain_signature)
