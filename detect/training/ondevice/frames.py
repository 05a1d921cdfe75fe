"""Simulate the pixels of a batch of scenes; `simulation.simulate` is the reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from skyduel.detect.training.ondevice.profiles import (
    HALF,
    ProfileNumbers,
    Profiles,
    make_profiles,
    splat,
)
from skyduel.detect.training.ondevice.scatter_sums import added
from skyduel.simulation.artefacts import bleed, smear_profile
from skyduel.simulation.psf import OVERSAMPLING, RADIUS
from skyduel.simulation.render import stamp_radii
from skyduel.simulation.sampling import Defects, SceneSources
from skyduel.simulation.scene import (
    GAUSSIAN_FROM_ELECTRONS,
    Points,
    RenderedSources,
    assign_flux,
    extended_points,
    truth_columns,
    wings,
)
from skyduel.simulation.settings import SceneSettings
from skyduel.simulation.variable_psf import Zones

__all__ = ["Made", "Scene", "digitise", "expected_light", "make_frames"]

#: Number of stamp pixels rendered at a time, by type of device.
_STAMP_PIXELS: Final = {"cpu": 1_000_000, "cuda": 32_000_000}

Floats = npt.NDArray[np.float64]


class Scene(NamedTuple):
    """The random numbers that define one frame."""

    settings: SceneSettings
    sources: SceneSources
    defects: Defects


class Made(NamedTuple):
    """A batch of frames.

    ``data`` is (n, ny, nx) in ADU, ``saturation`` (n,) in ADU, infinite where a frame does not
    state it; ``truths`` holds the columns
    of each frame's catalogue, as `skyduel.simulation.scene.truth_columns` gives them.
    """

    data: Tensor
    saturation: Tensor
    truths: list[dict[str, Any]]


def make_frames(
    scenes: Sequence[Scene], device: torch.device, generator: torch.Generator | None
) -> Made:
    """Simulate the frames of scenes of one shape.

    Parameters
    ----------
    scenes : sequence of Scene
        Scenes with the same numbers of rows and columns.
    device : torch.device
        Device of the pixels.
    generator : torch.Generator, optional
        Random generator of the device, which draws the noise.

    Notes
    -----
    Differs from `simulation.simulate` in the noise drawn, and by rounding: averaged over a
    frame, the light of both agrees to 10⁻³ of the noise. Bleeding is sequential along each
    line, so frames with saturated pixels take that step on the host.
    """
    light, rendered = expected_light(scenes, device)
    settings = [scene.settings for scene in scenes]
    data = digitise(_exposed(light, settings, generator), scenes)
    return Made(
        data,
        _each(
            (s.saturation if s.saturation_stated else np.inf for s in settings), device
        ).flatten(),
        [truth_columns(s, one) for s, one in zip(settings, rendered, strict=True)],
    )


def expected_light(
    scenes: Sequence[Scene], device: torch.device
) -> tuple[Tensor, list[RenderedSources]]:
    """Return the expected light [ADU], (n, ny, nx), and the sources of each frame with fluxes."""
    settings = [scene.settings for scene in scenes]
    optics = [s.optics() for s in settings]
    profiles = make_profiles([one for some in optics for one in some], device)
    first = np.concatenate([[0], np.cumsum([len(some) for some in optics])])
    (ny, nx), n = (settings[0].ny, settings[0].nx), len(scenes)
    fields = [Zones((ny, nx), profiles.numbers[a:b]) for a, b in pairwise(first)]
    rendered = [
        assign_flux(s, scene.sources, f)
        for s, scene, f in zip(settings, scenes, fields, strict=True)
    ]

    def render(points: Iterable[tuple[int, Points]]) -> Tensor:
        """Return the images of points, each with its frame's number, in units of its noise."""
        table = _table(list(points), settings, fields, profiles, first)
        stamps = _stamps((n, ny, nx), table, profiles, _STAMP_PIXELS[device.type])
        return added(stamps, n * ny * nx, device).float().reshape(n, ny, nx)

    light = render((i, one.stars) for i, one in enumerate(rendered))
    light = _winged(light, settings, rendered)
    light = light + render(
        (i, points)
        for i, (s, one) in enumerate(zip(settings, rendered, strict=True))
        for points in extended_points(s, one)
    )
    light = light * _each((s.sky_sigma for s in settings), device)

    yy = ((torch.arange(ny, device=device) - (ny - 1) / 2) / ny)[None, :, None]
    xx = ((torch.arange(nx, device=device) - (nx - 1) / 2) / nx)[None, None, :]
    east = _each((s.gradient * np.cos(s.gradient_angle) for s in settings), device)
    north = _each((s.gradient * np.sin(s.gradient_angle) for s in settings), device)
    sky = _each((s.sky for s in settings), device)
    light = light + sky * (1 + east * xx + north * yy).clamp_min(0)
    dark = _each((2 * s.vignetting for s in settings), device)
    light = light * (1 - dark * (xx.square() + yy.square()))
    for axis in (0, 1):
        share = _each((s.smear * (s.smear_axis == axis) for s in settings), device)
        light = light + share * (light - sky).mean(1 + axis, keepdim=True)
        lines = [_smear(scene, field, axis) for scene, field in zip(scenes, fields, strict=True)]
        light = light + torch.from_numpy(np.stack(lines)).to(device).unsqueeze(1 + axis)
    return light.clamp_min(0), rendered


