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
    write_coco,
)
from skyduel.core.errors import PATH, takes

FRAME = Frame(data=np.zeros((8, 9), np.float32), name="a")
CATALOG = Catalog.build(x=[1.0], y=[2.0])
TABLE = pd.DataFrame({"x": [1.0], "y": [2.0]})
A_CATALOG = "a Catalog (of skyduel.read_catalog, Catalog(table) or Catalog.from_pandas)"
A_FRAME = "a Frame (of skyduel.read_frame)"
A_PSF = "a Psf (of skyduel.simulation.make_psf, or measure_psf(...).psf)"
A_GENERATOR = "a Generator (of numpy.random.default_rng)"
RNG = np.random.default_rng(1)
RULES = evaluation.ScoringRules()
PSF = simulation.make_psf(2.5)
INPUT = evaluation.FrameInput(frame="a", truth=CATALOG, found=CATALOG)
POINTS = [[1.0, 2.0]]

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
     "plot_score: ax: required an Axes (of matplotlib); got DataFrame"),
    (reports.markdown, ("runs/a",),
     "markdown: run: required a Run (of skyduel.load_run); got str 'runs/a'"),
    (reports.verdict, ({},), "verdict: run: required a Run (of skyduel.load_run); got dict"),
    (Catalog, (TABLE,), "Catalog: table: required a Table (of astropy.table); got DataFrame"),
    (Catalog.from_pandas, (CATALOG,),
     "Catalog.from_pandas: frame: required a DataFrame (of pandas, such as the tables of a run); "
     "got Catalog"),
]  # fmt: skip

