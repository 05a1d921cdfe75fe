"""Commands of the documentation parse, examples give the output shown, links resolve."""

import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from urllib.parse import urlparse

import pytest
import typer
import yaml
from helpers.paths import ROOT

from skyduel.cli import main as cli
from skyduel.cli.commands.options import read_config, rules_from
from skyduel.runner.detector_specs import build, parse_specs

DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


record = load(DOCS / "record.py")


def blocks(path: Path, *languages: str) -> list[str]:
    pattern = rf"^ *```(?:{'|'.join(languages)})\n(.*?)^ *```"
    return re.findall(pattern, path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """The skyduel commands of a block, without comments, continuations joined."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = line.strip().removeprefix("- run: ").removeprefix("run: ").removeprefix("$ ")
        if words.startswith("skyduel ") and not set("…[]") & set(words.partition("#")[0]):
            found.append(shlex.split(words, comments=True)[1:])
    return found


SAID = [
    pytest.param(words, id=f"{name(path)}: {' '.join(words)}")
    for path in PAGES
    for block in blocks(path, "sh", "console", "yaml")
    for words in commands(block)
]


@pytest.mark.parametrize("words", SAID)
def test_commands_of_the_pages_exist(words: list[str]) -> None:
    if words[0].startswith("--"):
        assert words[0] in ("--help", "--install-completion", "--show-completion", "--version")
        return
    COMMANDS[words[0]].make_context(words[0], [w for w in words[1:] if w != "..."])


def test_the_commands_of_the_pages_were_found() -> None:
    assert len(SAID) > 40
    assert {p.values[0][0] for p in SAID} > {"run", "gate", "finetune", "tune", "inject"}


@pytest.mark.parametrize("path", [p for p in PAGES if ">>> " in p.read_text()], ids=name)
def test_examples_give_what_they_show(path: Path) -> None:
    text = "\n".join(b for b in blocks(path, "python") if ">>> " in b)
    example = doctest.DocTestParser().get_doctest(text, {}, name(path), str(path), 0)
    assert example.examples
    said: list[str] = []
    doctest.DocTestRunner().run(example, out=said.append)
    assert not said, "".join(said)


def test_the_outputs_of_the_tutorial_are_recorded() -> None:
    steps = record.steps((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    assert len(steps) >= 8
    assert all(step.output.strip() for step in steps)


def test_the_configuration_of_the_tutorial_is_one(tmp_path) -> None:
    ((file, content, _),) = record.files((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    (tmp_path / file).write_text(content)
    config = read_config(tmp_path / file)
    assert rules_from(config).bins == "14:22:1"
    specs = parse_specs(config["detectors"], (), config["detector"])
    assert [build(spec).settings.DETECT_THRESH for spec in specs] == [1.5, 1.0]


@pytest.mark.slow
def test_the_tutorial_gives_each_output_it_shows(tmp_path: Path) -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    today = record.replace_outputs(page, tmp_path)
    for shown, printed in zip(record.steps(page), record.steps(today), strict=True):
        assert record.alike(shown.output, printed.output) == "", shown.command


@pytest.mark.parametrize(
    ("shown", "printed", "difference"),
    [
        ("F1 0.78±0.03\n", "F1  0.77±0.03\n", ""),
        ("F1 0.78", "F1 0.58", "'0.78' is shown, '0.58' is printed"),
        ("sep 0.5 …\n", "sep 0.5 123.4", ""),
        ("neural wins", "sep wins", "'neural' is shown, 'sep' is printed"),
        ("a b", "a b c", "2 words are shown, 3 are printed"),
        ("+0.20*", "+0.21", ""),
        ("+0.01±0.02*", "−0.01±0.02", ""),
        ("[−1.2", "[+1.2", "'[−1.2' is shown, '[+1.2' is printed"),
        ("─────", "───", ""),
        ("97 sources", "98 sources", ""),
        ("50 sources", "98 sources", "'50' is shown, '98' is printed"),
    ],
)
def test_outputs_are_compared_as_a_reader_would(shown, printed, difference) -> None:
    assert record.alike(shown, printed) == difference


def test_a_page_is_taken_apart_and_put_together(monkeypatch, tmp_path) -> None:
    page = (
        "text\n```console\n$ skyduel --version\nold\n$ skyduel x\n```\n"
        "<!-- file: a.toml -->\n```toml\nworkers = 2\n```\n"
        "```console\n$ skyduel y\nolder\n```\nend\n"
    )
    assert [(s.command, s.output) for s in record.steps(page)] == [
        ("skyduel --version", "old\n"), ("skyduel x", ""), ("skyduel y", "older\n"),
    ]  # fmt: skip
    there = []

    def pretended(command: str, folder: Path) -> str:
        there.append((folder / "a.toml").exists())
        return f"new {command}\n"

    monkeypatch.setattr(record, "run_step", pretended)
    made = record.replace_outputs(page, tmp_path)
    assert made == page.replace("old\n", "new skyduel --version\n").replace(
        "$ skyduel x\n", "$ skyduel x\nnew skyduel x\n"
    ).replace("older\n", "new skyduel y\n")
    assert there == [False, False, True]
    assert (tmp_path / "a.toml").read_text() == "workers = 2\n"


def test_a_command_that_fails_is_no_output(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="exit status 2"):
        record.run_step("skyduel report nowhere", tmp_path)
    with pytest.raises(RuntimeError, match="only skyduel"):
        record.run_step("rm -rf nowhere", tmp_path)


def test_the_citation_file_has_what_its_format_asks_for() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert cited["type"] == "software"
    assert {"message", "title", "authors", "version", "license"} <= set(cited)
    assert cited["license"] == "MIT"
    setup = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert f"version = {cited['version']}\n" in setup
    papers = cited["references"]
    for entry in [cited, *papers]:
        for author in entry["authors"]:
            assert set(author) in ({"name"}, {"family-names", "given-names"})
    allowed = {
        "type", "title", "authors", "journal", "volume", "issue", "start", "end", "year", "doi",
        "notes",
    }  # fmt: skip
    for paper in papers:
        assert paper["type"] == "article"
        assert {"title", "authors", "journal", "volume", "start", "year", "doi"} <= set(paper)
        assert set(paper) <= allowed
        assert re.fullmatch(r"10\.\d{4,}/\S+", paper["doi"])
    firsts = {(p["authors"][0]["family-names"], p["year"]) for p in papers}
    assert firsts == {("Jia", 2020), ("Barbary", 2016), ("Bertin", 1996)}


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The documentation, built as `make docs` builds it."""
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_parser")
    made = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html",
         "-d", made / "trees", DOCS, made / "html"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return made / "html"


def test_pages_are_built_without_a_warning(site: Path) -> None:
    for page in DOCS.rglob("*.md"):
        assert (site / page.relative_to(DOCS).with_suffix(".html")).is_file()
    assert 'id="skyduel-finetune"' in (site / "cli.html").read_text(encoding="utf-8")
    assert "DETECT_THRESH" in (site / "configuration.html").read_text(encoding="utf-8")
    assert "plot_marks" in (site / "first-duel.html").read_text(encoding="utf-8")
    assert "wilson" in (site / "api" / "evaluation.html").read_text(encoding="utf-8")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    loading = re.compile(
        r"<(?:script|img|iframe|source)[^>]*?src=\"([^\"]+)|<link[^>]*?href=\"([^\"]+)"
    )
    for page in site.rglob("*.html"):
        for found in loading.findall(page.read_text(encoding="utf-8")):
            address = urlparse(found[0] or found[1])
            assert not address.netloc, (page.name, found)
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert re.search(r"url\(['\"]?(?:https?:)?//|@import\s+['\"]?(?:https?:)?//", text) is None
