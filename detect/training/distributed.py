"""Training in several processes, one per GPU, as started by ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import distributed

__all__ = ["Processes", "is_rank0", "process_group"]


@dataclass(frozen=True)
class Processes:
    """One process of a training: ``rank`` of ``world``, on ``device``."""

    rank: int
    world: int
    device: torch.device

    @property
    def is_rank0(self) -> bool:
        """True for the process that writes files and prints."""
        return self.rank == 0


def is_rank0() -> bool:
    """Return True in the process of rank 0, or without ``torchrun``."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def process_group(device: str) -> Iterator[Processes]:
    """Yield this process; if ``torchrun`` started several, form their process group.

    The backend is NCCL for GPUs and Gloo for CPUs.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes(0, 1, torch.device(device))
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device(device, local) if device == "cuda" else torch.device(device)
    if device == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), world, place)
    finally:
        distributed.destroy_process_group()
