"""Fixtures that several packages' tests share."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from skyduel.runner.builtin_dataset import make_frames


@pytest.fixture(scope="session")
def frame_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a folder of small simulated frames with truth and a manifest.

    Called with (name, family, split) of each frame, a seed and the size in px.
    """

    def made(plan: Iterable[tuple[str, str, str]], seed: int, *, ny: int, nx: int) -> Path:
        folder = tmp_path_factory.mktemp("frames")
        make_frames(folder, list(plan), seed, ny=ny, nx=nx)
        return folder

    return made
