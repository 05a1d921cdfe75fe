"""Settings of the named frame families, and of the mixture of training frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Final

import numpy as np

from skyduel.core.errors import BadInputError, takes
from skyduel.core.settings import build_settings
from skyduel.simulation.settings import SceneSettings

__all__ = [
    "FAMILIES",
    "FURTHER_FAMILIES",
    "draw_settings",
    "draw_training_settings",
    "draw_undersampled_settings",
]

_Draw = Callable[[np.random.Generator], dict[str, Any]]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _telescope(rng: np.random.Generator) -> dict[str, Any]:
    """Draw the settings of a small wide-field telescope and its sky brightness."""
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


def _galaxies(rng: np.random.Generator) -> dict[str, Any]:
    """Draw as many galaxies as stars; without wings, which would be those of the stars alone."""
    density = _log_uniform(rng, 200, 350) / 512**2
    return {
        "density": density,
        "galaxies": density,
        "galaxy_radius": (0.6, 8.0),
        "galaxies_count": True,
        "aureole": 0.0,
        "streaks": 0.0,
    }


#: Changes of each family to the settings of the common telescope.
FAMILIES: Final[Mapping[str, _Draw]] = {
    "sparse": _sparse,
    "field": _field,
    "aberrated": _aberrated,
    "crowded": _crowded,
    "dirty": _dirty,
}
#: Families that are no part of the built-in set: they are made when they are named.
FURTHER_FAMILIES: Final[Mapping[str, _Draw]] = {"galaxies": _galaxies}


@takes(family=str, rng=np.random.Generator, ny=Integral, nx=Integral)
def draw_settings(
    family: str, rng: np.random.Generator, *, ny: int = 512, nx: int = 512
) -> SceneSettings:
    """Draw the settings of one frame of a named family.

    Parameters
    ----------
    family : str
        One of `FAMILIES` or of `FURTHER_FAMILIES`.
    rng : numpy.random.Generator
        Draws the telescope, the sky and the family's own parameters.
    ny, nx : int
        Shape of the frame.

    Raises
    ------
    BadInputError
        If the family is unknown or a side cannot be one.
    """
    known = {**FAMILIES, **FURTHER_FAMILIES}
    if family not in known:
        raise BadInputError("family", f"one of {', '.join(known)}", repr(family))
    drawn = {"ny": ny, "nx": nx, **_telescope(rng), **known[family](rng)}
    return build_settings(SceneSettings, "draw_settings", drawn)


@takes(rng=np.random.Generator, size=Integral)
def draw_training_settings(rng: np.random.Generator, size: int = 256) -> SceneSettings:
    """Draw the settings of one training frame, from far wider ranges than any test family.

    The density covers three decades and is sometimes zero; the seeing is 0.9–7 px; the
    sky ranges from read-noise-limited to bright. Each artefact is switched on
    independently, so that no artefact predicts another. A third of the frames belong to the
    named families, three in eight of these to the dirty family, with several artefacts each.
    A sixth are undersampled, as behind camera lenses, and an eighth have saturated stars; most
    do not state their saturation, as the headers of real frames.
    """
    if rng.random() < 0.35:
        named = (*FAMILIES, "dirty", "dirty", "sparse")
        return draw_settings(named[int(rng.integers(len(named)))], rng, ny=size, nx=size)
    s = _telescope(rng)
    s |= {
        "gain": _log_uniform(rng, 0.5, 4),
        "read_noise": _log_uniform(rng, 2, 15),
        "sky": _log_uniform(rng, 5, 8000),
        "bias": float(rng.choice([0.0, 100.0, 1000.0])),
        "saturation": float(rng.choice([65535.0, 65535.0, 16383.0, 4095.0 * 8])),
        "fwhm": _log_uniform(rng, 1.3, 4.5),
        "density": 10 ** float(rng.uniform(-4.3, -1.6)),
        "slope": float(rng.uniform(0.2, 0.45)),
        "max_snr": _log_uniform(rng, 300, 10000),
        "gradient": float(rng.choice([0.0, rng.uniform(0, 0.15)])),
        "profile": "gaussian" if rng.random() < 0.15 else "moffat",
        "streaks": 0.0,
    }
    if rng.random() < 0.12:
        s["fwhm"] = float(rng.uniform(4.5, 7.0))
        s["density"] = 10 ** float(rng.uniform(-4.3, -2.3))
    elif rng.random() < 0.12:  # undersampled, as behind camera lenses
        s["fwhm"] = float(rng.uniform(0.9, 1.4))
    if rng.random() < 0.09:
        s["density"] = float(rng.choice([0.0, 10 ** rng.uniform(-6, -4.5)]))
    for draw, share in (
        (_moving, 0.6), (_wings, 0.4), (_halo, 0.15), (_bent, 0.4), (_off_axis, 0.25),
        (_smeared, 0.4), (_hit_pixels, 0.4), (_defects, 0.4), (_extended, 0.2), (_processed, 0.35),
    ):  # fmt: skip
        if rng.random() < share:
            s |= draw(rng)
    if rng.random() < 0.25:
        s |= _camera_lens(rng)
    elif rng.random() < 0.25:
        s |= _full_wells(rng, SceneSettings(**s))
    s["saturation_stated"] = bool(rng.random() < 0.4)
    return build_settings(SceneSettings, "draw_training_settings", {"ny": size, "nx": size, **s})


@takes(rng=np.random.Generator, size=Integral)
def draw_undersampled_settings(rng: np.random.Generator, size: int = 256) -> SceneSettings:
    """Draw the settings of a training frame that a camera lens may have made."""
    return draw_training_settings(rng, size).model_copy(update=_camera_lens(rng))


def _moving(rng: np.random.Generator) -> dict[str, Any]:
    """Draw streaks, many of them along rows or columns, where they resemble smear."""
    return {
        "streaks": float(rng.choice([0.5, 1.5])),
        "streak_length": (12.0, 260.0),
        "streak_snr": (0.9, 30.0),
        "streak_near_axis": 0.35,
        "streak_margin": 60.0,
        "trails": float(rng.choice([0.0, 0.0, 0.6])),
    }


def _wings(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "aureole": float(rng.uniform(0.005, 0.12)),
        "aureole_slope": float(rng.uniform(1.8, 3.5)),
        "aureole_radius": 64,
        "spikes": int(rng.choice([0, 0, 4, 6])),
    }


def _halo(rng: np.random.Generator) -> dict[str, Any]:
    """Draw halos with a rim, as from reflections in the optics and dewed windows."""
    return {
        "ghost": _log_uniform(rng, 0.005, 0.15),
        "ghost_radius": _log_uniform(rng, 8, 45),
        "ghost_hole": float(rng.choice([0.0, 0.0, rng.uniform(0.3, 0.85)])),
        "ghost_shift": float(rng.uniform(0, 6)),
        "ghost_angle": float(rng.uniform(-np.pi, np.pi)),
    }


def _bent(rng: np.random.Generator) -> dict[str, Any]:
    """Draw aberrations and drift that are constant over the frame."""
    s = _aberrated(rng)
    del s["density"]
    return s | {"trefoil": float(rng.choice([0.0, rng.uniform(0, 1.2)]))}


def _off_axis(rng: np.random.Generator) -> dict[str, Any]:
    """Draw a crop of a field whose PSF varies over the field."""
    return {
        "zones": 2,
        "axis_x": float(rng.uniform(-0.5, 1.5)),
        "axis_y": float(rng.uniform(-0.5, 1.5)),
        "field_growth": float(rng.uniform(0, 0.08)),
        "field_coma": float(rng.uniform(0, 0.9)),
        "field_defocus": float(rng.uniform(-0.15, 0.15)),
    }


def _smeared(rng: np.random.Generator) -> dict[str, Any]:
    """Draw readout smear of stars on the frame, beside it, or both."""
    kind = rng.integers(0, 3)
    return {
        "smear_axis": int(rng.integers(0, 2)),
        "smear": _log_uniform(rng, 0.05, 5) if kind != 1 else 0.0,
        "smear_lines": _log_uniform(rng, 0.5, 6) if kind != 0 else 0.0,
    }


def _hit_pixels(rng: np.random.Generator) -> dict[str, Any]:
    return {"cosmic_rays": _log_uniform(rng, 20, 600)}


def _defects(rng: np.random.Generator) -> dict[str, Any]:
    """Draw some of: hot pixels, bad columns, bad rows, bleeding, amplifier steps."""
    some: tuple[dict[str, Any], ...] = (
        {"hot_pixels": _log_uniform(rng, 20, 1000)},
        {"bad_columns": float(rng.uniform(0.3, 3))},
        {"bad_rows": float(rng.uniform(0.3, 4))},
        {"bleeding": float(rng.uniform(0.2, 1)), "bleeding_axis": int(rng.integers(0, 2))},
        {"level_steps": 1.0},
    )
    out: dict[str, Any] = {}
    for part, share in zip(some, (0.6, 0.5, 0.5, 0.4, 0.2), strict=True):
        if rng.random() < share:
            out |= part
    return out


def _camera_lens(rng: np.random.Generator) -> dict[str, Any]:
    """Draw undersampled stars and hot pixels behind a lens that darkens the corners.

    Replaces optics and artefacts that widen the stars.
    """
    return {
        "fwhm": float(rng.uniform(0.8, 1.7)),
        "profile": "gaussian" if rng.random() < 0.5 else "moffat",
        "density": 10 ** float(rng.uniform(-4, -2)),
        "hot_pixels": _log_uniform(rng, 30, 1500),
        "vignetting": float(rng.uniform(0, 0.5)),
        "gradient": float(rng.uniform(0, 0.3)),
        "drift": float(rng.choice([0.0, rng.uniform(0, 1.5)])),
        "drift_angle": float(rng.uniform(-np.pi, np.pi)),
        "coma": float(rng.choice([0.0, rng.uniform(0, 0.5)])),
        "defocus": 0.0,
        "astigmatism": 0.0,
        "trefoil": 0.0,
        "zones": 1,
        "correlation": 0.0,
        "aureole": 0.0,
        "ghost": 0.0,
    }


def _full_wells(rng: np.random.Generator, s: SceneSettings) -> dict[str, Any]:
    """Draw many bright stars, and a saturation that some of them reach."""
    return {
        "saturation": s.sky + s.bias + s.sky_sigma * _log_uniform(rng, 60, 2000),
        "max_snr": _log_uniform(rng, 3000, 50000),
        "slope": float(rng.uniform(0.1, 0.35)),
        "bleeding": float(rng.choice([0.0, rng.uniform(0.2, 1)])),
        "bleeding_axis": int(rng.integers(0, 2)),
    }


def _extended(rng: np.random.Generator) -> dict[str, Any]:
    return {"galaxies": _log_uniform(rng, 3e-5, 2e-3), "galaxy_radius": (0.4, 8.0)}


def _processed(rng: np.random.Generator) -> dict[str, Any]:
    """Draw either resampling or vignetting."""
    if rng.random() < 0.45:
        return {"correlation": float(rng.uniform(0.4, 1.1))}
    return {"vignetting": float(rng.uniform(0.02, 0.12))}
