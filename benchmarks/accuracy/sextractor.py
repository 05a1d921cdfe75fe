"""Compare the SEP baseline with the SExtractor program.

``python benchmarks/accuracy/sextractor.py FRAME...``

Runs `source-extractor` and `sep`, both with SExtractor's shipped settings, on every frame
and prints per group of frames (the name without its number) the number of detections of each,
the fraction of the program's detections that SEP has within 1 px and the reverse, the distance
of common detections, and the ratio of their fluxes and errors.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from skyduel.baseline import sep_default
from skyduel.baseline.sextractor_program import source_extractor
from skyduel.core import Catalog, read_frame
from skyduel.evaluation import pair

RADIUS_PX = 1.0


@dataclass(frozen=True)
class Agreement:
    """Numbers of detections on one frame; distance and ratios of common ones, shape (n,)."""

    program: int
    sep: int
    distance: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    same_flags: npt.NDArray[np.bool_]


def agreement(program: Catalog, sep: Catalog) -> Agreement:
    """Compare two catalogues of one frame."""
    pairs = pair(program.xy, sep.xy, RADIUS_PX)
    i, j = pairs.truth_index, pairs.found_index
    with np.errstate(all="ignore"):
        flux = sep["flux"][j] / program["flux"][i]
        error = sep["flux_err"][j] / program["flux_err"][i]
    bits = 2 | 4 | 8  # blended, saturated, truncated
    return Agreement(
        program=len(program),
        sep=len(sep),
        distance=np.hypot(*(sep.xy[j] - program.xy[i]).T),
        flux=flux,
        error=error,
        same_flags=(sep["flags"][j] & bits) == (program["flags"][i] & bits),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frames", nargs="+", type=Path)
    options = parser.parse_args()
    theirs, ours = source_extractor(), sep_default()
    groups: dict[str, list[Agreement]] = {}
    for path in options.frames:
        frame = read_frame(path)
        group = re.sub(r"[-_]?\d+$", "", frame.name)
        groups.setdefault(group, []).append(agreement(theirs(frame), ours(frame)))
    print(f"Source Extractor {theirs.program_version}; SEP within {RADIUS_PX:g} px")
    print("| frames | program | SEP | in both / program | in both / SEP | distance [px], 99 % |"
          " flux ratio [5 %, 95 %] | error ratio | same flags |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for group, parts in groups.items():
        n, m = sum(p.program for p in parts), sum(p.sep for p in parts)
        distance = np.concatenate([p.distance for p in parts])
        flux = np.concatenate([p.flux for p in parts])
        low, middle, high = np.nanpercentile(flux, [5, 50, 95])
        error = np.nanmedian(np.concatenate([p.error for p in parts]))
        flags = np.concatenate([p.same_flags for p in parts]).mean()
        print(
            f"| {group} ({len(parts)}) | {n} | {m} | {len(distance) / n:.4f} "
            f"| {len(distance) / m:.4f} | {np.median(distance):.4f}, "
            f"{np.percentile(distance, 99):.2f} | {middle:.4f} [{low:.3f}, {high:.3f}] "
            f"| {error:.3f} | {flags:.3f} |"
        )


if __name__ == "__main__":
    main()
