"""Read DS9 region files as areas of a frame."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.extras import missing_extra
from skyduel.core.frame import Plane
from skyduel.core.wcs import sky_positions, unit_vectors

if TYPE_CHECKING:
    from regions import PixelRegion, SkyRegion

__all__ = ["RegionArea", "read_region_area"]

_Bools = npt.NDArray[np.bool_]

_PIXEL_SYSTEMS: Final = frozenset({"image", "physical"})
_SKY_SYSTEMS: Final = frozenset({"icrs", "fk5", "j2000", "fk4", "b1950", "galactic", "ecliptic"})
#: Other systems of DS9, which nothing here can place.
_NO_SYSTEMS: Final = re.compile(r"linear|amplifier|detector|tile|wcs0?|wcs[a-z]")
_SHAPES: Final = frozenset({"circle", "ellipse", "box", "annulus", "polygon"})
#: Shapes that cover nothing.
_WITHOUT_AREA: Final = frozenset(
    {"line", "point", "text", "vector", "ruler", "compass", "projection", "segment"}
)
_WORD: Final = re.compile(r"#? *[+-]?([a-zA-Z0-9]+)")
# A shape without its properties: numbers, perhaps in parentheses, and nothing else.
_WHOLE_SHAPE: Final = re.compile(r"[+-]?[a-zA-Z]+\s*(\([^()]*\)|[^()a-zA-Z][^()&|]*)")
# Parts of a line; what is inside quotes or braces of a text divides nothing.
_QUOTED: Final = re.compile(r"\{[^}]*\}|(?<==)\s*'[^']*'|(?<==)\s*\"[^\"]*\"")


@dataclass(frozen=True, eq=False)
class _Shape:
    """A shape in pixels: of the image, or ``scale`` times these plus ``shift`` in each axis."""

    region: PixelRegion
    include: bool
    scale: tuple[float, float] = (1.0, 1.0)
    shift: tuple[float, float] = (0.0, 0.0)

    def paint(self, area: _Bools, y0: int, value: bool) -> None:
        """Set the pixels of a band, whose first row is ``y0``, whose centres are inside."""
        from regions import PixCoord

        box = self.region.bounding_box
        ends = ((box.ixmin - 1, box.ixmax), (box.iymin - 1, box.iymax))
        first, last = [], []
        for low_high, scale, shift in zip(ends, self.scale, self.shift, strict=True):
            low, high = sorted((end - shift) / scale for end in low_high)
            first.append(low)
            last.append(high)
        rows = _span(first[1], last[1], y0, y0 + area.shape[0])
        columns = _span(first[0], last[0], 0, area.shape[1])
        if rows is None or columns is None:
            return
        y, x = np.mgrid[slice(*rows), slice(*columns)]
        at = [scale * v + shift for v, scale, shift in zip((x, y), self.scale, self.shift,
                                                          strict=True)]  # fmt: skip
        inside = np.asarray(self.region.contains(PixCoord(*at)), dtype=bool)
        area[rows[0] - y0 : rows[1] - y0, slice(*columns)][inside] = value


def _span(low: float, high: float, first: int, end: int) -> tuple[int, int] | None:
    """Return the whole numbers from low to high within first … end − 1; None without one."""
    start, stop = int(max(np.floor(low), first)), int(min(np.ceil(high) + 1, end))
    return (start, stop) if start < stop else None


@dataclass(frozen=True, eq=False)
class RegionArea:
    """Union of the shapes of a region file without the excluded ones."""

    shapes: tuple[_Shape, ...]

    def band(self, y0: int, y1: int, nx: int) -> _Bools:
        """Return the area of rows ``y0`` … ``y1`` − 1, shape (y1 − y0, nx)."""
        included = [shape for shape in self.shapes if shape.include]
        # DS9: excluded shapes alone are cut out of the whole field.
        area = np.full((y1 - y0, nx), bool(self.shapes) and not included)
        for shape in included:
            shape.paint(area, y0, True)
        for shape in self.shapes:
            if not shape.include:
                shape.paint(area, y0, False)
        return area


def read_region_area(path: Path, plane: Plane, header: Mapping[str, Any]) -> RegionArea:
    """Read a DS9 region file as an area of a frame.

    Parameters
    ----------
    path : Path
        The file. Shapes: circle, ellipse, box, annulus and polygon in image, physical or sky
        coordinates; points, lines and texts cover nothing. Image coordinates count from 1. Several
        shapes of a line are joined by ``;`` or ``||``. Shapes with a minus sign are taken out of
        the others, or of the whole frame if there are no others.
    plane : Frame or LargeImage
        Its world coordinates place shapes on the sky.
    header : mapping
        The frame's header: LTV1, LTV2, LTM1_1 and LTM2_2 say where physical coordinates lie.

    Raises
    ------
    BadInputError
        If the file is no region file, a shape is damaged, unknown or followed by something that is
        not understood, shapes on the sky meet a frame without world coordinates, or `regions` is
        not installed.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(str(path), "a DS9 region file", one_line(error)) from error
    lines = list(_statements(text, str(path)))
    if not any(system for system, _ in lines):
        return RegionArea(())
    try:
        from regions import SkyRegion
    except ImportError as error:
        raise missing_extra(str(path), error) or error from error
    shapes: list[_Shape] = []
    for system in dict.fromkeys(system for system, _ in lines if system):
        mine = [line for one, line in lines if one in (system, "")]
        written = "image" if system == "physical" else system
        scale, shift = _physical(header) if system == "physical" else ((1.0, 1.0), (0.0, 0.0))
        for region in _parsed("\n".join((written, *mine)), str(path)):
            include = bool(int(region.meta.get("include", 1)))
            if isinstance(region, SkyRegion):
                flat = _on_plane(region, plane, str(path))
                if flat is not None:
                    shapes.append(_Shape(flat, include))
                elif include:
                    shapes.append(_nowhere())
            else:
                _require_finite(_place(region), str(path))
                shapes.append(_Shape(region, include, scale, shift))
    return RegionArea(tuple(shapes))


