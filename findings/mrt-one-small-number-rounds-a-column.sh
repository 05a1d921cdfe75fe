#!/usr/bin/env bash
# One small number with few digits, and astropy writes the whole column of a journal table (MRT) with as few.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-30. In the format ascii.mrt, that of the AAS
# journals' machine-readable tables, a column in which Python would print one value with an
# exponent (below 0.0001) is written with exponents throughout, with as many digits as such values
# have. The values without an exponent are not looked at: beside 0.00001, which has one digit,
# 123.456 is written as 1e+02 and 456.789 as 5e+02. There is no warning. Without the small value
# they are exact. ascii.ecsv, csv and ipac keep all of them.
#
# It hurts whoever rounds a catalogue before it is published, as one should: fluxes, errors, proper
# motions, probabilities to five or six decimals. One entry of 0.00002 among thousands, and the
# published column has one significant digit. Give the column a format (formats={"flux": "%.5f"}).
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   flux given           123.456 456.789 0.5 0.0001 -> 123.456 456.789 0.5 0.0001
#   flux given           123.456 456.789 0.5 1e-05 -> 100.0 500.0 0.5 1e-05
#   ... with a format    123.456 456.789 0.5 1e-05 -> 123.456 456.789 0.5 1e-05
#   10000 errors rounded to 5 decimals: 9994 of them changed by up to 0.05, least 1e-05
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import warnings

import astropy
import numpy
from astropy.table import Table

warnings.filterwarnings("ignore", message=".*MRT.*")  # that titles and authors are to be filled in
print("astropy", astropy.__version__, "numpy", numpy.__version__)


def back(values, **options):
    Table({"flux": values}).write("t.mrt", format="ascii.mrt", overwrite=True, **options)
    return numpy.asarray(Table.read("t.mrt", format="ascii.mrt")["flux"])


def shown(label, values, **options):
    found = back(values, **options)
    print(f"{label:20}", *values, "->", *(float(one) for one in found))
    return found.tolist()


good = [123.456, 456.789, 0.5, 0.0001]
small = [123.456, 456.789, 0.5, 0.00001]
assert shown("flux given", good) == good
assert shown("flux given", small) == [100.0, 500.0, 0.5, 0.00001]
assert shown("... with a format", small, formats={"flux": "%.5f"}) == small
errors = numpy.round(numpy.random.default_rng(1).uniform(0, 1, 10000), 5)
errors[5000] = 0.00001
changed = abs(back(errors) - errors)
print(
    f"10000 errors rounded to 5 decimals: {(changed > 0).sum()} of them changed by up to "
    f"{changed.max():.2g}, least {errors.min():g}"
)
assert (changed > 0).sum() > 9000 and 0.04 < changed.max() < 0.06
PYTHON
