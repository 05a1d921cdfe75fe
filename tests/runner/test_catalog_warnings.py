"""A run whose truth belongs to other frames says so: in the record, on stderr and on the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from helpers.command_line import skyduel

PLAN = [("field_000", "field", "test"), ("field_001", "field", "test")]


@pytest.fixture(scope="module")
def shifted(frame_folder: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two frames: the truth of one is shifted, that of the other lies off the frame."""
    folder = tmp_path_factory.mktemp("shifted") / "set"
    shutil.copytree(frame_folder(PLAN, 3, ny=96, nx=128), folder)
    for name, (dx, dy) in {"field_000": (7.0, -5.0), "field_001": (900.0, 0.0)}.items():
        (path,) = [p for p in folder.rglob(f"{name}*.ecsv") if "manifest" not in p.name]
        truth = Table.read(path, format="ascii.ecsv")
        # Apart by more than the shift, so that no other source is near by chance.
        rows = np.arange(len(truth))
        truth["x"] = 12.0 + 21 * (rows % 5) + dx
        truth["y"] = 12.0 + 18 * (rows // 5 % 4) + dy
        truth[:20].write(path, format="ascii.ecsv", overwrite=True)
    return folder


def test_nothing_matched_is_said(
    shifted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert skyduel("run", shifted, "--with", "sep", "--out", tmp_path / "run",
                   "--radius-px", "0.01") == 0  # fmt: skip
    stderr = " ".join(capsys.readouterr().err.split())
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    of_truth, of_detector = record["warnings"]
    assert of_truth.startswith("truth of field_001: 0 of ")
    assert "truth rows lie on the frame (nearest 7" in of_truth
    assert of_detector.startswith("sep on field_000: 0 of ")
    assert "truths matched although" in of_detector
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    for line in (of_truth, of_detector):
        assert line in stderr
        assert line.split(" (")[0] in page
