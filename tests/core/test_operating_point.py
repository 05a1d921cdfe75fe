"""Tests of the choice of rows of a catalogue, and of its provenance."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from skyduel.core import BadInputError, Catalog, DetectorInfo, Frame
from skyduel.core.operating_point import (
    RowChoice,
    chosen_rows,
    expected_purity_threshold,
    stated_threshold,
)

SCORES = np.array([0.99, 0.97, 0.9, 0.6, 0.6, 0.3, np.nan])


class _Settings(BaseModel):
    flux: str = "kron"


class _Detector:
    name = "made"
    settings = _Settings()
    info = DetectorInfo(default_threshold=0.6, score_is_probability=True, weights_sha256="ab")

    def __call__(self, frame: Frame) -> Catalog:
        raise AssertionError("the rows are given; nothing is detected")


def found() -> Catalog:
    n = len(SCORES)
    flux = np.where(np.arange(n) == 1, -3.0, 100.0)
    return Catalog.build(x=np.arange(n), y=np.zeros(n), score=SCORES, flux=flux)


def frame(zero_point: float | None = None) -> Frame:
    return Frame(data=np.random.default_rng(0).normal(size=(5, 9)), name="f", zero_point=zero_point)


def kept(**choice: Any) -> tuple[list[float], dict[str, Any]]:
    made = chosen_rows(found(), _Detector(), "mine", RowChoice(**choice), frame())
    return made["score"].tolist(), dict(made.table.meta)


def test_the_default_is_the_detectors_operating_point() -> None:
    scores, meta = kept()
    assert scores == [0.99, 0.97, 0.9, 0.6, 0.6]
    assert meta["thresh"] == 0.6
    assert meta["nfainter"] == 2
    assert meta["rows"] == "score >= 0.6"
    assert (meta["detector"], meta["weights"], meta["fluxtype"]) == ("mine", "ab", "auto")
    assert meta["settings"] == '{"flux": "kron"}'
    assert meta["program"].startswith("skyduel ")
    assert all(len(key) <= 8 for key in meta)


def test_a_threshold_a_number_and_all() -> None:
    assert kept(threshold=0.95)[0] == [0.99, 0.97]
    assert kept(most=1)[0] == [0.99]
    assert kept(most=4)[0] == [0.99, 0.97, 0.9, 0.6]
    scores, meta = kept(everything=True)
    assert len(scores) == len(SCORES)
    assert (meta["thresh"], meta["rows"], meta["nfainter"]) == (0.6, "all", 0)


def test_expected_purity_is_the_mean_probability_of_the_rows_kept() -> None:
    # 0.99, 0.97, 0.9: mean 0.953; with one 0.6 more 0.865.
    assert expected_purity_threshold(SCORES, 0.95) == 0.9
    assert kept(purity=0.95)[0] == [0.99, 0.97, 0.9]
    # Equal scores are kept or cut together: with one 0.6 the mean is 0.865, with both 0.812.
    assert expected_purity_threshold(SCORES, 0.86) == 0.9
    assert expected_purity_threshold(SCORES, 0.81) == 0.6
    assert expected_purity_threshold(SCORES, 0.999) == 1.0
    assert expected_purity_threshold(np.zeros(0), 0.5) == 1.0
    rng = np.random.default_rng(4)
    probability = rng.uniform(size=20_000)
    cut = expected_purity_threshold(probability, 0.9)
    real = rng.uniform(size=20_000) < probability
    assert real[probability >= cut].mean() == pytest.approx(0.9, abs=0.01)


def test_purity_needs_probabilities() -> None:
    with pytest.raises(BadInputError, match=r"purity: required a detector whose scores are prob"):
        RowChoice(purity=0.9).threshold_on(found(), DetectorInfo(), "sep")


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"threshold": 0.5, "everything": True}, "everything: required one choice of rows"),
        ({"threshold": 0.5, "purity": 0.9}, "purity: required one choice of rows"),
        (
            {"most": 3, "everything": True},
            "most: required a choice of rows; got everything as well",
        ),
        ({"most": 0}, "most: required a number, 1 or more; got 0"),
        ({"purity": 95.0}, "purity: required a number between 0 and 1; got 95.0"),
        ({"threshold": float("nan")}, "threshold: required a finite score; got nan"),
    ],
)
def test_impossible_choices(choice: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        RowChoice(**choice)


def test_magnitudes_without_a_zero_point_are_instrumental() -> None:
    made = chosen_rows(found(), _Detector(), "mine", RowChoice(), frame())
    assert made["mag"][[0, 2]] == pytest.approx([-5.0, -5.0])
    assert np.isnan(made["mag"][1])  # a flux below zero
    assert made.table.meta["magtype"] == "instrumental: -2.5 log10(flux), zero-point 0"
    assert "instrumental" in made.table["mag"].description
    on = chosen_rows(found(), _Detector(), "mine", RowChoice(), frame(25.0))
    assert on.table.meta["magzp"] == 25.0
    assert np.isnan(on["mag"]).all()  # the detector's own business


@pytest.mark.parametrize(
    ("meta", "threshold"),
    [({"THRESH": 0.5}, 0.5), ({"thresh": "0.25"}, 0.25), ({}, None), ({"thresh": "no"}, None),
     ({"thresh": float("inf")}, None)],
)  # fmt: skip
def test_stated_threshold(meta: dict[str, Any], threshold: float | None) -> None:
    assert stated_threshold(meta) == threshold
