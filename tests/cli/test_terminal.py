"""Names from files are printed without acting on the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_run import write_run
from rich.console import Console
from rich.table import Table
from rich.text import Text

from skyduel.cli.console import err, progress, progress_callback, wide_out, without_controls
from skyduel.cli.terminal_summary import run_summary
from skyduel.run_folder.read_run import Run, load_run

NAME = "a\x1b[2J\x9b1m\x07\u202eb"


def acts(text: str) -> set[str]:
    """Return the characters of a text that a terminal would obey, but for line ends."""
    return {c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066"} - {"\n"}


def test_tables_and_lines_hold_nothing_that_acts(capsys) -> None:
    table = Table(title=NAME)
    table.add_column(Text(NAME))
    table.add_row(NAME, NAME)
    wide_out().print(table)
    err.print(f"skyduel: {NAME}", markup=False, style="red", soft_wrap=True)
    printed = capsys.readouterr()
    assert acts(printed.out) == set()
    assert acts(printed.err) == set()
    assert "[2J" in printed.out
    assert "[2J" in printed.err


def test_a_stage_is_neither_obeyed_nor_markup(capsys) -> None:
    with progress() as bar:
        watch = progress_callback(bar)
        watch("[red]evil\x1b[2J", "", 2)
        watch("[red]evil\x1b[2J", "frame", 2)
    said = capsys.readouterr().err
    assert "[red]evil" in said
    assert acts(said) == set()


@pytest.mark.parametrize("text", ["plain", "é – ≥ 21.5", "two\nlines", ""])
def test_other_text_stays(text: str) -> None:
    assert without_controls(text) == text


def test_the_summary_names_the_interval_of_its_run(tmp_path, capsys) -> None:
    folder = write_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["rules"] |= {"confidence": 0.9, "proportion_interval": "jeffreys"}
    (folder / "run.json").write_text(json.dumps(record))
    wide_out().print(run_summary(load_run(folder)))
    printed = " ".join(capsys.readouterr().out.split())
    n = len(load_run(folder).scored_frames)
    interval = "half of the 90 % interval, or [its ends] (Jeffreys; for F1 and F2 bootstrapped over"
    assert f"{interval} {n} frames)." in printed


def test_the_summary_shows_galaxies_in_80_columns(tmp_path) -> None:
    run = load_run(write_analyses(write_run(tmp_path / "run", frames_per_group=1, n_truth=9)))
    console = Console(width=80, record=True, file=StringIO())
    console.print(run_summary(run))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert text.count("galaxies: ") == len(run.detectors)
    part = text.split("galaxies: sep\n")[1]
    table = run.analysis("galaxies").set_index(["detector", "point", "group", "kind", "size_bin",
                                                "bin"])  # fmt: skip
    row = table.loc[("sep", run.headline_point, "all", "galaxy", 4, 3)]
    size = next(line for line in part.splitlines() if line.strip().startswith("2–3"))
    assert size.split()[1] == f"{row['k']:g}/{row['n']:g}"
    said = " ".join(part.split())
    assert "6 of 12 galaxies called extended, 6 of 12 points called points" in said
    neural = " ".join(text.split("galaxies: neural\n")[1].split())
    assert "points and extended are not told apart" in neural.split("galaxies: ")[0]


def test_depth_is_in_magnitudes_where_the_truth_has_no_snr(tmp_path) -> None:
    run = load_run(write_run(tmp_path / "run"))

    def depth(run: Run) -> str:
        console = Console(width=120, record=True, file=StringIO())
        console.print(run_summary(run))
        return console.export_text().split("at 50 % completeness and 95 % purity (")[1]

    limits = run.limits.assign(m50=19.25, m50_lo=19.0, m50_hi=np.nan)
    assert depth(replace(run, limits=limits)).startswith("lower is better")
    limits["snr50"] = np.nan
    limits.loc[limits["detector"] == "neural", "m50_hi"] = 19.5
    said = depth(replace(run, limits=limits))
    assert said.startswith("fainter is better")
    assert "19.25 [19.00, 19.50]" in said
