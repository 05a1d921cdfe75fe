"""Libraries that only a part of the package needs, and how each is installed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

from skyduel.core.errors import ArgumentError, BadInputError

__all__ = [
    "EXTRAS",
    "NOT_ON_A_STATION",
    "is_installed",
    "missing_extra",
    "pip_command",
    "pip_commands",
    "require_one_of",
]

#: Extra of `setup.cfg` that installs a library, by the name that is imported.
EXTRAS: Final[Mapping[str, str]] = {
    "torch": "neural",
    "safetensors": "neural",
    "sklearn": "neural",
    "torchvision": "published",
    "onnxruntime": "onnx",
    "onnx": "export",
    "onnxscript": "export",
    "tensorboard": "train",
    "dask": "cluster",
    "distributed": "cluster",
    "asdf": "asdf",
    "pyvo": "online",
    "astropy_healpix": "hats",
    "watchdog": "watch",
    "paho": "mqtt",
    "regions": "regions",
    "mocpy": "regions",
    "ccdproc": "calibrate",
    "photutils": "photutils",  # on aarch64; elsewhere it is always installed
}

#: Packages of every installation but a station's (`distribution/station.txt`), which only
#: detects and watches, by the name that is imported.
NOT_ON_A_STATION: Final[Mapping[str, str]] = {
    "PIL": "pillow",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
}


def is_installed(library: str) -> bool:
    """Return True if a library can be found; it is not imported."""
    return find_spec(library) is not None


def pip_command(library: str) -> str:
    """Return the command that installs a library of an extra, or all that a station lacks."""
    if library in NOT_ON_A_STATION:
        return f"pip install {' '.join(NOT_ON_A_STATION.values())}"
    return f"pip install 'skyduel[{EXTRAS[library]}]'"


def pip_commands(libraries: Sequence[str]) -> str:
    """Return the commands of which one is enough, if one of several libraries is."""
    return "pip install " + " or ".join(f"'skyduel[{EXTRAS[library]}]'" for library in libraries)


def require_one_of(source: str, libraries: Sequence[str]) -> str:
    """Return the first of some libraries that is installed.

    Raises
    ------
    BadInputError
        If none is, with the commands that install them.
    """
    for library in libraries:
        if is_installed(library):
            return library
    wanted = f"{' or '.join(libraries)} ({pip_commands(libraries)})"
    raise BadInputError(source, wanted, "neither" if len(libraries) > 1 else f"no {libraries[0]}")


def missing_extra(source: str, error: ImportError) -> BadInputError | None:
    """Return the error for an import that failed because a library was left out.

    Parameters
    ----------
    source : str
        What needs the library.
    error : ImportError
        The failed import.

    Returns
    -------
    BadInputError or None
        None if no installation leaves the library out, or it is installed and broken.
    """
    library = (error.name or "").partition(".")[0]
    if library not in {*EXTRAS, *NOT_ON_A_STATION} or not isinstance(error, ModuleNotFoundError):
        return None
    return ArgumentError(source, f"{library} ({pip_command(library)})", f"no {library}")
