"""`run_detectors`: run detectors by name on a data set, from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from skyduel.core import (
    BadInputError,
    Catalog,
    Dataset,
    Detector,
    Frame,
    entry_of,
    make_detector,
    open_dataset,
)
from skyduel.core.areas.ignore_area import read_ignore_area
from skyduel.core.detector import require_detector
from skyduel.core.errors import PATH, takes
from skyduel.core.io.frames import frame_in_memory
from skyduel.core.operating_point import RowChoice, chosen_rows, stated_threshold
from skyduel.evaluation import ScoreReport, ScoringRules, score_catalogs
from skyduel.evaluation.score_two_catalogs import measured_alike
from skyduel.run_folder.read_run import Run, load_run
from skyduel.runner.builtin_dataset import BUILTIN_SEED, builtin_of_run
from skyduel.runner.detect_frame import measured_on
from skyduel.runner.detector_specs import DetectorSpec, installed_defaults, parse_specs
from skyduel.runner.execution.worker_start import leave_starting_worker
from skyduel.runner.frame_steps import checked_catalog, usable_mpix
from skyduel.runner.plan import ProgressCallback, RunPlan
from skyduel.runner.run import run

__all__ = ["find_sources", "read_frame", "run_detectors", "score"]


@takes(dataset=(*PATH, Dataset), out=PATH, settings=Mapping, rules=ScoringRules)
def run_detectors(
    dataset: str | Path | Dataset | None = None,
    detectors: Iterable[str | DetectorSpec] | None = None,
    out: str | Path | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    rules: ScoringRules | None = None,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> Run:
    """Run detectors on the frames of a data set, score them and load the finished run.

    It is exported as ``skyduel.run``. A script must call it below
    ``if __name__ == "__main__":``, for it starts processes, which import the script.

    Parameters
    ----------
    dataset : str, Path or Dataset, optional
        A folder of frames with truth tables, a manifest, or a data set; by default the
        built-in set, which is simulated into the run folder.
    detectors : iterable of str or DetectorSpec
        Names such as ``neural``, or ``LABEL=NAME``, or detectors with their settings; by
        default neural, sep and sep-matched, as far as they are installed.
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
        If the data set, a detector or a setting is wrong, the folder holds another run, no
        frame could be scored, or the script starts it again in the processes that import it.
    """
    leave_starting_worker()
    if detectors is None:
        detectors, line = installed_defaults()
        if line:
            warnings.warn(line, stacklevel=2)
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


def read_frame(path: Any, *, mask_bits: int | None = None, **facts: Any) -> Frame:
    """Read a frame with the mask and the weight map beside it, as every command does.

    Parameters
    ----------
    path : path, array_like, Quantity, NDData, CCDData, HDU or HDUList
        A path as for `skyduel.core.read_frame`; ``NAME_mask``, ``NAME_weight`` and the like are
        used. What is in memory is taken as
        `skyduel.core.io.frames.frame_in_memory` takes it; a `Frame` stays.
    mask_bits : int, optional
        Which bits of the mask make a pixel unusable.
    **facts
        Facts of the frame that stand above its header: ``zero_point``, ``gain``, ``fwhm``, ...

    Raises
    ------
    BadInputError
        As for `skyduel.core.read_frame`, or if this is no image.
    """
    if isinstance(path, Frame):
        return path.with_(**facts) if facts else path
    if not isinstance(path, str | os.PathLike):
        return frame_in_memory(path, **facts)
    return entry_of(path, mask_bits=mask_bits).read(**facts)


@takes(threshold=Real, purity=Real, most=Integral)
def find_sources(
    frame: Any,
    detector: str | Detector = "neural",
    *,
    threshold: float | None = None,
    purity: float | None = None,
    most: int | None = None,
    everything: bool = False,
    **settings: Any,
) -> Catalog:
    """Detect the sources of a frame: what ``skyduel detect`` writes.

    Parameters
    ----------
    frame : Frame, path, array_like, Quantity, NDData, CCDData or HDU
        What is no `Frame` is read by `read_frame`.
    detector : str or Detector
        A registered name, or a detector.
    threshold, purity, most, everything
        Which rows, as for `skyduel.core.operating_point.RowChoice`; by default those at or above
        the detector's own threshold.
    **settings
        Settings of a detector given by name.

    Returns
    -------
    Catalog
        Positions 0-based [px], with the common aperture's flux, and RA and Dec if the frame has a
        WCS. The metadata state where it came from.

    Raises
    ------
    BadInputError
        If the frame, the detector, a setting or the choice cannot be used.
    """
    choice = RowChoice(threshold=threshold, purity=purity, most=most, everything=everything)
    image = read_frame(frame)
    if isinstance(detector, str):
        made = make_detector(detector, settings)
    else:
        made = require_detector(detector)
        if settings:
            raise BadInputError(
                f"detector {made.name!r}", "settings only of a detector given by name",
                ", ".join(settings),
            )  # fmt: skip
    found = measured_on(image, checked_catalog(made(image), made), None)
    return chosen_rows(found, made, made.name, choice, image)


@takes(truth=Catalog, found=Catalog, ignore=PATH, threshold=Real, rules=ScoringRules)
def score(
    truth: Catalog,
    found: Catalog,
    *,
    frame: Any = None,
    ignore: str | os.PathLike[str] | None = None,
    threshold: float | None = None,
    rules: ScoringRules | None = None,
) -> ScoreReport:
    """Score a catalogue against a truth, as ``skyduel score`` does.

    Parameters
    ----------
    truth, found : Catalog
        Of one frame, in its pixels.
    frame : Frame, path or image in memory, optional
        Their frame, as for `find_sources`: both are measured on it in one aperture, and its mask
        counts.
    ignore : path, optional
        Ignore areas of the frame: DS9 regions, a MOC or an image
        (`skyduel.core.areas.ignore_area.read_ignore_area`).
    threshold : float, optional
        Lowest score of a detection; None: what ``found`` states, else every row.
    rules : ScoringRules, optional
        How to match, count and ignore.

    Returns
    -------
    ScoreReport
        ``table`` has every score by magnitude; ``points()`` is for matplotlib.

    Raises
    ------
    BadInputError
        If an argument has another type, or ignore areas are given without a frame or cannot be
        read.
    """
    rules = rules or ScoringRules()
    frame = None if frame is None else read_frame(frame)
    cut = stated_threshold(found.table.meta) if threshold is None else threshold
    if ignore is not None and frame is None:
        raise BadInputError("ignore", "the frame of the ignore areas with them", "no frame")
    area = None
    if ignore is not None and frame is not None:
        area = read_ignore_area(Path(ignore), frame)
    detections, sources = measured_alike(found, truth, frame, rules, area=area)
    known: dict[str, Any] = {}
    if frame is not None:
        known = {
            "frame_shape": frame.shape,
            "mpix": usable_mpix(frame, area),
            "fwhm": frame.fwhm,
            "mask": frame.bad,
            "saturated": frame.saturated(),
            "area": area,
        }
    return score_catalogs(sources, detections, rules, threshold=cut, **known)
