"""Choose the image of a FITS file: of the sky, one chip or plane, with its mask."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from astropy.io import fits

from skyduel.core.errors import BadInputError
from skyduel.core.io.images.fits_header_checks import check_headers
from skyduel.core.io.images.image_reader import CubePlane, Hdu
from skyduel.core.io.size_limits import check_fields, check_unpacked

__all__ = ["FitsChoice", "choose_image", "image_shape", "sky_images"]

# 32 GiB of float32: larger than any real frame.
_MOST_PIXELS: Final = 2**33
_MOST_NAMED: Final = 6
#: Words in names of images that are not of the sky, also with a number behind them.
_NOT_SKY_WORDS: Final = frozenset(
    """mask masks msk datamask dqmask pixelmask bpm bpmask badpix badpixel dq pixeldq groupdq
    quality qual flg flags aperture ctx context wht wt weight weights wgt wtmap wmap weightmap
    confmap variance varmap ivar invvar err error errors uncert uncertainty unc sigma rms rmsmap
    stddev expmap exposuremap expomap coverage ncov nexp nobs seg segm segmap segmentation psf
    psfimage psfdepth psfsize galdepth maskbits wgt errdata qualdata""".split()  # noqa: SIM905
)
#: Words that mean this only as the whole name.
_NOT_SKY_NAMES: Final = frozenset(
    """area con conf confidence cov exp expo exposure flag hits model noise samp sky skymodel bkg
    bck background back stat std stdev time timemap var var_poisson var_rnoise var_flat nimages
    numim pixarea bias dark flat chi2 depth snr std-m n-m std-u n-u rrhr skybg
    sensitivity""".split()  # noqa: SIM905
)
#: Cards beside EXTNAME that state what an image is: LSST, ESO and OGIP, DECam.
_KIND_CARDS: Final = ("EXTTYPE", "HDUCLAS2", "HDUCLAS3", "PRODTYPE")
#: Words in names of masks whose pixels are bit flags.
_BITS: Final = frozenset(
    """mask msk datamask dqmask bpm dq pixeldq flg flag flags quality qual
    badpix""".split()  # noqa: SIM905
)
_CAMERA: Final = re.compile(
    r"siril|seestar|asi\s?air|asistudio|dwarf|pixinsight|rgb", re.IGNORECASE
)
_CAMERA_CARDS: Final = ("CTYPE3", "PROGRAM", "CREATOR", "SOFTWARE", "SWCREATE", "INSTRUME",
                        "TELESCOP", "ORIGIN")  # fmt: skip
_RGB: Final = ("R", "G", "B")


@dataclass(frozen=True)
class _Candidate:
    """One HDU that holds an image of at least one axis."""

    index: int
    name: str
    version: int
    states_version: bool
    shape: tuple[int, ...]
    n_axes: int
    of_sky: bool
    kind: str
    bitpix: int
    planes: tuple[str, ...]

    @property
    def label(self) -> str:
        """Return number, name and shape in words."""
        return f"{self.index} {self.name}".strip() + f" {self.shape or 'no image'}"

    @property
    def colour_last(self) -> bool:
        """Return True if the colours are the axis that varies fastest."""
        shape = self.shape
        return len(shape) == 3 and shape[-1] in (3, 4) and min(shape[:2]) > 4

    @property
    def n_planes(self) -> int:
        """Return the number of planes, 1 of an image."""
        if self.colour_last:
            return self.shape[-1]
        n = 1
        for length in self.shape[:-2]:
            n *= length
        return n

    @property
    def plane_shape(self) -> tuple[int, int]:
        """Return rows and columns, (ny, nx)."""
        ny, nx = self.shape[:2] if self.colour_last else self.shape[-2:]
        return ny, nx


@dataclass(frozen=True)
class FitsChoice:
    """One image of a FITS file.

    Parameters
    ----------
    index : int
        Number of its HDU.
    shape : (ny, nx)
        Of the image [px].
    before, after : tuple of int
        Indices of the array's axes before rows and columns, and after them.
    mask : int, optional
        The HDU of a mask beside it, as `astropy.nddata.CCDData` writes it.
    bits : int, optional
        The HDU of its mask or data-quality array.
    notes : tuple of str
        What was decided, one line each.
    """

    index: int
    shape: tuple[int, int]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    mask: int | None = None
    bits: int | None = None
    notes: tuple[str, ...] = ()

    def box(self, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        """Return the index of a box of the image in the array of its HDU."""
        return (*self.before, rows, columns, *self.after)


def image_shape(hdu: Any) -> tuple[int, ...]:
    """Return the shape of an image HDU without leading axes of 1; empty if it is none."""
    header = hdu.header
    prefix = "Z" if header.get("ZIMAGE", False) is True else ""
    if not prefix and not hdu.is_image:
        return ()
    n_axes = int(header.get(f"{prefix}NAXIS", 0))
    shape = [int(header[f"{prefix}NAXIS{axis}"]) for axis in range(n_axes, 0, -1)]
    while len(shape) > 2 and shape[0] == 1:
        shape.pop(0)
    return tuple(shape) if all(n > 0 for n in shape) else ()


def sky_images(file: Path, stream: BinaryIO) -> list[tuple[str, str]]:
    """Return the two-dimensional images of the sky: the name, and what chooses it in brackets."""
    check_headers(stream, str(file))
    hdus = fits.open(stream, memmap=False, disable_image_compression=True)
    try:
        seen = _candidates(hdus)
    finally:
        hdus.close(closed=False)
    return [(c.name, _short(c, seen)) for c in seen if c.of_sky and len(c.shape) == 2]


def choose_image(
    stream: BinaryIO, file: Path, hdu: Hdu | None, *, whole: bool = True, companion: bool = False
) -> FitsChoice:
    """Return the image to read, having checked that all of it is there.

    Parameters
    ----------
    stream : file object
        Plain FITS bytes.
    file : Path
        For messages.
    hdu : Hdu, optional
        Which image; the first two-dimensional one of the sky by default.
    whole : bool
        Whether memory has to hold all of it.
    companion : bool
        Whether a mask or weight map is looked for: then any image will do.

    Raises
    ------
    BadInputError
        If there is no such image, or it is a cube without a choice of a plane, cut short or
        too large.
    """
    length = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    check_headers(stream, str(file))
    # Without decompression, sizes are those of the bytes in the file.
    hdus = fits.open(stream, memmap=False, disable_image_compression=True)
    try:
        seen = _candidates(hdus)
        if hdu is None:
            chosen, plane = _first(seen, file, companion), None
        else:
            chosen, plane = _asked_for(seen, file, hdu)
        choice = _placed(chosen, plane, file)
        _check(hdus[chosen.index], chosen, file, length, whole=whole)
        if companion:
            return choice
        return _with_companions(choice, chosen, seen, file, named=hdu is not None)
    finally:
        hdus.close(closed=False)  # the stream is read once more


def _candidates(hdus: fits.HDUList) -> list[_Candidate]:
    """Return all HDUs; an unreadable one ends the list unless it is the first."""
    seen: list[_Candidate] = []
    index = 0
    while True:
        try:
            one = hdus[index]  # read from the file as it is asked for
            header = one.header
            shape = image_shape(one)
        except IndexError:
            return seen
        except Exception:  # astropy raises a dozen types on damaged files
            if any(len(c.shape) >= 2 for c in seen):
                return seen
            raise
        name = str(header.get("EXTNAME", "")) or ("PRIMARY" if index == 0 else "")
        stated = [str(header.get(card, "")) for card in _KIND_CARDS]
        if index and "PRODTYPE" not in header:
            stated[-1] = str(hdus[0].header.get("PRODTYPE", ""))
        prefix = "Z" if header.get("ZIMAGE", False) is True else ""
        seen.append(
            _Candidate(
                index=index,
                name=name,
                version=int(one.ver),
                states_version="EXTVER" in header,
                shape=shape,
                n_axes=int(header.get(f"{prefix}NAXIS", 0)),
                of_sky=bool(shape) and len(shape) >= 2 and not _other_than_sky(name, stated),
                kind=" ".join((name, *stated)).lower(),
                bitpix=int(header.get("ZBITPIX", header.get("BITPIX", 0))),
                planes=_plane_names(header, hdus[0].header, shape),
            )
        )
        index += 1


def _words(text: str) -> list[str]:
    """Return the words of a name in lower case, without numbers at their ends."""
    return [w.rstrip("0123456789") or w for w in re.split(r"[^a-z0-9]+", text.lower()) if w]


def _other_than_sky(name: str, stated: Sequence[str]) -> bool:
    """Return True if an image's name or cards say that it holds something else."""
    return any(
        not _NOT_SKY_WORDS.isdisjoint(_words(text)) or text.strip().lower() in _NOT_SKY_NAMES
        for text in (name, *stated)
    )


