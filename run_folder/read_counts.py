"""Read the table ``counts`` of a run in parts, summed over the magnitude bins."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from skyduel.core.errors import BadInputError, one_line
from skyduel.evaluation.scoring.table_columns import COUNT_COLUMNS as COUNTED
from skyduel.run_folder.schema import COUNTS, TableSchema

__all__ = ["COUNTED", "SUMMED_COLUMNS", "check_kinds", "read_counts"]

_KEYS: Final = tuple(key for key in COUNTS.keys if key != "bin")
#: Columns of the summed table.
SUMMED_COLUMNS: Final = (*_KEYS, *COUNTED)
#: Rows read at a time; some 0.4 KiB each.
_TOGETHER: Final = 65_536


def read_counts(path: Path) -> pd.DataFrame | None:
    """Read the counts of a run, summed over the magnitude bins; None without the file.

    Parameters
    ----------
    path : Path
        ``counts.parquet``.

    Returns
    -------
    DataFrame
        A row for each detector, operating point, frame and group (categories),
        in the order in which they first appear, with the sums `COUNTED`. The
        memory is that of these rows, some 35 bytes each, and of a part of the file.

    Raises
    ------
    BadInputError
        If the file is unreadable, lacks a column, has words for numbers or
        numbers for words, or a row without one of its names.
    """
    if not path.is_file():
        return None
    columns = COUNTS.columns
    codes: dict[str, dict[str, int]] = {key: {} for key in _KEYS}
    parts: list[pd.DataFrame] = []
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            there = file.schema_arrow.names
            lacking = [c for c in columns if c not in there]
            if lacking:
                raise BadInputError(
                    str(path), f"columns {', '.join(lacking)}", f"columns {', '.join(there)}"
                )
            for batch in file.iter_batches(_TOGETHER, columns=list(columns)):
                parts.append(_summed(batch.to_pandas(), codes, path))
    except BadInputError:
        raise
    except Exception as error:  # a damaged schema raises a dozen types
        raise BadInputError(str(path), "a readable Parquet table", one_line(error)) from error
    if not parts:
        return pd.DataFrame({c: pd.Series(dtype=object) for c in SUMMED_COLUMNS})
    # A frame's bins may lie in two parts.
    whole = pd.concat(parts, ignore_index=True)
    whole = whole.groupby(list(_KEYS), sort=False)[list(COUNTED)].sum().reset_index()
    names = {
        key: pd.Categorical.from_codes(
            whole[key].to_numpy(), categories=pd.Index(list(codes[key]), dtype=str)
        )
        for key in _KEYS
    }
    return pd.DataFrame(names | {c: _narrow(whole[c]) for c in COUNTED})


def check_kinds(
    table: pd.DataFrame, schema: TableSchema, columns: tuple[str, ...], path: Path
) -> None:
    """Check that columns hold text or numbers, as the schema says.

    Raises
    ------
    BadInputError
        Naming the first column that does not.
    """
    for c in columns if len(table) else ():
        # A missing name has its own message; pandas 2 calls a column with one "object".
        if schema.is_text(c) and not pd.api.types.is_string_dtype(table[c].dropna()):
            what = "words"
        elif not schema.is_text(c) and not pd.api.types.is_numeric_dtype(table[c]):
            what = "numbers"
        else:
            continue
        raise BadInputError(str(path), f"{what} in column {c}", str(table[c].dtype))


def _summed(part: pd.DataFrame, codes: dict[str, dict[str, int]], path: Path) -> pd.DataFrame:
    """Return the sums of a part; names as numbers, which are kept in `codes`."""
    check_kinds(part, COUNTS, tuple(part.columns), path)
    for key in _KEYS:
        if part[key].isna().any():
            raise BadInputError(str(path), f"a name in every row of column {key}", "none in some")
    sums = part.groupby(list(_KEYS), sort=False)[list(COUNTED)].sum().reset_index()
    out = {}
    for key in _KEYS:
        known = codes[key]
        numbers = [known.setdefault(str(name), len(known)) for name in sums[key]]
        out[key] = np.array(numbers, dtype=np.int32)
    return pd.DataFrame(out | {c: _narrow(sums[c]) for c in COUNTED})


def _narrow(values: pd.Series) -> pd.Series:
    """Return integers in 4 bytes if they fit, anything else as it is."""
    fits = pd.api.types.is_integer_dtype(values) and values.abs().max() < 2**31
    return values.astype(np.int32) if fits else values
