"""A detector without scores says so: often its column has another name."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from skyduel.core import Catalog
from skyduel.core.detector import NOTE_KEY
from skyduel.runner.frame_steps import checked_catalog

DETECTOR = SimpleNamespace(name="peaks")
WITHOUT = "no row has a score, so that no threshold can be chosen"


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ({"scores": [5.0, 6.0]}, f"{WITHOUT}; is the column 'scores' meant for it?"),
        ({"SCORE": [5.0, 6.0]}, f"{WITHOUT}; is the column 'SCORE' meant for it?"),
        ({"peak_adu": [5.0, 6.0]}, WITHOUT),
        ({"score": [np.nan, np.nan]}, WITHOUT),
        ({"score": [np.nan, 5.0], "scores": [1.0, 2.0]}, None),
    ],
)
def test_a_catalogue_without_scores_is_noted(columns, note) -> None:
    found = Catalog.build(x=[1.0, 2.0], y=[3.0, 4.0], **columns)
    checked = checked_catalog(found, DETECTOR)
    assert checked.table.meta.get(NOTE_KEY) == note
    assert NOTE_KEY not in found.table.meta
    np.testing.assert_array_equal(checked.xy, found.xy)


def test_an_empty_catalogue_and_a_note_of_the_detector_stay() -> None:
    empty = Catalog.build(x=[], y=[])
    assert NOTE_KEY not in checked_catalog(empty, DETECTOR).table.meta
    noted = Catalog.build(x=[1.0], y=[2.0]).with_meta(**{NOTE_KEY: "its own"})
    assert checked_catalog(noted, DETECTOR).table.meta[NOTE_KEY] == "its own"
