"""The example notebook runs from top to bottom, and is stored without outputs."""

from pathlib import Path
from typing import Any

import pytest
from helpers.paths import DATA, ROOT, needs_data

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_notebook_is_kept_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


def text_of(cell: Any) -> str:
    return "".join(o["data"].get("text/plain", "") for o in cell.outputs if "data" in o)


def pictures(notebook: Any) -> int:
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return sum("image/png" in o.get("data", {}) for o in outputs)


def test_the_first_duel_runs(monkeypatch) -> None:
    # A kernel of this very interpreter, whichever kernels are installed.
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = read(ROOT / "docs" / "notebooks" / "first_duel.ipynb")
    nbclient.NotebookClient(notebook, timeout=1200, kernel_name="python3").execute()
    assert pictures(notebook) == 2
    overall = next(c for c in notebook.cells if "overall.pivot" in c.source)
    rows = {line.split()[0]: line.split()[1:] for line in text_of(overall).splitlines() if line}
    assert {"neural", "sep-matched", "peaks"} <= set(rows)
    # completeness: the network finds more than single bright pixels do
    assert float(rows["neural"][0]) > float(rows["peaks"][0]) > 0.1
    assert not any(o.output_type == "stream" for c in notebook.cells for o in c.get("outputs", ()))


@needs_data
def test_the_notebook_on_a_real_frame_runs(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    (tmp_path / "night").symlink_to(DATA / "sbig_tres1")
    notebook = read(ROOT / "docs" / "notebooks" / "real_frame.ipynb")
    nbclient.NotebookClient(
        notebook, timeout=1200, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    assert pictures(notebook) == 1
    first = next(c for c in notebook.cells if c.cell_type == "code")
    assert "% masked" in first.outputs[0].text
    last = [c for c in notebook.cells if c.cell_type == "code"][-1]
    n, n_purer, threshold = eval(text_of(last))
    assert 0 < n_purer < n
    assert threshold > 0.5
