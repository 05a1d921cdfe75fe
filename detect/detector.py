"""The neural detector, as a detector of the suite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import ConfigDict, Field

from skyduel.core.catalog import Catalog
from skyduel.core.detector import DetectorInfo
from skyduel.core.errors import require_kind, takes
from skyduel.core.frame import Frame
from skyduel.core.measure.aperture_photometry import as_own_flux, forced_photometry
from skyduel.core.measure.background import Background, estimate_background
from skyduel.core.measure.star_shape import StarShape, measure_star_shape
from skyduel.core.scores.score_map import ScoreMapSetting
from skyduel.core.search_space import Range, Space
from skyduel.core.settings import Settings, build_settings
from skyduel.detect.engine import Engine, RuntimeName, choose_runtime, load_engine
from skyduel.detect.inference.centroids import refine_points, window_sigma
from skyduel.detect.inference.compact_frame import CoarseGrid, compact_frame
from skyduel.detect.inference.compact_rows import OUT_OF_RANGE, measure_compact_rows
from skyduel.detect.inference.context_features import width_and_snr
from skyduel.detect.inference.find_sources import RawSources, Tiling, find_sources
from skyduel.detect.inference.memory import keep_freed_memory
from skyduel.detect.inference.suppression import DEFAULT_SIGMA, suppress
from skyduel.detect.model.score_model import Calibration
from skyduel.detect.model.threads import set_thread_count
from skyduel.detect.model.weights_file import file_sha256, weights_path

__all__ = ["OUT_OF_RANGE", "NeuralDetector", "NeuralSettings", "neural"]


#: Lowest presence probability of a proposal, unless the floor of the settings is lower.
_PROPOSED: Final = 0.02


class NeuralSettings(Settings):
    """Settings of the neural detector."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: Path | None = Field(
        None,
        description="weights file, or the name of shipped ones: full (None) or small, which has"
        " half the arithmetic",
    )
    runtime: RuntimeName = Field(
        "auto",
        description="what computes the network: torch, onnx (onnxruntime, without torch) or"
        " onnx-int8; auto: torch where it is installed, else onnx",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the network runs; auto: a GPU where there is one"
    )
    bf16: bool | None = Field(
        None,
        description="whether torch computes in bfloat16; None: where the processor has it",
    )
    score_threshold: float = Field(0.5, ge=0, le=1, description="default operating point")
    floor: float = Field(0.05, gt=0, lt=1, description="lowest score returned")
    nms_sigma: float = Field(DEFAULT_SIGMA, gt=0, description="width of soft-NMS, in IoU")
    most_per_mpix: int = Field(60000, ge=1, description="bound on proposals per 10⁶ px")
    tile_px: int | None = Field(
        None,
        ge=256,
        multiple_of=16,
        description="side of the tiles in which a frame more than a third larger is handled [px],"
        " a multiple of 16; None: 1536 with torch, 704 with onnx",
    )
    threads: int | None = Field(
        None, ge=1, description="CPU threads; None: torch's own number, or all cores"
    )
    score_map: ScoreMapSetting = Field(
        None,
        description="file of a score map, as truth-free writes it, which lowers scores that promise"
        " too much on one telescope; a run records its content",
    )


#: Settings that do not affect the network's output, with their defaults.
_AFTERWARDS: Final[Mapping[str, Any]] = {
    name: NeuralSettings.model_fields[name].default
    for name in ("score_threshold", "nms_sigma", "score_map")
}


#: Settings that choose or make the engine.
_OF_THE_ENGINE: Final = ("weights", "runtime", "device", "bf16", "threads")