#: Of simulation and evaluation: other types, also nested ones, and values that cannot be.
NESTED: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any], str]] = [
    (simulation.make_psf, ("2.5",), {}, "make_psf: fwhm: required a number; got str '2.5'"),
    (simulation.make_psf, (2.5, "3"), {},
     "make_psf: beta: required a number or None; got str '3'"),
    (simulation.make_psf, (2.5, np.inf), {},
     "make_psf: required a finite beta > 1, or None for a Gaussian; got inf"),
    (simulation.make_psf, (2.5, 3, {"coma": 1}), {},
     "make_psf: aberrations: required an Aberrations; got dict"),
    (simulation.make_psf, (2.5,), {"radius": 5.5},
     "make_psf: radius: required a whole number; got float"),
    (simulation.Aberrations, (), {"coma": "1"},
     "Aberrations: coma: required a number; got str '1'"),
    (simulation.Aberrations, (), {"drift": np.nan},
     "Aberrations: drift: required a finite number; got nan"),
    (simulation.Aberrations, (), {"obstruction": 1.0},
     "Aberrations: obstruction: required 0 <= it < 1; got 1.0"),
    (simulation.measure_psf, (FRAME, "stars"), {},
     "measure_psf: xy: required numbers of shape (n, 2); got str 'stars'"),
    (simulation.measure_psf, (FRAME, [["a", "b"]]), {},
     "measure_psf: xy: required numbers of shape (n, 2); got list [['a', 'b']]"),
    (simulation.measure_psf, (FRAME, np.zeros((4, 3))), {},
     "measure_psf: xy: required shape (n, 2); got shape (4, 3)"),
    (simulation.measure_psf, (FRAME, [[1.0, np.nan]]), {},
     "measure_psf: xy: required finite positions; got [1.0, nan] in row 0"),
    (simulation.measure_psf, (FRAME, POINTS), {"radius": 3},
     "measure_psf: required radius >= 4 px; got 3"),
    (simulation.measure_psf, (FRAME, POINTS), {"background": 3.0},
     "measure_psf: background: required a Background; got float"),
    (simulation.draw_injected, (FRAME, PSF, {"number": 3}, RNG), {},
     "draw_injected: settings: required an InjectionSettings; got dict"),
    (simulation.draw_injected, (FRAME, 2.5, simulation.InjectionSettings(), RNG), {},
     f"draw_injected: psf: required {A_PSF}; got float"),
    (simulation.draw_injected, (FRAME, PSF, simulation.InjectionSettings(), RNG),
     {"there": POINTS}, f"draw_injected: there: required {A_CATALOG}; got list"),
    (simulation.holds_integers, (FRAME.data,), {},
     f"holds_integers: frame: required {A_FRAME}; got ndarray"),
    (simulation.ideal_snr, (["a"], PSF, 1.0), {},
     "ideal_snr: flux: required numbers; got list ['a']"),
    (simulation.ideal_snr, ([1.0], PSF, "1"), {},
     "ideal_snr: sigma: required a number; got str '1'"),
    (simulation.draw_training_settings, (3,), {},
     f"draw_training_settings: rng: required {A_GENERATOR}; got int"),
    (simulation.draw_settings, ("sparse", RNG), {"ny": -1},
     "draw_settings: ny: required input should be greater than or equal to 16; got -1"),
    (simulation.sign_flipped, (FRAME,), {"grow_px": 2.5},
     "sign_flipped: grow_px: required a whole number; got float"),
    (evaluation.pair, ([["a", "b"]], POINTS, 2.0), {},
     "truth positions: required numbers of shape (n, 2); got list [['a', 'b']]"),
    (evaluation.pair, ([[1, 2], [3]], POINTS, 2.0), {},
     "truth positions: required numbers of shape (n, 2); got list [[1, 2], [3]]"),
    (evaluation.pair, (POINTS, POINTS, 2.0), {"score": ["a"]},
     "score: required numbers; got list ['a']"),
    (evaluation.pair_sky, (POINTS, [["a", "b"]], 2.0), {},
     "found positions: required numbers of shape (n, 2); got list [['a', 'b']]"),
    (evaluation.apply_ignore, (CATALOG, "96", None, None, RULES), {},
     "frame_shape: required (ny, nx), two whole numbers; got '96'"),
    (evaluation.apply_ignore, (CATALOG, (2, 2), [[False] * 2] * 2, None, RULES), {},
     "mask: required a NumPy array or a PackedMask; got list"),
    # The bits of a quality mask would be taken for numbers of rows.
    (evaluation.mark_ignored_regions, (CATALOG, (2, 2), np.full((2, 2), 4), RULES), {},
     "mask: required an array of bool, such as array != 0; got int64"),
    (evaluation.FrameInput, (), {"frame": "a", "truth": CATALOG, "found": TABLE},
     f"FrameInput: found: required {A_CATALOG}; got DataFrame"),
    (evaluation.score_frame, (INPUT, RULES, ["a", "b"]), {},
     "bin edges: required numbers; got list ['a', 'b']"),
    (evaluation.choose_edges, (["a"], RULES), {},
     "choose_edges: sources: required a FrameInput; got str 'a'"),
    (evaluation.evaluate, ({"sep": INPUT}, RULES), {},
     "frames of sep: required a sequence of FrameInput; got FrameInput"),
    (evaluation.evaluate, ({"sep": [INPUT, "b"]}, RULES), {},
     "frames of sep[1]: required a FrameInput; got str 'b'"),
    (evaluation.evaluate, ({"sep": [INPUT]}, {}), {},
     "evaluate: rules: required a ScoringRules (of skyduel.evaluation); got dict"),
    (evaluation.evaluate, ({"sep": [INPUT]}, RULES), {"default_thresholds": {"sep": "4"}},
     "evaluate_detector: default_threshold: required a number; got str '4'"),
    (evaluation.merge, (["a"], (1.0, 2.0)), {},
     "merge: parts[0]: required an Evaluation; got str 'a'"),
    (evaluation.compare_all, ({"sep": 1}, RULES), {},
     "compare_all: required keys (detector, point, group); got 'sep'"),
    (evaluation.decide, (TABLE, ()), {},
     "decide: table: required the columns of compare_all; got a table without detector_a, "
     "detector_b, point, group, bin, quantity, value_a, value_b, delta, lo, hi, interval, "
     "n_frames"),
    (evaluation.score_catalogs, (CATALOG, CATALOG), {"threshold": "0.5"},
     "score_catalogs: threshold: required a number; got str '0.5'"),
    (skyduel.find_sources, (FRAME, "sep"), {"threshold": "a"},
     "find_sources: threshold: required a number; got str 'a'"),
    (forced_photometry, (FRAME, CATALOG), {"background": 3.0},
     "forced_photometry: background: required a Background; got float"),
    (write_coco, ({"a": TABLE}, "x.json"), {},
     f"write_coco: catalogs['a']: required {A_CATALOG}; got DataFrame"),
    (skyduel.score, (CATALOG, CATALOG), {"threshold": "0.5"},
     "score: threshold: required a number; got str '0.5'"),
    (evaluation.wilson, (["a"], 3, 0.95), {}, "k: required numbers; got list ['a']"),
    (evaluation.wilson, (1.5, 3, 0.95), {}, "k: required whole numbers; got 1.5"),
    (evaluation.wilson, ([1, np.nan], 3, 0.95), {}, "k: required whole numbers; got [ 1. nan]"),
    (evaluation.wilson, ([1, 5], 3, 0.95), {}, "k and n: required 0 <= k <= n; got k 5 of n 3"),
    (evaluation.wilson, (1, -3, 0.95), {}, "k and n: required 0 <= k <= n; got k 1 of n -3"),
    (evaluation.wilson, ([1, 2], [1, 2, 3], 0.95), {},
     "k and n: required equal shapes; got (2,) and (3,)"),
    (evaluation.wilson, (1, 3, 95), {},
     "confidence: required a number between 0 and 1; got 95"),
    (evaluation.wilson, (1, 3, np.nan), {},
     "confidence: required a number between 0 and 1; got nan"),
    (evaluation.flip_estimate, (3, 1, "a", 1.0), {},
     "flip_estimate: mpix: required a number; got str 'a'"),
    (evaluation.flip_estimate, (3, 1, 1.0, 1.0), {"confidence": 95},
     "confidence: required a number between 0 and 1; got 95"),
    (evaluation.repeat_estimate, ([POINTS, ["a"]], 2.0), {},
     "exposures[1]: required numbers of shape (n, 2); got list ['a']"),
    (evaluation.repeat_estimate, ([np.zeros((2, 3))] * 2, 2.0), {},
     "exposures[0]: required shape (n, 2); got shape (2, 3)"),
    (evaluation.flip_threshold, (["a"], [0.5], 1.0, 1.0), {},
     "found: required numbers; got list ['a']"),
    (evaluation.flip_threshold, ([0.5], [0.5], 1.0, np.inf), {},
     "mpix: required finite areas > 0 Mpix; got 1 and inf"),
    (evaluation.scores_on_repeats, ([POINTS] * 2, [[0.5]], 2.0), {},
     "scores_on_repeats: required as many exposures as scores; got 2 and 1"),
    (evaluation.scores_on_repeats, ([POINTS] * 2, [[0.5], [0.5, 0.6]], 2.0), {},
     "scores[1]: required one score of each of 1 detections; got shape (2,)"),
    (evaluation.scores_on_repeats, ([POINTS] * 2, [[0.5], ["a"]], 2.0), {},
     "scores[1]: required numbers; got list ['a']"),
    (evaluation.repeat_estimate, ([POINTS] * 3, 2.0), {"n_bootstrap": 0},
     "n_bootstrap: required 1 at least; got 0"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments", "options", "said"), NESTED)
def test_what_lies_within_an_argument_is_checked_too(
    function: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInputError) as error:
        function(*arguments, **options)
    assert str(error.value) == said


def test_numbers_of_any_kind_are_numbers() -> None:
    """Scalars of Python and NumPy, whole floats, and 0-d arrays."""
    expected = [float(end) for end in evaluation.wilson(2, 5, 0.95)]
    for two, five in ((np.int16(2), 5), (2.0, np.float32(5)), (np.array(2), np.uint8(5))):
        assert [float(end) for end in evaluation.wilson(two, five, np.float64(0.95))] == expected
    same = simulation.make_psf(np.float32(2.5), np.int64(3), radius=np.int16(9))
    assert np.array_equal(same.bank, simulation.make_psf(2.5, 3.0, radius=9).bank)
    assert simulation.ideal_snr([1, 2], PSF, np.float32(2)).shape == (2,)
    assert len(evaluation.pair([], [(1, 2)], np.int64(2))) == 0


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


def test_a_parameter_that_was_renamed_is_noticed() -> None:
    with pytest.raises(TypeError, match="renamed has no parameter path"):

        @takes(path=PATH)
        def renamed(place: str) -> str:
            return place


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


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a", "Catalog.select: rows: required a mask of bool or whole numbers, shape (n,); got "
              "<U1 ()"),
        ([0.5], "Catalog.select: rows: required a mask of bool or whole numbers, shape (n,); got "
                "float64 (1,)"),
        ([3], "Catalog.select: rows: required rows of 1; got index 3 is out of bounds for axis 0 "
              "with size 1"),
        ([True, False], "Catalog.select: rows: required rows of 1; got boolean index did not match "
                        "indexed array along axis 0; size of axis is 1 but size of corresponding "
                        "boolean axis is 2"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_selected(rows: Any, said: str) -> None:
    with pytest.raises(BadInputError) as error:
        CATALOG.select(rows)
    assert str(error.value) == said
    assert len(CATALOG.select([])) == 0
    assert len(CATALOG.select(np.array([True]))) == 1


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: simulation.make_psf(2.5, radius=100_000),
         "make_psf: required radius <= 256 px; got 100000"),
        (lambda: estimate_background(FRAME, filter_meshes=10**9),
         "filter_meshes: required at most 101; got 1000000000"),
        (lambda: simulation.sign_flipped(FRAME, grow_px=10**6),
         "grow_px: required a number of px within the frame's 9; got 1000000"),
        (lambda: simulation.InjectionSettings(number=10**9),
         "InjectionSettings: number: required input should be less than or equal to 1000000; "
         "got 1000000000"),
        (lambda: simulation.SceneSettings(density=1e9),
         "SceneSettings: density: required input should be less than or equal to 1; "
         "got 1000000000.0"),
        (lambda: evaluation.ScoringRules(n_bootstrap=10**9),
         "scoring rules: n_bootstrap: required input should be less than or equal to 1000000; "
         "got 1000000000"),
        (lambda: evaluation.repeat_estimate([POINTS] * 3, 2.0, n_bootstrap=10**9),
         "n_bootstrap: required 1000000 at most; got 1000000000"),
    ],
)  # fmt: skip
def test_no_argument_makes_an_absurd_array(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(BadInputError) as error:
        call()
    assert str(error.value) == said
