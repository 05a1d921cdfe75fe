"""Compare detectors on real frames.

``python benchmarks/accuracy/real_frames.py DATA --doc docs/real-frames.md``

DATA holds the folders ``sdss_s82``, ``widefield_lens``, ``panoptes_cygnus``,
``wfsat_crops``, ``ystar_streak``, ``sbig_tres1``, ``seestar_m94``, ``allsky_magic`` and
``skymaker``. Draws figures into ``figures/real-*.png`` in the folder of the document, writes
the numbers as ``figures/real-*.csv``, and puts the tables between the ``<!-- NAME -->`` and
``<!-- /NAME -->`` lines of the document.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from real.catalogues import lens, panoptes, sdss
from real.equal_numbers import all_sets
from real.preprocessing import mosaics, sbig
from real.telescopes import crops, satellite

from skyduel.core import Detector
from skyduel.core.registry import make_detector

NAMES = ("neural", "sep-matched", "sep")
SECTIONS: dict[str, Callable[[Path, dict[str, Detector], Path], str]] = {
    "sdss": sdss,
    "lens": lens,
    "panoptes": panoptes,
    "crops": crops,
    "satellite": satellite,
    "sbig": sbig,
    "mosaics": mosaics,
    "all-sets": all_sets,
}


def put(doc: Path, name: str, text: str) -> None:
    """Replace the text between the marks of a section in the document."""
    old = doc.read_text()
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    new, n = pattern.subn(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", old)
    if n != 1:
        sys.exit(f"{doc}: no marks <!-- {name} --> … <!-- /{name} -->")
    doc.write_text(new)


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--doc", type=Path, default=Path("docs/real-frames.md"))
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    options = parser.parse_args(None if arguments is None else list(arguments))
    figures = options.doc.parent / "figures"
    figures.mkdir(exist_ok=True, parents=True)
    detectors = {name: make_detector(name, {}) for name in NAMES}
    for name in options.only:
        began = time.perf_counter()
        text = SECTIONS[name](options.data, detectors, figures)
        put(options.doc, name, text)
        print(f"{name}: {time.perf_counter() - began:.0f} s\n{text}\n")


if __name__ == "__main__":
    main()
