"""Data of the page's frame viewer: pictures, catalogues and outcomes, each stored once."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from markupsafe import Markup

from skyduel.reports.error_kinds import ERROR_KINDS, SIDES
from skyduel.reports.page.mask_layers import LAYERS, MOST_CHARACTERS, Layer, layers_of
from skyduel.reports.pictures import quality_for, small_uri
from skyduel.reports.style import point_name
from skyduel.run_folder.match_outcomes import ABSENT, Outcomes, column, is_streak, outcomes_of
from skyduel.run_folder.previews import STRETCH, read_preview
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.record import FrameRecord

__all__ = [
    "MOST_FRAMES",
    "MOST_PIXELS",
    "MOST_ROWS",
    "Picture",
    "Viewer",
    "choose_frames",
    "even_cap",
    "safe_json",
    "viewer",
]

#: Most frames in the viewer.
MOST_FRAMES: Final = 40
#: Most pixels of all pictures together [px], and along one side of a picture.
MOST_PIXELS: Final = 10_500_000
_LONGEST: Final = 8192
#: Most rows of all catalogues together, and of one of them.
MOST_ROWS: Final = 150_000
_MOST_OF_ONE: Final = 60_000
#: Positions are rounded to this [px], to more in frames wider than 2700 px.
_STEP_PX: Final = 0.05
#: Sources further than this outside the frame [px] are listed without a place.
_MARGIN_PX: Final = 256
_NOWHERE: Final = 65535

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Picture:
    """The picture of a frame, which the page holds once: id, frame, size [frame px], address."""

    id: str
    frame: str
    nx: int
    ny: int
    uri: str


@dataclass(frozen=True)
class Viewer:
    """Values of ``viewer.html.j2``.

    Parameters
    ----------
    data : Markup
        JSON for a script element: nothing in it can end the element.
    frames : tuple of str
        Their names, in the viewer's order.
    notes : tuple of str
        The rule of the choice, and what was rounded, reduced or left out.
    pictures : tuple of Picture
        The pictures, to which `data` refers by id.
    layers : tuple of Layer
        Masks and ignore areas, as far as any frame has them.
    """

    data: Markup
    frames: tuple[str, ...]
    notes: tuple[str, ...]
    pictures: tuple[Picture, ...] = ()
    layers: tuple[Layer, ...] = ()


def choose_frames(
    run: Run, wanted: Mapping[str, int], most: int = MOST_FRAMES
) -> tuple[tuple[str, ...], str]:
    """Return the frames the viewer holds, in the run's order, and the rule they follow.

    Parameters
    ----------
    run : Run
        The run.
    wanted : mapping
        Number of cut-outs of the gallery in each frame.
    most : int
        Most frames: the first of each group, then those with most cut-outs,
        then the others, ties in the run's order.
    """
    frames = run.scored_frames
    if len(frames) <= most:
        return frames, f"All {len(frames)} scored frames are here."
    group_of = {f.name: str(f.group) for f in run.frames}
    first: dict[str, str] = {}
    for name in frames:
        first.setdefault(group_of.get(name, ""), name)
    leading = set(first.values())
    ranked = sorted(frames, key=lambda name: (name not in leading, -wanted.get(name, 0)))
    chosen = set(ranked[:most])
    return tuple(n for n in frames if n in chosen), (
        f"{most} of the {len(frames)} scored frames are here: the first of each group, then those "
        "with most cut-outs in the gallery, then the first of the others."
    )


def even_cap(sizes: Sequence[int], most: int) -> int:
    """Return the largest cap for which the capped sizes sum to at most `most`."""
    left, ordered = most, sorted(sizes)
    for i, size in enumerate(ordered):
        if size * (len(ordered) - i) > left:
            return left // (len(ordered) - i)
        left -= size
    return max(ordered, default=0)


def safe_json(value: Any) -> Markup:
    """Return JSON that is safe inside a script element, for any text in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)


