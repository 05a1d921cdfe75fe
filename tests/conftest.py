"""Fixtures that several packages' tests share, and what happens to tests without torch."""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from skyduel.runner.builtin_dataset import make_frames

# No test is decided by the clock, and examples are the same in every run.
settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


class _SkipWhatNeedsTorch(MetaPathFinder):
    """Skip a test, or a module of tests, where it imports torch and there is none."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if name in ("torch", "torchvision", "safetensors"):
            pytest.skip(f"needs {name}, which is not installed", allow_module_level=True)


if importlib.util.find_spec("torch") is None:
    sys.meta_path.append(_SkipWhatNeedsTorch())


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
