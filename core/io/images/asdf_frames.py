"""Read one image of an ASDF file, as JWST and Roman write them.

The tree is read as plain mappings, lists and text, without tags, so that nothing in it makes
an object; pixels come from the binary blocks, whose headers are checked beforehand.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO, Final, NamedTuple

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from skyduel.core.errors import BadInputError, one_line
from skyduel.core.extras import missing_extra
from skyduel.core.frame import FactSource
from skyduel.core.io.images.celestial import celestial_wcs
from skyduel.core.io.images.fits_metadata import (
    FACT_KEYS,
    IGNORED_KEY,
    header_facts,
    plain_header,
)
from skyduel.core.io.images.image_reader import Hdu, ImageFormat, ImageReader, Pixels
from skyduel.core.io.size_limits import check_unpacked

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["ASDF", "AsdfImage"]

_MAGIC: Final = b"#ASDF"
#: Trees of frames are some 100 kB; more than this is none.
_MOST_TREE_BYTES: Final = 16 * 2**20
_MOST_PIXELS: Final = 2**33
#: Where the image is looked for.
_PATHS: Final = ("roman/data", "data")
#: Of the data-quality arrays of JWST and Roman: DO_NOT_USE.
_DO_NOT_USE: Final = 1
_TYPES: Final = {
    "bool8": "bool",
    **{name: name for name in ("int8", "int16", "int32", "int64")},
    **{f"u{name}": f"u{name}" for name in ("int8", "int16", "int32", "int64")},
    **{name: name for name in ("float16", "float32", "float64")},
}
#: ASDF standard 1.6, "Block header": header size; flags, compression, sizes allocated, used and
#: unpacked.
_BLOCK_MAGIC: Final = b"\xd3BLK"
_BLOCK_HEADER: Final = struct.Struct(">I4sQQQ16s")
_STREAMED: Final = 1
_TREE_END: Final = re.compile(rb"(?:^|\n)\.\.\.(?:\r?\n|$)")
_DATA_KEY: Final = re.compile(rb"(?m)(?:^|[ {,])[\"']?data[\"']?:")
#: Facts by their place in the metadata of JWST and Roman.
_EXPOSURE: Final = ("exposure/effective_exposure_time", "exposure/exposure_time")
_JY_PER_MJY: Final = 1e6
#: AB magnitude of 1 Jy.
_AB_OF_JY: Final = 8.90
_ARCSEC2_PER_SR: Final = math.degrees(1) ** 2 * 3600**2


class _Block(NamedTuple):
    """One binary block: whether it is packed, and its bytes in the file and unpacked."""

    packed: bool
    used: int
    size: int


class AsdfImage:
    """One image of an ASDF file, an `ImageReader`.

    Parameters
    ----------
    file : Path
        Its tree holds ``roman/data`` or ``data``, besides ``dq`` or ``mask``, and ``meta`` or
        ``header``.
    path : str, optional
        Where in the tree the image is, such as ``roman/err``.
    whole : bool
        Whether all of it will be read.

    Raises
    ------
    BadInputError
        If the package asdf is missing, or for every fault of the file.

    Notes
    -----
    A box of an uncompressed block is read through a memory map. A compressed block is unpacked
    as a whole, once, and must fit in memory.

    Of ``mask`` every value but 0 makes a pixel unusable; of ``dq`` the bit DO_NOT_USE (1).
    """

    def __init__(self, file: Path, path: Hdu | None = None, *, whole: bool = True) -> None:
        self.file, self.hdu = file, path
        self._tree, self._blocks = _read_tree(file)
        self._path = _image_path(file, self._tree, path)
        self._unpacked: Pixels | None = None
        self._opened: Any = None
        node, self._unit = _array_of(_at(self._tree, self._path))
        self._axes, self.shape = _checked(file, self._path, node, self._blocks, whole=whole)
        self._packed = self._blocks[int(node["source"])].packed
        parent = self._path.rpartition("/")[0]
        self._parent = self._tree if not parent else _at(self._tree, parent)
        self._prefix = f"{parent}/" if parent else ""
        self.mask_bits = None if self._mask_name() == "mask" else _DO_NOT_USE

    def _mask_name(self) -> str | None:
        """Return the name of the array that masks the image, None without one."""
        if self._path.rpartition("/")[2] != "data":
            return None
        names = ("mask", "dq")
        return next((n for n in names if _array_of(self._parent.get(n))[0] is not None), None)

    def own_mask(self, bits: int | None = None) -> AsdfImage | None:
        """Open the mask beside the image in the tree, None without one."""
        name = self._mask_name()
        if name is None:
            return None
        mask = AsdfImage(self.file, f"{self._prefix}{name}", whole=False)
        if mask.shape != self.shape:
            raise BadInputError(
                f"{self.file}: {self._prefix}{name}",
                f"a mask of the image's shape {self.shape}",
                f"{mask.shape}",
            )
        return mask

    def read(self) -> Pixels:
        """Read all pixels."""
        return self.read_box(slice(0, self.shape[0]), slice(0, self.shape[1]))

    def read_box(self, rows: slice, columns: slice) -> Pixels:
        """Read the pixels of a box."""
        if self._unpacked is not None:
            return self._unpacked[rows, columns]
        box = (*(0,) * (self._axes - 2), rows, columns)
        with _faults(self.file):
            array = _at(self._open().tree, self._path)
            if isinstance(array, Mapping):  # a quantity that no installed package knows
                array = array["value"]
            array = getattr(array, "value", array)
            if not self._packed:
                return _values(array[box])
            self._unpacked = _values(array[...]).reshape(self.shape)
        return self._unpacked[rows, columns]

    def _open(self) -> Any:
        """Open the file once for all boxes: finding its blocks can take a second."""
        if self._opened is None:
            asdf = _package(self.file)
            self._opened = asdf.open(self.file, memmap=True, ignore_unrecognized_tag=True)
            self._close_file = weakref.finalize(self, self._opened.close)
        return self._opened

    def close(self) -> None:
        """Close the file and release the unpacked pixels."""
        self._unpacked = None
        if self._opened is not None:
            self._opened = None
            self._close_file()

    def facts(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return every field of a `Frame` but its pixels and mask, overrides first."""
        given = overrides or {}
        meta, header = self._parent.get("meta"), self._parent.get("header")
        with warnings.catch_warnings():
            # Long keywords become HIERARCH cards; astropy need not say so each time.
            warnings.simplefilter("ignore", AstropyWarning)
            cards, trouble = _cards(meta, header)
        wcs, unusable = celestial_wcs(_with_size(cards, self.shape))
        trouble += [unusable] if unusable else []
        if wcs is None and isinstance(meta, Mapping) and meta.get("wcs") is not None:
            wcs, unusable = self._gwcs()
            trouble += [unusable] if unusable else []
        wcs = given.get("wcs", wcs)
        scale = given.get("pixel_scale_arcsec")
        unit = self._unit or self._usual_unit()
        own: Mapping[str, Any] = meta if isinstance(meta, Mapping) else {}
        exposure = given.get("exposure_s")
        if exposure is None and not any(key in cards for key in FACT_KEYS["exposure_s"]):
            exposure = _exposure(own)
        found = header_facts(
            cards,
            wcs=wcs,
            pixel_scale_arcsec=scale,
            exposure_s=exposure,
            unit=unit or None,
            shape=self.shape,
        )
        values, sources = dict(found.values), dict(found.sources)
        of_meta = _facts_of_meta(own, unit, values)
        sources |= {fact: FactSource("meta", None) for fact in of_meta}
        values |= of_meta
        plain = plain_header(cards, (*found.ignored, *trouble))
        if self._unit:
            plain["BUNIT"] = self._unit
        return {**values, "wcs": wcs, **given, "header": plain, "sources": sources}

    def _usual_unit(self) -> str:
        """Return the unit of an image whose file names none: Roman's are in DN/s."""
        return "DN / s" if self._prefix.startswith("roman/") else ""

    def _gwcs(self) -> tuple[WCS | None, str]:
        """Return the FITS approximation of a gwcs, or None and why there is none."""
        try:
            import gwcs  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
        except ImportError:
            return None, "celestial coordinates as gwcs: not read without the package gwcs"
        asdf = _package(self.file)
        ny, nx = self.shape
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with asdf.open(self.file, memmap=True, ignore_unrecognized_tag=True) as opened:
                    transform = _at(opened.tree, f"{self._prefix}meta/wcs")
                    box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))
                    return celestial_wcs(transform.to_fits_sip(bounding_box=box))
        except Exception as error:  # gwcs and its transforms raise what they like
            return None, f"celestial coordinates as gwcs unusable: {one_line(error)}"


