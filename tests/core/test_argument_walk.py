"""A walk over the public API: a wrong type for any argument is one line, never a raw exception."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from importlib import import_module
from typing import Any, Final

import numpy as np
import pytest
from helpers.synthetic_analyses import write_analyses
from helpers.synthetic_run import write_run
from matplotlib import pyplot as plt
from pydantic import BaseModel

import skyduel
from skyduel import baseline, core, evaluation, reports, simulation
from skyduel.core import BadInputError, write_catalog, write_frame

#: Torch's operators keep torch's own exceptions, so `skyduel.cuda_ops` is not walked.
PACKAGES: Final = (
    "skyduel", "skyduel.core", "skyduel.simulation", "skyduel.evaluation", "skyduel.baseline",
    "skyduel.detect", "skyduel.run_folder", "skyduel.reports",
)  # fmt: skip
#: Records that functions return, and protocols: nobody has to make them.
RECORDS: Final = frozenset({
    "Allowance", "Background", "BadInputError", "DetectionError", "Detector", "DetectorInfo",
    "Evaluation", "FlipEstimate", "FlippedFrame", "FrameScore", "GateReport", "LargeImage",
    "MeasuredPsf", "Metric", "Pairing", "Pairs", "Psf", "RepeatEstimate", "Run", "ScoreReport",
    "ScoreShift", "ScoresOnRepeats", "Section", "SkyduelError", "Split",
})  # fmt: skip


class _Stranger:
    """What no parameter takes."""


#: Values of which each is wrong for most parameters. Where one is right, the call may return.
WRONG: Final[Mapping[str, Any]] = {
    "stranger": _Stranger(),
    "text": "no such thing",
    "number": 3,
    "fraction": 1.5,
    "huge": 10**9,
    "list": ["a"],
    "mapping": {"a": 1},
    "array": np.zeros((2, 3)),
    "none": None,
}


def _public() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class that users call, once."""
    seen: set[int] = set()
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            one = getattr(module, name)
            if callable(one) and name not in RECORDS and id(one) not in seen:
                seen.add(id(one))
                yield f"{package}.{name}", one