def _plane_names(
    header: fits.Header, primary: fits.Header, shape: tuple[int, ...]
) -> tuple[str, ...]:
    """Return the names of a cube's planes, none if the file has none."""
    if len(shape) != 3:
        return ()
    for key in ("PLANE", "CHANNEL", "BAND"):
        names = [str(header.get(f"{key}{n}", "")).strip() for n in range(1, shape[0] + 1)]
        if shape[0] < 1000 and all(names) and len(set(names)) == len(names):
            return tuple(names)
    said = " ".join(str(h.get(card, "")) for h in (header, primary) for card in _CAMERA_CARDS)
    coloured = _CAMERA.search(said) or any("BAYERPAT" in h for h in (header, primary))
    return _RGB if 3 in (shape[0], shape[-1]) and coloured else ()


def _first(seen: Sequence[_Candidate], file: Path, companion: bool) -> _Candidate:
    """Return the first two-dimensional image of the sky."""
    flat = [c for c in seen if len(c.shape) == 2 and (companion or c.of_sky)]
    if flat:
        return flat[0]
    listed = f"HDUs {'; '.join(c.label for c in seen)}"
    wanted = "a two-dimensional image" + ("" if companion else " of the sky")
    cubes = [c for c in seen if len(c.shape) > 2 and (companion or c.of_sky)]
    if cubes:
        listed += f"; {_how_to_choose(cubes[0], file)}"
        raise BadInputError(str(file), "a two-dimensional image", listed)
    others = [c for c in seen if len(c.shape) >= 2]
    if others:
        listed += " (masks, weights, errors and the like)"
        one = others[0]
        listed += f"; choose one of them as {file.name}[{one.name or one.index}]"
        raise BadInputError(str(file), wanted, listed)
    raise BadInputError(str(file), "a two-dimensional image", listed)


