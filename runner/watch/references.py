"""Compare a catalogue with a reference, and name what is new: the transient candidates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from skyduel.core import (
    BadInputError,
    Catalog,
    atomic_path,
    pixel_positions,
    read_catalog,
    safe_name,
)
from skyduel.core.errors import ArgumentError
from skyduel.core.frame import Plane
from skyduel.core.wcs import sky_positions
from skyduel.evaluation.matching.new_sources import EarlierPositions, seen_before
from skyduel.evaluation.matching.pixel_shift import PixelShift, estimate_shift

__all__ = [
    "Comparison",
    "EarlierFrames",
    "NewSourceRules",
    "Reference",
    "ReferenceTable",
    "candidate_rows",
    "open_reference",
]

Floats = npt.NDArray[np.float64]

#: Folder of the positions of earlier frames, in that of the catalogues.
_EARLIER: Final = "earlier"
#: Most earlier frames of all fields that are kept.
_MOST_FRAMES: Final = 200
#: Detections this close to the edge of an earlier frame need not be complete [px].
_EDGE_PX: Final = 8.0
_SIDE: Final = 8
#: Most candidates in an event.
_MOST_ROWS: Final = 100
#: A row of an earlier frame with less than this fraction of the flux is another source, by chance
#: at the same place: the lowest scores stand for much noise.
_FLUX_FRACTION: Final = 1 / 3


@dataclass(frozen=True, kw_only=True)
class NewSourceRules:
    """What counts as a new source.

    Parameters
    ----------
    radius_px : float
        A source with a row of the reference within this distance was seen before [px].
    snr : float
        Lowest S/N in the common aperture, ``aper_flux / aper_flux_err``.
    most_seen : int
        Most earlier frames in which it was seen.
    fewest_frames : int
        Fewest earlier frames that cover its position.
    keep : int
        How many earlier frames of a field are kept.

    Raises
    ------
    BadInputError
        If a number is impossible.
    """

    radius_px: float = 2.0
    snr: float = 10.0
    most_seen: int = 0
    fewest_frames: int = 3
    keep: int = 20

    def __post_init__(self) -> None:
        if not self.radius_px > 0:
            raise ArgumentError("radius_px", "a radius above 0", repr(self.radius_px))
        if not self.snr >= 0:
            raise ArgumentError("snr", "a number, 0 or more", repr(self.snr))
        if self.keep < self.fewest_frames:
            raise ArgumentError("keep", f"{self.fewest_frames} or more", str(self.keep))


@dataclass(frozen=True, eq=False)
class Comparison:
    """A catalogue beside its reference.

    Parameters
    ----------
    how : dict
        For the event: ``kind``, ``frames`` (how many were compared), ``by`` (``sky`` or
        ``pixels``), ``shift_px`` of the last earlier frame, ``problem`` (why nothing could be
        compared, or null).
    candidates : Catalog or None
        The new sources with the columns ``aper_snr``, ``seen`` and ``of``; None if nothing could
        be compared.
    """

    how: dict[str, Any] = field(default_factory=dict)
    candidates: Catalog | None = None


class Reference(Protocol):
    """What catalogues are compared with."""

    def compare(self, plane: Plane, kept: Catalog) -> Comparison:
        """Return what is new in the catalogue of a frame."""

    def remember(self, plane: Plane, found: Catalog) -> None:
        """Take note of all detections on a frame."""


def open_reference(
    given: str | None, out: Path, rules: NewSourceRules, last: Iterable[str]
) -> Reference | None:
    """Return the reference that an option names; None without one.

    Parameters
    ----------
    given : str or None
        ``earlier``, or a table for `core.read_catalog`.
    out : Path
        Folder of the catalogues.
    rules : NewSourceRules
        What counts as new.
    last : iterable of str
        Names of the frames of the last catalogues, oldest first.

    Raises
    ------
    BadInputError
        If the table cannot be read.
    """
    if given is None:
        return None
    if given == "earlier":
        return EarlierFrames(out / _EARLIER, rules, last)
    return ReferenceTable(read_catalog(given, on_sky=True), rules)


def candidate_rows(candidates: Catalog) -> list[dict[str, Any]]:
    """Return the brightest candidates for an event: numbers, None for what is not known."""
    order = np.argsort(-candidates["aper_snr"], kind="stable")[:_MOST_ROWS]
    names = [n for n in ("x", "y", "ra", "dec", "mag", "score", "aper_snr") if n in candidates]
    rows = []
    for row in order:
        values = {name: float(candidates[name][row]) for name in names}
        numbers: dict[str, Any] = {n: v if np.isfinite(v) else None for n, v in values.items()}
        rows.append(numbers | {n: int(candidates[n][row]) for n in ("seen", "of")})
    return rows


class ReferenceTable:
    """A table of known sources, such as Gaia's.

    Parameters
    ----------
    table : Catalog
        With sky positions for frames with a WCS, otherwise with pixel positions.
    rules : NewSourceRules
        What counts as new.
    """

    def __init__(self, table: Catalog, rules: NewSourceRules) -> None:
        self._table, self._rules = table, rules

    def compare(self, plane: Plane, kept: Catalog) -> Comparison:
        """Return what is new in the catalogue of a frame."""
        name = Path(self._table.source).name
        on_sky = {"ra", "dec"} <= set(self._table.table.colnames)
        shift = None
        if on_sky:
            if plane.wcs is None:
                return _nothing(name, "the frame has no WCS to place the table's sky positions")
            xy = np.column_stack(pixel_positions(self._table["ra"], self._table["dec"], plane))
        else:
            shift = estimate_shift(
                kept.xy, kept["flux"], self._table.xy, self._table["flux"], self._rules.radius_px
            )
            if shift is None:
                return _nothing(name, "no shift between the frame and the table was found")
            xy = self._table.xy + np.array([shift.dx, shift.dy])
        ny, nx = plane.shape
        on = (np.abs(xy - ((nx - 1) / 2, (ny - 1) / 2)) <= (nx / 2, ny / 2)).all(axis=1)
        if not on.any():
            return _nothing(name, "no source of the table lies on the frame")
        return _compared(
            kept, [EarlierPositions(xy)], self._rules, 1, kind=name, on_sky=on_sky, shift=shift
        )

    def remember(self, plane: Plane, found: Catalog) -> None:
        """Do nothing: the table stays as it is."""


@dataclass(frozen=True, eq=False)
class _Remembered:
    """All detections on an earlier frame."""

    name: str
    xy: Floats
    flux: Floats
    shape: tuple[int, int]
    sky: Floats | None
    outline: Floats | None


class EarlierFrames:
    """The earlier frames of each field.

    Parameters
    ----------
    folder : Path
        Keeps the positions of every detection on them, down to the lowest score, one file a
        frame, so that a restart changes nothing.
    rules : NewSourceRules
        What counts as new.
    last : iterable of str
        Frames whose files are read again, oldest first. Files of others are removed.
    """

    def __init__(self, folder: Path, rules: NewSourceRules, last: Iterable[str]) -> None:
        self._folder, self._rules = folder, rules
        self._frames: dict[str, _Remembered] = {}
        for name in last:
            one = _read(self._file(name), name)
            if one is not None:
                self._frames[name] = one
        kept = {self._file(name) for name in self._frames}
        for file in folder.glob("*.npz"):
            if file not in kept:
                file.unlink(missing_ok=True)

    def compare(self, plane: Plane, kept: Catalog) -> Comparison:
        """Return what is new in the catalogue of a frame."""
        others = [one for one in self._frames.values() if one.name != plane.name]
        placed: list[EarlierPositions] = []
        shift: PixelShift | None = None
        on_sky = "ra" in kept
        for one in others:
            if on_sky:
                positions = _on_sky(one, plane)
            else:
                positions, found = self._shifted(one, plane, kept)
                shift = found or shift
            if positions is not None:
                placed.append(positions)
        few = self._rules.fewest_frames
        if len(placed) < few:
            what = "cover the frame" if on_sky else "can be shifted onto the frame"
            return _nothing("earlier", f"{len(placed)} earlier frames {what}; {few} are needed")
        placed = placed[-self._rules.keep :]
        return _compared(kept, placed, self._rules, few, kind="earlier", on_sky=on_sky, shift=shift)

    def remember(self, plane: Plane, found: Catalog) -> None:
        """Keep the positions of all detections on a frame; drop the oldest of its field."""
        sky = outline = None
        if "ra" in found:
            sky = np.column_stack([found["ra"], found["dec"]])
            x, y = _border(plane.shape).T
            outline = np.column_stack(sky_positions(x, y, plane))
        flux = found["aper_flux"]
        one = _Remembered(plane.name, found.xy, flux, plane.shape, sky, outline)
        with atomic_path(self._file(one.name)) as temporary, temporary.open("wb") as stream:
            empty = np.zeros((0, 2))
            np.savez(
                stream, xy=one.xy, flux=one.flux, shape=np.array(one.shape),
                sky=empty if sky is None else sky, outline=empty if outline is None else outline,
            )  # fmt: skip
        self._frames.pop(one.name, None)
        field_frames = [o.name for o in self._frames.values() if _same_field(o, plane, sky)]
        self._frames[one.name] = one
        drop = field_frames[: max(0, len(field_frames) + 1 - self._rules.keep)]
        drop += list(self._frames)[: max(0, len(self._frames) - _MOST_FRAMES)]
        for name in drop:
            self._frames.pop(name, None)
            self._file(name).unlink(missing_ok=True)

    def _shifted(
        self, one: _Remembered, plane: Plane, kept: Catalog
    ) -> tuple[EarlierPositions | None, PixelShift | None]:
        """Return an earlier frame's positions by the shift of its bright sources."""
        if one.sky is not None:
            return None, None
        flux = kept["aper_flux"]
        shift = estimate_shift(kept.xy, flux, one.xy, one.flux, self._rules.radius_px)
        if shift is None:
            return None, None
        by = np.array([shift.dx, shift.dy])
        return EarlierPositions(one.xy + by, _border(one.shape) + by, one.flux), shift

    def _file(self, name: str) -> Path:
        return self._folder / f"{safe_name(name)}.npz"