def _package(file: Path) -> ModuleType:
    """Import asdf, which is an extra."""
    try:
        import asdf
    except ImportError as error:
        raise missing_extra(str(file), error) or error from error
    return asdf  # type: ignore[no-any-return,unused-ignore]


@contextmanager
def _faults(file: Path) -> Iterator[None]:
    """Turn whatever asdf raises on a damaged file into one line, and silence its remarks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except BadInputError:
            raise
        except Exception as error:  # asdf, YAML and the packers raise a dozen types
            raise BadInputError(str(file), "a readable ASDF image", one_line(error)) from error


def _read_tree(file: Path) -> tuple[Mapping[str, Any], list[_Block]]:
    """Return the tree without tags, and the headers of the blocks in their order."""
    asdf = _package(file)
    with file.open("rb") as stream, _faults(file):
        text = stream.read(_MOST_TREE_BYTES)
        if not text.startswith(_MAGIC):
            raise BadInputError(str(file), "an ASDF file", f"a file that starts with {text[:6]!r}")
        end = _TREE_END.search(text)
        if end is None:
            got = "no end of it" if len(text) < _MOST_TREE_BYTES else "a longer one"
            raise BadInputError(
                str(file), f"a tree of at most {_MOST_TREE_BYTES // 2**20} MiB", got
            )
        blocks = _read_blocks(stream, end.end(), str(file))
        tree = asdf.util.load_yaml(file)
    if not isinstance(tree, Mapping):
        raise BadInputError(str(file), "a tree with an image", type(tree).__name__)
    return tree, blocks


def _read_blocks(stream: BinaryIO, begin: int, source: str) -> list[_Block]:
    """Return the headers of the blocks that follow the tree, each as long as it says."""
    length = stream.seek(0, 2)
    stream.seek(begin)
    gap = stream.read(2**16).find(_BLOCK_MAGIC)  # padding after the tree
    blocks: list[_Block] = []
    at = begin + gap if gap >= 0 else length
    while at + 6 + _BLOCK_HEADER.size <= length:
        stream.seek(at)
        head = stream.read(6)
        if not head.startswith(_BLOCK_MAGIC):
            break
        (n,) = struct.unpack(">H", head[4:])
        flags, packing, allocated, used, size, _ = _BLOCK_HEADER.unpack(
            stream.read(_BLOCK_HEADER.size)
        )
        start = at + 6 + n
        if flags & _STREAMED:
            allocated = used = size = length - start
        if n < _BLOCK_HEADER.size or used > allocated or start + used > length:
            raise BadInputError(
                source,
                f"a complete block {len(blocks)} ({used} bytes)",
                f"a file cut short at {length} bytes",
            )
        blocks.append(_Block(packing.strip(b"\0") != b"", used, size))
        at = start + allocated
    return blocks


def _at(tree: Any, path: str) -> Any:
    """Return the node at a path of keys, None if there is none."""
    for key in path.split("/"):
        try:
            tree = tree[key]
        except (KeyError, TypeError, IndexError, AttributeError):
            return None
    return tree


def _array_of(node: Any) -> tuple[Any, str]:
    """Return the array of a node, None if it is none, and its unit."""
    unit = ""
    if isinstance(node, Mapping) and "value" in node and "unit" in node:
        node, unit = node["value"], str(node["unit"])
    is_array = isinstance(node, Mapping) and {"source", "datatype", "shape"} <= set(node)
    return (node if is_array else None), unit


def _image_path(file: Path, tree: Mapping[str, Any], wanted: Hdu | None) -> str:
    """Return the path of the image in the tree."""
    paths = _PATHS if wanted is None else (wanted,)
    for path in paths:
        if isinstance(path, str) and _array_of(_at(tree, path))[0] is not None:
            return path
    required = "an image at roman/data or data" if wanted is None else f"an image at {wanted}"
    got = ", ".join(str(key) for key in list(tree)[:8] if key not in ("asdf_library", "history"))
    raise BadInputError(str(file), required, f"a tree with {got or 'nothing'}")


def _checked(
    file: Path, path: str, node: Mapping[str, Any], blocks: Sequence[_Block], *, whole: bool
) -> tuple[int, tuple[int, int]]:
    """Return the number of axes and the shape of an array that its block can hold."""
    source = f"{file}: {path}"
    shape, kind, number = node["shape"], node["datatype"], node["source"]
    sides = [_integer(n) for n in shape] if isinstance(shape, list) else []
    if len(sides) < 2 or min(sides) <= 0 or any(n != 1 for n in sides[:-2]):
        raise BadInputError(source, "a two-dimensional image", f"shape {shape!r}"[:80])
    if not isinstance(kind, str) or kind not in _TYPES:
        raise BadInputError(source, "real pixel values", f"type {str(kind)[:40]}")
    block, hole = _integer(number), node.get("mask")
    own = not isinstance(hole, Mapping) or 0 <= _integer(hole.get("source")) < len(blocks)
    if not (0 <= block < len(blocks) and own):  # nothing is fetched from another file
        raise BadInputError(
            source, f"a binary block among the {len(blocks)} of the file", repr(number)[:80]
        )
    ny, nx = sides[-2:]
    if ny * nx > _MOST_PIXELS:
        raise BadInputError(source, f"at most {_MOST_PIXELS} pixels", f"{ny} x {nx}")
    n_bytes = np.dtype(_TYPES[kind]).itemsize * ny * nx
    start = _integer(node.get("offset", 0))
    if start < 0 or start + n_bytes > blocks[block].size:
        raise BadInputError(
            source,
            f"a block of {n_bytes} bytes for {ny} x {nx} pixels",
            f"one of {blocks[block].size} bytes",
        )
    if blocks[block].packed or whole:
        check_unpacked(
            blocks[block].size if blocks[block].packed else n_bytes,
            blocks[block].used,
            source,
            f"an image of {ny} x {nx} pixels",
        )
    return len(sides), (ny, nx)


def _integer(value: Any) -> int:
    """Return a whole number of the tree, -1 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else -1