def _nowhere() -> _Shape:
    """Return an included shape off every frame: others are then not cut out of the field."""
    from regions import CirclePixelRegion, PixCoord

    return _Shape(CirclePixelRegion(PixCoord(-1e6, -1e6), 1.0), True)


def _statements(text: str, source: str) -> Iterator[tuple[str, str]]:
    """Yield each shape with area and its coordinate system, and global settings with none.

    Raises
    ------
    BadInputError
        If a statement begins with an unknown word, or a shape is in a system of the instrument.
    """
    system = "physical"  # what DS9 assumes
    for number, raw in enumerate(text.splitlines(), start=1):
        quiet = _QUOTED.sub(lambda m: re.sub(r"[;|#]", " ", m[0]), raw)
        for line in _parts(quiet):
            match = _WORD.match(line)
            word = match[1].lower() if match else line.split()[0]
            bare, _, properties = (part.strip() for part in line.partition("#"))
            if word == "global":
                if re.search(r"\binclude\s*=\s*0", line):
                    got = f"{line[:60]!r} in line {number}"
                    raise BadInputError(source, "a minus sign before excluded shapes", got)
                yield "", line
            elif word in _PIXEL_SYSTEMS or word in _SKY_SYSTEMS:
                if bare.lower() != word:
                    got = f"{line[:60]!r} in line {number}"
                    required = "coordinates alone on a line or before a semicolon"
                    raise BadInputError(source, required, got)
                system = word
            elif _NO_SYSTEMS.fullmatch(word):
                system = f"!{word}"
            elif word in _SHAPES:
                if system.startswith("!"):
                    known = ", ".join(sorted(_PIXEL_SYSTEMS | _SKY_SYSTEMS))
                    raise BadInputError(source, f"coordinates among {known}", repr(system[1:]))
                # What follows a shape would be passed over, and so would a fourth number.
                values = re.split(r"[\s,]+", bare[len(match[0]) :].strip(" ()")) if match else []
                too_many = word == "circle" and len(values) > 3
                if not _WHOLE_SHAPE.fullmatch(bare) or too_many:
                    required = "shapes such as circle(x, y, r) # properties, joined by ; or ||"
                    raise BadInputError(source, required, f"{line[:60]!r} in line {number}")
                yield system, f"{bare} # {properties}" if properties else bare
            elif word not in _WITHOUT_AREA:
                raise BadInputError(
                    source,
                    f"a DS9 region file with shapes among {', '.join(sorted(_SHAPES))}",
                    f"{line[:60]!r} in line {number}",
                )