def _how_to_choose(cube: _Candidate, file: Path) -> str:
    """Return how a plane of a cube is chosen, in words."""
    name: Any = cube.index if cube.name in ("", "PRIMARY", "COMPRESSED_IMAGE") else cube.name
    start = f"{file.name}[{name}]"
    if cube.planes:
        return f"choose a plane as {start}[{cube.planes[0]}] (also {', '.join(cube.planes[1:])})"
    return f"choose a plane as {start}[0] to {start}[{cube.n_planes - 1}]"


def _asked_for(
    seen: Sequence[_Candidate], file: Path, hdu: Hdu
) -> tuple[_Candidate, int | str | None]:
    """Return the image that is asked for, and its plane."""
    wanted: Any = hdu.hdu if isinstance(hdu, CubePlane) else hdu
    plane = hdu.plane if isinstance(hdu, CubePlane) else None
    for one in seen:
        if _matches(wanted, one):
            return one, plane
    if plane is None and isinstance(wanted, str):
        for one in seen:
            if one.of_sky and wanted.upper() in [name.upper() for name in one.planes]:
                return one, wanted
    listed = f"HDUs {'; '.join(c.label for c in seen)}"
    raise BadInputError(str(file), f"an HDU {wanted!r}", listed)


def _matches(wanted: int | str | tuple[str, int], one: _Candidate) -> bool:
    """Return True if an HDU is the one asked for."""
    if isinstance(wanted, int):
        return one.index == wanted
    name, version = wanted if isinstance(wanted, tuple) else (wanted, None)
    return one.name.upper() == name.upper() and version in (None, one.version)