class NeuralDetector:
    """The network, its threshold and its suppression as one detector.

    Parameters
    ----------
    settings : NeuralSettings, optional
        Settings; the defaults if not given.
    name : str
        Name in tables and figures.

    Raises
    ------
    BadInputError
        If the weights cannot be used, or the device or the runtime is not available.
    """

    def __init__(self, settings: NeuralSettings | None = None, name: str = "neural") -> None:
        if settings is not None:
            require_kind("NeuralDetector: settings", settings, NeuralSettings)
        require_kind("NeuralDetector: name", name, str)
        self.settings = settings or NeuralSettings()
        self.name = name
        self._engine: Engine | None = None
        if self.settings.score_map is not None:
            self.settings.score_map.check(
                "neural", file_sha256(weights_path(self.settings.weights))
            )

    @property
    def engine(self) -> Engine:
        """The weights and what computes them, read on first use.

        So only settings are sent to a worker process.
        """
        if self._engine is None:
            s = self.settings
            if s.threads is not None:
                set_thread_count(s.threads)
            self._engine = load_engine(s.weights, s.runtime, device=s.device, bf16=s.bf16)
        return self._engine

    @property
    def weights_sha256(self) -> str:
        """Hash of the weights file."""
        return self.engine.sha256

    @property
    def info(self) -> DetectorInfo:
        """Weights and device, for the run record. The weights are read on first use."""
        return DetectorInfo(
            weights_sha256=self.weights_sha256,
            program_version=self.engine.version,
            device=self.engine.device,
            score_is_probability=True,
            flux_kind="aper",
        )

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "name": self.name, "_engine": None}

    @takes(frame=Frame)
    def __call__(self, frame: Frame) -> Catalog:
        """Detect the points and streaks of a frame above the threshold, in order of falling score.

        Parameters
        ----------
        frame : Frame
            A frame of any size; pixels 0-based, integer at the centre.

        Returns
        -------
        Catalog
            ``score`` is the calibrated probability of a source after soft-NMS; ``flux``,
            ``flux_err`` and ``mag`` are those of the common forced aperture; ``xy_err`` is the
            standard deviation of a point's x, and of its y [px], NaN where unknown.

        Notes
        -----
        If the frame's stars are more elongated or wider than those of the training
        (`StarShape.out_of_range`), the network looks at the frame on a coarser grid that makes
        them compact. The rows then have the bit `OUT_OF_RANGE` in ``flags``. Their positions, S/N
        and ``flux`` (in the circle that holds nine tenths of a star's light) are measured on the
        frame itself; ``score`` is at most the probability of that S/N.
        """
        keep_freed_memory(frame.data.size)
        look = _look(frame)
        raw = self._raw(look, self.settings)
        calibration = self.engine.calibration
        found = assemble(raw, calibration, self.settings)
        return _mapped(_measure(look, found, calibration, self.settings), self.settings)

    @property
    def tuning_space(self) -> Space:
        """Search space of the settings tuned on a calibration split besides the score threshold."""
        return {"nms_sigma": Range(0.05, 1.0, log=True)}

    def variants(self, frame: Frame, changes: Sequence[Mapping[str, Any]]) -> Iterator[Catalog]:
        """Yield the catalogue of a frame for each of several changes of the settings.

        The network runs once for all changes that do not affect its output.
        """
        keep_freed_memory(frame.data.size)
        look = _look(frame)
        seen: dict[str, tuple[RawSources, Calibration]] = {}
        for change in changes:
            s = build_settings(NeuralSettings, "detector neural", change, self.settings)
            looks = s.model_copy(update={**_AFTERWARDS, "floor": min(_PROPOSED, s.floor)})
            key = looks.model_dump_json()
            if key not in seen:
                same = all(getattr(s, k) == getattr(self.settings, k) for k in _OF_THE_ENGINE)
                own = self if same else NeuralDetector(s, self.name)
                seen[key] = own._raw(look, s), own.engine.calibration
            yield _mapped(_measure(look, assemble(*seen[key], s), seen[key][1], s), s)

    def _raw(self, look: _Look, s: NeuralSettings) -> RawSources:
        """Run the network on one frame."""
        engine = self.engine
        if s.threads is not None:
            set_thread_count(s.threads)
        return find_sources(
            *look.seen,
            engine.runtime,
            # Proposals below the floor may still rise above it in the second stage.
            floor=min(_PROPOSED, s.floor),
            most_per_mpix=s.most_per_mpix,
            tiling=Tiling(size_px=s.tile_px or engine.tile_px),
            regions_above=engine.calibration.regions_above,
        )


class _Look(NamedTuple):
    """A frame and its background, and both as the network sees them.

    ``stars`` and ``grid`` are None for a frame whose stars are in the range of the training; the
    network then sees the frame itself.
    """

    frame: Frame
    background: Background
    seen: tuple[Frame, Background]
    stars: StarShape | None = None
    grid: CoarseGrid | None = None


