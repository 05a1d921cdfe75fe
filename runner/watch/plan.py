"""The choices of a watch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from skyduel.core.errors import ArgumentError
from skyduel.core.io.atomic_files import existing_folder
from skyduel.core.operating_point import RowChoice
from skyduel.runner.detector_specs import DetectorSpec
from skyduel.runner.watch.backlog import Order
from skyduel.runner.watch.references import NewSourceRules

__all__ = ["WatchPlan"]


@dataclass(frozen=True, kw_only=True)
class WatchPlan:
    """What is watched, how frames are worked on, and where catalogues go.

    Parameters
    ----------
    folder, out : Path
        Folder of the frames, and folder of the catalogues.
    spec : DetectorSpec
        The detector.
    choice : RowChoice
        Which rows are written.
    format : str
        Ending of the catalogues, without a dot.
    mask_bits : int, optional
        As for `core.read_frame`.
    given : mapping of str to float
        Facts of the frames that stand above those of their headers.
    regions : bool
        Whether a DS9 region file is written beside each catalogue.
    order : {"oldest", "newest"}
        Which of several waiting frames is next.
    limit : int
        Most frames that wait; the oldest above it are skipped. 0: no limit.
    poll_s : float, optional
        The folder is listed so often [s], without inotify.
    patience_s : float
        A file that cannot be read and stays as it is for this long is reported [s].
    once : bool
        Whether the watch ends when no frame is left.
    skipped : bool
        Whether frames that were skipped earlier are taken.
    reference : str, optional
        ``earlier``, or a table to compare catalogues with.
    rules : NewSourceRules
        What counts as new.

    Raises
    ------
    BadInputError
        If the folder is missing or is also that of the catalogues, or a number is impossible.
    """

    folder: Path
    out: Path
    spec: DetectorSpec
    choice: RowChoice
    format: str = "ecsv"
    mask_bits: int | None = None
    given: Mapping[str, float] = field(default_factory=dict)
    regions: bool = False
    order: Order = "oldest"
    limit: int = 0
    poll_s: float | None = None
    patience_s: float = 10.0
    once: bool = False
    skipped: bool = False
    reference: str | None = None
    rules: NewSourceRules = field(default_factory=NewSourceRules)

    def __post_init__(self) -> None:
        existing_folder(self.folder, "a folder to watch")
        if self.out.exists() and self.out.resolve() == self.folder.resolve():
            raise ArgumentError("out", "another folder than that of the frames", str(self.out))
        if self.order not in ("oldest", "newest"):
            raise ArgumentError("order", "oldest or newest", repr(self.order))
        if self.limit < 0:
            raise ArgumentError("limit", "a number, 0 or more", str(self.limit))
        if self.poll_s is not None and not 0 < self.poll_s < 1e6:
            raise ArgumentError("poll_s", "a time above 0 s", repr(self.poll_s))
        if not 0 <= self.patience_s < 1e6:
            raise ArgumentError("patience_s", "a time of 0 s or more", repr(self.patience_s))

    def choices(self) -> dict[str, Any]:
        """Return what must be the same for all catalogues of a folder, as plain values."""
        return {
            "detector": self.spec.model_dump(mode="json"),
            "rows": asdict(self.choice),
            "format": self.format,
            "mask_bits": self.mask_bits,
            "given": dict(self.given),
        }

    def policy(self) -> dict[str, Any]:
        """Return how frames are taken, for the event ``start``."""
        return {
            "order": self.order,
            "queue": self.limit,
            "poll_s": self.poll_s,
            "reference": self.reference,
        }
