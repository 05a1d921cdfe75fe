"""The published network as a detector of the suite."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field

from skyduel.core.catalog import Catalog
from skyduel.core.detector import DetectorInfo
from skyduel.core.errors import BadInputError
from skyduel.core.extras import require_one_of
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import as_own_flux, forced_photometry
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.settings import Settings, build_settings
from skyduel.detect.inference.find_sources import Tiling, tile_spans
from skyduel.detect.model.threads import set_thread_count
from skyduel.detect.published.boxes import STREAK, length_and_angle
from skyduel.detect.published.form import FORMS, NOT_AFTERWARDS, Faults, FormName

if TYPE_CHECKING:
    from torch import Tensor

    from skyduel.detect.published.network import Boxes
    from skyduel.detect.published.weights import PublishedWeights

__all__ = ["JiaDetector", "JiaSettings", "jia2020", "shipped_weights"]

#: Tiles of a frame that is not resized, and the context around their cores [px].
_TILING: Final = Tiling(size_px=512, margin_px=32)
#: Tiles start at multiples of the coarsest stride [px].
_MULTIPLE: Final = 16
#: Proposals of a published frame, and per 10⁶ px without that limit.
FEW_PROPOSALS: Final = 300
PROPOSALS_PER_MPIX: Final = 12000


class JiaSettings(Settings):
    """Settings of the detector ``jia2020``. A fault that is not given is the form's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: FormName = Field(
        "mended", description="faithful: all published faults; mended: none of them"
    )
    weights: Path | None = Field(None, description="weights file; None: the shipped ones")
    score_threshold: float = Field(0.5, ge=0, le=1, description="default operating point")
    floor: float = Field(0.05, gt=0, lt=1, description="lowest score before soft-NMS")
    threads: int | None = Field(None, ge=1, description="CPU threads; None: torch's own number")
    misregistered_anchors: bool | None = Field(None, description="see Faults")
    small_anchors: bool | None = Field(None, description="see Faults")
    linear_head: bool | None = Field(None, description="see Faults")
    frozen_stem: bool | None = Field(None, description="see Faults")
    few_labels: bool | None = Field(None, description="see Faults")
    few_proposals: bool | None = Field(None, description="see Faults")
    resized: bool | None = Field(None, description="see Faults")
    min_max_scaling: bool | None = Field(None, description="see Faults")
    fixed_boxes: bool | None = Field(None, description="see Faults")
    pixel_areas: bool | None = Field(None, description="see Faults")

    @property
    def faults(self) -> Faults:
        """The faults asked for: those of the form, but for the ones given."""
        given = {name: getattr(self, name) for name in Faults.model_fields}
        return FORMS[self.form].model_copy(
            update={name: value for name, value in given.items() if value is not None}
        )


def shipped_weights(form: FormName) -> Path:
    """Return the path of a form's shipped weights."""
    return Path(__file__).with_name("shipped") / f"jia2020-{form}.safetensors"


