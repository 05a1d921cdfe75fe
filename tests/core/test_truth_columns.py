"""A data set names the columns of its truth tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skyduel.core import BadInputError, Dataset, open_dataset, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fits.writeto(tmp_path / "a.fits", np.arange(200.0, dtype="f4").reshape(10, 20))
    Table({"px": [3.0], "py": [4.0], "rmag": [20.0]}).write(tmp_path / "a.csv")
    return tmp_path


PAIRS = ['"x=px,y=py,mag=rmag"', "x=px;y=py;mag=rmag", "x=px y=py mag=rmag"]


@pytest.mark.parametrize("pairs", PAIRS)
def test_a_manifest_names_the_columns_of_the_truth(folder: Path, pairs: str) -> None:
    (folder / "manifest.csv").write_text(f"frame,truth,columns\na.fits,a.csv,{pairs}\n")
    for dataset in (open_dataset(folder), _written(folder)):
        (entry,) = dataset
        truth = entry.read_truth()
        assert truth.xy.tolist() == [[3.0, 4.0]]
        assert truth["mag"].tolist() == [20.0]


def _written(folder: Path) -> Dataset:
    write_manifest(open_dataset(folder), folder / "again.csv")
    return open_dataset(folder / "again.csv")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("x=nope", "a.csv: required a column 'nope' for 'x'; got columns px, py, rmag"),
        ("q=px", r"a: columns: required one of the columns x, y"),
    ],
)
def test_columns_that_are_not_there(folder: Path, columns: str, message: str) -> None:
    (folder / "manifest.csv").write_text(f"frame,truth,columns\na.fits,a.csv,{columns}\n")
    with pytest.raises(BadInputError, match=message):
        next(iter(open_dataset(folder))).read_truth()


def test_no_truth(folder: Path) -> None:
    (folder / "a.csv").unlink()
    with pytest.raises(BadInputError, match="a: required a truth catalogue; got none"):
        next(iter(open_dataset(folder))).read_truth()
