"""Named kinds of frame, and the wide mixture the network is trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from catalog.errors import BadInputError
from simulation.scene import SceneSettings

__all__ = ["FAMILIES", "draw_settings", "draw_training_settings"]

_Draw = Callable[[np.random.Generator], dict[str, Any]]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _telescope(rng: np.random.Generator) -> dict[str, Any]:
    """Return a small wide-field telescope under a sky of some brightness."""
    return {
        "gain": float(rng.uniform(1.1, 2.0)),
        "read_noise": float(rng.uniform(4, 12)),
        "sky": _log_uniform(rng, 200, 6000),
        "fwhm": float(rng.uniform(1.7, 3.1)),
        "beta": float(rng.uniform(2.3, 4.5)),
        "zero_point": float(rng.uniform(25.5, 28.0)),
        "pixel_scale_arcsec": float(rng.uniform(1.5, 3.0)),
        "slope": float(rng.uniform(0.30, 0.33)),
        "gradient": float(rng.uniform(0, 0.04)),
        "gradient_angle": float(rng.uniform(-np.pi, np.pi)),
        "aureole": float(rng.choice([0.0, rng.uniform(0.01, 0.06)])),
        "streaks": 1.0,
    }


def _sparse(rng: np.random.Generator) -> dict[str, Any]:
    return {"density": _log_uniform(rng, 60, 110) / 512**2, "streaks": 0.3}


def _field(rng: np.random.Generator) -> dict[str, Any]:
    return {"density": _log_uniform(rng, 350, 600) / 512**2}


def _aberrated(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "density": _log_uniform(rng, 350, 600) / 512**2,
        "coma": float(rng.uniform(0.3, 2.2)),
        "astigmatism": float(rng.uniform(0.0, 1.2)),
        "defocus": float(rng.uniform(-1.0, 1.0)),
        "aberration_angle": float(rng.uniform(-np.pi, np.pi)),
        "drift": float(rng.choice([0.0, rng.uniform(0.5, 3.0)])),
        "drift_angle": float(rng.uniform(-np.pi, np.pi)),
    }


def _crowded(rng: np.random.Generator) -> dict[str, Any]:
    return {"density": _log_uniform(rng, 2300, 4500) / 512**2, "streaks": 1.5}


def _dirty(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "density": _log_uniform(rng, 350, 600) / 512**2,
        "cosmic_rays": float(rng.uniform(40, 250)),
        "hot_pixels": float(rng.uniform(40, 300)),
        "bad_columns": float(rng.uniform(1, 4)),
        "smear": _log_uniform(rng, 0.1, 2.0),
        "smear_axis": int(rng.integers(0, 2)),
        "trails": 0.5,
    }


#: What each family changes of the common telescope.
FAMILIES: Final[Mapping[str, _Draw]] = {
    "sparse": _sparse,
    "field": _field,
    "aberrated": _aberrated,
    "crowded": _crowded,
    "dirty": _dirty,
}


def draw_settings(
    family: str, rng: np.random.Generator, *, ny: int = 512, nx: int = 512
) -> SceneSettings:
    """Return settings of one frame of a named family.

    Parameters
    ----------
    family : str
        One of `FAMILIES`.
    rng : numpy.random.Generator
        Draws the telescope, the sky and the family's own parameters.
    ny, nx : int
        Shape of the frame.

    Raises
    ------
    BadInputError
        If the family is unknown.
    """
    if family not in FAMILIES:
        raise BadInputError("family", f"one of {', '.join(FAMILIES)}", repr(family))
    return SceneSettings(ny=ny, nx=nx, **{**_telescope(rng), **FAMILIES[family](rng)})


def draw_training_settings(rng: np.random.Generator, size: int = 256) -> SceneSettings:
    """Return settings of one training frame, far wider than any test family.

    Density covers three decades and is now and then nearly nothing; seeing 1.5–5 px;
    sky from read-noise-limited to bright; each artefact is switched on
    independently, so that none becomes the sign of another.
    """
    s = _telescope(rng)
    s |= {
        "gain": _log_uniform(rng, 0.5, 4),
        "read_noise": _log_uniform(rng, 2, 15),
        "sky": _log_uniform(rng, 5, 8000),
        "bias": float(rng.choice([0.0, 100.0, 1000.0])),
        "saturation": float(rng.choice([65535.0, 65535.0, 16383.0, 4095.0 * 8])),
        "fwhm": _log_uniform(rng, 1.5, 4.5),
        "density": 10 ** float(rng.uniform(-4.3, -1.6)),
        "slope": float(rng.uniform(0.2, 0.45)),
        "max_snr": _log_uniform(rng, 300, 10000),
        "gradient": float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        "streaks": float(rng.choice([0.0, 0.4, 1.0], p=[0.5, 0.3, 0.2])),
        "streak_length": (12.0, 120.0),
        "profile": "gaussian" if rng.random() < 0.15 else "moffat",
    }
    if rng.random() < 0.06:
        s["density"] = 10 ** float(rng.uniform(-6, -4.5))
    if rng.random() < 0.4:
        s |= {
            "aureole": float(rng.uniform(0.005, 0.12)),
            "aureole_slope": float(rng.uniform(1.8, 3.5)),
            "aureole_radius": 64,
            "spikes": int(rng.choice([0, 0, 4, 6])),
        }
    if rng.random() < 0.4:
        s |= _aberrated(rng) | {"density": s["density"]}
        s |= {"trefoil": float(rng.choice([0.0, rng.uniform(0, 1.2)]))}
    if rng.random() < 0.3:
        s["smear"], s["smear_axis"] = _log_uniform(rng, 0.05, 5), int(rng.integers(0, 2))
    if rng.random() < 0.4:
        s["cosmic_rays"] = _log_uniform(rng, 20, 600)
    if rng.random() < 0.3:
        s["hot_pixels"] = _log_uniform(rng, 20, 1000)
    if rng.random() < 0.3:
        s["bad_columns"] = float(rng.uniform(0.3, 3))
    if rng.random() < 0.3:
        s["bad_rows"] = float(rng.uniform(0.3, 4))
    if rng.random() < 0.12:
        s["trails"] = 0.8
    return SceneSettings(ny=size, nx=size, **s)
