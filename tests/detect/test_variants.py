"""Variants of settings from one run of the network equal separate calls."""

import numpy as np
import pytest

from skyduel.core import Frame
from skyduel.core.errors import BadInputError
from skyduel.core.search_space import Tunable, TunesInOnePass
from skyduel.detect import detector
from skyduel.detect.detector import neural


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(3)
    yy, xx = np.mgrid[0:80, 0:112]
    image = rng.normal(200, 5, (80, 112))
    for x, y, peak in zip(
        rng.uniform(3, 109, 25), rng.uniform(3, 77, 25), 10 ** rng.uniform(1, 3, 25), strict=True
    ):
        image += peak * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 2.5)
    mask = np.zeros(image.shape, dtype=bool)
    mask[:, 60] = True
    return Frame(data=image.astype(np.float32), mask=mask, name="f", fwhm=2.6)


def test_variants_are_what_calls_return_from_one_look(frame, monkeypatch) -> None:
    changes = [{}, {"nms_sigma": 0.06}, {"nms_sigma": 0.9, "floor": 0.2}, {"score_threshold": 0.7}]
    called = [neural(**change)(frame) for change in changes]
    looks = []
    look = detector.find_sources
    monkeypatch.setattr(detector, "find_sources", lambda *a, **k: looks.append(1) or look(*a, **k))
    one = neural()
    assert isinstance(one, Tunable)
    assert isinstance(one, TunesInOnePass)
    assert set(one.tuning_space) <= set(type(one.settings).model_fields)
    for found, expected in zip(one.variants(frame, changes), called, strict=True):
        assert len(expected) > 5
        np.testing.assert_array_equal(found.xy, expected.xy)
        np.testing.assert_array_equal(found["score"], expected["score"])
    assert len(looks) == 1
    # A lower floor of proposals is another look.
    (deep,) = one.variants(frame, [{"floor": 0.004}])
    assert len(looks) == 2
    np.testing.assert_array_equal(deep["score"], neural(floor=0.004)(frame)["score"])


def test_an_unknown_setting_is_refused(frame) -> None:
    with pytest.raises(BadInputError, match="did you mean nms_sigma"):
        list(neural().variants(frame, [{"nms_sgma": 0.3}]))
