"""Faults of the published network, each a setting; the two forms are all of them and none."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from pydantic import ConfigDict, Field

from skyduel.core.settings import Settings

__all__ = ["CLASSES", "FAITHFUL", "FORMS", "MENDED", "NOT_AFTERWARDS", "Faults", "FormName"]

FormName: TypeAlias = Literal["faithful", "mended"]

#: Classes of the network, in the order of its outputs.
CLASSES: Final = ("background", "point", "streak")


class Faults(Settings):
    """Faults of the published network; True keeps a fault, False mends it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    misregistered_anchors: bool = Field(
        description="anchors step by 1, 2, 4, 8, 16 px where the maps step by 2, 4, 8, 8, 16 px:"
        " three levels cover a quarter of the frame"
    )
    small_anchors: bool = Field(
        description="anchors of 1, 2, 4, 8, 16 px, of which none overlaps a 10 px box by 0.7,"
        " instead of 8, 16, 32, 64, 128 px"
    )
    linear_head: bool = Field(description="leaky ReLU of slope 1 in the head, instead of ReLU")
    frozen_stem: bool = Field(description="stem and first stage stay at their random values")
    few_labels: bool = Field(
        description="at most 110 sources of a training frame of 500 px are labelled, of a"
        " smaller one as many per pixel"
    )
    few_proposals: bool = Field(
        description="300 proposals a frame, instead of 12,000 per 10⁶ px (at least 300)"
    )
    resized: bool = Field(
        description="the shorter side is resized to 500 px, instead of tiles at full resolution"
    )
    min_max_scaling: bool = Field(
        description="(x - mean) / (max - min) in three equal channels, instead of stretches in"
        " units of the noise"
    )
    fixed_boxes: bool = Field(
        description="boxes of 10 px (points) and 12 px (streaks) at truncated positions, instead"
        " of 8 px at the position and the extent of the streak"
    )
    pixel_areas: bool = Field(
        description="soft-NMS adds 1 px to widths and heights, instead of the true areas"
    )


#: The published system.
FAITHFUL: Final = Faults(**dict.fromkeys(Faults.model_fields, True))
#: The same architecture without the faults.
MENDED: Final = Faults(**dict.fromkeys(Faults.model_fields, False))
FORMS: Final = {"faithful": FAITHFUL, "mended": MENDED}
#: Faults that are part of trained weights: to turn one, a network must be trained again.
NOT_AFTERWARDS: Final = (
    "misregistered_anchors", "small_anchors", "linear_head", "frozen_stem", "few_labels",
    "fixed_boxes",
)  # fmt: skip
