"""The house's floors: a room imports only from rooms below it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "catalog": set(),
    "cuda_ops": set(),
    "simulation": {"catalog"},
    "evaluation": {"catalog"},
    "baseline": {"catalog"},
    "detect": {"catalog", "cuda_ops", "simulation"},
    "reports": {"catalog", "evaluation"},
    "duel": {
        "baseline", "catalog", "cuda_ops", "detect", "evaluation", "reports", "simulation",
    },
}  # fmt: skip
FORBIDDEN_LIBRARIES = {
    "evaluation": {"torch", "torchvision", "matplotlib"},
    "catalog": {"torch", "torchvision", "matplotlib"},
    "simulation": {"torch", "torchvision", "matplotlib"},
    "baseline": {"torch", "torchvision", "matplotlib"},
    "reports": {"torch", "torchvision"},
    "cuda_ops": {"numpy", "torchvision"},
}


def imported(source: str) -> set[str]:
    """Top-level names a module imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a path is an import"
            names.add((node.module or "").split(".")[0])
    return names


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_from_below(room: str) -> None:
    modules = sorted((ROOT / room).rglob("*.py"))
    assert modules
    for path in modules:
        names = imported(path.read_text())
        above = (names & set(MAY_IMPORT)) - MAY_IMPORT[room] - {room}
        assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}"
        libraries = names & FORBIDDEN_LIBRARIES.get(room, set())
        assert not libraries, f"{path.relative_to(ROOT)} imports {sorted(libraries)}"


def test_every_top_level_package_is_a_room() -> None:
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert packages - {"tests", "benchmarks"} == set(MAY_IMPORT)


def test_the_check_sees_an_import_inside_a_function() -> None:
    assert imported("def f():\n    from detect.network import Network\n") == {"detect"}
