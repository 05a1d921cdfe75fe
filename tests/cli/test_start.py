"""What the program imports before it knows what to do."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from helpers.paths import ROOT

from skyduel.cli import main as cli
from skyduel.cli.examples import SUMMARIES
from skyduel.core import read_catalog, write_frame
from skyduel.simulation import draw_settings, simulate

#: typer with what it needs, and what starts with the interpreter.
LIGHT = {
    *("typer", "click", "rich", "pygments", "markdown_it", "mdurl", "shellingham"),
    *("pydantic", "pydantic_core", "annotated_types", "annotated_doc", "typing_inspection"),
    *("typing_extensions", "attr", "attrs", "lazy_loader", "_distutils_hack", "sphinxcontrib"),
}
START = {"", ".cli", ".cli.main", ".cli.examples"}
START |= {".core", ".core.errors", ".core.extras"}
SCORE = {
    ".cli.commands",
    ".cli.commands.score",
    ".cli.commands.options",
    ".cli.console",
    ".cli.frame_arguments",
    ".cli.frame_facts",
    ".cli.whole_tables",
}
SCORE |= {".evaluation", ".evaluation.number_text", ".evaluation.table_keys"}
CODE = """
import sys
from skyduel.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print("LOADED", *sorted(sys.modules))
"""


def every_name(*words: str, **environment: str) -> set[str]:
    """Return the names of all modules that a call imports."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], check=True, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT / "src"), **environment},
    )  # fmt: skip
    return set(done.stdout.rpartition("LOADED")[2].split())


def loaded(*words: str, **environment: str) -> tuple[set[str], set[str]]:
    """Return our modules, without ``skyduel``, and the other packages that a call imports."""
    names = every_name(*words, **environment)
    ours = {name.removeprefix("skyduel") for name in names if name.partition(".")[0] == "skyduel"}
    others = {name.partition(".")[0] for name in names} - set(sys.stdlib_module_names)
    return ours, {n for n in others if not n.startswith(("_sysconfigdata", "__"))} - {"skyduel"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [(["--version"], START), (["--help"], START), (["score", "--help"], START | SCORE)],
    ids=["version", "help", "score"],
)
def test_only_what_the_help_needs_is_imported(words: list[str], expected: set[str]) -> None:
    ours, others = loaded(*words)
    assert ours == expected
    assert others <= LIGHT


@pytest.mark.parametrize("name", sorted(set(SUMMARIES) - {"gate", "simulate"}))
def test_no_library_of_numbers_is_imported_for_the_help_of_a_command(name: str) -> None:
    # Those of gate and simulate list the scores and the kinds of frames, which need numpy.
    assert loaded(name, "--help")[1] <= LIGHT


@pytest.mark.parametrize(
    "words",
    ["detect no.fits", "detect no.fits[1] no2.fits", "truth no.fits --from no.csv",
     "truth-free no.fits", "inject no.fits --out o", "calibrate no.fits --out o",
     "score no.csv no.csv", "diff no.csv no.csv --frame no.fits", "send no.csv", "run no",
     "tune no", "finetune no", "watch no", "compare no", "compare no/sep no2", "report no"],
)  # fmt: skip
def test_a_missing_file_is_said_before_anything_heavy_is_imported(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours, others = loaded(*words.split())
    assert others <= LIGHT
    assert not {name for name in ours if name.startswith((".detect", ".runner", ".evaluation.s"))}


def test_a_missing_run_is_said_before_the_gate_reads_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, others = loaded("gate", "no", "no2", "--allow", "f1=0.1")
    assert not others & {"pandas", "pyarrow", "astropy", "pydantic_settings"}


def test_the_shell_completes_commands_without_importing_them() -> None:
    ours, others = loaded(
        _SKYDUEL_COMPLETE="complete_bash", _TYPER_COMPLETE="complete_bash",
        COMP_WORDS="skyduel sc", COMP_CWORD="1",
    )  # fmt: skip
    assert ours == START
    assert others <= LIGHT


def test_the_list_says_what_each_command_says() -> None:
    commands = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    shown = {name: one.help.partition("\n")[0] for name, one in commands.items() if not one.hidden}
    assert shown == dict(SUMMARIES)


def test_a_report_loads_nothing_that_computes_scores() -> None:
    code = "import sys, skyduel.reports; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    names = done.stdout.split()
    # Libraries that take long to load; scipy alone is a name whose parts come when they are used.
    assert not {"astropy", "matplotlib", "scipy.spatial", "scipy.stats"} & set(names)
    assert not [n for n in names if n.startswith("skyduel.evaluation.analyses")]
    assert "skyduel.evaluation.evaluate_detectors" not in names


@pytest.mark.parametrize(
    ("words", "library"), [("sep", "sep"), ("neural --runtime onnx", "onnxruntime")]
)
def test_a_catalogue_is_found_and_written_without_what_it_does_not_need(
    words: str, library: str, tmp_path: Path
) -> None:
    # A frame without a WCS and streaks, and a short table.
    rng = np.random.default_rng(3)
    frame, _ = simulate(draw_settings("field", rng, ny=64, nx=64), rng)
    write_frame(frame, tmp_path / "a.fits")
    call = ("detect", str(tmp_path / "a.fits"), "--with", *words.split(), "--out", str(tmp_path))
    names = every_name(*call)
    assert len(read_catalog(tmp_path / "a.ecsv")) > 0
    assert library in names
    unneeded = {"pandas", "pyarrow", "matplotlib", "sklearn", "skimage", "jinja2", "torch", "PIL"}
    unneeded |= {"astropy.wcs", "astropy.coordinates", "scipy.signal", "scipy.stats"}
    unneeded |= {f"skyduel.core.io.{name}" for name in ("tables", "coco", "sextractor_tables")}
    unneeded |= {"skyduel.evaluation.rules", "skyduel.core.io.tabular.parquet_tables"}
    if words == "sep":  # the network fits its streaks; scipy.special of 1.18 needs scipy.linalg
        unneeded |= {f"scipy.{name}" for name in ("fft", "optimize", "spatial")}
    assert not unneeded & names
