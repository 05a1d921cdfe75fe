"""Find and load the compiled libraries, and state the reason when that fails.

There are two libraries. `_C` holds the schemas and the CPU kernels and needs only torch.
`_C_cuda` holds the CUDA kernels and is optional, so that a machine without CUDA libraries
still has the CPU operators.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

__all__ = ["Library", "OperatorsUnavailableError", "build_info", "is_available", "load", "require"]

_MENDING = (
    "Build it in the checkout with `pip install --no-build-isolation --no-deps -e .`, "
    'or choose the slow version by name with backend="reference".'
)


class OperatorsUnavailableError(RuntimeError):
    """Raised when the compiled operators are needed and are not there."""


_OPERATORS = ("roi_align", "roi_align_backward", "nms", "soft_nms")


@dataclass(frozen=True)
class Library:
    """One compiled library: its path, or the reason why it could not be loaded."""

    path: Path | None
    problem: str | None

    @property
    def loaded(self) -> bool:
        """True if its operators are registered."""
        return self.problem is None


def load(stem: str) -> Library:
    """Load the library `stem` from this folder; a failure is returned, not raised."""
    folder = Path(__file__).parent
    found = sorted(folder.glob(f"{stem}.*so"))
    if not found:
        return Library(None, f"{stem} has not been built (no {stem}.*so in {folder})")
    try:
        torch.ops.load_library(found[0])  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        return Library(
            found[0], f"{found[0].name} cannot be loaded with torch {torch.__version__}: {reason}"
        )
    missing = [name for name in _OPERATORS if not hasattr(torch.ops.skyduel, name)]
    if missing:
        return Library(
            found[0], f"{found[0].name} was built from other sources and has no {missing[0]}"
        )
    return Library(found[0], None)


# The operators must be registered before anything is traced, compiled or
# exported, so loading happens on import; a failure waits for the first call.
_CPU = load("_C")
_CUDA = load("_C_cuda") if _CPU.loaded else Library(None, _CPU.problem)


def is_available(device: torch.device | str = "cpu") -> bool:
    """Return True if the compiled kernels for a device type are loaded.

    Parameters
    ----------
    device : torch.device or str
        Only its type matters. The result does not depend on whether such a
        device is present.

    Returns
    -------
    bool
        True for "cpu" or "cuda" with its library loaded.
    """
    libraries = {"cpu": _CPU, "cuda": _CUDA}
    library = libraries.get(torch.device(device).type)
    return library is not None and library.loaded


def require(device: torch.device) -> None:
    """Raise `OperatorsUnavailableError` unless the kernels for `device` are loaded."""
    if is_available(device):
        return
    library = {"cpu": _CPU, "cuda": _CUDA}.get(device.type)
    if library is None:
        raise OperatorsUnavailableError(
            f"skyduel's compiled operators run on cpu and cuda; got a tensor on {device}"
        )
    raise OperatorsUnavailableError(
        f"skyduel's compiled operators for {device.type} are not loaded: {library.problem}. "
        f"{_MENDING}"
    )


def build_info() -> dict[str, Any]:
    """Return what was compiled and which libraries are loaded.

    Returns
    -------
    dict
        `cpu`, `cuda`: True if loaded; `cpu_problem`, `cuda_problem`: the reason
        why not, or None; and, where the CPU library is loaded, `torch_target` (the
        oldest torch the binaries serve), `compiled_with_torch`, `compiler`,
        `cpu_capability` (the instruction set in use) and `cuda_architectures`
        (empty without CUDA).
    """
    info: dict[str, Any] = {
        "cpu": _CPU.loaded,
        "cpu_problem": _CPU.problem,
        "cuda": _CUDA.loaded,
        "cuda_problem": _CUDA.problem,
        "cuda_architectures": [],
    }
    for library, operator in ((_CPU, "_build_info"), (_CUDA, "_cuda_build_info")):
        if library.loaded:
            text = str(getattr(torch.ops.skyduel, operator)())
            info |= dict(line.split("=", 1) for line in text.splitlines())
    if isinstance(info["cuda_architectures"], str):
        info["cuda_architectures"] = info["cuda_architectures"].replace(";", " ").split()
    return info
