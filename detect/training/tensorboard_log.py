"""Write a TensorBoard log of a training, if TensorBoard is installed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skyduel.core.errors import ArgumentError
from skyduel.core.extras import is_installed, pip_command

__all__ = ["TensorBoardLog", "available", "require"]


def available() -> bool:
    """Return True if TensorBoard is installed."""
    return is_installed("tensorboard")


def require() -> None:
    """Raise BadInputError if TensorBoard is not installed."""
    if not available():
        raise ArgumentError(
            "tensorboard", f"tensorboard ({pip_command('tensorboard')})", "no tensorboard"
        )


class TensorBoardLog:
    """Write scalars to a folder, or nothing without a folder.

    Parameters
    ----------
    folder : Path or None
        Folder of the event files; None writes nothing.
    done : int
        Number of steps already done; values of later steps from an earlier run are hidden.

    Raises
    ------
    BadInputError
        If a folder is given and TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None, done: int = 0) -> None:
        self._writer: Any = None
        if folder is None:
            return
        require()
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step by name."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the event files."""
        if self._writer is not None:
            self._writer.close()
