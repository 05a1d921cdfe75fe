#!/usr/bin/env bash
# astropy writes the text of a VOTable PARAM with its &, < and > escaped twice, at every writing anew.
#
# Seen with astropy 8.0.2 (numpy 2.4.6) on 2026-11-29. "mag < 20" as the value of a PARAM comes back
# as "mag &lt; 20", from astropy and from any other XML reader; read and written again it is
# "mag &amp;lt; 20", and so on. INFO, DESCRIPTION and the cells of the table hold the same text
# right, in the same file.
#
# It hurts whoever keeps the query, the selection, a URL with "&" or a comment of a catalogue as a
# PARAM, as Virtual Observatory services do: a filter or an address taken from the file is not the
# one that made it, and a file that passes through several programs' hands grows.
#
# Output seen:
#   astropy 8.0.2 numpy 2.4.6
#   given        PARAM S/N > 5 & mag < 20
#   1 writing    PARAM S/N &gt; 5 &amp; mag &lt; 20
#                INFO  S/N > 5 & mag < 20
#   2 writings   PARAM S/N &amp;gt; 5 &amp;amp; mag &amp;lt; 20
#                INFO  S/N > 5 & mag < 20
#   ElementTree  PARAM S/N &amp;gt; 5 &amp;amp; mag &amp;lt; 20
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check astropy==8.0.2 numpy==2.4.6
cd "$place"
"$place/venv/bin/python" - <<'PYTHON'
import xml.etree.ElementTree

import astropy
import numpy
from astropy.io.votable import from_table, parse
from astropy.io.votable.tree import Info, Param
from astropy.table import Table

print("astropy", astropy.__version__, "numpy", numpy.__version__)
TEXT = "S/N > 5 & mag < 20"
file = from_table(Table({"flux": [1.0]}))
table = file.get_first_table()
table.params.append(Param(file, ID="p", name="cut", value=TEXT, datatype="char", arraysize="*"))
table.infos.append(Info(ID="i", name="cut", value=TEXT))
print(f"given        PARAM {TEXT}")
seen = []
for turn in ("1 writing", "2 writings"):
    file.to_xml("t.vot")
    file = parse("t.vot")
    table = file.get_first_table()
    seen.append(table.params[0].value)
    print(f"{turn:12} PARAM {seen[-1]}")
    print(f"{'':12} INFO  {table.infos[0].value}")
    assert table.infos[0].value == TEXT
elements = xml.etree.ElementTree.parse("t.vot").iter()
(other,) = (one.get("value") for one in elements if one.tag.endswith("PARAM"))
print(f"ElementTree  PARAM {other}")
assert seen[0] == "S/N &gt; 5 &amp; mag &lt; 20"
assert other == seen[1] == "S/N &amp;gt; 5 &amp;amp; mag &amp;lt; 20"
PYTHON