def _smear(scene: Scene, field: Zones[ProfileNumbers], axis: int) -> npt.NDArray[np.float32]:
    """Return the smear of stars beside a frame across its columns (``axis`` 0) or rows (1)."""
    lines = scene.sources.smear_lines if scene.settings.smear_axis == axis else []
    return smear_profile(field.shape[1 - axis], lines, field.psfs[0].across[axis])


def _stamps(
    shape: tuple[int, int, int], table: _Table, profiles: Profiles, at_once: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield indices and values of the pixels of stamps, at most ``at_once`` at a time."""
    device, (_, ny, nx), k = profiles.fine.device, shape, OVERSAMPLING
    side = profiles.fine.shape[1]
    grid, scale = profiles.fine.flatten(), profiles.scale.flatten()
    x, y, r = table.x, table.y, table.radius
    on_frame = (x > -r - 1) & (x < nx + r) & (y > -r - 1) & (y < ny + r)
    for radius in np.unique(r).tolist():
        seen = np.flatnonzero(on_frame & (r == radius))
        offsets = torch.arange(-radius, radius + 1, device=device)
        per_chunk = max(1, at_once // offsets.numel() ** 2)
        for start in range(0, seen.size, per_chunk):
            frame, psf, px, py, flux = (
                torch.from_numpy(column[seen[start : start + per_chunk]]).to(device)
                for column in table[:5]
            )
            ix, kx, wx = _phase(px)
            iy, ky, wy = _phase(py)
            line, column = iy[:, None] + offsets, ix[:, None] + offsets
            place = ((frame[:, None] * ny + line) * nx)[:, :, None] + column[:, None, :]
            on = ((line >= 0) & (line < ny))[:, :, None] & ((column >= 0) & (column < nx))[:, None]
            stamps = torch.zeros(place.shape, device=device)
            for i, wi in ((ky, 1 - wy), (ky + 1, wy)):
                row = HALF + k // 2 + offsets * k - i[:, None]
                for j, wj in ((kx, 1 - wx), (kx + 1, wx)):
                    across = HALF + k // 2 + offsets * k - j[:, None]
                    at = ((psf[:, None] * side + row) * side)[:, :, None] + across[:, None, :]
                    weight = flux * wi * wj * scale[(psf * (k + 1) + i) * (k + 1) + j]
                    stamps += grid[at] * weight.float()[:, None, None]
            yield torch.where(on, place, -1), stamps


class _Table(NamedTuple):
    """Point sources of all frames, each column of shape (n,); flux in units of the noise."""

    frame: npt.NDArray[np.int64]
    profile: npt.NDArray[np.int64]
    x: Floats
    y: Floats
    flux: Floats
    radius: npt.NDArray[np.intp]


def _table(
    points: Sequence[tuple[int, Points]],
    settings: Sequence[SceneSettings],
    fields: Sequence[Zones[ProfileNumbers]],
    profiles: Profiles,
    first: npt.NDArray[np.intp],
) -> _Table:
    """Build a table of points, each with its frame's number, with profiles and stamp radii."""
    none = Points(np.zeros(0), np.zeros(0), np.zeros(0), 1.0)
    points = [(0, none), *points]  # concatenation needs at least one entry
    sigma = np.array([settings[i].sky_sigma for i, _ in points])
    count = np.array([p.x.size for _, p in points])
    frame = np.repeat(np.array([i for i, _ in points], dtype=np.int64), count)
    x, y, flux = (np.concatenate([p[c] for _, p in points]) for c in range(3))
    profile = np.concatenate([first[i] + fields[i].zone(p.x, p.y) for i, p in points])
    negligible = np.repeat(np.array([p.negligible for _, p in points]) / sigma, count)
    flux = flux / np.repeat(sigma, count)
    outside = np.stack([numbers.outside for numbers in profiles.numbers])[profile]
    radius = stamp_radii(flux, outside, negligible, RADIUS)
    return _Table(frame, profile, x, y, flux, radius)


def _phase(position: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split a position into pixel, lower tabulated phase, and weight of the next phase."""
    pixel = (position + 0.5).floor()
    phase = (position - pixel + 0.5) * OVERSAMPLING
    lower = phase.floor().clamp_max(OVERSAMPLING - 1)
    return pixel.long(), lower.long(), phase - lower


def _winged(
    light: Tensor, settings: Sequence[SceneSettings], rendered: Sequence[RenderedSources]
) -> Tensor:
    """Move a fraction of every star's flux to wide wings."""
    device, (_, ny, nx) = light.device, light.shape
    kinds = [wings(s) for s in settings]
    for nth in range(max(map(len, kinds))):
        rows = [i for i, kind in enumerate(kinds) if len(kind) > nth]
        pad = max(kinds[i][nth][0].shape[0] // 2 for i in rows)
        kernels = np.zeros((len(rows), ny + 2 * pad, nx + 2 * pad), dtype=np.float32)
        for kernel, (small, share) in zip(kernels, (kinds[i][nth] for i in rows), strict=True):
            low, high = pad - small.shape[0] // 2, pad + small.shape[0] // 2 + 1
            kernel[low:high, low:high] = small * share
        stars = [rendered[i].stars for i in rows]
        image = np.repeat(np.arange(len(rows)), [star.x.size for star in stars])
        sigma = np.array([settings[i].sky_sigma for i in rows])[image]
        x, y, flux = (
            torch.from_numpy(np.concatenate(column)).to(device)
            for column in zip(*(star[:3] for star in stars), strict=True)
        )
        points = splat(
            torch.from_numpy(image).to(device),
            x + pad,
            y + pad,
            flux / torch.from_numpy(sigma).to(device),
            kernels.shape,
        )
        product = torch.fft.rfft2(points) * torch.fft.rfft2(torch.from_numpy(kernels).to(device))
        far = torch.fft.irfft2(product, kernels.shape[1:])[:, 2 * pad :, 2 * pad :]
        mine = torch.tensor(rows, device=device)
        near = light[mine] * (1 - _each((kinds[i][nth][1] for i in rows), device))
        light = light.index_copy(0, mine, near + far)
    return light


def _exposed(
    light: Tensor, settings: Sequence[SceneSettings], generator: torch.Generator | None
) -> Tensor:
    """Add photon and read noise to the light [ADU]."""
    device = light.device
    gain = _each((s.gain for s in settings), device)
    electrons = light * gain

    def gaussian() -> Tensor:
        return torch.randn(light.shape, generator=generator, device=device)

    few = torch.poisson(electrons.clamp_max(GAUSSIAN_FROM_ELECTRONS), generator=generator)
    noisy = torch.where(
        electrons < GAUSSIAN_FROM_ELECTRONS, few, electrons + electrons.sqrt() * gaussian()
    )
    noise = noisy - electrons + _each((s.read_noise for s in settings), device) * gaussian()
    resampled = [i for i, s in enumerate(settings) if s.correlation]
    if resampled:
        rows = torch.tensor(resampled, device=device)
        noise = noise.index_copy(
            0, rows, _correlated(noise[rows], [settings[i].correlation for i in resampled])
        )
    return (electrons + noise) / gain


def _correlated(noise: Tensor, width: Sequence[float]) -> Tensor:
    """Correlate noise as resampling does; see `skyduel.simulation.artefacts.correlate`."""
    reach = int(np.ceil(2.5 * max(width)))
    axis = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (axis / np.array(width)[:, None]) ** 2)
    kernel *= np.abs(axis) <= np.ceil(2.5 * np.array(width))[:, None]
    kernel /= kernel.sum(axis=1, keepdims=True)
    weight = torch.from_numpy(kernel.astype(np.float32)).to(noise.device)[:, None]
    image = F.pad(noise[None], (reach,) * 4, mode="reflect")
    image = F.conv2d(image, weight[..., None], groups=len(width))
    return F.conv2d(image, weight[:, :, None], groups=len(width))[0]


def digitise(data: Tensor, scenes: Sequence[Scene]) -> Tensor:
    """Digitise exposures [ADU], with the detector's defects."""
    device, (_, ny, nx) = data.device, data.shape
    settings = [scene.settings for scene in scenes]
    sigma = _each((s.sky_sigma for s in settings), device)
    hits = [
        (i * ny * nx + some.pixel, some.value / scene.settings.sky_sigma)
        for i, scene in enumerate(scenes)
        for some in scene.defects.hits
    ]
    if hits:
        where, value = (torch.from_numpy(np.concatenate(c)) for c in zip(*hits, strict=True))
        charge = added([(where.to(device), value.to(device))], data.numel(), device)
        data = data + sigma * charge.float().reshape(data.shape)
    for i, s in enumerate(settings):
        if s.bleeding:
            full = s.saturation - s.bias
            spilt = bleed(data[i].cpu().numpy(), full, s.bleeding, s.bleeding_axis)
            row = torch.tensor([i], device=device)
            data = data.index_copy(0, row, torch.from_numpy(spilt).to(device)[None])
    data = data + sigma * _boxes(scenes, ny, nx, device)
    data = data + _each((s.bias for s in settings), device)
    whole = _each((float(s.quantise) for s in settings), device) > 0
    data = torch.where(whole, data.round().clamp_min(0), data)
    return torch.minimum(data, _each((s.saturation for s in settings), device))


def _boxes(scenes: Sequence[Scene], ny: int, nx: int, device: torch.device) -> Tensor:
    """Return the levels of all boxes, in units of each frame's noise."""
    # Two cumulative sums turn the four corners into a box.
    corners = [
        ((i * (ny + 1) + y) * (nx + 1) + x, sign * float(box.value) / scene.settings.sky_sigma)
        for i, scene in enumerate(scenes)
        for boxes in scene.defects.boxes
        for box in boxes
        for y, x, sign in (
            (box.y0, box.x0, 1), (box.y0, box.x1, -1), (box.y1, box.x0, -1), (box.y1, box.x1, 1),
        )
    ]  # fmt: skip
    shape = len(scenes), ny + 1, nx + 1
    if not corners:
        return torch.zeros(len(scenes), 1, 1, device=device)
    where, value = (np.array(c) for c in zip(*corners, strict=True))
    corner = torch.from_numpy(where).to(device), torch.from_numpy(value).to(device)
    steps = added([corner], math.prod(shape), device)
    return steps.reshape(shape).cumsum(1).cumsum(2)[:, :-1, :-1].float()


def _each(values: Iterable[float], device: torch.device) -> Tensor:
    """Return one number per frame, shape (n, 1, 1)."""
    return torch.tensor(list(values), dtype=torch.float32, device=device)[:, None, None]
