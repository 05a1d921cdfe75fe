"""The page as PDF, printed by a browser of the Chromium family."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from skyduel.core.errors import PATH, BadInputError, takes
from skyduel.core.io.atomic_files import atomic_path
from skyduel.run_folder.layout import PDF_NAME

__all__ = ["BROWSERS", "browser_command", "find_browser", "write_pdf"]

#: Programs that can print a page, in the order of search.
BROWSERS: Final = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
)
_SECONDS: Final = 300


def find_browser() -> str | None:
    """Return the path of the first of `BROWSERS` that is installed, or None."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def browser_command(browser: str, profile: str | Path) -> list[str]:
    """Return the command of a headless browser without network and with an empty profile."""
    flags = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    flags += ["--disable-component-update", "--disable-sync", f"--user-data-dir={profile}"]
    if getattr(os, "geteuid", lambda: 1)() == 0:  # Chromium's sandbox refuses to run as root
        flags.append("--no-sandbox")
    return [browser, *flags]


@takes(page=PATH, browser=str)
def write_pdf(page: str | Path, browser: str | None = None) -> Path:
    """Print a report's page, all sections unfolded; return the PDF's path.

    Parameters
    ----------
    page : str or Path
        ``report/index.html``.
    browser : str, optional
        The program; by default `find_browser`.

    Returns
    -------
    Path
        ``report.pdf`` beside the page.

    Raises
    ------
    BadInputError
        If there is no page, no browser, or the browser prints nothing.
    """
    browser = browser or find_browser()
    if browser is None:
        raise BadInputError(
            "PDF", f"one of these programs on the PATH: {', '.join(BROWSERS)}", "none of them"
        )
    page = Path(page).resolve()
    if not page.is_file():
        raise BadInputError(str(page), "a report's page", "no such file")
    with (
        tempfile.TemporaryDirectory(prefix="skyduel-pdf-") as scratch,
        atomic_path(page.with_name(PDF_NAME)) as target,
    ):
        printed = Path(scratch) / PDF_NAME
        command = browser_command(browser, Path(scratch) / "profile")
        command += [f"--print-to-pdf={printed}", "--no-pdf-header-footer", page.as_uri()]
        try:
            done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BadInputError(browser, "a browser that prints", str(error)) from error
        if done.returncode or not printed.is_file():
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {done.returncode}"
            raise BadInputError(browser, "a browser that prints", why)
        target.write_bytes(printed.read_bytes())
    return page.with_name(PDF_NAME)
