"""Functions for users refuse arguments of another type in one line that names both."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import skyduel
from skyduel import evaluation, reports, simulation
from skyduel.baseline import sep_default
from skyduel.core import (
    BadInputError,
    Catalog,
    Frame,
    add_sky_positions,
    estimate_background,
    forced_photometry,
    open_dataset,
    read_catalog,
    write_catalog,
)
from skyduel.core.errors import PATH, takes

FRAME = Frame(data=np.zeros((8, 9), np.float32), name="a")
CATALOG = Catalog.build(x=[1.0], y=[2.0])
TABLE = pd.DataFrame({"x": [1.0], "y": [2.0]})
A_CATALOG = "a Catalog (of skyduel.read_catalog, Catalog(table) or Catalog.from_pandas)"
A_FRAME = "a Frame (of skyduel.read_frame)"

CALLS: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (skyduel.plot_completeness, ({"mag": 1},),
     "plot_completeness: scores: required a ScoreReport (of skyduel.score); got dict"),
    (skyduel.score, ("a.ecsv", CATALOG), f"score: truth: required {A_CATALOG}; got str 'a.ecsv'"),
    (skyduel.score, (CATALOG, TABLE), f"score: found: required {A_CATALOG}; got DataFrame"),
    (skyduel.score_catalogs, (CATALOG, CATALOG, 2.0),
     "score_catalogs: rules: required a ScoringRules (of skyduel.evaluation); got float"),
    (skyduel.load_run, (None,), "load_run: path: required a path; got None"),
    (skyduel.write_report, (CATALOG,),
     "write_report: run_folder: required a path or a Run (of skyduel.load_run); got Catalog"),
    (skyduel.compare, (3, 4), "compare_runs: a: required a path; got int"),
    (skyduel.make_detector, (3,), "make_detector: spec: required text; got int"),
    (skyduel.make_detector, ("sep", "DETECT_THRESH=2"),
     "make_detector: overrides: required a Mapping; got str 'DETECT_THRESH=2'"),
    (skyduel.run, ("night", None, 3), "run_detectors: out: required a path; got int"),
    (skyduel.simulate, ("crowded", np.random.default_rng(1)),
     "simulate: settings: required a SceneSettings (of skyduel.simulation.draw_settings); "
     "got str 'crowded'"),
    (simulation.draw_settings, ("crowded", 1),
     "draw_settings: rng: required a Generator (of numpy.random.default_rng); got int"),
    (read_catalog, (TABLE,), "read_catalog: path: required a path; got DataFrame"),
    (open_dataset, (CATALOG,), "open_dataset: path: required a path; got Catalog"),
    (write_catalog, (Path("x.ecsv"), CATALOG),
     f"write_catalog: catalog: required {A_CATALOG}; got PosixPath 'x.ecsv'"),
    (forced_photometry, (CATALOG, FRAME),
     f"forced_photometry: frame: required {A_FRAME}; got Catalog"),
    (add_sky_positions, (CATALOG, FRAME),
     f"add_sky_positions: frame: required {A_FRAME}; got Catalog"),
    (estimate_background, (FRAME.data,),
     f"estimate_background: frame: required {A_FRAME}; got ndarray"),
    (sep_default(), ("a.fits",),
     f"SepDetector.__call__: frame: required {A_FRAME}; got str 'a.fits'"),
    (evaluation.pair_catalogs, (CATALOG, evaluation.ScoringRules(), CATALOG),
     f"pair_catalogs: found: required {A_CATALOG}; got ScoringRules"),
    (evaluation.parse_allowances, ({"f1": 0.01},),
     "parse_allowances: text: required text; got dict"),
    (reports.plot_score, (TABLE, None, "f1"),
     "plot_score: scores: required a DataFrame (of pandas, such as the tables of a run); got None"),
    (reports.markdown, ("runs/a",),
     "markdown: run: required a Run (of skyduel.load_run); got str 'runs/a'"),
    (Catalog, (TABLE,), "Catalog: table: required a Table (of astropy.table); got DataFrame"),
    (Catalog.from_pandas, (CATALOG,),
     "Catalog.from_pandas: frame: required a DataFrame (of pandas, such as the tables of a run); "
     "got Catalog"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "said"), CALLS)
def test_another_type_is_one_line(
    function: Callable[..., Any], arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(BadInputError) as error:
        function(*arguments)
    assert str(error.value) == said


@takes(path=PATH, number=(int, float))
def example(path: str, number: float | None = None, *, other: object = None) -> str:
    """Return what came."""
    return f"{path} {number} {other}"


def test_right_arguments_pass() -> None:
    assert example("a") == "a None None"
    assert example("a", None, other=3) == "a None 3"
    assert example(number=2, path="b") == "b 2 None"
    assert example.__doc__ == "Return what came."
    assert list(inspect.signature(example).parameters) == ["path", "number", "other"]
    with pytest.raises(BadInputError, match=r"number: required an int or a float; got str 'x'"):
        example("a", "x")  # type: ignore[arg-type]


def test_pythons_own_errors_name_the_function() -> None:
    with pytest.raises(TypeError, match=r"example\(\) missing 1 required positional argument"):
        example()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match=r"example\(\) got an unexpected keyword argument 'numer'"):
        example("a", numer=2)  # type: ignore[call-arg]


def test_settings_of_a_detector_one_by_one() -> None:
    one = skyduel.make_detector("sep", {"DETECT_MINAREA": 3}, DETECT_THRESH=2.5)
    assert (one.settings.DETECT_THRESH, one.settings.DETECT_MINAREA) == (2.5, 3)  # type: ignore[attr-defined]
    with pytest.raises(BadInputError, match="'DETECT_TRESH'; did you mean DETECT_THRESH"):
        skyduel.make_detector("sep", DETECT_TRESH=2.5)
