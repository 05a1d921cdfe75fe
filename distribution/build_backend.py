"""Build backend: that of setuptools, which also asks for what the operators are compiled with.

torch has several GB, so an isolated build fetches it only if operators are wanted. Requirements
and the source distribution are the same with and without them, and are made without torch.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
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
    """Build a source distribution and return its name.

    With `SOURCE_DATE_EPOCH` the same files always make the same bytes; setuptools itself does
    this for wheels only.
    """
    with _without_operators():
        name = str(build_meta.build_sdist(sdist_directory, config_settings))
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None:
        _repack(Path(sdist_directory) / name, int(epoch))
    return name


def _repack(path: Path, epoch: int) -> None:
    """Pack an archive again, in the order of names, with one time and no owners."""
    with tarfile.open(path) as old:
        members = sorted(old.getmembers(), key=lambda member: member.name)
        contents = [old.extractfile(member) for member in members]
        packed = [None if one is None else io.BytesIO(one.read()) for one in contents]
    with (
        path.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as new,
    ):
        for member, content in zip(members, packed, strict=True):
            member.mtime, member.pax_headers = epoch, {}
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(member, content)