def _look(frame: Frame) -> _Look:
    """Estimate the background, and bring stars outside the range of the training into it."""
    background = estimate_background(frame)
    stars = measure_star_shape(frame, background)
    if stars is None or not stars.out_of_range:
        return _Look(frame, background, (frame, background))
    grid = CoarseGrid.of(stars, frame.shape)
    return _Look(frame, background, compact_frame(frame, background, grid), stars, grid)


def _on_good(frame: Frame, found: Catalog) -> Catalog:
    """Select the points on usable pixels, and all streaks."""
    on_good = ~frame.bad[
        np.rint(found["y"]).astype(int).clip(0, frame.shape[0] - 1),
        np.rint(found["x"]).astype(int).clip(0, frame.shape[1] - 1),
    ]
    return found.select(on_good | found.is_streak)


def _mapped(found: Catalog, settings: NeuralSettings) -> Catalog:
    """Return the catalogue with the scores of the score map, if there is one."""
    return found if settings.score_map is None else settings.score_map.on(found)


def _measure(
    look: _Look, found: Catalog, calibration: Calibration, settings: NeuralSettings
) -> Catalog:
    """Refine the positions of the detections on usable pixels and measure their aperture fluxes."""
    frame, background = look.frame, look.background
    if look.stars is not None and look.grid is not None:
        found = _on_good(look.seen[0], found)
        return measure_compact_rows(frame, background, look.stars, look.grid, found, settings.floor)
    found = forced_photometry(frame, _on_good(frame, found), background=background)
    found = _refine_positions(frame, background, found, calibration)
    return as_own_flux(frame, found)


def _refine_positions(
    frame: Frame, background: Background, found: Catalog, calibration: Calibration
) -> Catalog:
    """Replace positions of bright points by windowed centroids, and measure them again."""
    snr = np.where(found.is_streak, np.nan, found["aper_flux"] / found["aper_flux_err"])
    xy = refine_points(frame, background, found.xy, snr)
    moved = np.flatnonzero((xy != found.xy).any(axis=1))
    found = found.with_columns(x=xy[:, 0], y=xy[:, 1])
    if moved.size == 0:
        return found
    again = forced_photometry(frame, found.select(moved), background=background)
    columns = {name: found[name].copy() for name in ("aper_flux", "aper_flux_err", "aper_mag")}
    for name, values in columns.items():
        values[moved] = again[name]
    if calibration.centroid_error is not None:
        columns["xy_err"] = found["xy_err"].copy()
        columns["xy_err"][moved] = calibration.centroid_error(window_sigma(frame), snr[moved])
    return found.with_columns(**columns)


def assemble(raw: RawSources, calibration: Calibration, settings: NeuralSettings) -> Catalog:
    """Build the catalogue of one frame from the output of the network."""
    kept, logit = suppress(raw.xy, raw.logit, settings.nms_sigma)
    score = calibration.score(logit, raw.context_features[kept])
    kept, score = kept[score >= settings.floor], score[score >= settings.floor]
    xy, error = raw.xy[kept], np.full(len(kept), np.nan)
    if calibration.network_position_error is not None:
        error = calibration.network_position_error(*width_and_snr(raw.context_features[kept]))
    streaks = raw.streaks.copy()
    streaks[:, 4] = calibration.streak_score(streaks[:, 4], streaks[:, 2])
    streaks = streaks[streaks[:, 4] >= settings.floor]
    n, m = len(xy), len(streaks)
    order = np.argsort(-np.concatenate([score, streaks[:, 4]]), kind="stable")
    return Catalog.build(
        source="neural",
        x=np.concatenate([xy[:, 0], streaks[:, 0]]),
        y=np.concatenate([xy[:, 1], streaks[:, 1]]),
        xy_err=np.concatenate([error, np.full(m, np.nan)]),
        score=np.concatenate([score, streaks[:, 4]]),
        kind=np.array(["point"] * n + ["streak"] * m, dtype="U6"),
        length=np.concatenate([np.zeros(n), streaks[:, 2]]),
        theta=np.concatenate([np.zeros(n), streaks[:, 3]]),
    ).select(order)


def neural(**settings: Any) -> NeuralDetector:
    """Return the neural detector; keyword arguments are `NeuralSettings` and ``name``."""
    name = settings.pop("name", "neural")
    made = NeuralDetector(build_settings(NeuralSettings, "detector neural", settings), name)
    choose_runtime(made.settings.runtime)  # before any work
    return made
