"""Compare source detectors on the same frames: completeness, purity, F1 and F2 per magnitude.

The names below are loaded when they are first used, so that ``import skyduel`` is fast and
loads neither torch nor matplotlib. Everything else is in the sub-packages.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skyduel.core.catalog import Catalog
    from skyduel.core.frame import Frame
    from skyduel.core.io.tables import read_catalog
    from skyduel.core.registry import make_detector
    from skyduel.evaluation.score_two_catalogs import score_catalogs
    from skyduel.reports.figures.completeness import plot_completeness
    from skyduel.reports.report import write_report
    from skyduel.run_folder.compare_runs import compare_runs as compare
    from skyduel.run_folder.read_run import load_run
    from skyduel.runner.api import find_sources, read_frame, score
    from skyduel.runner.api import run_detectors as run
    from skyduel.simulation.scene import simulate

#: Module and, where it differs, name there of every exported name.
_HOME = {
    "Catalog": "core.catalog",
    "Frame": "core.frame",
    "compare": "run_folder.compare_runs:compare_runs",
    "load_run": "run_folder.read_run",
    "make_detector": "core.registry",
    "read_catalog": "core.io.tables",
    "find_sources": "runner.api",
    "plot_completeness": "reports.figures.completeness",
    "read_frame": "runner.api",
    "score": "runner.api",
    "run": "runner.api:run_detectors",
    "score_catalogs": "evaluation.score_two_catalogs",
    "simulate": "simulation.scene",
    "write_report": "reports.report",
}

__all__ = [
    "Catalog",
    "Frame",
    "compare",
    "find_sources",
    "load_run",
    "make_detector",
    "plot_completeness",
    "read_catalog",
    "read_frame",
    "run",
    "score",
    "score_catalogs",
    "simulate",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
