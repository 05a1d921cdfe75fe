"""Compare SEP with the SExtractor program on the shared frames, within measured bounds."""

import importlib.util
import shutil

import numpy as np
import pytest
from helpers.paths import DATA, ROOT, needs_data

from skyduel.baseline import sep_default
from skyduel.baseline.sextractor_program import PROGRAMS, source_extractor
from skyduel.core import read_frame

FRAMES = [f"skymaker/{kind}_000.fits.fz" for kind in
          ("sparse", "field", "aberrated", "crowded", "dirty")]  # fmt: skip
FRAMES.append("sdss_s82/frame-r-000094-1-0012.fits.bz2")

pytestmark = [
    pytest.mark.skipif(
        not any(map(shutil.which, PROGRAMS)),
        reason="needs SExtractor: apt install source-extractor",
    ),
    needs_data,
]


@pytest.fixture(scope="module")
def agreement():
    spec = importlib.util.spec_from_file_location(
        "sextractor_benchmark", ROOT / "benchmarks" / "accuracy" / "sextractor.py"
    )
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name.
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.agreement


@pytest.mark.parametrize("name", FRAMES)
def test_sep_finds_and_measures_what_the_program_does(agreement, name):
    frame = read_frame(DATA / name)
    result = agreement(source_extractor()(frame), sep_default()(frame))
    assert result.program > 10
    assert abs(result.sep - result.program) <= max(2, 0.01 * result.program)
    common = len(result.distance)
    assert common >= 0.97 * max(result.sep, result.program)
    assert np.median(result.distance) < 0.01
    assert np.nanmedian(result.flux) == pytest.approx(1.0, abs=0.01)
    low, high = np.nanpercentile(result.flux, [5, 95])
    assert 0.85 < low < high < 1.15
    assert np.nanmedian(result.error) == pytest.approx(1.0, abs=0.02)
    assert result.same_flags.mean() > 0.98
