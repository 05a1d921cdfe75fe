"""Files are written atomically; safe names stay inside their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.errors import BadInputError, UnwritableError
from skyduel.core.io.atomic_files import atomic_path, require_writable, safe_name


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.tar.csv"
    with atomic_path(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.name.endswith(".a.tar.csv")
        temporary.write_text("x")
        assert not target.exists()
    assert target.read_text() == "x"
    assert os.listdir(target.parent) == ["a.tar.csv"]


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.csv"
    target.write_text("old")

    def fail() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.csv"]


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInputError, match=r"a\.csv: required a place that can be written to"),
        atomic_path(tmp_path / "a.csv"),
    ):
        pass


def test_the_permissions_are_the_users(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    with atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_other_trouble_inside_the_block_keeps_its_type(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        atomic_path(tmp_path / "a") as temporary,
    ):
        temporary.write_text((tmp_path / "elsewhere").read_text())


@pytest.mark.parametrize("where", ["file/a.csv", "folder"])
def test_impossible_places(tmp_path: Path, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with (
        pytest.raises(BadInputError, match=f"{where}: required a"),
        atomic_path(tmp_path / where) as temporary,
    ):
        temporary.write_text("x")


def test_an_existing_file_can_be_protected(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with (
        pytest.raises(BadInputError, match="does not exist yet; got an existing file"),
        atomic_path(tmp_path / "a", overwrite=False),
    ):
        pytest.fail("the block must not run")


@pytest.mark.parametrize("name", ["crowded_000", "a.b+c-d", "A", "a..b"])
def test_safe_names_stay(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("a b", "a_b-"),
        ("../../etc/passwd", "_.._etc_passwd-"),
        (".hidden", "hidden-"),
        ("", "unnamed-"),
        ("..", "unnamed-"),
        ("Größe", "Gr_e-"),
        ("x" * 400, "x" * 150 + "-"),
    ],
)
def test_unsafe_names_are_marked(name: str, start: str) -> None:
    assert safe_name(name).startswith(start)
    assert len(safe_name(name)) == len(start) + 8


@settings(deadline=None)
@given(st.text(), st.text())
def test_safe_names_are_safe_and_apart(one: str, other: str) -> None:
    safe = safe_name(one)
    assert safe
    assert not safe.startswith(".")
    assert set(safe) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._+-")
    assert len(safe) <= 160
    assert safe_name(safe) == safe
    assert (safe == safe_name(other)) == (one == other)


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    there.write_text("kept")
    require_writable(there)
    require_writable(tmp_path / "new" / "file.txt")
    assert there.read_text() == "kept"
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["new", "there.txt"]
    with pytest.raises(UnwritableError, match="a place that can be written to"):
        require_writable(there / "file.txt")
    with pytest.raises(BadInputError, match="a file to write to; got a folder"):
        require_writable(tmp_path)
