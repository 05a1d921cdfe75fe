"""Checkpoints of a training: its full state for resuming, as safetensors."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.io.atomic_files import atomic_path
from skyduel.detect.model.network import current_names

__all__ = [
    "read_average",
    "resume",
    "save_average",
    "save_checkpoint",
    "trim_log",
    "validated",
]

Settings = TypeVar("Settings", bound=BaseModel)


def save_checkpoint(
    path: Path,
    step: int,
    settings: BaseModel,
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
) -> None:
    """Write network, averaged weights and optimiser after ``step`` steps, atomically."""
    tensors = {f"network.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{k}": v for k, v in state.items()}
    _write(path, tensors, {"step": str(step), "settings": settings.model_dump_json()})


def save_average(
    path: Path, step: int, settings: BaseModel, average: Mapping[str, Tensor], validation: float
) -> None:
    """Write the averaged weights after ``step`` steps and their loss on the validation crops."""
    facts = {"step": str(step), "settings": settings.model_dump_json()}
    tensors = {f"average.{k}": v for k, v in average.items()}
    _write(path, tensors, facts | {"validation": repr(validation)})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    content = save(
        {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, metadata=metadata
    )
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _not_ours(path, error) from error
    return metadata, tensors


def _not_ours(path: Path, error: Exception) -> BadInputError:
    return BadInputError(str(path), "a checkpoint of this program", one_line(error))


def read_average(path: Path, kind: type[Settings]) -> tuple[dict[str, Tensor], Settings, int]:
    """Return averaged weights, settings and steps of a checkpoint or of the best weights so far.

    Raises
    ------
    BadInputError
        If the file is neither.
    """
    metadata, tensors = _read(path)
    try:
        settings, step = kind.model_validate_json(metadata["settings"]), int(metadata["step"])
    except (KeyError, ValueError) as error:
        raise _not_ours(path, error) from error
    average = {
        k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")
    }
    return current_names(average), settings, step


def validated(path: Path, done: int) -> float:
    """Return the loss of the best weights saved within ``done`` steps; infinite without any."""
    if not path.exists():
        return float("inf")
    metadata, _ = _read(path)
    try:
        return float(metadata["validation"]) if int(metadata["step"]) <= done else float("inf")
    except (KeyError, ValueError) as error:
        raise _not_ours(path, error) from error


def resume(
    path: Path,
    s: Settings,
    may_change: Collection[str],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> tuple[int, Settings]:
    """Restore the state of a checkpoint; return the number of steps done and the settings.

    Raises
    ------
    BadInputError
        If it cannot be read, or its settings differ in more than ``may_change``, or
        it belongs to another network.
    """
    metadata, tensors = _read(path)
    try:
        before = type(s).model_validate_json(metadata["settings"])
        step = int(metadata["step"])
    except (KeyError, ValueError) as error:
        raise _not_ours(path, error) from error
    if "start_sha256" in type(s).model_fields and getattr(s, "start_sha256", None) is None:
        s = s.model_copy(update={"start_sha256": getattr(before, "start_sha256", None)})
    was, now = (m.model_dump(exclude=set(may_change)) for m in (before, s))
    changed = [k for k in was if was[k] != now[k]]
    if changed:
        raise BadInputError(
            str(path),
            "the settings of the training it continues, "
            + ", ".join(f"{k}={was[k]!r}" for k in changed),
            ", ".join(f"{k}={now[k]!r}" for k in changed),
        )
    try:
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for key, value in tensors.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = value
        network.load_state_dict(current_names(parts["network"]))
        averaged = current_names(parts["average"])
        for key in average:
            average[key].copy_(averaged[key])
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimiser"].items():
            index, _, name = key.partition(".")
            state.setdefault(int(index), {})[name] = value
        whole = optimiser.state_dict()
        whole["state"] = state
        optimiser.load_state_dict(whole)
    except (KeyError, ValueError, RuntimeError) as error:
        raise BadInputError(str(path), "a checkpoint of this network", one_line(error)) from error
    return step, s


def trim_log(path: Path, done: int) -> None:
    """Drop the log lines of steps after ``done``, which the resumed training repeats."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            whole = json.loads(line)["step"] <= done
        except (ValueError, KeyError, TypeError):  # a truncated line
            whole = False
        if whole:
            kept.append(line)
    with atomic_path(path) as temporary:
        temporary.write_text("".join(kept))
