"""Build backend: that of setuptools, which also asks for what the operators are compiled with.

torch has several GB, so an isolated build fetches it only if operators are wanted. Requirements
and the source distribution are the same with and without them, and are made without torch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_SWITCH = "SKYDUEL_OPERATORS"


@contextmanager
def _without_operators() -> Iterator[None]:
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "0"
    try:
        yield
    finally:
        del os.environ[_SWITCH]
        if before is not None:
            os.environ[_SWITCH] = before


def _compiled_with() -> list[str]:
    return [] if os.environ.get(_SWITCH) == "0" else ["torch>=2.10", "ninja"]


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return what a wheel is built with."""
    with _without_operators():
        required = build_meta.get_requires_for_build_wheel(config_settings)
    return [*required, *_compiled_with()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    """Return what an editable install is built with."""
    with _without_operators():
        required = build_meta.get_requires_for_build_editable(config_settings)
    return [*required, *_compiled_with()]


def get_requires_for_build_sdist(config_settings: Any = None) -> list[str]:
    """Return what a source distribution is built with."""
    with _without_operators():
        return list(build_meta.get_requires_for_build_sdist(config_settings))


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Build a source distribution and return its name."""
    with _without_operators():
        return str(build_meta.build_sdist(sdist_directory, config_settings))
