"""Paths of the files of a run folder (`docs/run-folder.md`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skyduel.core.io.atomic_files import safe_name

__all__ = ["CSV", "FOLDERS", "PARQUET", "PDF_NAME", "RunPaths", "trial_outcomes"]

PARQUET: Final = ".parquet"
#: Every table but those of single frames is also written as CSV, for people.
CSV: Final = ".csv"

_TRUTH, _CATALOGS, _PAIRS, _PREVIEWS = "truth", "catalogs", "pairs", "previews"
_MASKS, _IGNORED = "masks", "ignored"
_ANALYSES, _TUNING, _REPORT, _FIGURES, _DATA = "analyses", "tuning", "report", "figures", "data"
#: Folders that a run writes; ``data`` holds the built-in set and is no result.
FOLDERS: Final = (
    *(_TRUTH, _CATALOGS, _PAIRS, _PREVIEWS, _MASKS, _IGNORED),
    *(_ANALYSES, _TUNING, _REPORT),
)
#: Name of the printed report, beside the page.
PDF_NAME: Final = "report.pdf"


def trial_outcomes(folder: Path, detector: str, frame: str) -> Path:
    """Return the path of the outcomes of all trials of a detector on a frame, below a folder."""
    return folder / safe_name(detector) / f"{safe_name(frame)}.npz"


@dataclass(frozen=True)
class RunPaths:
    """Paths within one run folder; none of them need exist.

    Names of frames, detectors and operating points are reduced to letters, digits, ``.``, ``_``,
    ``+`` and ``-`` (`skyduel.core.safe_name`).

    Parameters
    ----------
    folder : Path
        The run folder.
    """

    folder: Path

    @property
    def record(self) -> Path:
        """``run.json``."""
        return self.folder / "run.json"

    @property
    def data(self) -> Path:
        """Folder of the simulated frames of the built-in set."""
        return self.folder / _DATA

    def table(self, name: str, ending: str = PARQUET) -> Path:
        """Return the path of a table of the whole run, such as ``scores``."""
        return self.folder / f"{name}{ending}"

    def analysis(self, name: str, ending: str = PARQUET) -> Path:
        """Return the path of the table of an analysis."""
        return self.folder / _ANALYSES / f"{safe_name(name)}{ending}"

    def truth(self, frame: str) -> Path:
        """Return the path of the truth of a frame, as it was scored."""
        return self.folder / _TRUTH / f"{safe_name(frame)}{PARQUET}"

    def catalog(self, detector: str, frame: str) -> Path:
        """Return the path of the catalogue that a detector returned on a frame."""
        return self.folder / _CATALOGS / safe_name(detector) / f"{safe_name(frame)}{PARQUET}"

    def pairs(self, detector: str, point: str, frame: str) -> Path:
        """Return the path of the pairs of a detector at an operating point on a frame."""
        place = self.folder / _PAIRS / safe_name(detector) / safe_name(point)
        return place / f"{safe_name(frame)}{PARQUET}"

    def preview(self, frame: str) -> Path:
        """Return the path of the 8-bit picture of a frame."""
        return self.folder / _PREVIEWS / f"{safe_name(frame)}.png"

    def mask(self, frame: str) -> Path:
        """Return the path of the mask of a frame, absent where nothing is masked."""
        return self.folder / _MASKS / f"{safe_name(frame)}.png"

    def ignored(self, frame: str) -> Path:
        """Return the path of the ignore areas of a frame, absent where it has none."""
        return self.folder / _IGNORED / f"{safe_name(frame)}.png"

    @property
    def tuning(self) -> Path:
        """Folder of the trials of tuning, also for `trial_outcomes`."""
        return self.folder / _TUNING

    def trials(self, ending: str = PARQUET) -> Path:
        """Return the path of the table of all trials."""
        return self.tuning / f"trials{ending}"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / _REPORT

    @property
    def page(self) -> Path:
        """The report as one HTML page."""
        return self.report / "index.html"

    @property
    def markdown(self) -> Path:
        """The verdict and the main tables as Markdown."""
        return self.report / "report.md"

    def figure(self, name: str, ending: str) -> Path:
        """Return the path of a figure (``png``, ``svg``) or of the numbers it draws (``csv``)."""
        return self.report / _FIGURES / f"{name}.{ending}"
