"""The command line, called in this process."""

import pytest

from skyduel.cli import main as cli

__all__ = ["skyduel"]


def skyduel(*words: object) -> int:
    """Call ``skyduel WORDS`` and return its exit status."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)