def _values(part: Any) -> Pixels:
    """Return a copy of an array's values, NaN where it is masked."""
    if isinstance(part, np.ma.MaskedArray):
        part = np.ma.filled(part.astype(np.float64), np.nan)
    return np.array(part)


def _with_size(cards: fits.Header, shape: tuple[int, int]) -> fits.Header:
    """Return the header with the image's size, where coordinates are checked."""
    sized = cards.copy()
    sized["NAXIS"], sized["NAXIS1"], sized["NAXIS2"] = 2, shape[1], shape[0]
    return sized


def _cards(*groups: Any) -> tuple[fits.Header, list[str]]:
    """Return the scalars of the metadata as FITS cards, and the facts named that are none."""
    header, trouble = fits.Header(), []
    # The field's own names, and this package's.
    names = {name: keys[0] for name, keys in FACT_KEYS.items()}
    for group in groups:
        if not isinstance(group, Mapping):
            continue
        for key, value in group.items():
            if not isinstance(key, str) or key == IGNORED_KEY:
                continue
            value = _scalar(value)
            if value is None:
                continue
            keyword = names.get(key, key)
            try:
                card = fits.Card(keyword if len(keyword) <= 8 else f"HIERARCH {keyword}", value)
                str(card)  # verifies it
                header.append(card, end=True)
            except (ValueError, TypeError) as error:
                if key in names or key.upper() in {k for ks in FACT_KEYS.values() for k in ks}:
                    trouble.append(f"{key} = {value!r} ({one_line(error, 60)})")
    return header, trouble