def _placed(one: _Candidate, plane: int | str | None, file: Path) -> FitsChoice:
    """Return where the image lies in the array of its HDU."""
    label = f"{one.index} {one.name}".strip()
    if len(one.shape) < 2 or (len(one.shape) > 2 and plane is None):
        got = f"shape {one.shape}" if one.shape else "no image"
        if len(one.shape) > 2:
            got += f"; {_how_to_choose(one, file)}"
        raise BadInputError(str(file), f"a two-dimensional image in HDU {label}", got)
    ones = (0,) * (one.n_axes - len(one.shape))
    if plane is None:
        return FitsChoice(one.index, one.plane_shape, ones)
    names = [name.upper() for name in one.planes]
    number = plane if isinstance(plane, int) else -1
    if isinstance(plane, str) and plane.upper() in names:
        number = names.index(plane.upper())
    if not 0 <= number < one.n_planes:
        required = f"a plane 0 to {one.n_planes - 1} of HDU {label}"
        if one.planes:
            required += f", or {', '.join(one.planes)}"
        raise BadInputError(str(file), required, repr(plane))
    if one.colour_last:
        return FitsChoice(one.index, one.plane_shape, ones, (number,))
    before = []
    for length in reversed(one.shape[:-2]):
        number, at = divmod(number, length)
        before.append(at)
    return FitsChoice(one.index, one.plane_shape, (*ones, *reversed(before)))


def _check(hdu: Any, one: _Candidate, file: Path, length: int, *, whole: bool) -> None:
    """Refuse an image that is cut short or too large."""
    ny, nx = one.plane_shape
    if ny * nx > _MOST_PIXELS:
        raise BadInputError(str(file), f"at most {_MOST_PIXELS} pixels", f"{ny} x {nx}")
    ends = hdu.fileinfo()["datLoc"] + hdu.size
    if ends > length:
        raise BadInputError(
            str(file),
            f"a complete image of shape {one.shape} ({ends} bytes)",
            f"a file cut short at {length} bytes",
        )
    check_fields(hdu.header, str(file))
    n_read = one.shape[-1] if one.colour_last else 1
    check_unpacked(
        abs(one.bitpix) // 8 * ny * nx * n_read,
        hdu.size,
        str(file),
        f"an image of {ny} x {nx} pixels",
        in_memory=whole,
    )


def _with_companions(
    choice: FitsChoice, chosen: _Candidate, seen: Sequence[_Candidate], file: Path, *, named: bool
) -> FitsChoice:
    """Return the choice with its mask, and a line on what is not read."""
    notes = []
    others = [c for c in seen if c.of_sky and c is not chosen]
    if others and not named:
        names = [_short(c, seen) for c in others[:_MOST_NAMED]]
        more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
        notes.append(
            f"{file.name}: read {_short(chosen, seen)}; not read: {', '.join(names)}{more}"
        )
    beside = [c for c in seen if c.shape == choice.shape and _belongs(c, chosen, seen)]
    masks = [c for c in beside if not _BITS.isdisjoint(_words(c.kind))]
    # CCDData writes bytes. A wider array of that name holds bits, some of them of good pixels.
    plain = [c for c in masks if c.name.upper() == "MASK" and c.bitpix == 8]
    wide = [c for c in masks if c.name.upper() == "MASK" and c.bitpix != 8]
    if wide and not plain:
        notes.append(
            f"{file.name}: the bits of extension {_short(wide[0], seen)} are not used "
            "unless mask bits are chosen"
        )
    return FitsChoice(
        choice.index,
        choice.shape,
        choice.before,
        choice.after,
        mask=plain[0].index if plain else None,
        bits=masks[0].index if masks else None,
        notes=tuple(notes),
    )


def _short(one: _Candidate, seen: Sequence[_Candidate]) -> str:
    """Return what stands in brackets to choose an image."""
    alike = [c for c in seen if c.name.upper() == one.name.upper()]
    if not one.name or (len(alike) > 1 and len({c.version for c in alike}) < len(alike)):
        return str(one.index)
    return f"{one.name},{one.version}" if len(alike) > 1 or one.states_version else one.name


def _belongs(one: _Candidate, chosen: _Candidate, seen: Sequence[_Candidate]) -> bool:
    """Return True if an image that is not of the sky belongs to one of the sky."""
    if one is chosen or one.of_sky:
        return False
    if _is_versioned(one, seen) and _is_versioned(chosen, seen):
        return one.version == chosen.version
    between = seen[chosen.index + 1 : one.index]
    return one.index > chosen.index and not any(c.of_sky for c in between)


def _is_versioned(one: _Candidate, seen: Sequence[_Candidate]) -> bool:
    """Return True if several HDUs have the name, each with a version of its own."""
    versions = [c.version for c in seen if c.name.upper() == one.name.upper()]
    return len(versions) > 1 and len(set(versions)) == len(versions)
