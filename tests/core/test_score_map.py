"""A score map: its values, its order, its file, and whom it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit, logit

from skyduel.core import BadInputError, Catalog
from skyduel.core.scores.score_map import ScoreMap, read_score_map, write_score_map

MADE: dict[str, Any] = {
    "detector": "neural", "weights_sha256": "ab" * 32, "log_odds_shift": -1.0, "shift_lo": -1.5,
    "shift_hi": -0.5, "least_score": 0.3, "frames": ("a", 'b "2"', "\U0001f30c"), "mpix": 2.0,
    "n_found": 300, "mpix_flipped": 1.5, "n_flipped": 20, "n_repeats": 250, "n_recur": 200,
    "skyduel": "0.1.0",
}  # fmt: skip


def made(**changes: Any) -> ScoreMap:
    return ScoreMap(**{**MADE, **changes})


def test_log_odds_become_lower_by_the_shift() -> None:
    # Odds of 1 become 1/e, of 9 become 9/e.
    e = np.e
    np.testing.assert_allclose(made()([0.5, 0.9]), [1 / (1 + e), 9 / (9 + e)], rtol=1e-14)
    score = np.linspace(0.001, 0.999, 50).reshape(5, 10)
    np.testing.assert_allclose(made()(score), expit(logit(score) - 1), rtol=1e-12)
    np.testing.assert_array_equal(made()([0.0, 1.0, np.nan]), [0.0, 1.0, np.nan])
    np.testing.assert_array_equal(made(log_odds_shift=0.0)([0.25, 0.5]), [0.25, 0.5])


@pytest.mark.parametrize("shift", [-0.03, -1.0, -5.7])
def test_no_two_scores_change_places_however_near(shift: float) -> None:
    rng = np.random.default_rng(1)
    for about in (0.0, 1e-300, 0.3, 0.5, 1 - 1e-9, 1.0):
        near = [about]
        for _ in range(200):
            near.append(np.nextafter(near[-1], 0.4))
        mapped = made(log_odds_shift=shift)(np.sort(near))
        assert (np.diff(mapped) >= 0).all()
    score = np.sort(rng.random(10_000))
    mapped = made(log_odds_shift=shift)(score)
    assert (np.diff(mapped) > 0).all()
    assert (mapped <= score).all()


def test_a_catalogue_keeps_its_rows_and_all_else() -> None:
    found = Catalog.build(x=[1.0, 2.0], y=[3.0, 4.0], score=np.array([0.9, 0.5]))
    mapped = made().on(found)
    np.testing.assert_array_equal(mapped.xy, found.xy)
    np.testing.assert_array_equal(mapped["score"], made()([0.9, 0.5]))
    assert found["score"].tolist() == [0.9, 0.5]


@pytest.mark.parametrize("sha256", ["ab" * 32, None])
def test_what_is_written_is_read(tmp_path: Path, sha256: str | None) -> None:
    write_score_map(made(weights_sha256=sha256), tmp_path / "map.toml")
    assert read_score_map(tmp_path / "map.toml") == made(weights_sha256=sha256)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("skyduel-score-map-1", "skyduel-score-map-9", "got format 'skyduel-score-map-9'"),
        ("log_odds_shift = -1.0", "log_odds_shift = 0.5", "log_odds_shift.*less than or equal"),
        ("log_odds_shift = -1.0", "log_odds_shift = nan", "log_odds_shift"),
        ("log_odds_shift = -1.0", "", "log_odds_shift.*required"),
        ("n_found", "n_fund", "n_f.?und"),
        ("n_found = 300", "n_found = -3", "n_found.*greater than or equal"),
        ("= -1.5", "= = -1.5", "a score map, as truth-free writes it"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    write_score_map(made(), path := tmp_path / "map.toml")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(BadInputError, match=said) as caught:
        read_score_map(path)
    assert "map.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="an existing file"):
        read_score_map(tmp_path / "none.toml")


def test_scores_never_rise() -> None:
    with pytest.raises(ValidationError, match="less than or equal to 0"):
        made(log_odds_shift=0.1)


def test_a_map_of_another_detector_or_of_other_weights_is_refused() -> None:
    made().check("neural", "ab" * 32)
    made(weights_sha256=None).check("neural", None)
    with pytest.raises(BadInputError, match="required a map for other; got for neural"):
        made().check("other", "ab" * 32)
    with pytest.raises(BadInputError, match=r"a map for weights cdcd.*got one for abab"):
        made().check("neural", "cd" * 32)
    with pytest.raises(BadInputError, match="a map for weights without a hash"):
        made().check("neural", None)
