"""Layers of the frame viewer: masked pixels and ignore areas, as pictures of one bit a pixel."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from skyduel.reports.pictures import data_uri
from skyduel.run_folder.previews import read_preview
from skyduel.run_folder.read_run import Run

__all__ = ["LAYERS", "Layer", "layers_of"]

#: Most characters of all layers of a page together; a mask of scattered pixels hardly compresses.
MOST_CHARACTERS: Final = 300_000
_COARSEST: Final = 64


@dataclass(frozen=True)
class Layer:
    """A layer that can be switched on and off: key in the script, and label."""

    key: str
    label: str


#: Every layer, in the order of drawing.
LAYERS: Final = (Layer("mask", "Masked pixels"), Layer("area", "Ignore areas"))


def layers_of(run: Run, frame: str, factor: int, share: float) -> dict[str, dict[str, Any]]:
    """Return the layers of a frame that the run has, by key.

    Parameters
    ----------
    run : Run
        The run.
    frame : str
        Name of the frame.
    factor : int
        Width of a pixel of the frame's picture [frame px]; a layer is no finer.
    share : float
        Most characters of a layer; a longer one is made coarser.

    Returns
    -------
    dict
        For each layer ``factor``, the width of its pixels [frame px], and ``image``, a ``data:``
        address of a PNG that is white where any pixel of the frame is masked.
    """
    files: dict[str, Path] = {"mask": run.paths.mask(frame), "area": run.paths.ignored(frame)}
    read = {layer.key: read_preview(files[layer.key]) for layer in LAYERS}
    return {key: _layer(picture, factor, share) for key, picture in read.items() if picture}


def _layer(picture: Image.Image, factor: int, share: float) -> dict[str, Any]:
    masked = np.asarray(picture) > 0
    while True:
        starts = [np.arange(0, side, factor) for side in masked.shape]
        blocks = np.logical_or.reduceat(masked, starts[0], axis=0)
        blocks = np.logical_or.reduceat(blocks, starts[1], axis=1)
        uri = data_uri(Image.fromarray(blocks))
        if len(uri) <= share or factor >= _COARSEST:
            return {"factor": factor, "image": uri}
        factor *= 2
