"""Check the sizes that FITS headers state, before a library acts on them."""

from __future__ import annotations

import re
from typing import BinaryIO, Final

from skyduel.core.errors import BadInputError

__all__ = ["check_headers"]

_BLOCK: Final = 2880
# FITS 4.0, sections 4.4.1.1 and 7.3.1: axes and columns of one HDU.
_MOST: Final = 999
_COUNTED: Final = ("NAXIS", "ZNAXIS", "TFIELDS")
# A header of more blocks is no header: three million cards.
_LONGEST: Final = 83_334
_CARD = re.compile(
    rb"(NAXIS\d*|ZNAXIS|TFIELDS|BITPIX|PCOUNT|GCOUNT) *= *\+?(-?\d{1,30})(?![\d.EeDd])"
)


def check_headers(stream: BinaryIO, source: str) -> None:
    """Refuse a FITS file whose headers state more axes or columns than the standard allows.

    Libraries count up to what is stated as soon as they open the file, and 10¹⁸ takes
    for ever. Content that is no header, or states no sizes, is left to the reader. The stream
    is at its beginning before and after.

    Raises
    ------
    BadInputError
        For more than 999 of either.
    """
    stream.seek(0)
    try:
        begin = 0
        while stream.read(1):
            stream.seek(begin)
            size = _one(stream, source)
            if size is None:  # who goes on from here may take anything for a header
                stream.seek(begin)
                _anywhere(stream, source)
                return
            begin = stream.seek(-(-size // _BLOCK) * _BLOCK, 1)
    finally:
        stream.seek(0)


def _one(stream: BinaryIO, source: str) -> int | None:
    """Return the bytes of data after the header at hand; None if it cannot be told."""
    stated: dict[str, int] = {}
    for _ in range(_LONGEST):
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK:
            return None
        for at in range(0, _BLOCK, 80):
            card = block[at : at + 80]
            if card.rstrip() == b"END":
                return _data_bytes(stated)
            if found := _CARD.match(card):
                key, value = found[1].decode(), int(found[2])
                if key in _COUNTED and value > _MOST:
                    raise BadInputError(source, f"{key} of at most {_MOST}", str(value))
                stated.setdefault(key, value)
    return None


def _anywhere(stream: BinaryIO, source: str) -> None:
    """Refuse such a card wherever a header could be."""
    while chunk := stream.read(_BLOCK * 1000):
        for found in _CARD.finditer(chunk):
            key, value = found[1].decode(), int(found[2])
            if found.start() % 80 == 0 and key in _COUNTED and value > _MOST:
                raise BadInputError(source, f"{key} of at most {_MOST}", str(value))


def _data_bytes(stated: dict[str, int]) -> int | None:
    """Return the size of an HDU's data [bytes] (FITS 4.0, equation 2)."""
    axes = [stated.get(f"NAXIS{n}") for n in range(1, stated.get("NAXIS", -1) + 1)]
    if "NAXIS" not in stated or "BITPIX" not in stated or None in axes:
        return None
    sizes = [n for n in axes if n is not None]
    if any(n < 0 for n in sizes):
        return None
    if len(sizes) > 1 and sizes[0] == 0:
        sizes = sizes[1:]  # random groups
    product = 1 if sizes else 0
    for n in sizes:
        product *= n
    pcount, gcount = stated.get("PCOUNT", 0), stated.get("GCOUNT", 1)
    total = abs(stated["BITPIX"]) // 8 * gcount * (pcount + product)
    return total if 0 <= total < 2**62 else None