PUBLIC: Final = dict(_public())
#: Settings have tests of their own (tests/core/test_settings.py); the others take whole minutes.
ELSEWHERE: Final = frozenset({"run", "write_report"}) | {
    name.rpartition(".")[2]
    for name, one in PUBLIC.items()
    if isinstance(one, type) and issubclass(one, BaseModel)
}
#: Parameters that may be anything: an image in memory of any library, an object of WCSLIB, and
#: what only has to have a method.
ANYTHING: Final = frozenset({("Frame", "wcs"), ("evaluate_detector", "sink")})


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield the arguments of a call that works, by the name of the function."""
    place = tmp_path_factory.mktemp("walk")
    rng = np.random.default_rng(5)
    frame, truth = simulation.simulate(
        simulation.draw_settings("sparse", rng, ny=64, nx=72), rng, name="a"
    )
    night = place / "night"
    night.mkdir()
    write_frame(frame, night / "a.fits")
    write_catalog(truth, night / "a.ecsv")
    run = place / "run"
    write_run(run)
    write_analyses(run)
    loaded = skyduel.load_run(run)
    rules = evaluation.ScoringRules(n_bootstrap=5)
    psf = simulation.make_psf(2.5)
    xy = [[1.0, 2.0], [30.0, 31.0]]
    source = evaluation.FrameInput(frame="a", truth=truth, found=truth)
    scored = evaluation.evaluate({"sep": [source], "neural": [source]}, rules)
    ax = plt.figure().add_subplot()
    comparisons = loaded.comparisons
    named = {name: loaded.analysis(name) for name in (
        "facets", "ignore_limit", "migration", "reliability", "calibration_error",
        "purity_choice", "mistakes", "ideal", "jia2020", "astrometry")}  # fmt: skip
    entry = core.entry_of(night / "a.fits")
    dataset = core.open_dataset(night)
    out = place / "out"
    truths, founds = {"truth": truth}, {"found": truth}
    counts = [one.counts for one in [evaluation.score_frame(source, rules, [15.0, 20.0])]]
    table = evaluation.compare_all(scored.comparison_samples, rules)
    calls = {
        "Catalog": {"table": truth.table},
        "Frame": {"data": frame.data, "name": "a"},
        "compare": {"a": run / "sep", "b": run / "neural"},
        "find_sources": {"frame": frame, "detector": "sep"},
        "load_run": {"path": run},
        "make_detector": {"spec": "sep"},
        "plot_completeness": {"scores": evaluation.score_catalogs(truth, truth, rules), "ax": ax},
        "read_catalog": {"path": night / "a.ecsv"},
        "read_frame": {"path": night / "a.fits"},
        "score": truths | founds,
        "score_catalogs": truths | founds,
        "simulate": {"settings": simulation.SceneSettings(ny=32, nx=32), "rng": rng},
        "Dataset": {"name": "a", "path": night, "entries": dataset.entries},
        "Entry": {"name": "a", "frame": night / "a.fits"},
        "Sectioning": {},
        "add_sky_positions": {"frame": frame, "catalog": truth},
        "aperture_radius": {"frame": frame},
        "atomic_path": {"path": out},
        "available": {},
        "build_settings": {"model": baseline.SepSettings, "source": "a", "overrides": {}},
        "detector_info": {"detector": skyduel.make_detector("sep")},
        "entry_of": {"path": night / "a.fits"},
        "estimate_background": {"frame": frame},
        "forced_photometry": {"frame": frame, "catalog": truth},
        "frame_name": {"path": night / "a.fits"},
        "gaussian_sharpness": {"fwhm": 2.5},
        "merge_sections": {"parts": []},
        "open_dataset": {"path": night},
        "open_large_image": {"entry": entry, "sectioning": core.Sectioning()},
        "pack_catalogs": {"catalogs": [truth]},
        "pixel_features": {"frame": frame, "catalog": truth},
        "pixel_positions": {"ra": np.array([1.0]), "dec": np.array([2.0]), "frame": frame},
        "core.read_frame": {"path": night / "a.fits"},
        "safe_name": {"name": "a"},
        "write_catalog": {"catalog": truth, "path": place / "b.ecsv"},
        "write_coco": {"catalogs": {"a": truth}, "path": place / "b.json"},
        "write_frame": {"frame": frame, "path": place / "b.fits"},
        "write_manifest": {"dataset": dataset, "path": place / "b.csv"},
        "write_regions": {"catalog": truth, "path": place / "b.reg"},
        "Aberrations": {},
        "draw_injected": {"frame": frame, "psf": psf, "rng": rng,
                          "settings": simulation.InjectionSettings(number=2)},
        "draw_settings": {"family": "sparse", "rng": rng},
        "draw_training_settings": {"rng": rng},
        "draw_undersampled_settings": {"rng": rng},
        "holds_integers": {"frame": frame},
        "ideal_snr": {"flux": [10.0], "psf": psf, "sigma": 1.0},
        "inject": {"frame": frame, "sources": truth, "psf": psf, "rng": rng},
        "make_psf": {"fwhm": 2.5},
        "measure_psf": {"frame": frame, "xy": truth.xy},
        "read_psf": {"text": "moffat:2.5,3"},
        "sign_flipped": {"frame": frame},
        "FrameInput": {"frame": "a"} | truths | founds,
        "apply_ignore": truths | {"frame_shape": frame.shape, "mask": None, "saturated": None,
                                  "rules": rules},
        "choose_edges": {"sources": [source], "rules": rules},
        "compare_all": {"comparison_samples": scored.comparison_samples, "rules": rules},
        "decide": {"table": table, "allowances": evaluation.parse_allowances("f1=0.01")},
        "evaluate": {"detectors": {"sep": [source]}, "rules": rules},
        "evaluate_detector": {"name": "sep", "frames": [source], "rules": rules,
                              "edges": [15.0, 20.0]},
        "fit_score_shift": {"found": [0.5], "flipped": [0.5], "mpix": 1.0, "mpix_flipped": 1.0,
                            "exposures": [xy, xy], "scores": [[0.5, 0.6]] * 2},
        "flip_estimate": {"n_found": 3, "n_flipped": 1, "mpix": 1.0, "mpix_flipped": 1.0},
        "flip_threshold": {"found": [0.5], "flipped": [0.5], "mpix": 1.0, "mpix_flipped": 1.0},
        "mark_ignored_regions": {"found": truth, "frame_shape": frame.shape, "mask": None,
                                 "rules": rules},
        "merge": {"parts": [scored], "edges": scored.edges},
        "pair": {"truth_xy": xy, "found_xy": xy, "radius_px": 2.0},
        "pair_catalogs": truths | founds | {"rules": rules},
        "pair_sky": {"truth_radec_deg": xy, "found_radec_deg": xy, "radius_arcsec": 2.0},
        "parse_allowances": {"text": "f1=0.01"},
        "repeat_estimate": {"exposures": [xy, xy], "radius_px": 2.0, "n_bootstrap": 20},
        "score_frame": {"source": source, "rules": rules, "edges": [15.0, 20.0]},
        "score_table": {"frames": counts, "mpix": [0.1], "edges": [15.0, 20.0], "rules": rules},
        "scores_on_repeats": {"exposures": [xy, xy], "scores": [[0.5, 0.6]] * 2,
                              "radius_px": 2.0},
        "wilson": {"k": 1, "n": 3, "confidence": 0.95},
        "SepDetector": {"name": "sep", "settings": baseline.SepSettings()},
        "sep_default": {},
        "sep_matched": {},
        "NeuralDetector": {},
        "neural": {},
        "cautions": {"run": loaded},
        "detector_styles": {"detectors": ["sep"]},
        "frame_marks": {"run": loaded, "frame": loaded.scored_frames[0], "detector": "sep",
                        "point": "default"},
        "markdown": {"run": loaded},
        "plot_binned_scores": {"ax": ax, "facets": named["facets"], "facet": "crowding",
                               "quantity": "completeness"},
        "plot_completeness_curve": {"ax": ax, "scores": loaded.scores, "limits": loaded.limits},
        "plot_differences": {"ax": ax, "comparisons": comparisons, "pair": ("neural", "sep"),
                             "quantity": "f1"},
        "plot_error_kinds": {"ax": ax, "mistakes": named["mistakes"], "side": "missed"},
        "plot_error_kinds_by_magnitude": {"ax": ax, "mistakes": named["mistakes"],
                                          "detector": "sep", "side": "missed"},
        "plot_forest": {"ax": ax, "comparisons": comparisons, "quantity": "f1"},
        "plot_ideal": {"ax": ax, "ideal": named["ideal"]},
        "plot_ignore_limit": {"ax": ax, "limits": named["ignore_limit"],
                              "quantity": "completeness"},
        "plot_jia2020": {"ax": ax, "jia2020": named["jia2020"]},
        "plot_marks": {"ax": ax, "marks": reports.frame_marks(
            loaded, loaded.scored_frames[0], "sep", "default")},
        "plot_migration": {"ax": ax, "migration": named["migration"], "detector": "sep"},
        "plot_precision_recall": {"ax": ax, "sweep": loaded.sweep, "scores": loaded.scores},
        "plot_purity_choice": {"ax": ax, "choices": named["purity_choice"]},
        "plot_reliability": {"ax": ax, "reliability": named["reliability"],
                             "errors": named["calibration_error"]},
        "plot_residuals": {"ax": ax, "astrometry": named["astrometry"], "quantity": "x",
                           "statistic": "scatter"},
        "plot_score": {"ax": ax, "scores": loaded.scores, "quantity": "f1"},
        "summary_table": {"run": loaded},
        "verdict": {"run": loaded},
        "write_pdf": {"page": run / "report" / "index.html", "browser": "false"},
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)  # text is also a path
        yield calls
    plt.close("all")


def problems(name: str, function: Callable[..., Any], right: dict[str, Any]) -> list[str]:
    """Return what is wrong with the answers of a function to wrong types, one line each."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        # Python takes anything for a flag.
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) or (
            parameter.annotation == "bool" or (name, parameter.name) in ANYTHING
        ):
            continue
        for kind, value in WRONG.items():
            try:
                done = function(**(right | {parameter.name: value}))
                if isinstance(done, Generator):
                    list(done)
            except BadInputError as error:
                if "\n" in str(error):
                    found.append(f"{name}({parameter.name}={kind}): several lines")
            except Exception as error:
                said = f"{type(error).__name__}: {error}".partition("\n")[0]
                found.append(f"{name}({parameter.name}={kind}): {said[:150]}")
            else:
                if kind == "stranger":
                    found.append(f"{name}({parameter.name}={kind}): accepted")
    return found


def calls_of(name: str) -> str:
    """Return the key of a public name among the calls: two packages have a `read_frame`."""
    return name.removeprefix("skyduel.") if name == "skyduel.core.read_frame" else (
        name.rpartition(".")[2])  # fmt: skip


#: Which need a WCS, a run with this program's rules, many bright stars, or a browser to work.
NEEDY: Final = frozenset(
    {"add_sky_positions", "compare", "measure_psf", "pixel_positions", "write_pdf"}
)
WALKED: Final = [name for name in PUBLIC if calls_of(name) not in ELSEWHERE]


def test_every_public_function_is_walked(right: dict[str, dict[str, Any]]) -> None:
    assert sorted(map(calls_of, WALKED)) == sorted(right)
    assert len(WALKED) > 80


@pytest.mark.parametrize("name", WALKED)
def test_a_wrong_type_is_one_line(name: str, right: dict[str, dict[str, Any]]) -> None:
    key = calls_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a wrong value leads to
        if key not in NEEDY:
            PUBLIC[name](**right[key])
        assert problems(key, PUBLIC[name], right[key]) == []
