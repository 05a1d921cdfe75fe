"""`run_detectors`: run detectors by name on a data set, from Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from skyduel.core import Dataset, open_dataset
from skyduel.evaluation import ScoringRules
from skyduel.run_folder.read_run import Run, load_run
from skyduel.runner.builtin_dataset import BUILTIN_SEED, builtin_of_run
from skyduel.runner.detector_specs import DEFAULT_DETECTORS, DetectorSpec, parse_specs
from skyduel.runner.plan import ProgressCallback, RunPlan
from skyduel.runner.run import run

__all__ = ["run_detectors"]


def run_detectors(
    dataset: str | Path | Dataset | None = None,
    detectors: Iterable[str | DetectorSpec] = DEFAULT_DETECTORS,
    out: str | Path | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    rules: ScoringRules | None = None,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Run:
    """Run detectors on the frames of a data set, score them and load the finished run.

    It is exported as ``skyduel.run``. A script that uses more than one worker, or any
    detector, must call it below ``if __name__ == "__main__":``, for it starts processes.

    Parameters
    ----------
    dataset : str, Path or Dataset, optional
        A folder of frames with truth tables, a manifest, or a data set; by default the
        built-in set, which is simulated into the run folder.
    detectors : iterable of str or DetectorSpec
        Names such as ``neural``, or ``LABEL=NAME``, or detectors with their settings.
    out : str or Path, optional
        The run folder; by default ``runs/NAME-OF-THE-SET``. An interrupted run in it is
        completed.
    settings : mapping of str to mapping, optional
        Settings of the detectors given by name, by label.
    rules : ScoringRules, optional
        How detections are matched and scored.
    progress : callable, optional
        Called with every finished frame.
    **options
        Other fields of `RunPlan`, such as ``workers``, ``fresh`` or ``tuning``.

    Returns
    -------
    Run
        The run; `skyduel.write_report` draws its report.

    Raises
    ------
    BadInputError
        If the data set, a detector or a setting is wrong, the folder holds another run, or
        no frame could be scored.
    """
    given = list(detectors)
    parsed = parse_specs([d for d in given if isinstance(d, str)], tables=settings)
    by_name = iter(parsed)
    specs = [next(by_name) if isinstance(d, str) else d for d in given]
    if dataset is None:
        folder = Path(out or Path("runs") / "builtin")
        frames = builtin_of_run(folder, progress)
    else:
        frames = dataset if isinstance(dataset, Dataset) else open_dataset(Path(dataset))
        folder = Path(out or Path("runs") / frames.name)
    plan = RunPlan(
        dataset=frames,
        specs=specs,
        rules=rules or ScoringRules(),
        folder=folder,
        command=options.pop("command", "skyduel.run"),
        seeds=options.pop("seeds", {"dataset": BUILTIN_SEED if dataset is None else None}),
        **options,
    )
    run(plan, progress)
    return load_run(folder)
