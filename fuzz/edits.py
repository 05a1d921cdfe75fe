"""Damage to valid files, as hypothesis strategies that shrink to minimal damage."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["Edit", "apply", "edits"]

#: A kind of damage, a position in the file as a fraction of its size, and the inserted value.
Edit = tuple[str, float, Any]

HUGE = (
    "0", "-1", "1e999", "nan", "-inf", "999", "65536", "1000000", "2147483648", "4294967295",
    "9223372036854775807", "18446744073709551616", "1" * 400, "9" * 5000, "-9" * 30, "0x10", "1e-320",
)  # fmt: skip
WORDS = (
    "", "\x00", "\x1b[2J", "=1+1", "../../x", "<script>", "é", "\u202e", "point", "T", "true", "null",
    "!!python/object/apply:os.system", "&a", "*a", "<<", "[" * 300, "{" * 300, '"', "'", ",", "\n", "\r",
    "a" * 3000, "NAXIS1", "END", "float64", "string", "object", "O", "10P", "1PJ(9)", "9999999A", "\t",
)  # fmt: skip
CARDS = (
    "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "TFORM1", "TFORM2",
    "TTYPE1", "TDIM1", "TSCAL1", "TZERO1", "TNULL1", "TUNIT1", "THEAP", "ZNAXIS", "ZNAXIS1", "ZNAXIS2",
    "ZTILE1", "ZTILE2", "ZBITPIX", "ZCMPTYPE", "ZNAME1", "ZVAL1", "ZQUANTIZ", "ZIMAGE", "BSCALE", "BZERO",
    "BLANK", "ZBLANK", "XTENSION", "SIMPLE", "EXTEND", "EXTNAME", "MASKEXT", "CTYPE1", "CRVAL1", "CRPIX2",
    "CD1_1", "CDELT1", "A_ORDER", "A_2_0", "PV1_1", "WCSAXES", "LONPOLE", "RADESYS", "CUNIT1", "GAIN", "END",
)  # fmt: skip
CARD_VALUES = (
    *HUGE[:12], "T", "F", "'A'", "'RICE_1'", "'HCOMPRESS_1'", "'1PB(9)'", "'1QJ'", "'1E'", "'9999999999E'",
    "'(9,9)'", "'BINTABLE'", "'IMAGE'", "'MASK'", "'RA---TAN-SIP'", "'RA---TPV'", "'@'", "'", "8", "16",
    "-32", "-64", "2", "3", "", "1.5", "'1X'", "'0A'", "'-TAB'", "'NO_DITHER'", "(1,2)",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 2**70, "", "x" * 300, "\x1b[31m", "=1", "<script>", [], [[]], {}, {"a": 1},
    [None], [1, 2], float("nan"),
)  # fmt: skip

_place = st.floats(0, 1, exclude_max=True)


def edits(kinds: Sequence[str], most: int = 4) -> st.SearchStrategy[list[Edit]]:
    """Return a strategy of lists of one to `most` edits of the given kinds."""
    payloads: dict[str, st.SearchStrategy[Any]] = {
        "flip": st.integers(0, 7),
        "cut": st.none(),
        "drop": st.integers(1, 3000),
        "insert": st.one_of(st.binary(min_size=1, max_size=60), st.sampled_from(_bytes(WORDS))),
        "repeat": st.integers(2, 200),
        "number": st.sampled_from(_bytes(HUGE)),
        "word": st.sampled_from(_bytes(WORDS)),
        "card": st.tuples(st.sampled_from(CARDS), st.sampled_from(CARD_VALUES)),
        "value": st.tuples(st.just("card"), st.sampled_from(CARD_VALUES)),
        "node": st.sampled_from(VALUES),
        "header": st.sampled_from(VALUES),
    }
    one = st.sampled_from(list(kinds)).flatmap(
        lambda kind: st.tuples(st.just(kind), _place, payloads[kind])
    )
    return st.lists(one, min_size=1, max_size=most)


def apply(content: bytes, damage: Sequence[Edit]) -> bytes:
    """Apply all edits to the content, one after the other."""
    for kind, place, payload in damage:
        content = _EDITS[kind](content, place, payload)
    return content


def _bytes(words: Sequence[str]) -> list[bytes]:
    return [word.encode() for word in words]


def _flip(content: bytes, place: float, bit: int) -> bytes:
    if not content:
        return content
    at = int(place * len(content))
    return content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]


def _span(content: bytes, place: float, pattern: bytes) -> tuple[int, int] | None:
    found = [m.span() for m in re.finditer(pattern, content[:200_000])]
    return found[int(place * len(found))] if found else None


def _token(pattern: bytes) -> Callable[[bytes, float, bytes], bytes]:
    def edit(content: bytes, place: float, payload: bytes) -> bytes:
        span = _span(content, place, pattern)
        return content if span is None else content[: span[0]] + payload + content[span[1] :]

    return edit


def _cards(content: bytes) -> list[int]:
    """Return the offsets of the header cards of a FITS file, in blocks that look like headers."""
    there = []
    for block in range(0, min(len(content), 400 * 2880), 2880):
        text = content[block : block + 2880]
        if len(text) == 2880 and text.isascii() and b"\x00" not in text:
            there += [block + i for i in range(0, 2880, 80) if text[i : i + 80].strip()]
    return there


def _card(content: bytes, place: float, payload: tuple[str, str]) -> bytes:
    key, value = payload
    where = _cards(content)
    if not where:
        return content
    same = [at for at in where if content[at : at + 8].rstrip() == key.encode()]
    at = same[int(place * len(same))] if same else where[int(place * len(where))]
    return content[:at] + f"{key:<8}= {value:>20}"[:80].ljust(80).encode() + content[at + 80 :]


def _value(content: bytes, place: float, payload: tuple[str, str]) -> bytes:
    where = _cards(content)
    if not where:
        return content
    at = where[int(place * len(where))]
    key = content[at : at + 8].decode("ascii", "replace")
    return content[:at] + f"{key}= {payload[1]:>20}"[:80].ljust(80).encode() + content[at + 80 :]


def _node(content: bytes, place: float, payload: Any) -> bytes:
    """Replace one node of a JSON document with a value, or remove a key."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return content
    nodes: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        keys = node if isinstance(node, dict) else range(len(node) if isinstance(node, list) else 0)
        for key in list(keys):
            nodes.append((node, key))
            walk(node[key])

    walk(document)
    if not nodes:
        return json.dumps(payload).encode()
    parent, key = nodes[int(place * len(nodes))]
    if payload is None and isinstance(parent, dict) and int(place * 1e6) % 2:
        del parent[key]
    else:
        parent[key] = payload
    return json.dumps(document).encode()


def _header(content: bytes, place: float, payload: Any) -> bytes:
    """Damage the JSON header of a safetensors file and update its length."""
    n = int.from_bytes(content[:8], "little")
    changed = _node(content[8 : 8 + n], place, payload)
    return len(changed).to_bytes(8, "little") + changed + content[8 + n :]


_EDITS: dict[str, Callable[[bytes, float, Any], bytes]] = {
    "flip": _flip,
    "cut": lambda c, p, _: c[: int(p * len(c))],
    "drop": lambda c, p, n: c[: int(p * len(c))] + c[int(p * len(c)) + n :],
    "insert": lambda c, p, b: c[: int(p * len(c))] + b + c[int(p * len(c)) :],
    "repeat": lambda c, p, n: c[: int(p * len(c))] + c[int(p * len(c)) :][:40] * n + c[int(p * len(c)) :],
    "number": _token(rb"\d[\d.]*"),
    "word": _token(rb"[A-Za-z_][\w.]*"),
    "card": _card,
    "value": _value,
    "node": _node,
    "header": _header,
}  # fmt: skip