def viewer(run: Run, point: str, wanted: Mapping[str, int] | None = None) -> Viewer | None:
    """Return the viewer of a run; None where no frame has a truth, a catalogue or a preview.

    Parameters
    ----------
    run : Run
        The run.
    point : str
        The operating point shown first.
    wanted : mapping, optional
        Number of cut-outs of the gallery in each frame; the viewer prefers these.

    Raises
    ------
    BadInputError
        If a file of the run is unreadable, or pairs point beyond their tables.
    """
    names, choice = choose_frames(run, wanted or {})
    detectors, points = run.detectors, run.points
    read = {name: _read(run, name, detectors, points) for name in names}
    there = [
        n for n in names if run.preview_path(n).is_file() or any(len(t) for t in read[n].tables())
    ]
    if not there:
        return None
    cap = even_cap([len(t) for n in there for t in read[n].tables()], MOST_ROWS)
    cap = min(cap, _MOST_OF_ONE)
    share = MOST_PIXELS / len(there)
    mistakes = _mistakes(run, detectors, points)
    frames: list[dict[str, Any]] = []
    pictures: list[Picture] = []
    quality = quality_for(run.frame(name) for name in run.scored_frames)
    left_out = reduced = 0
    for name in there:
        picture = read_preview(run.preview_path(name))
        shape = _shape(run.frame(name), picture.size if picture else None, read[name].tables())
        factor = int(max(1, np.ceil(np.sqrt(shape[0] * shape[1] / share))))
        factor = max(factor, -(-max(shape) // _LONGEST))
        if picture and factor > 1:
            picture = picture.reduce(factor)
        packed, without = _pack(read[name], mistakes.get(name, {}), shape, cap)
        if picture:
            identity = f"picture-{len(frames)}"
            pictures.append(Picture(identity, name, *shape, small_uri(picture, quality)))
        layers = layers_of(run, name, factor, MOST_CHARACTERS / len(there))
        left_out += without
        reduced += factor > 1 and picture is not None
        frames.append(
            {
                "name": name,
                "group": run.frame(name).group or "",
                "nx": shape[0],
                "ny": shape[1],
                "factor": factor,
                "image": f"#{pictures[-1].id}" if picture else None,
                "layers": layers,
                **packed,
            }
        )
    data = {
        "detectors": list(detectors),
        "points": [[p, point_name(p)] for p in points],
        "start": points.index(point) if point in points else 0,
        "stretch": STRETCH,
        "margin": _MARGIN_PX,
        "nowhere": _NOWHERE,
        "kinds": {
            f"{side}-{name}": kind.title
            for side in SIDES
            for name, kind in ERROR_KINDS.items()
            if kind.rule(side)
        },
        "frames": frames,
    }
    step = max(float(f["step"]) for f in frames)
    notes = [choice, quality.note, f"Positions are rounded to {step:.2g} px."]
    if reduced:
        notes.append(
            f"{reduced} picture{'s' * (reduced > 1)} of large frames: shown smaller, averaged over "
            "blocks of pixels."
        )
    coarse = max((one["factor"] for f in frames for one in f["layers"].values()), default=1)
    if coarse > 1:
        notes.append(f"Masks and ignore areas are drawn in blocks of up to {coarse} px.")
    if left_out:
        notes.append(
            f"{left_out} rows of catalogues are left out, the faintest truths and the detections "
            f"of lowest score: no catalogue of a frame has more than {cap} here."
        )
    shown = tuple(layer for layer in LAYERS if any(layer.key in f["layers"] for f in frames))
    return Viewer(safe_json(data), tuple(there), tuple(notes), tuple(pictures), shown)


@dataclass(frozen=True, eq=False)
class _Frame:
    """Tables of one frame: truth, catalogues, and outcomes by detector and operating point."""

    truth: pd.DataFrame
    found: tuple[pd.DataFrame, ...]
    outcomes: Mapping[tuple[int, int], Outcomes]

    def tables(self) -> tuple[pd.DataFrame, ...]:
        return (self.truth, *self.found)


def _read(run: Run, name: str, detectors: Sequence[str], points: Sequence[str]) -> _Frame:
    read = [run.truth(name), *(run.catalog(d, name) for d in detectors)]
    tables = [pd.DataFrame({"x": [], "y": []}) if t is None else t for t in read]
    outcomes = {}
    for i, detector in enumerate(detectors):
        for j, point in enumerate(points):
            pairs = run.pairs(detector, point, name)
            if pairs is not None and read[0] is not None and read[i + 1] is not None:
                source = f"pairs of {detector} on {name}"
                outcomes[i, j] = outcomes_of(pairs, len(tables[0]), len(tables[i + 1]), source)
    return _Frame(tables[0], tuple(tables[1:]), outcomes)


def _mistakes(
    run: Run, detectors: Sequence[str], points: Sequence[str]
) -> dict[str, dict[tuple[int, int], dict[tuple[bool, int], str]]]:
    """Return the kind of each listed error, by frame, detector and operating point.

    Keys of the innermost mapping: True for a truth, and the row.
    """
    table = run.analysis("mistake_sources")
    kinds: dict[str, dict[tuple[int, int], dict[tuple[bool, int], str]]] = {}
    if not len(table):
        return kinds
    columns = ["frame", "detector", "point", "side", "truth_index", "found_index", "kind"]
    table = table[table["detector"].isin(list(detectors)) & table["point"].isin(list(points))]
    for frame, detector, point, side, i, j, kind in table[columns].itertuples(index=False):
        at = (detectors.index(detector), points.index(point))
        truth = side == "missed"
        of = kinds.setdefault(str(frame), {}).setdefault(at, {})
        of[truth, int(i if truth else j)] = str(kind)
    return kinds


def _shape(
    record: FrameRecord, size: tuple[int, int] | None, tables: Sequence[pd.DataFrame]
) -> tuple[int, int]:
    """Return (nx, ny) [px] by the picture, else by the record, else by the catalogues."""
    if size:
        return size
    if record.nx and record.ny:
        return record.nx, record.ny
    far = [
        max((float(np.nanmax(column(t, axis), initial=0.0)) for t in tables), default=0.0)
        for axis in "xy"
    ]
    return int(far[0]) + 2, int(far[1]) + 2


def _pack(
    frame: _Frame,
    mistakes: Mapping[tuple[int, int], Mapping[tuple[bool, int], str]],
    shape: tuple[int, int],
    cap: int,
) -> tuple[dict[str, Any], int]:
    """Return a frame's catalogues as the script reads them, and how many rows are left out.

    ``rows`` has the rows of the truth and of each catalogue, ``has`` the pairs
    of detector and point that have outcomes. ``data`` is gzip in base 64 of
    arrays, one after the other, each as all its lowest bytes, then all its next ones, which
    compresses better: of the truth and then of each
    catalogue the S/N and the score as 4-byte floats; of each again `x`, `y` in
    steps from the margin, magnitude in 0.001 from −15, length in 0.1 px and
    angle in π/65535, 2-byte integers all; of each of ``has`` the partners of
    the truths; in one byte the kinds (1: streak) of each table, and of each of
    ``has`` the outcomes of the truths and of the detections.
    """
    listed = [{row for of in mistakes.values() for truth, row in of if truth}]
    used = [np.ones(len(frame.truth), dtype=bool)]
    for i, table in enumerate(frame.found):
        of = {row for at, rows in mistakes.items() if at[0] == i for t, row in rows if not t}
        listed.append(of)
        points = [o.found != ABSENT for at, o in frame.outcomes.items() if at[0] == i]
        used.append(np.any(points, axis=0) if points else np.ones(len(table), dtype=bool))
    kept = [
        _keep(table, rows, use, cap, truth=k == 0)
        for k, (table, rows, use) in enumerate(zip(frame.tables(), listed, used, strict=True))
    ]
    left_out = sum(int(use.sum()) - len(k) for use, k in zip(used, kept, strict=True))
    tables = [t.iloc[k] for t, k in zip(frame.tables(), kept, strict=True)]
    step = max(_STEP_PX, (max(shape) + 2 * _MARGIN_PX) / (_NOWHERE - 1))
    now = [_new_rows(k, len(t)) for k, t in zip(kept, frame.tables(), strict=True)]

    long: list[Floats] = []
    short: list[Ints] = []
    byte: list[npt.NDArray[Any]] = []
    for k, table in enumerate(tables):
        long += [_rounded(_snr(table, truth=k == 0)), _rounded(column(table, "score"))]
        short += [_code(column(table, axis) + _MARGIN_PX, step) for axis in "xy"]
        mags = column(table, "mag") if k == 0 else column(table, "aper_mag", "mag")
        short.append(_code(mags + 15, 0.001))
        streak = is_streak(table)
        short.append(_code(np.where(streak, np.nan_to_num(column(table, "length")), 0), 0.1))
        angle = np.where(streak, np.nan_to_num(column(table, "theta")) % np.pi, 0)
        short.append(_code(angle, np.pi / (_NOWHERE - 1)))
        byte.append(streak)
    has = sorted(frame.outcomes)
    for at in has:
        got = frame.outcomes[at]
        partner = got.partner[kept[0]]
        new = np.where(partner >= 0, now[at[0] + 1][partner] if len(now[at[0] + 1]) else -1, -1)
        short.append(np.where(new < 0, _NOWHERE, new))
        byte += [got.truth[kept[0]], got.found[kept[at[0] + 1]]]
    raw = b"".join(
        _planes(np.asarray(a).astype(kind))
        for arrays, kind in ((long, "<f4"), (short, "<u2"), (byte, "u1"))
        for a in arrays
    )
    kinds = [
        [*at, int(truth), int(now[0 if truth else at[0] + 1][row]), kind]
        for at, of in sorted(mistakes.items())
        for (truth, row), kind in sorted(of.items())
        if row < len(now[0 if truth else at[0] + 1]) and now[0 if truth else at[0] + 1][row] >= 0
    ]
    return {
        "step": step,
        "rows": [len(k) for k in kept],
        "has": [list(at) for at in has],
        "kinds": _packed(json.dumps(kinds, separators=(",", ":")).encode("ascii")),
        "data": _packed(raw),
    }, left_out


def _packed(data: bytes) -> str:
    return base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")


def _keep(
    table: pd.DataFrame, listed: set[int], used: npt.NDArray[np.bool_], cap: int, *, truth: bool
) -> Ints:
    """Return the kept rows, ascending: the listed, then the brightest or of highest score."""
    rows = np.flatnonzero(used)
    if len(rows) <= cap:
        return rows
    rank = column(table, "mag") if truth else -column(table, "score")
    if not np.isfinite(rank).any():
        rank = column(table, "aper_mag", "mag")
    unlisted = ~np.isin(np.arange(len(table)), list(listed))
    order = np.lexsort((np.nan_to_num(rank, nan=np.inf)[rows], unlisted[rows]))
    return np.sort(rows[order[:cap]])


def _new_rows(kept: Ints, n: int) -> Ints:
    new = np.full(n, -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    return new


def _snr(table: pd.DataFrame, *, truth: bool) -> Floats:
    """Return the ideal S/N of truths, that of the common aperture of detections."""
    if truth:
        return column(table, "snr")
    with np.errstate(divide="ignore", invalid="ignore"):
        return column(table, "aper_flux") / column(table, "aper_flux_err")


def _rounded(values: Floats) -> Floats:
    """Return values to half a percent, eight bits of their fractions, which compress well."""
    fraction, power = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(fraction * 256) / 256, power))


def _planes(array: npt.NDArray[Any]) -> bytes:
    """Return the bytes of an array: the first byte of every element, then the second, …"""
    return array.view(np.uint8).reshape(len(array), array.itemsize).T.tobytes()


def _code(values: Floats, step: float) -> Ints:
    """Return values as whole steps; `_NOWHERE` where undefined or out of range."""
    steps = np.rint(values / step)
    fits = (steps >= 0) & (steps < _NOWHERE)
    return np.where(fits, steps, _NOWHERE).astype(np.int64)
