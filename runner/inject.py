"""Inject sources into real frames and write them as a data set for `skyduel run`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from skyduel.core import (
    BadInputError,
    Catalog,
    Dataset,
    Detector,
    Entry,
    Frame,
    detector_info,
    estimate_background,
    safe_name,
    write_catalog,
    write_frame,
    write_manifest,
)
from skyduel.core.errors import ArgumentError
from skyduel.core.used_facts import UsedFacts, used_facts
from skyduel.runner.detector_specs import DetectorSpec, build
from skyduel.runner.read_region import read_region
from skyduel.simulation import (
    InjectionSettings,
    MeasuredPsf,
    draw_injected,
    holds_integers,
    inject,
    measure_psf,
    read_psf,
)

__all__ = ["InjectedFrame", "InjectionPlan", "at_default", "frame_psf", "inject_frames"]


_COLUMNS: Final = ("x", "y", "flux", "mag", "kind", "length", "theta")
#: Columns of a galaxy's shape; a frame without galaxies has none of them.
_SHAPES: Final = ("half_light_px", "axis_ratio", "sersic", "half_light_arcsec")


@dataclass(frozen=True, kw_only=True)
class InjectionPlan:
    """Parameters of `inject_frames`.

    Parameters
    ----------
    frames : sequence of str
        Paths of the images, as for `skyduel.core.read_frame`.
    folder : Path
        Output folder of the frames, their truth and ``manifest.csv``.
    specs : sequence of DetectorSpec
        Detectors that are run on the frames before injection, to find existing sources.
    settings : InjectionSettings
        Settings of the injected sources.
    copies : int
        Number of injected frames made of each frame.
    psf : str
        ``auto`` to measure the PSF on each frame, or as for `skyduel.simulation.read_psf`.
    seed : int
        Seed of all random numbers; a copy depends on it, the position of its frame in the
        list and its own number.
    facts : mapping
        Metadata of the frames that override their headers, such as ``gain``.
    cutout : str, optional
        Region of every frame that is used, as for `skyduel.runner.read_region.read_region`.
    mask_bits : int, optional
        As for `skyduel.core.read_frame`.
    raw : bool
        As for `skyduel.core.Entry`.
    """

    frames: Sequence[str]
    folder: Path
    specs: Sequence[DetectorSpec]
    settings: InjectionSettings = field(default_factory=InjectionSettings)
    copies: int = 1
    psf: str = "auto"
    seed: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    cutout: str | None = None
    mask_bits: int | None = None
    raw: bool = False


@dataclass(frozen=True)
class InjectedFrame:
    """Summary of the injection into one frame and its copies, for display."""

    name: str
    psf: MeasuredPsf
    gain: float | None
    there: int
    points: int
    streaks: int
    galaxies: Catalog
    wanted: int
    facts: UsedFacts


def at_default(detector: Detector, found: Catalog) -> Catalog:
    """Select the rows of a detector's default operating point."""
    cut = detector_info(detector).default_threshold
    return found if cut is None else found.select(found["score"] >= cut)


def frame_psf(frame: Frame, text: str) -> MeasuredPsf:
    """Measure the PSF of a frame for ``auto``, otherwise read it from the specification."""
    if text != "auto":
        return read_psf(text)
    from skyduel.core.registry import make_detector

    return measure_psf(frame, make_detector("sep", {})(frame).xy)