def _scalar(value: Any) -> bool | int | float | str | None:
    """Return a scalar of a tree as it is, text cut short; None for others."""
    if isinstance(value, str):
        return value[:60]
    return value if isinstance(value, bool | int | float) else None


def _facts_of_meta(
    meta: Mapping[str, Any], unit: str, known: Mapping[str, float]
) -> dict[str, float]:
    """Return the facts that metadata of JWST and Roman hold, where none are known yet.

    The zero-point is that of AB magnitudes.
    """
    facts: dict[str, float] = {}
    exposure = _exposure(meta)
    if exposure is not None and "exposure_s" not in known:
        facts["exposure_s"] = exposure
    area = _positive(meta, "photometry/pixel_area") or _positive(
        meta, "photometry/pixelarea_steradians"
    )
    if area is not None and "pixel_scale_arcsec" not in known:
        facts["pixel_scale_arcsec"] = math.sqrt(area * _ARCSEC2_PER_SR)
    unit = unit.replace(" ", "")
    rate, brightness = unit in {"DN/s", "DNs-1"}, unit == "MJy/sr"
    factor = 1.0 if brightness else _positive(meta, "photometry/conversion_megajanskys")
    if "zero_point" not in known and area and factor and (rate or brightness):
        facts["zero_point"] = _AB_OF_JY - 2.5 * math.log10(factor * _JY_PER_MJY * area)
    return facts


def _exposure(meta: Mapping[str, Any]) -> float | None:
    """Return the exposure time that the metadata state [s], None without one."""
    return next((v for p in _EXPOSURE if (v := _positive(meta, p)) is not None), None)


def _positive(meta: Mapping[str, Any], path: str) -> float | None:
    """Return a positive finite number of the metadata, with or without a unit; None otherwise."""
    value = _at(meta, path)
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _holds_image(file: Path) -> bool:
    """Return False if the text of the tree names no array ``data``; cheap for large sets."""
    with file.open("rb") as stream:
        text = stream.read(_MOST_TREE_BYTES)
    end = _TREE_END.search(text)
    return _DATA_KEY.search(text[: end.end() if end else None]) is not None


def _starts(start: bytes) -> bool:
    """Return True for the first bytes of an ASDF file."""
    return start.startswith(_MAGIC)


def _opened(file: Path, hdu: Hdu | None, whole: bool, companion: bool) -> ImageReader:
    """Open one image, its path in the tree in the place of an HDU."""
    return AsdfImage(file, hdu, whole=whole)


#: Greenfield, Droettboom & Bray 2015, Astronomy and Computing 12, 240.
ASDF: Final = ImageFormat("ASDF", (".asdf",), _starts, _holds_image, _opened)
