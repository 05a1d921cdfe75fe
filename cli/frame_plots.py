"""Draw what `skyduel detect` found on each frame, for its option ``--plot``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from skyduel.core import Catalog, Frame, LargeImage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["PLOT_ENDINGS", "FramePlots"]

#: The first one is that of the files in a folder.
PLOT_ENDINGS: Final = (".png", ".svg", ".pdf")


class FramePlots:
    """The figures of frames, drawn one after the other.

    Parameters
    ----------
    targets : mapping of str to Path
        The file of each frame, which ends in one of `PLOT_ENDINGS`; none: nothing is drawn.
    """

    def __init__(self, targets: Mapping[str, Path]) -> None:
        self._targets = targets
        self._seen: tuple[npt.NDArray[np.uint8], tuple[int, int], Catalog] | None = None

    def look(self, plane: object, found: Catalog) -> None:
        """Keep a small picture of a frame, and its sources."""
        if self._targets and isinstance(plane, Frame | LargeImage):
            from skyduel.reports.figures.sources import reduced
            from skyduel.runner.large_images import picture_of

            self._seen = reduced(picture_of(plane)[::-1]), plane.shape, found

    def write(self, frame: str, name: str, said: str) -> Path | None:
        """Write the figure of the frame that was looked at last; None if nothing is drawn.

        Raises
        ------
        UnwritableError
            If the file cannot be written.
        """
        if self._seen is None:
            return None
        from skyduel.reports.figures.sources import sources_figure
        from skyduel.reports.page.write_files import figure_bytes, write_file

        target = self._targets[frame]
        picture, shape, found = self._seen
        self._seen = None
        figure = sources_figure(picture, shape, found, name, said)
        return write_file(target, figure_bytes(figure, target.suffix.lower()[1:]))
