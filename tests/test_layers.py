"""Layers: a package, and a sub-package, imports only from those below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT

#: What each top-level package may import. A new package is a decision, entered here.
MAY_IMPORT = {
    "core": set(),
    "cuda_ops": set(),
    "simulation": {"core"},
    "evaluation": {"core"},
    "baseline": {"core"},
    "detect": {"core", "cuda_ops", "simulation"},
    "run_folder": {"core", "evaluation"},
    "reports": {"core", "evaluation", "run_folder"},
    "runner": {"core", "evaluation", "run_folder", "simulation"},
    "cli": {"core", "cuda_ops", "detect", "evaluation", "reports", "run_folder", "runner",
            "simulation"},
}  # fmt: skip
#: The order of the sub-packages inside a package, lowest first: each imports only from earlier
#: ones. Modules that stand in the package itself are named where sub-packages build on them.
ORDER = {
    "core": ("errors html_tables defaults extras magnitudes settings catalog frame wcs detector "
             "search_space registry columnar_catalogs native",
             "measure", "preprocess", "io", "sections", "reference areas scores"),
    "evaluation": ("number_text", "rules table_keys", "statistics", "matching", "scoring",
                   "analyses", "comparison"),
    "baseline": ("errors filters shapes sextractor_files", "sep"),
    "detect": ("model", "inference", "training", "calibration", "published"),
    "reports": ("style error_kinds pictures", "svg", "figures", "tables", "text", "sections",
                "page"),
    "runner": ("execution",
               "catalog_warnings detector_specs frame_steps large_images detect_frame",
               "scoring", "watch"),
    "cli": ("loading console frame_arguments frame_facts settings_file terminal_summary "
            "whole_tables catalog_diff galaxy_tables frame_plots",
            "commands"),
}  # fmt: skip
FORBIDDEN_LIBRARIES = {
    "core": {"torch", "torchvision", "matplotlib"},
    "simulation": {"torch", "torchvision", "matplotlib"},
    "evaluation": {"torch", "torchvision", "matplotlib"},
    "baseline": {"torch", "torchvision", "matplotlib"},
    "run_folder": {"torch", "torchvision", "matplotlib", "jinja2"},
    "reports": {"torch", "torchvision"},
    "cuda_ops": {"numpy", "torchvision"},
}
MOST_FILES = 16
MOST_LINES = 500


def imports(source: str) -> Iterator[tuple[str, ...]]:
    """Dotted names that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a path is an import"
            base = tuple((node.module or "").split("."))
            yield from ((*base, alias.name) for alias in node.names)


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def place(package: str, name: str) -> int | None:
    """Where a sub-package or module stands in its package's order; None: above all of it."""
    for k, names in enumerate(ORDER.get(package, ())):
        if name in names.split():
            return k
    return None


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_a_package_imports_only_from_below(package: str) -> None:
    assert modules(package)
    for path in modules(package):
        names = list(imports(path.read_text()))
        ours = {name[1] for name in names if name[0] == "skyduel" and len(name) > 1}
        above = (ours & set(MAY_IMPORT)) - MAY_IMPORT[package] - {package}
        assert not above, f"{path.relative_to(ROOT)} imports {sorted(above)}"
        libraries = {name[0] for name in names} & FORBIDDEN_LIBRARIES.get(package, set())
        assert not libraries, f"{path.relative_to(ROOT)} imports {sorted(libraries)}"


@pytest.mark.parametrize("package", sorted(ORDER))
def test_a_sub_package_imports_only_from_below(package: str) -> None:
    for path in modules(package):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        mine = place(package, own)
        if mine is None or own == "__init__":
            continue
        for name in imports(path.read_text()):
            if name[:2] == ("skyduel", package) and len(name) > 2 and name[2] != own:
                other = place(package, name[2])
                assert other is not None, f"{path.relative_to(ROOT)} imports {'.'.join(name)}"
                assert other <= mine, f"{path.relative_to(ROOT)} imports {'.'.join(name)}"


def test_every_folder_of_the_order_is_there_and_no_other() -> None:
    for package in MAY_IMPORT:
        there = {p.parent.name for p in (ROOT / package).glob("*/__init__.py")}
        named = {name for names in ORDER.get(package, ()) for name in names.split()}
        assert there <= named, package
        assert all((ROOT / package / n).is_dir() or (ROOT / package / f"{n}.py").is_file()
                   for n in named), package  # fmt: skip


def test_every_package_is_linked_below_the_one_root() -> None:
    packages = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert packages == set(MAY_IMPORT)
    root = ROOT / "src" / "skyduel"
    links = {p.name: p.readlink().as_posix() for p in root.iterdir() if p.is_symlink()}
    assert links == {name: f"../../{name}" for name in MAY_IMPORT}


def test_nothing_imports_a_package_without_its_root() -> None:
    # `import detect` works in a checkout's root and would load a second copy.
    for folder in (*MAY_IMPORT, "src/skyduel", "tests", "benchmarks", "fuzz", "docs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            bare = {name[0] for name in imports(path.read_text())} & set(MAY_IMPORT)
            assert not bare, f"{path.relative_to(ROOT)} imports {sorted(bare)}"


def test_no_test_imports_another_and_nothing_edits_the_path() -> None:
    for folder in ("tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            assert not any(name[-1].startswith("test_") or name[0].startswith("test_")
                           for name in imports(source)), path  # fmt: skip
            edits = ["sys.path" + how for how in ("[:]", ".insert", ".append", ".pop")]
            assert not any(edit in source for edit in edits), path


def test_folders_and_modules_stay_small() -> None:
    for package in MAY_IMPORT:
        folders = {path.parent for path in modules(package)}
        for folder in folders:
            names = [p.name for p in folder.glob("*.py") if p.name != "__init__.py"]
            assert len(names) <= MOST_FILES, folder
        for path in modules(package):
            assert len(path.read_text().splitlines()) <= MOST_LINES, path


def test_the_check_sees_an_import_inside_a_function() -> None:
    source = "def f():\n    from skyduel.detect.model import network\n"
    assert list(imports(source)) == [("skyduel", "detect", "model", "network")]
