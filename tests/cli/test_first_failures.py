"""A command's first failure is one line that says what to do next."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from helpers.command_line import skyduel


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a frame and its truth, a folder without a truth, and other places."""
    monkeypatch.chdir(tmp_path)
    y, x = np.mgrid[:64, :64].astype(float)
    image = np.random.default_rng(1).normal(100, 3, x.shape)
    for sx, sy in ((20, 30), (50, 45)):
        image += 900 * np.exp(-((x - sx) ** 2 + (y - sy) ** 2) / 4)
    for name in ("night", "bare"):
        (tmp_path / name).mkdir()
        fits.writeto(tmp_path / name / "a.fits", image.astype("f4"))
    (tmp_path / "night" / "a.csv").write_text("x,y\n20,30\n50,45\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("clear sky\n")
    return tmp_path


FAILURES = [
    ("run empty --with sep", "skyduel: empty: required images (.fits, ", "an empty folder"),
    ("run texts --with sep", "simulate` makes some; got none among its 1 files", ""),
    ("run nigth --with sep", "nigth: required an existing file", "did you mean night?"),
    ("run bare --with sep", "a truth table beside a frame, as a.ecsv", "skyduel truth-free"),
    ("tune bare --with sep --out t.toml", "a truth table beside a frame, as a.ecsv", "none"),
    ("run night --with sepp", "detector 'sepp'", "did you mean sep?"),
    ("detect night/a.fits --with nueral", "detector 'nueral'", "did you mean neural?"),
    ("detect night", "required image files (for those of a folder: night/*.fits*)", "a folder"),
    ("detect night/b.fits --with sep", "required an existing file", "did you mean a.fits?"),
    ("detect night/a.csv --with sep", "FITS", ""),
    ("detect night/a.fits --with sep -o a.sfits", "required a file that ends in .ecsv", ".sfits"),
    ("score night/a.csv night/a.fits", "night/a.fits: required a table; got none", ""),
    ("score nowhere/a.csv night/a.csv", "required an existing file; got no folder nowhere", ""),
    ("score texts/notes.txt night/a.csv", "columns x and y, or ra and dec", "clear"),
    ("report night", "night: required a run folder, as `skyduel run` makes it", "no run.json"),
    ("report nowhere", "nowhere: required a run folder; got no such folder", ""),
    ("compare night empty", "night: required a run folder", "no run.json in it"),
    ("gate night empty --allow f1=0.01", "night: required a run folder", "no run.json in it"),
    ("inject empty --out injected", "required image files", "a folder"),
    ("truth-free texts/notes.txt --with sep", "FITS", ""),
    ("simulate --out sky --family feild", "field", ""),
    ("init duel.toml --with nueral", "did you mean neural?", ""),
    ("run night --with sep --config nowhere.toml", "nowhere.toml: required", ""),
]


@pytest.mark.parametrize(("words", "first", "second"), FAILURES)
def test_one_line_says_what_to_do(
    night: Path, capsys: pytest.CaptureFixture[str], words: str, first: str, second: str
) -> None:
    assert skyduel(*words.split()) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("skyduel:")]
    assert len(lines) == 1
    assert first in lines[0]
    assert second in lines[0]
    assert "Traceback" not in said
    assert not (night / "runs").exists() or not list((night / "runs").rglob("run.json"))


@pytest.mark.parametrize(
    ("words", "where"),
    [
        (("detect", "", "--runtime", "onnx"), "word 2"),
        (("detect", "night/a.fits", "-o", ""), "argument behind -o"),
        (("detect", "night/a.fits", "--plot", " "), "argument behind --plot"),
        (("run", ""), "word 2"),
        (("run", "night", "--out="), "--out"),
        (("report", ""), "word 2"),
        (("score", "", ""), "word 2"),
        (("compare", "a", ""), "word 3"),
        (("gate", "a", "b", "--allow", ""), "argument behind --allow"),
        (("watch", "", "--out", "live"), "word 2"),
        (("train", "--out", ""), "argument behind --out"),
        (("export", ""), "word 2"),
    ],
)
def test_an_empty_argument_is_no_folder(
    night: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], where: str
) -> None:
    before = sorted(night.rglob("*"))
    assert skyduel(*words) == 2
    said = capsys.readouterr()
    assert said.err == f"skyduel: {where}: required text; got an empty argument\n"
    assert not said.out
    assert sorted(night.rglob("*")) == before


def test_the_run_folder_of_another_set(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert skyduel("run", "night", "--with", "sep", "--out", "r") == 0
    (night / "night" / "a.fits").rename(night / "night" / "b.fits")
    (night / "night" / "a.csv").rename(night / "night" / "b.csv")
    capsys.readouterr()
    assert skyduel("run", "night", "--with", "sep", "--out", "r") == 2
    assert "choose another folder, or --fresh to replace it" in capsys.readouterr().err


def test_a_truth_without_magnitudes(night: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert skyduel("detect", "night/a.fits", "--with", "sep", "-o", "f.ecsv") == 0
    capsys.readouterr()
    assert skyduel("score", "f.ecsv", "night/a.csv") == 0
    printed = capsys.readouterr()
    assert "night/a.csv: no magnitudes, so one row for all" in printed.err
    rows = [line.split()[0] for line in printed.out.splitlines() if "[" in line and "]" in line]
    assert rows == ["all", "value"]
    assert "2/2" in printed.out
    assert skyduel("run", "night", "--with", "sep", "--out", "r") == 0
    printed = capsys.readouterr()
    assert "no truth has a magnitude in the bins: no table per magnitude" in printed.out
    assert "0–1" not in printed.out


@pytest.mark.parametrize("width", [40, 60, 80, 100, 110, 120, 200])
def test_printed_numbers_are_whole_at_any_width(
    night: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    at_width: Callable[[int], None],
    width: int,
) -> None:
    rng = np.random.default_rng(3)
    n = 4000
    mag = rng.uniform(15, 22, n)
    made = Table({"x": rng.uniform(0, 4000, n), "y": rng.uniform(0, 4000, n), "mag": mag})
    made.write("t.csv", overwrite=True)
    made[:3000].write("f.csv", overwrite=True)
    at_width(width)
    assert skyduel("score", "f.csv", "t.csv", "--bins", "15:22:1") == 0
    out = capsys.readouterr().out
    assert "…" not in out
    # Counts are whole or left out, which is said.
    assert ("3000/4000" in out) == (width >= 110)
    assert ("k/n, jaccard" in " ".join(out.split())) == (width < 110)
    assert ("Too wide" in out) == (width < 200)
    assert "0.750 [0.736–0.763]" in out
    assert max(map(len, out.splitlines())) <= width


@pytest.fixture
def at_width(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Give the console of tables a width."""

    def set_width(width: int) -> None:
        from skyduel.cli import console
        from skyduel.cli.commands import score

        monkeypatch.setattr(score, "wide_out", lambda: console._console(width=width))

    return set_width
