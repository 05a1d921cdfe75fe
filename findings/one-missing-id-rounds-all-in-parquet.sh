#!/usr/bin/env bash
# One missing value, and astropy reads every 64-bit id of a Parquet column rounded.
#
# Seen with astropy 8.0.2 (pyarrow 26.0.1, pandas 3.1.1, numpy 2.4.6) on 2026-11-29. Table.read turns a whole-number
# column with a null into float64, without a warning and without a mask. Numbers above 2^53 are
# rounded to a multiple of 512 or 1024 then: the identifiers of Gaia, Pan-STARRS, Rubin and DESI are
# of that size. Without the null the same ids come back exactly, and a table with a gap that astropy
# itself wrote does too (it stores the mask as a column of its own), so a test with one's own files
# does not show it. Files of pandas, polars, Dask, HATS and most archives have nulls.
#
# It hurts whoever reads the outcome of an outer join with Gaia, where sources without a partner
# have no id: the ids of all others are those of other stars, or of none, and a second join by id
# finds nothing or wrong rows. Reading with pyarrow and pandas' nullable types
# (`types_mapper={pyarrow.int64(): pandas.Int64Dtype()}.get`) and then Table.from_pandas keeps them.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   no null    int64 [4295806720000000001, 5853498713190525697]
#   one null   float64 [4295806720000000000, 5853498713190525952, nan], masked: False, warnings: 0
#   pandas     int64 [4295806720000000001, 5853498713190525697, None]
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
    astropy==8.0.2 numpy==2.4.6 pyarrow==26.0.1 pandas==3.1.1
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import math
import warnings

import astropy
import numpy
import pandas
import pyarrow
import pyarrow.parquet
from astropy.table import MaskedColumn, Table

print("astropy", astropy.__version__, "numpy", numpy.__version__)
ids = [4295806720000000001, 5853498713190525697]


def write(values, name):
    column = pyarrow.array(values, pyarrow.int64())
    pyarrow.parquet.write_table(pyarrow.table({"source_id": column}), name)


write(ids, "whole.parquet")
write([*ids, None], "gap.parquet")
whole = Table.read("whole.parquet")["source_id"]
print("no null   ", whole.dtype, whole.tolist())
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    gap = Table.read("gap.parquet")["source_id"]
masked = isinstance(gap, MaskedColumn)
read = [value if math.isnan(value) else int(value) for value in gap.tolist()]
print(f"one null   {gap.dtype} {read}, masked: {masked}, warnings: {len(caught)}")
nullable = {pyarrow.int64(): pandas.Int64Dtype()}
frame = pyarrow.parquet.read_table("gap.parquet").to_pandas(types_mapper=nullable.get)
exact = Table.from_pandas(frame)["source_id"]
print("pandas    ", exact.dtype, exact.tolist())
assert whole.tolist() == ids and exact.tolist() == [*ids, None]
assert gap.dtype == "float64" and not masked and not caught
assert read[:2] == [4295806720000000000, 5853498713190525952] and math.isnan(read[2])
PYTHON
