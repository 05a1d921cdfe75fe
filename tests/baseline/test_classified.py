"""Tests of the trained classifier of points and streaks."""

import importlib.util
import json

import numpy as np
import pytest
from helpers.paths import ROOT
from sklearn.ensemble import GradientBoostingClassifier

from skyduel.baseline import sep_matched
from skyduel.baseline.sep.classified import sep_classified
from skyduel.baseline.sep.shape_classifier import FEATURES, Trees, read_trees, shipped_trees
from skyduel.core.errors import BadInputError
from skyduel.core.frame import Frame


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(
        "train_shape_classifier", ROOT / "benchmarks" / "accuracy" / "train_shape_classifier.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grown(seed=0, n=600):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, len(FEATURES))).astype(np.float32)
    kind = (features[:, 0] + features[:, 3] ** 2 + random.normal(size=n) > 1.2).astype(int)
    model = GradientBoostingClassifier(n_estimators=12, max_depth=4, random_state=seed)
    return model.fit(features, kind), random


def test_stored_trees_say_what_sklearn_says(benchmark, tmp_path):
    model, random = grown()
    (tmp_path / "t.json").write_text(json.dumps(benchmark.stored(model, {"made": "here"})))
    trees = read_trees(tmp_path / "t.json")
    fresh = random.normal(size=(2000, len(FEATURES))).astype(np.float32)
    # On the thresholds themselves too, where rounding would send a row the other way.
    split = trees.threshold[trees.feature >= 0][: len(FEATURES) * 20]
    edges = np.resize(split, (20, len(FEATURES))).astype(np.float32)
    for rows in (fresh, edges, np.zeros((0, len(FEATURES)), np.float32)):
        expected = model.decision_function(rows) if len(rows) else np.zeros(0)
        assert np.allclose(trees.logit(rows), expected, rtol=0, atol=1e-12)
    assert np.array_equal(trees.is_streak(fresh), model.predict(fresh) == 1)
    assert 0 < trees.is_streak(fresh).sum() < len(fresh)


def test_training_is_the_same_every_time(benchmark):
    one, other = (benchmark.stored(grown()[0], {}) for _ in range(2))
    assert one == other


def test_the_shipped_file_is_whole_and_small():
    trees = shipped_trees()
    assert trees.feature.shape[0] == 60
    assert "sep-matched" in trees.about["trained_on"]
    assert (ROOT / "baseline" / "sep" / "shape_classifier.json").stat().st_size < 100_000


def frame_with_streak(length=40.0, peak=120.0):
    y, x = np.mgrid[:130, :180].astype(float)
    image = np.random.default_rng(3).normal(100, 5, x.shape)
    for x0, y0 in [(20, 20), (150, 30), (40, 100), (160, 110), (90, 20), (100, 112), (20, 60)]:
        image += 400 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / 1.3**2)
    along = (x - 90) * np.cos(0.6) + (y - 65) * np.sin(0.6)
    across = -(x - 90) * np.sin(0.6) + (y - 65) * np.cos(0.6)
    image += peak * np.exp(-(across**2) / 2 / 1.3**2) * (np.abs(along) <= length / 2)
    return Frame(data=image, name="streak", fwhm=3.06)


def test_a_streak_is_a_streak_and_stars_are_points():
    detector = sep_classified(score_threshold=6.0)
    assert detector.name == "sep-classified"
    found = detector(frame_with_streak())
    found = found.select(found["score"] >= 6)
    (row,) = np.flatnonzero(found.is_streak)
    assert (found["x"][row], found["y"][row]) == pytest.approx((90, 65), abs=1.0)
    assert found["length"][row] == pytest.approx(40, rel=0.15)
    assert found["theta"][row] == pytest.approx(0.6, abs=0.03)
    assert (found["kind"] == "point").sum() >= 7


def test_only_the_kind_differs_from_sep_matched():
    frame = frame_with_streak()
    ours, rule = sep_classified()(frame), sep_matched()(frame)
    assert np.array_equal(ours["score"], rule["score"])
    assert np.array_equal(ours["flux"], rule["flux"])


def test_shapes_are_columns_when_asked_for():
    found = sep_matched(shapes=True)(frame_with_streak())
    assert {f"shape_{name}" for name in FEATURES} <= set(found.table.colnames)
    bright = found.select(found["score"] > 30)
    streak = bright["shape_length_fwhm"].argmax()
    assert bright["shape_log_elongation"][streak] == bright["shape_log_elongation"].max()
    assert not any(
        n.startswith("shape_") for n in sep_matched()(frame_with_streak()).table.colnames
    )


def test_truth_gives_a_kind_only_where_it_is_clear(benchmark):
    from skyduel.core import Catalog

    truth = Catalog.build(
        x=[10.0, 50.0, 50.0], y=[10.0, 50.0, 51.0], kind=["point", "streak", "point"],
        length=[0.0, 20.0, 0.0], snr=[20.0, 9.0, 20.0],
    )  # fmt: skip
    found = Catalog.build(x=[11.0, 58.0, 50.0, 80.0], y=[10.5, 51.0, 50.0, 80.0])
    assert benchmark.known_kinds(found, truth).tolist() == [0, 1, -1, -1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": ["a"]}, "trees of the features"),
        ({"feature": [[0, 1]]}, "trees of the features"),
        ({"left": [[0, -1, -1]]}, "branches lead on"),
        ({"right": [[9, -1, -1]]}, "branches lead on"),
        ({"feature": [[99, -1, -1]]}, "branches lead on"),
        ({"value": [[0, float("nan"), 1]]}, "finite trees"),
        ({"threshold": "text"}, "a classifier's JSON file"),
        ({"about": None}, "a classifier's JSON file"),
    ],
)
def test_files_that_are_no_classifier(tmp_path, change, message):
    good = {
        "features": list(FEATURES), "start": 0.0, "about": {}, "feature": [[0, -1, -1]],
        "left": [[1, -1, -1]], "right": [[2, -1, -1]], "threshold": [[0.5, 0, 0]],
        "value": [[0, -1, 1]],
    }  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps(good))
    trees = read_trees(tmp_path / "t.json")
    assert isinstance(trees, Trees)
    low, high = np.zeros((1, len(FEATURES)), np.float32), np.ones((1, len(FEATURES)), np.float32)
    assert trees.is_streak(np.vstack([low, high])).tolist() == [False, True]
    (tmp_path / "t.json").write_text(json.dumps({**good, **change}))
    with pytest.raises(BadInputError, match=message):
        read_trees(tmp_path / "t.json")
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(BadInputError, match="a classifier's JSON file"):
        read_trees(tmp_path / "t.json")
