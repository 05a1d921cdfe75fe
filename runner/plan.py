"""`RunPlan`: what a run does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from skyduel.core import Dataset, Sectioning
from skyduel.evaluation import ScoringRules
from skyduel.evaluation.suspect_list import SuspectList
from skyduel.run_folder.layout import RunPaths
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.execution.executors import IN_FLIGHT_CLUSTER, IN_FLIGHT_EACH
from skyduel.runner.tune import TuningRules

__all__ = ["ProgressCallback", "RunPlan"]

#: Called with a stage, the item that it just finished (empty at its start) and the number of
#: items in all.
ProgressCallback = Callable[[str, str, int], None]


@dataclass(frozen=True)
class RunPlan:
    """Plan of a run: data set, detectors, rules, folder and resources.

    Parameters
    ----------
    dataset : Dataset
        The frames with their truth.
    specs : sequence of DetectorSpec
        The detectors.
    rules : ScoringRules
        How detections are matched and scored.
    folder : Path
        The run folder.
    workers : int
        Processes that work on frames in parallel. The tables do not depend on their number,
        only the timings do.
    truth_workers : int, optional
        Processes that prepare truths and previews, and that score detectors, which is not timed;
        by default ``workers``.
    fresh : bool
        Replace an earlier run in the folder instead of completing it.
    command : str
        Command line, for the record.
    seeds : mapping, optional
        Seeds, for the record.
    tuning : TuningRules, optional
        If given, every detector with a search space takes part once more, with settings chosen
        on other frames.
    sectioning : Sectioning
        Which frames are read and searched section by section, and the size of the sections.
    scheduler : str, optional
        Address of a Dask cluster whose workers handle the frames; they must see the same files.
        ``workers`` then only limits the processes of tuning, which run on this machine.
    frame_timeout_s : float, optional
        A frame on which a detector takes longer [s] is recorded as a failure of the detector.
    resume : bool
        Whether there must be an earlier run to complete.
    suspects : SuspectList, optional
        Suspects in the truth that the user asked to be ignored.
    """

    dataset: Dataset
    specs: Sequence[DetectorSpec]
    rules: ScoringRules
    folder: Path
    workers: int = 1
    truth_workers: int | None = None
    fresh: bool = False
    command: str = ""
    seeds: Mapping[str, int | None] | None = None
    tuning: TuningRules | None = None
    sectioning: Sectioning = Sectioning()  # noqa: RUF009 - frozen
    scheduler: str | None = None
    frame_timeout_s: float | None = None
    resume: bool = False
    suspects: SuspectList | None = None

    @property
    def paths(self) -> RunPaths:
        """Paths of the run folder."""
        return RunPaths(self.folder)

    def in_flight(self, workers: int) -> int:
        """Frames handed out at a time: enough that no worker waits, however many frames there are.

        The number of workers of a cluster is unknown and may change.
        """
        return IN_FLIGHT_CLUSTER if self.scheduler else IN_FLIGHT_EACH * workers
