"""Show the page of a run: inline in a notebook, else in the browser."""

from __future__ import annotations

import html
import sys
import webbrowser
from importlib import import_module
from pathlib import Path
from typing import Any

from skyduel.core.errors import BadInputError

__all__ = ["in_notebook", "inline_page", "show_page"]


def show_page(page: Path, height_px: int) -> None:
    """Show a page inline in a notebook, else open it in the browser and print where it is.

    Raises
    ------
    BadInputError
        If there is no page.
    """
    if not page.is_file():
        raise BadInputError(str(page), "the run's page (skyduel.write_report makes it)", "no file")
    if in_notebook():
        shown: Any = import_module("IPython.display")  # it has no type information
        shown.display(shown.HTML(inline_page(page.read_text(encoding="utf-8"), height_px)))
        return
    address = page.absolute().as_uri()
    webbrowser.open(address)
    print(address)


def in_notebook() -> bool:
    """Return True in a kernel of Jupyter; IPython is not imported to find out."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def inline_page(source: str, height_px: int) -> str:
    """Return a page as a frame inside another: it holds the whole page and cannot reach out."""
    style = f"width: 100%; height: {height_px:d}px; border: 1px solid #999"
    return (
        f'<div><iframe srcdoc="{html.escape(source)}" sandbox="allow-scripts" '
        f'title="Report of the run" style="{style}"></iframe></div>'
    )