class JiaDetector:
    """The network of Jia, Liu & Sun (2020) with its soft-NMS as one detector.

    Parameters
    ----------
    settings : JiaSettings, optional
        Settings; the defaults if not given.
    name : str
        Name in tables and figures.

    Raises
    ------
    BadInputError
        If torchvision is not installed. On first use: if there are no weights of the form, or
        their network was trained with other faults.
    """

    def __init__(self, settings: JiaSettings | None = None, name: str = "jia2020") -> None:
        require_one_of("detector 'jia2020'", ["torchvision"])
        self.settings = settings or JiaSettings()
        self.name = name
        self._weights: PublishedWeights | None = None

    @property
    def weights(self) -> PublishedWeights:
        """The network and the facts of its training, read on first use."""
        if self._weights is None:
            self._weights = _read(self.settings)
        return self._weights

    @property
    def info(self) -> DetectorInfo:
        """Hash of the weights, for the run record. The weights are read on first use."""
        return DetectorInfo(weights_sha256=self.weights.sha256, flux_kind="aper")

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "name": self.name, "_weights": None}

    def __call__(self, frame: Frame) -> Catalog:
        """Detect the points and streaks of a frame, in order of falling score.

        Parameters
        ----------
        frame : Frame
            A frame of any size; pixels 0-based, integer at the centre.

        Returns
        -------
        Catalog
            ``score`` is the class probability after soft-NMS; it is not calibrated. ``x`` and
            ``y`` are the centre of the box. ``flux``, ``flux_err`` and ``mag`` are those of the
            common forced aperture. With fixed boxes a streak has length 0.
        """
        from skyduel.detect.published.network import suppress

        if self.settings.threads is not None:
            set_thread_count(self.settings.threads)
        faults, background = self.settings.faults, estimate_background(frame)
        found = suppress(self._boxes(frame, background), pixel_areas=faults.pixel_areas)
        catalog = _catalog(frame, background, found, faults)
        return as_own_flux(frame, forced_photometry(frame, catalog, background=background))

    def _boxes(self, frame: Frame, background: Background) -> Boxes:
        """Return the boxes of a frame before soft-NMS [px of the frame from its edges]."""
        import torch

        from skyduel.detect.published.inputs import as_tensor, resized, scaled
        from skyduel.detect.published.network import Boxes

        faults = self.settings.faults
        image = as_tensor(scaled(frame, background, published=faults.min_max_scaling))
        if faults.resized:
            small, factor = resized(image)
            found = self._detect(small, frame.shape)
            return found._replace(boxes=found.boxes / factor)
        parts = []
        for y0, y1, top, bottom in tile_spans(frame.shape[0], _TILING, _MULTIPLE):
            for x0, x1, left, right in tile_spans(frame.shape[1], _TILING, _MULTIPLE):
                part = self._detect(image[:, y0:y1, x0:x1], (y1 - y0, x1 - x0))
                boxes = part.boxes.double() + torch.tensor([x0, y0, x0, y0])
                x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).unbind(1)
                inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
                parts.append(Boxes(boxes[inside], part.scores[inside], part.labels[inside]))
        return Boxes(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _detect(self, image: Tensor, shape: tuple[int, int]) -> Boxes:
        """Return the boxes of one image, which shows a part of a frame of the given shape."""
        many = round(PROPOSALS_PER_MPIX * shape[0] * shape[1] / 1e6)
        most = FEW_PROPOSALS
        if not self.settings.faults.few_proposals:
            most = max(FEW_PROPOSALS, many)
        return self.weights.network.detect(image, floor=self.settings.floor, proposals=most)


def _read(settings: JiaSettings) -> PublishedWeights:
    """Read the weights of the settings, and verify that they have the faults asked for."""
    from skyduel.detect.published.weights import read_weights

    path = settings.weights or shipped_weights(settings.form)
    if settings.weights is None and not path.exists():
        raise BadInputError(
            "detector 'jia2020'",
            f"the setting weights, a file of `skyduel train --network jia2020 --form "
            f"{settings.form}`",
            f"no shipped weights of the form {settings.form}",
        )
    read = read_weights(path)
    asked, trained = settings.faults, read.network.faults
    other = [name for name in NOT_AFTERWARDS if getattr(asked, name) != getattr(trained, name)]
    if other:
        raise BadInputError(
            f"detector 'jia2020': {', '.join(other)}",
            "weights trained with "
            + ", ".join(f"{name}={str(getattr(asked, name)).lower()}" for name in other),
            f"{path.name}, trained with "
            + ", ".join(f"{name}={str(getattr(trained, name)).lower()}" for name in other),
        )
    return read


def _catalog(frame: Frame, background: Background, found: Boxes, faults: Faults) -> Catalog:
    """Convert boxes to positions, integer at a pixel's centre, and streaks to lines."""
    boxes = found.boxes.double().numpy()
    xy = (boxes[:, :2] + boxes[:, 2:]) / 2 - 0.5
    streak = found.labels.numpy() == STREAK
    length, theta = np.zeros(len(boxes)), np.zeros(len(boxes))
    if not faults.fixed_boxes:
        for row in np.flatnonzero(streak):
            patch = _patch(frame, background, boxes[row])
            length[row], theta[row] = length_and_angle(boxes[row], patch)
    made = Catalog.build(
        source="jia2020",
        x=xy[:, 0],
        y=xy[:, 1],
        score=found.scores.double().numpy(),
        kind=np.where(streak, "streak", "point"),
        length=length,
        theta=theta,
    )
    return made.select(np.argsort(-made["score"], kind="stable"))


def _patch(
    frame: Frame, background: Background, box: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Return the pixels in a box above the background; 0 where masked."""
    x1, y1, x2, y2 = (int(v) for v in (*np.floor(box[:2]), *np.ceil(box[2:])))
    part = slice(max(y1, 0), max(y2, y1 + 1)), slice(max(x1, 0), max(x2, x1 + 1))
    above = frame.data[part] - background.level[part]
    return np.where(frame.bad[part], np.float32(0.0), above)


def jia2020(**settings: Any) -> JiaDetector:
    """Return the published network; keyword arguments are `JiaSettings` and ``name``."""
    name = settings.pop("name", "jia2020")
    return JiaDetector(build_settings(JiaSettings, "detector jia2020", settings), name)
