"""Write ASDF files byte by byte, with content that libraries do not write."""

from __future__ import annotations

import struct
from pathlib import Path

HEAD = """#ASDF 1.0.0
#ASDF_STANDARD 1.5.0
%YAML 1.1
%TAG ! tag:stsci.edu:asdf/
--- !core/asdf-1.1.0
"""


def array(shape: object, source: object = 0, kind: str = "float32", more: str = "") -> str:
    """Return the node of an array."""
    return (
        f"!core/ndarray-1.0.0 {{source: {source}, datatype: {kind}, byteorder: little, "
        f"shape: {shape}{more}}}"
    )


def block(content: bytes, *, size: int | None = None, used: int | None = None,
          packing: bytes = b"") -> bytes:  # fmt: skip
    """Return a block; the sizes that its header states may be others."""
    n = len(content) if used is None else used
    head = struct.pack(
        ">4sHI4sQQQ16s", b"\xd3BLK", 48, 0, packing.ljust(4, b"\0"), n, n,
        n if size is None else size, b"",
    )  # fmt: skip
    return head + content


def write(path: Path, tree: str, *blocks: bytes) -> Path:
    """Write a tree and its blocks."""
    path.write_bytes(HEAD.encode() + tree.encode() + b"\n...\n" + b"".join(blocks))
    return path
