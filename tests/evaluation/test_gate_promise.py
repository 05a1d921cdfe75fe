"""The short form of `benchmarks/accuracy/gate_promise.py`, whose table is in docs/gate.md."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import numpy as np
import pytest
from helpers.paths import ROOT

from skyduel.evaluation import ScoringRules
from skyduel.evaluation.comparison.compare import ComparisonSample, compare
from skyduel.evaluation.scoring.depth import Limit


@pytest.fixture(scope="module")
def promise() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "gate_promise", ROOT / "benchmarks" / "accuracy" / "gate_promise.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_judges_as_a_comparison_does(promise: ModuleType) -> None:
    pair = promise.versions(np.random.default_rng(3), "clusters", 12, 0.02)
    nowhere = Limit(np.nan, np.nan, np.nan)
    samples = []
    for truths, found, detections in (c.T for c in pair):
        counts = np.zeros((12, 4, 4), dtype=np.int64)
        counts[:, :, 1] = np.stack([truths, found, detections, found], axis=1)
        hit = np.concatenate([np.arange(t) < f for t, f in zip(truths, found, strict=True)])
        samples.append(
            ComparisonSample(
                tuple(f"f{k}" for k in range(12)), (18.0, 20.0), counts, np.ones(hit.size, int),
                hit, nowhere, nowhere,
            )
        )  # fmt: skip
    rules = ScoringRules(n_bootstrap=100, seed=5)
    row = compare(*samples, rules).query("bin == -2 and quantity == 'f1'").iloc[0]
    assert promise.judged(pair, 100, 5) == pytest.approx((row["lo"], row["hi"], row["p"]))


def test_even_frames_are_covered_and_the_stated_shortfalls_are_real(promise: ModuleType) -> None:
    even = promise.rates("even", 10, 150, 150)
    assert even["covered"] >= 0.88
    assert even["wrong pass"] <= 0.12
    assert promise.rates("drift", 10, 60, 150)["covered"] >= 0.9
    # What the note beside the intervals speaks of: rare failures, and frames of one night.
    assert promise.rates("rare failures", 5, 60, 150)["covered"] < 0.6
    assert promise.rates("clusters", 20, 60, 150)["covered"] < 0.85
