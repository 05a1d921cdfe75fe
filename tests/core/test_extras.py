"""An installation without an extra: what is left out, and what the errors say."""

import importlib.util
from configparser import ConfigParser
from importlib.metadata import EntryPoint, EntryPoints

import pytest
from helpers.command_line import skyduel
from helpers.paths import ROOT

from skyduel.core import BadInputError, make_detector
from skyduel.core.extras import EXTRAS, missing_extra
from skyduel.runner.detector_specs import (
    DEFAULT_DETECTORS,
    TUNED_DETECTORS,
    DetectorSpec,
    installed_defaults,
    require_installed,
)


def test_every_library_is_installed_by_the_extra_that_is_named() -> None:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options"]["install_requires"].split()
    for library, extra in EXTRAS.items():
        named = setup["options.extras_require"][extra].split()
        package = {"sklearn": "scikit-learn"}.get(library, library)
        assert any(line.startswith(package) for line in named), library
        # photutils is required, but not where it has no wheels.
        elsewhere = library == "photutils"
        assert any(line.startswith(library) for line in required) == elsewhere, library
    assert 'photutils>=3.0; platform_machine != "aarch64"' in setup["options"]["install_requires"]


@pytest.mark.parametrize("error", [ModuleNotFoundError("no", name="nobodys"), ImportError("torch")])
def test_other_failed_imports_are_no_missing_extras(error: ImportError) -> None:
    assert missing_extra("x", error) is None


def test_a_detector_without_its_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(self: EntryPoint) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    entry = EntryPoint("neural", "skyduel.detect.detector:neural", "skyduel.detectors")
    monkeypatch.setattr("skyduel.core.registry.entry_points", lambda group: EntryPoints([entry]))
    monkeypatch.setattr(EntryPoint, "load", load)
    with pytest.raises(BadInputError) as caught:
        make_detector("neural")
    wanted = "required torch (pip install 'skyduel[neural]'); got no torch"
    assert str(caught.value) == f"detector 'neural': {wanted}"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, package: str | None = None) -> object:
        return None if name in ("torch", "onnxruntime") else importlib.util.find_spec(name, package)

    monkeypatch.setattr("skyduel.core.extras.find_spec", found)


@pytest.mark.usefixtures("without_torch")
def test_the_default_has_what_is_installed() -> None:
    names, line = installed_defaults()
    assert names == ("sep", "sep-matched")
    assert line == (
        "neural left out, not installed (pip install 'skyduel[neural]' or 'skyduel[onnx]'); "
        "the default here is sep, sep-matched"
    )
    assert installed_defaults(("sep", "file")) == (("sep", "file"), "")


def test_without_photutils_its_detectors_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str, package: str | None = None) -> object:
        absent = name in ("torch", "onnxruntime", "photutils")
        return None if absent else importlib.util.find_spec(name, package)

    monkeypatch.setattr("skyduel.core.extras.find_spec", found)
    names, line = installed_defaults(TUNED_DETECTORS)
    assert names == ("sep", "sep-matched", "sep-cleaned")
    assert line == (
        "neural and daofind left out, not installed (pip install 'skyduel[neural]' or "
        "'skyduel[onnx]', pip install 'skyduel[photutils]'); the default here is sep, "
        "sep-matched, sep-cleaned"
    )
    for name in ("daofind", "photutils-source-finder"):
        with pytest.raises(BadInputError) as caught:
            require_installed([DetectorSpec(name=name, use=name)])
        assert str(caught.value) == (
            f"detector {name!r}: required photutils (pip install 'skyduel[photutils]'); "
            "got no photutils"
        )


def test_nothing_is_left_out_where_all_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skyduel.core.extras.find_spec", lambda name: object())
    assert installed_defaults() == (DEFAULT_DETECTORS, "")


@pytest.mark.usefixtures("without_torch")
def test_the_command_line_says_once_what_it_leaves_out(tmp_path, capsys) -> None:
    assert skyduel("init", tmp_path / "duel.toml") == 0
    assert capsys.readouterr().err.count("neural left out") == 1
    assert 'detectors = ["sep", "sep-matched"]' in (tmp_path / "duel.toml").read_text()


def test_a_command_that_cannot_be_imported_names_the_extra(monkeypatch, capsys) -> None:
    def train(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("skyduel.cli.main.app", train)
    assert skyduel("train") == 2
    line = "skyduel: this command: required torch (pip install 'skyduel[neural]'); got no torch\n"
    assert capsys.readouterr().err == line


def test_a_module_of_no_extra_keeps_its_traceback(monkeypatch) -> None:
    from skyduel.cli import main as cli

    def broken(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'nobodys'", name="nobodys")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ModuleNotFoundError, match="nobodys"):
        cli.main([])