def inject_frames(
    plan: InjectionPlan, on_frame: Callable[[InjectedFrame], None] | None = None
) -> Dataset:
    """Write injected frames with their truth and a manifest, and return the data set.

    The truth of a frame holds the injected sources (``injected`` true) and, with
    ``ignore`` set, all detections of any contestant on the frame before injection, down to
    its floor: real sources, artefacts and noise peaks. A contestant that finds these
    again is neither right nor wrong. A detection that is neither near an injected source
    nor near an earlier detection is false: the injection caused it.

    Raises
    ------
    BadInputError
        If a frame cannot be used, two frames have the same name, or no source can be placed.
    """
    detectors = [build(spec) for spec in plan.specs]
    entries: list[Entry] = []
    for number, path in enumerate(plan.frames):
        frame = read_region(path, plan.cutout, mask_bits=plan.mask_bits, raw=plan.raw, **plan.facts)
        sky = estimate_background(frame)
        before = [(detector, detector(frame)) for detector in detectors]
        seen = _joined([at_default(detector, found) for detector, found in before])
        measured = frame_psf(frame, plan.psf)
        wanted = plan.settings.number + plan.settings.streaks + plan.settings.galaxies
        placed: list[Catalog] = []
        for copy in range(plan.copies):
            rng = np.random.default_rng([plan.seed, number, copy])
            sources = draw_injected(
                frame, measured.psf, plan.settings, rng, there=seen, background=sky
            )
            if wanted and not len(sources):
                required = "room for at least one source; lower avoid or separation"
                got = f"{len(seen)} sources there"
                raise ArgumentError(frame.name, required, got, ("avoid", "separation"))
            name = f"{safe_name(frame.name)}_{copy:03d}"
            if any(entry.name == name for entry in entries):
                raise BadInputError(str(path), "frames of different names", f"{name!r} twice")
            image = inject(frame, sources, measured.psf, rng, background=sky)
            facts = {
                "INJ_FROM": frame.name,
                "INJ_N": len(sources),
                "INJ_PSF": measured.model[:60],
                "INJ_SEED": f"{plan.seed},{number},{copy}",
            }
            image = image.with_(header={**frame.header, **facts}, name=name)
            entry = Entry(
                name=name,
                frame=plan.folder / f"{name}.fits.fz",
                truth=plan.folder / f"{name}.ecsv",
                group=frame.name if len(plan.frames) > 1 else None,
            )
            write_frame(image, entry.frame, dtype=_pixel_type(image))
            assert entry.truth is not None  # given just above
            write_catalog(_truth(sources, before, f"truth of {name}", facts), entry.truth)
            entries.append(entry)
            placed.append(sources)
        if on_frame is not None:
            on_frame(
                InjectedFrame(
                    frame.name,
                    measured,
                    frame.gain,
                    len(seen),
                    sum(int(each.is_point.sum()) for each in placed),
                    sum(int(each.is_streak.sum()) for each in placed),
                    _joined([each.select(each.is_galaxy) for each in placed], _SHAPES),
                    plan.copies * wanted,
                    used_facts(frame),
                )
            )
    dataset = Dataset(name=plan.folder.name, path=plan.folder, entries=tuple(entries))
    write_manifest(dataset, plan.folder / "manifest.csv")
    return dataset


def _joined(catalogs: Sequence[Catalog], further: Sequence[str] = ()) -> Catalog:
    """Concatenate the rows of several catalogues, and those of the further columns they have."""
    if not catalogs:
        return Catalog.empty("there before")
    names = (*_COLUMNS, *(name for name in further if all(name in c for c in catalogs)))
    columns: dict[str, Any] = {name: np.concatenate([c[name] for c in catalogs]) for name in names}
    return Catalog.build(source="there before", **columns)


def _truth(
    sources: Catalog,
    before: Sequence[tuple[Detector, Catalog]],
    source: str,
    facts: Mapping[str, Any],
) -> Catalog:
    """Return the injected sources and, marked as ignored, the earlier detections."""
    there = _joined([found for _, found in before])
    n, m = len(sources), len(there)
    names = np.concatenate(
        [np.full(n, "", dtype="U1"), *[np.full(len(found), d.name) for d, found in before]]
    )
    columns: dict[str, Any] = {
        name: np.concatenate([sources[name], there[name]]) for name in _COLUMNS
    }
    unknown = np.full(m, math.nan)
    shapes = {name: np.concatenate([sources[name], unknown]) for name in _SHAPES if name in sources}
    return Catalog.build(
        source=source,
        meta=dict(facts),
        **columns,
        **shapes,
        snr=np.concatenate([sources["snr"], unknown]),
        ignore=np.arange(n + m) >= n,
        injected=np.arange(n + m) < n,
        nearest_px=np.concatenate([sources["nearest_px"], unknown]),
        found_by=names,
    )


def _pixel_type(frame: Frame) -> str:
    """Return the smallest usual type that holds a frame's pixels."""
    if not holds_integers(frame):
        return "float32"
    usable = frame.data[~frame.bad]
    return "uint16" if usable.min() >= 0 and usable.max() <= 65535 else "int32"
