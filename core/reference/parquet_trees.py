"""A part of the sky from Parquet files: one file, a folder of them, or a HATS catalogue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from astropy import units as u

from skyduel.core.errors import ArgumentError, BadInputError, one_line
from skyduel.core.extras import is_installed
from skyduel.core.io.column_names import sky_columns
from skyduel.core.io.size_limits import check_unpacked
from skyduel.core.io.tabular.given_table import GivenTable
from skyduel.core.io.tabular.parquet_tables import arrow_table
from skyduel.core.reference.bands import choose_magnitude
from skyduel.core.reference.cones import Cone
from skyduel.core.reference.sources import wanted_columns

__all__ = ["is_parquet", "parquet_region"]

_ENDINGS: Final = (".parquet", ".pq")
#: HATS: nested HEALPix, files or folders named by order and pixel.
_PARTITION: Final = re.compile(r"(?:^|/)Norder=(\d{1,2})/(?:Dir=\d+/)?Npix=(\d+)(?:\.\w+)?(?:/|\Z)")
_RADIANS: Final = frozenset({"rad", "radian", "radians"})
_HOURS: Final = frozenset({"ra_hours", "ra_hour", "ra_h", "rahours"})


def is_parquet(path: Path) -> bool:
    """Return True for a Parquet file, and for a folder with any inside."""
    if path.is_dir():
        return True
    try:
        with path.open("rb") as stream:
            return stream.read(4) == b"PAR1"
    except OSError:
        return False


def parquet_region(
    path: Path, cone: Cone, columns: Mapping[str, str] | None = None, filter_name: str = ""
) -> GivenTable:
    """Return the rows of a part of the sky with the columns that a reference needs.

    Parameters
    ----------
    path : Path
        A Parquet file, or a folder with such files at any depth. Of a HATS catalogue only the
        partitions that the circle meets are opened if astropy-healpix is installed; in any case
        only row groups whose statistics of the position meet it are read.
    cone : Cone
        Rows outside its box of right ascension and declination are left out.
    columns : mapping of str to str, optional
        As for `reference_sources`.
    filter_name : str
        Of the frame, which chooses the magnitude.

    Raises
    ------
    BadInputError
        If there is no such file, one cannot be read, or there are no positions on the sky in
        numbers.
    """
    columns = dict(columns or {})
    files = _files(path)
    names = [str(f) for f in _meeting(path, files, cone)] or [str(files[0])]
    try:
        dataset = ds.dataset(names, format="parquet")
        known = [str(name) for name in dataset.schema.names]
        pair = sky_columns(known, columns)
        if pair is None:
            raise ArgumentError(
                str(path), "ra and dec, under usual names or those that columns gives",
                ", ".join(known), ("columns",),
            )  # fmt: skip
        chosen = columns.get("mag") or choose_magnitude(known, filter_name).column
        wanted = [*pair, *wanted_columns(known, columns, chosen)]
        keep = list(dict.fromkeys(name for name in wanted if name in known))
        rows = _within(dataset.schema, pair, cone, str(path))
        size = sum(file.stat().st_size for file in files)
        batches, n_bytes = [], 0
        for batch in dataset.to_batches(columns=keep, filter=rows):
            n_bytes += batch.nbytes
            check_unpacked(n_bytes, size, str(path), "content")
            batches.append(batch)
        schema = pa.schema([dataset.schema.field(name) for name in keep])
        return arrow_table(pa.Table.from_batches(batches, schema=schema), size)
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(str(path), "readable Parquet files", one_line(error)) from error


def _files(path: Path) -> list[Path]:
    """Return the Parquet files of a path, those of metadata left out."""
    if path.is_file():
        return [path]
    files = sorted(
        p for p in path.rglob("*")
        if p.suffix.lower() in _ENDINGS and not p.name.startswith(("_", ".")) and p.is_file()
    )  # fmt: skip
    partitions = [p for p in files if _PARTITION.search(p.relative_to(path).as_posix())]
    if not files:
        raise BadInputError(str(path), "a folder with Parquet files", "none in it")
    # Beside the partitions lie tables about them, such as partition_info.
    return partitions or files


def _meeting(path: Path, files: Sequence[Path], cone: Cone) -> Sequence[Path]:
    """Return the files whose partition the circle meets; all that have no partition."""
    at = {f: _PARTITION.search(f.relative_to(path).as_posix()) if path.is_dir() else None
          for f in files}  # fmt: skip
    orders = {int(match[1]) for match in at.values() if match is not None}
    if not orders or not is_installed("astropy_healpix"):
        return files
    from astropy_healpix import HEALPix

    met: dict[int, set[int]] = {}
    for order in orders:
        grid = HEALPix(nside=2**order, order="nested")
        found = grid.cone_search_lonlat(cone.ra * u.deg, cone.dec * u.deg, cone.radius * u.deg)
        met[order] = set(np.asarray(found).tolist())
    return [f for f, match in at.items() if match is None or int(match[2]) in met[int(match[1])]]


def _within(schema: pa.Schema, pair: tuple[str, str], cone: Cone, source: str) -> Any:
    """Return the condition on the position, which row groups are chosen by."""
    factors = []
    for name in pair:
        field = schema.field(name)
        if not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            raise BadInputError(source, f"numbers in the column {name!r}", str(field.type))
        unit = (field.metadata or {}).get(b"unit", b"").decode("utf-8", "replace").lower()
        in_hours = name.lower() in _HOURS or unit == "hourangle"
        factors.append(np.pi / 180 if unit in _RADIANS else 1 / 15 if in_hours else 1.0)
    ra, dec = (pc.field(name) for name in pair)
    low, high = cone.dec - cone.radius, cone.dec + cone.radius
    rows = (dec >= low * factors[1]) & (dec <= high * factors[1])
    anywhere = None
    for first, last in cone.ra_ranges():
        if np.isinf(first):
            return rows
        one = (ra >= first * factors[0]) & (ra <= last * factors[0])
        anywhere = one if anywhere is None else anywhere | one
    return rows & anywhere