def _parts(line: str) -> Iterator[str]:
    """Yield the statements of a line; the shapes of a composite region are joined by ``||``."""
    if line.lstrip().startswith("#"):
        return
    for part in line.split(";"):
        shapes, mark, properties = part.partition("#")
        for shape in shapes.split("||"):
            if shape.strip():
                yield f"{shape.strip()} {mark}{properties}".strip()


def _parsed(text: str, source: str) -> list[PixelRegion | SkyRegion]:
    """Return the shapes of a text of one coordinate system."""
    from regions import Regions

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            regions = list(Regions.parse(text, format="ds9"))
        except Exception as error:  # the parser raises a dozen types on damaged text
            raise BadInputError(source, "a DS9 region file", one_line(error)) from error
    # A shape that cannot be read is only warned of, as an odd colour is.
    lost = [str(w.message) for w in said if re.search(r"[Cc]annot parse|skipping", str(w.message))]
    lost = [line for line in lost if "metadata" not in line]
    if lost:
        raise BadInputError(source, "a DS9 region file", " ".join(lost[0].split())[:200])
    return regions


def _physical(header: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scale and shift from 0-based pixels of the image to those of the detector.

    IRAF's rule: image = LTM × physical + LTV, both counted from 1.
    """
    scales, shifts = [], []
    for axis in (1, 2):
        scale = _number(header.get(f"LTM{axis}_{axis}"), 1.0) or 1.0
        offset = _number(header.get(f"LTV{axis}"), 0.0)
        scales.append(1.0 / scale)
        shifts.append((1.0 - offset) / scale - 1.0)
    return (scales[0], scales[1]), (shifts[0], shifts[1])


def _number(value: Any, default: float) -> float:
    """Return a card's value if it is a finite number."""
    usable = isinstance(value, int | float) and np.isfinite(value)
    return float(value) if usable else default


def _on_plane(region: SkyRegion, plane: Plane, source: str) -> PixelRegion | None:
    """Return a shape of the sky in pixels of the frame; None if it is far from the frame."""
    wcs = plane.wcs
    if wcs is None:
        raise BadInputError(
            source, f"world coordinates in {plane.name} for shapes on the sky", "none"
        )
    ny, nx = plane.shape
    corners = np.array([[(nx - 1) / 2, 0, 0, nx - 1, nx - 1], [(ny - 1) / 2, 0, ny - 1, 0, ny - 1]])
    frame = unit_vectors(*sky_positions(corners[0], corners[1], plane))
    mine, reach = _extent(region)
    _require_finite([*mine, reach], source)
    # Far away a distortion means nothing, and the hemisphere behind is projected, too.
    apart = np.arccos(np.clip(frame[0] @ mine, -1.0, 1.0))
    radius = float(np.arccos(np.clip(frame[1:] @ frame[0], -1.0, 1.0)).max(initial=0.0))
    if not np.isfinite(apart) or apart > 1.2 * radius + reach:
        return None
    try:
        flat = region.to_pixel(wcs)
        box = flat.bounding_box
    except Exception as error:  # astropy's, of a projection that has no such place
        raise BadInputError(
            source, f"shapes that the world coordinates of {plane.name} can place", one_line(error)
        ) from error
    return None if box is None else flat


def _place(region: PixelRegion) -> list[float]:
    """Return the coordinates of a shape in pixels."""
    at = region.vertices if hasattr(region, "vertices") else region.center
    return [*np.ravel(at.x), *np.ravel(at.y)]


def _require_finite(numbers: Sequence[float], source: str) -> None:
    if not np.isfinite(numbers).all():
        lost = next(number for number in numbers if not np.isfinite(number))
        raise BadInputError(source, "shapes at finite coordinates", f"{lost}")


def _extent(region: SkyRegion) -> tuple[npt.NDArray[np.float64], float]:
    """Return the direction of a shape as a unit vector, and its radius [rad]."""
    if hasattr(region, "vertices"):
        points = region.vertices.icrs
        unit = np.atleast_2d(unit_vectors(points.ra.deg, points.dec.deg))
        return unit[0], float(np.arccos(np.clip(unit @ unit[0], -1.0, 1.0)).max())
    centre = region.center.icrs
    sizes = [getattr(region, name, None) for name in (
        "radius", "outer_radius", "width", "height", "outer_width", "outer_height")]  # fmt: skip
    reach = max(float(size.to_value("rad")) for size in sizes if size is not None)
    return np.ravel(unit_vectors(np.array([centre.ra.deg]), np.array([centre.dec.deg]))), reach
