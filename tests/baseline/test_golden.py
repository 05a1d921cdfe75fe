"""Compare the detector `sep` with the SExtractor program on a stored scene.

To make the table again, with Source Extractor and its shipped `default.*` files
in the working directory::

    python tests/baseline/test_golden.py scene.fits
    printf 'XWIN_IMAGE\nYWIN_IMAGE\nFLUX_AUTO\nFLUXERR_AUTO\nFLAGS\n' > golden.param
    source-extractor scene.fits -c default.sex -PARAMETERS_NAME golden.param \
        -GAIN 2 -SATUR_LEVEL 4000 -CATALOG_NAME golden.cat
"""

import sys

import numpy as np
import pytest
from scipy.spatial import cKDTree

from skyduel.baseline import sep_default
from skyduel.core.frame import Frame

NY, NX, GAIN, SATURATION = 96, 150, 2.0, 4000.0

# Source Extractor 2.25.0, default.sex as shipped (DETECT_MINAREA 3); XWIN and
# YWIN are 1-based.
GOLDEN = """
77.3906     28.4272        59754     207.2688   4
14.9515     18.5884     26328.32     160.9722   0
139.3334     16.8555     1102.776     119.6064   0
30.0176     79.1098     15102.22     166.3712   0
67.3756     77.3104     14671.25     140.5278   0
87.2613     63.1618     8599.678     125.9904   0
126.0407     61.2342     6477.678     123.0775   0
75.9800     63.0296     1647.521     91.49786   0
52.6371     63.1334     579.6517      106.585   0
94.8049     53.3462     34585.63     173.8058   0
35.3477     53.9574     546.2203      81.5295   0
27.0055     46.4354     2750.814     105.3758   3
32.0563     42.0366     45676.61     189.0871   6
9.8877     44.7023     2096.169     98.84498   0
57.6631     37.9891     4958.569     116.4037   0
22.4096     32.3841     691.4194     90.71536   0
85.2688     89.9703     1157.902     94.68752  16
112.7035     85.0109     20019.83     150.8569   0
126.4064     19.2569     374.4369     92.59586   0
"""


def scene() -> np.ndarray:
    # RandomState: its stream is frozen for good (NEP 19), a Generator's is not.
    random = np.random.RandomState(2020)
    y, x = np.mgrid[:NY, :NX].astype(float)
    sky = 300.0 + 0.2 * x
    image = sky.copy()
    for flux in np.geomspace(60.0, 60_000.0, 26):
        x0, y0 = random.uniform(4, NX - 5), random.uniform(4, NY - 5)
        sigma = 1.25
        image += (
            flux / (2 * np.pi * sigma**2) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / sigma**2)
        )
    image += random.normal(size=image.shape) * np.sqrt(image / GAIN)
    return np.rint(image).astype(np.float32)


@pytest.fixture(scope="module")
def both():
    frame = Frame(data=scene(), name="golden", gain=GAIN, saturation=SATURATION)
    golden = np.array([[float(v) for v in row.split()] for row in GOLDEN.strip().splitlines()])
    golden[:, :2] -= 1.0
    return sep_default()(frame), golden


def test_the_same_detections_as_sextractor(both):
    ours, golden = both
    assert len(ours) == len(golden)
    separation, row = cKDTree(golden[:, :2]).query(ours.xy)
    assert sorted(row) == list(range(len(golden)))
    # Windowed positions differ by the background's last digits; blends more.
    assert np.median(separation) < 0.01
    assert separation.max() < 0.5


def test_fluxes_and_errors_as_sextractor(both):
    ours, golden = both
    row = cKDTree(golden[:, :2]).query(ours.xy)[1]
    ratio = ours["flux"] / golden[row, 2]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
    # Where apertures meet a neighbour SEP fills in a mean, SExtractor mirrors.
    assert np.abs(ratio - 1).max() < 0.15
    assert np.median(ours["flux_err"] / golden[row, 3]) == pytest.approx(1.0, abs=0.01)


def test_blended_saturated_and_truncated_flags_as_sextractor(both):
    ours, golden = both
    row = cKDTree(golden[:, :2]).query(ours.xy)[1]
    bits = 2 | 4 | 8
    assert np.array_equal(ours["flags"] & bits, golden[row, 4].astype(int) & bits)
    assert (ours["flags"] & 4).any()
    assert (ours["flags"] & 2).any()


if __name__ == "__main__":
    from astropy.io import fits

    fits.writeto(sys.argv[1], scene())
