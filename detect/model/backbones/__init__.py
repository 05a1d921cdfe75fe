"""Backbones by name. Another one is a file in this folder and a line in `BACKBONES`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skyduel.detect.model.backbones.protocol import Backbone, BackboneSettings
from skyduel.detect.model.backbones.resnet import ResNet, ResNetSettings

__all__ = [
    "BACKBONES",
    "Backbone",
    "BackboneSettings",
    "ResNetSettings",
    "backbone_settings",
    "make_backbone",
]

#: Backbones by the name in their settings.
BACKBONES: dict[str, type[Backbone]] = {"resnet": ResNet}


def backbone_settings(given: Mapping[str, Any] | str) -> BackboneSettings:
    """Build the settings of a backbone from its name, or from a mapping with a ``name``.

    Raises
    ------
    ValueError
        If no backbone has that name.
    pydantic.ValidationError
        If a setting is unknown or out of range.
    """
    values = {"name": given} if isinstance(given, str) else dict(given)
    name = values.setdefault("name", "resnet")
    if name not in BACKBONES:
        raise ValueError(f"backbone: one of {', '.join(BACKBONES)} required, got {name!r}")
    return BACKBONES[name].Settings.model_validate(values)


def make_backbone(settings: BackboneSettings, channels: int) -> Backbone:
    """Build a backbone with random weights for images of ``channels`` channels."""
    return BACKBONES[settings.name](settings, channels)
