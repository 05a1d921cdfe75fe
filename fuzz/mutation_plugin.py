"""What pytest does in a mutation run: note the functions that a test calls, or run chosen tests."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

import pytest

__all__ = ["CallRecorder", "ChosenTests", "MutatedModule"]


class CallRecorder:
    """Note which functions of some files each test calls, and its processor time.

    Lines would tell more, but tracing every line takes minutes for tests with loops.

    Parameters
    ----------
    files : mapping of str to str
        Real path of a file, and the name to note it by.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = files
        self.tests: dict[str, dict[str, Any]] = {}
        self.known: dict[CodeType, tuple[str, int] | None] = {}
        self.called: set[CodeType] = set()

    def trace(self, frame: FrameType, event: str, _: Any) -> None:
        """Note a call."""
        self.called.add(frame.f_code)

    def _place(self, code: CodeType) -> tuple[str, int] | None:
        if code not in self.known:
            name = self.files.get(str(Path(code.co_filename).resolve()))
            self.known[code] = None if name is None else (name, code.co_firstlineno)
        return self.known[code]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Trace a test with what its fixtures do."""
        self.called = set()
        began = time.process_time()
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            return (yield)
        finally:
            sys.settrace(before)
            seconds = round(time.process_time() - began, 3)
            lines: dict[str, list[int]] = {}
            for name, line in sorted({p for c in self.called if (p := self._place(c))}):
                lines.setdefault(name, []).append(line)
            self.tests[item.nodeid] = {"seconds": seconds, "lines": lines}


class ChosenTests:
    """Run the chosen tests only, in the order given, and remember the first that fails."""

    def __init__(self, chosen: list[str]) -> None:
        self.rank = {name: k for k, name in enumerate(chosen)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out and order."""
        items[:] = sorted(
            (i for i in items if i.nodeid in self.rank), key=lambda i: self.rank[i.nodeid]
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember a failure."""
        if report.failed and not self.failed:
            self.failed = report.nodeid


class MutatedModule(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Import one module from a changed syntax tree."""

    def __init__(self, name: str, path: Path, tree: ast.Module) -> None:
        self.name, self.path, self.tree = name, path, tree

    def find_spec(
        self, fullname: str, path: object = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of the changed module, None of any other."""
        if fullname != self.name:
            return None
        spec = importlib.util.spec_from_loader(fullname, self, origin=str(self.path))
        assert spec is not None
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(compile(self.tree, str(self.path), "exec"), module.__dict__)