def _nothing(kind: str, problem: str) -> Comparison:
    how = {"kind": kind, "frames": 0, "by": None, "shift_px": None, "problem": problem}
    return Comparison(how)


def _compared(
    kept: Catalog,
    placed: Sequence[EarlierPositions],
    rules: NewSourceRules,
    fewest: int,
    *,
    kind: str,
    on_sky: bool,
    shift: PixelShift | None,
) -> Comparison:
    """Return the point sources that few of the earlier lists have."""
    seen, of = seen_before(
        kept.xy, placed, rules.radius_px, flux=kept["aper_flux"], fraction=_FLUX_FRACTION
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = np.asarray(kept["aper_flux"] / kept["aper_flux_err"])
    new = (seen <= rules.most_seen) & (of >= fewest) & (snr >= rules.snr) & ~kept.is_streak
    how = {
        "kind": kind,
        "frames": len(placed),
        "by": "sky" if on_sky else "pixels",
        "shift_px": None if shift is None else [round(shift.dx, 3), round(shift.dy, 3)],
        "problem": None,
    }
    rows = kept.with_columns(aper_snr=snr, seen=seen, of=of).select(new)
    return Comparison(how, rows)


def _on_sky(one: _Remembered, plane: Plane) -> EarlierPositions | None:
    """Return an earlier frame's positions in px of the present one, None if it lies elsewhere."""
    if one.sky is None or one.outline is None:
        return None
    outline = _placed(one.outline, plane)
    if not np.isfinite(outline).all():
        return None
    ny, nx = plane.shape
    (left, bottom), (right, top) = outline.min(axis=0), outline.max(axis=0)
    if right < 0 or top < 0 or left > nx - 1 or bottom > ny - 1:
        return None
    return EarlierPositions(_placed(one.sky, plane), outline, one.flux)


def _placed(sky: Floats, plane: Plane) -> Floats:
    """Return sky positions, shape (n, 2) [deg], in px of a frame."""
    return np.column_stack(pixel_positions(sky[:, 0], sky[:, 1], plane))


def _same_field(one: _Remembered, plane: Plane, sky: Floats | None) -> bool:
    """Return True if an earlier frame covers part of a frame, or both have no WCS."""
    if sky is None or one.sky is None:
        return sky is None and one.sky is None
    return _on_sky(one, plane) is not None


def _border(shape: tuple[int, int]) -> Floats:
    """Return points along the edge of a frame, in order, a little inside it [px]."""
    ny, nx = shape
    inside = min(_EDGE_PX, nx / 4, ny / 4)
    along = np.arange(_SIDE) / _SIDE
    square = np.concatenate(
        [
            np.column_stack([along, np.zeros(_SIDE)]),
            np.column_stack([np.ones(_SIDE), along]),
            np.column_stack([1 - along, np.ones(_SIDE)]),
            np.column_stack([np.zeros(_SIDE), 1 - along]),
        ]
    )
    return square * (nx - 1 - 2 * inside, ny - 1 - 2 * inside) + inside


def _read(file: Path, name: str) -> _Remembered | None:
    """Return the positions in a file; None without it."""
    if not file.is_file():
        return None
    try:
        with np.load(file, allow_pickle=False) as kept:
            sky, outline = (kept[n] if len(kept[n]) else None for n in ("sky", "outline"))
            ny, nx = (int(n) for n in kept["shape"])
            return _Remembered(name, kept["xy"], kept["flux"], (ny, nx), sky, outline)
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise BadInputError(str(file), "positions of an earlier frame", str(error)) from error
