"""The mutants of `fuzz/mutate.py`, whose results are in docs/robustness.md."""

from __future__ import annotations

import ast
import importlib.util
import sys
import tomllib
from collections.abc import Iterator
from types import ModuleType

import pytest
from helpers.paths import ROOT

SOURCE = '''
"""Doc 1."""
from functools import lru_cache
LIMIT: int = 3
@lru_cache(maxsize=1)
def f(a: "1", b=True):
    """Doc 2."""
    if a < b and not min(a, 2.0):
        raise ValueError(f"{a + 1}")
    total = [x for x in a if x]
    total.append(-1)
    return sum(total) * 2
'''


@pytest.fixture
def made() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("mutants_of", ROOT / "fuzz" / "mutants.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants_of"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants_of"]


def test_the_mutants_of_a_module(made: ModuleType) -> None:
    found = [(m.line, m.change) for m in made.mutants(SOURCE)]
    assert sorted(found) == sorted([
        (4, "3 -> 4"), (4, "3 -> 2"), (6, "True -> False"),
        (8, "Lt -> LtE"), (8, "Lt -> GtE"), (8, "And -> Or"), (8, "min(a, 2.0) -> not min(a, 2.0)"),
        (8, "'min' -> 'max'"), (8, "2.0 -> 3.0"), (8, "2.0 -> 2.2"),
        (9, "raise ValueError(f'{a + 1}') -> pass"), (10, "x -> not x"),
        (11, "total.append(-1) -> pass"), (11, "'append' -> 'extend'"), (11, "USub -> UAdd"),
        (11, "1 -> 2"), (11, "1 -> 0"), (12, "sum(total) * 2 -> None"), (12, "Mult -> Div"),
        (12, "'sum' -> 'mean'"), (12, "2 -> 3"), (12, "2 -> 1"),
    ])  # fmt: skip
    functions = {m.line: m.function for m in made.mutants(SOURCE)}
    assert (functions[4], functions[6], functions[8], functions[12]) == (0, 0, 5, 5)


def test_each_mutant_is_another_module_that_compiles(made: ModuleType) -> None:
    whole = ast.unparse(ast.parse(SOURCE))
    texts = {ast.unparse(made.mutated(SOURCE, mutant)) for mutant in made.mutants(SOURCE)}
    assert whole not in texts
    assert len(texts) == len(list(made.mutants(SOURCE)))
    for text in texts:
        compile(text, "mutant", "exec")


def test_every_listed_equivalent_is_a_mutant_of_its_module(made: ModuleType) -> None:
    listed = tomllib.loads((ROOT / "fuzz" / "equivalent_mutants.toml").read_text())
    for module, entries in listed.items():
        source = (ROOT / module).read_text()
        lines = source.splitlines()
        there = {(lines[m.line - 1].strip(), m.change) for m in made.mutants(source)}
        for entry in entries:
            assert entry["why"]
            for line in entry["lines"]:
                assert any(
                    (line, change.partition(" | ")[0]) in there for change in entry["changes"]
                ), (module, line)
            for change in entry["changes"]:
                assert any(
                    (line, change.partition(" | ")[0]) in there for line in entry["lines"]
                ), (module, change)
