"""The plug-in of docs/your-own.md works when it is copied by a reader."""

import re
from importlib.metadata import EntryPoint, EntryPoints

import numpy as np
import pytest
from helpers.paths import ROOT

import skyduel.core.registry
from skyduel.core.detector import detector_info
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame
from skyduel.core.registry import make_detector

PAGE = ROOT / "docs" / "your-own.md"


@pytest.fixture
def plugged_in(tmp_path, monkeypatch):
    """The example installed as its own page says: a module and an entry point."""
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n(# peaks\.py\n.*?)```", text, re.DOTALL)
    (name, value) = re.search(
        r'"skyduel\.detectors"\]\n(\w+) = "([\w:]+)"', text
    ).groups()  # fmt: skip
    (more,) = re.findall(
        r"```python\n(from skyduel\.core import DetectorInfo.*?)```", text, re.DOTALL
    )
    optional = more.replace("class Peaks:", "class Optional:").replace("    ...\n", "")
    code = code.replace("class Peaks:", "class Peaks(Optional):")
    (tmp_path / "peaks.py").write_text(optional + code)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint(name, value, skyduel.core.registry.GROUP)
    monkeypatch.setattr(skyduel.core.registry, "entry_points", lambda group: EntryPoints([entry]))
    return name


def test_the_example_detects(plugged_in):
    y, x = np.mgrid[:40, :60]
    image = np.random.default_rng(0).normal(100, 3, x.shape)
    for x0, y0 in [(10, 12), (45, 30)]:
        image += 400 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 4)
    found = make_detector(plugged_in)(Frame(data=image, name="two"))
    assert found.xy.tolist() == [[10, 12], [45, 30]]
    assert (found["score"] > 300).all()
    info = detector_info(make_detector(plugged_in))
    assert (info.device, info.program_version) == ("cuda", "1.2")
    assert len(make_detector(plugged_in, {"min_adu": 1000})(Frame(data=image, name="two"))) == 0


def test_it_is_refused_by_another_name(plugged_in):
    with pytest.raises(BadInputError, match=r"did you mean peaks\?"):
        make_detector("peak")
