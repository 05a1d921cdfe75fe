"""Train the shape classifier and measure it on held-out frames.

``python benchmarks/accuracy/train_shape_classifier.py TRAIN HELD-OUT``

TRAIN and HELD-OUT are folders made by ``skyduel simulate`` with different seeds.
Detections of `sep-matched` within 2 px of a point's truth, or within 2 px of a streak's
segment, have a known kind; others are left out. Prints the confusion matrix on HELD-OUT
for the rule of two limits and for the trained trees.
``--out FILE`` writes the trees as JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from scipy.spatial import cKDTree
from sklearn.ensemble import GradientBoostingClassifier

from skyduel.baseline import sep_matched
from skyduel.baseline.sep.shape_classifier import FEATURES, read_trees
from skyduel.core import Catalog, atomic_path, open_dataset, read_catalog

RADIUS_PX = 2.0
LEAST_SNR = 3.0


def known_kinds(found: Catalog, truth: Catalog) -> npt.NDArray[np.int64]:
    """Return 0 for a point, 1 for a streak, -1 for neither or unclear, shape (n,)."""
    kind = np.full(len(found), -1)
    usable = ~truth["ignore"] if "ignore" in truth else np.ones(len(truth), bool)
    near_streak = np.zeros(len(found), bool)
    for row in np.flatnonzero(truth.is_streak):
        dx, dy = found["x"] - truth["x"][row], found["y"] - truth["y"][row]
        c, s = np.cos(truth["theta"][row]), np.sin(truth["theta"][row])
        along = np.abs(dx * c + dy * s) <= truth["length"][row] / 2 + RADIUS_PX
        near_streak |= along & (np.abs(dy * c - dx * s) <= RADIUS_PX)
    points = truth.select(usable & ~truth.is_streak & (truth["snr"] >= LEAST_SNR))
    near_point = np.zeros(len(found), bool)
    if len(points) and len(found):
        near_point = cKDTree(points.xy).query(found.xy)[0] <= RADIUS_PX
    kind[near_point & ~near_streak] = 0
    kind[near_streak & ~near_point] = 1
    return kind


def collect(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]:
    """Return features, known kinds and the kinds of the rule for a folder's detections."""
    detector = sep_matched(shapes=True)
    features, kinds, rule = [], [], []
    for entry in open_dataset(folder):
        frame = entry.read()
        found = detector(frame)
        found = found.select(found["score"] >= detector.settings.score_threshold)
        if not len(found) or entry.truth is None:
            continue
        kind = known_kinds(found, read_catalog(entry.truth, frame=frame))
        table = np.column_stack([found[f"shape_{name}"] for name in FEATURES])
        features.append(table[kind >= 0])
        kinds.append(kind[kind >= 0])
        rule.append(found.is_streak[kind >= 0])
    return np.vstack(features), np.concatenate(kinds), np.concatenate(rule)


def stored(model: GradientBoostingClassifier, about: dict[str, Any]) -> dict[str, Any]:
    """Return the trees as plain lists, nodes padded to the largest tree."""
    trees = [stage[0].tree_ for stage in model.estimators_]
    most = max(tree.node_count for tree in trees)
    parts: dict[str, Any] = {k: [] for k in ("feature", "left", "right", "threshold", "value")}
    for tree in trees:
        pad = most - tree.node_count
        inner = tree.children_left >= 0
        parts["feature"].append([*np.where(inner, tree.feature, -1).tolist(), *[-1] * pad])
        parts["left"].append([*tree.children_left.tolist(), *[-1] * pad])
        parts["right"].append([*tree.children_right.tolist(), *[-1] * pad])
        parts["threshold"].append([*np.where(inner, tree.threshold, 0).tolist(), *[0.0] * pad])
        value = model.learning_rate * tree.value[:, 0, 0]
        parts["value"].append([*np.where(inner, 0, value).tolist(), *[0.0] * pad])
    prior = model.init_.class_prior_[1]
    start = float(np.log(prior / (1 - prior)))
    return {"features": list(FEATURES), "start": start, "about": about, **parts}


def show(name: str, said: npt.NDArray[Any], kind: npt.NDArray[Any]) -> None:
    cells = [int(np.sum((kind == k) & (said == s))) for k in (0, 1) for s in (0, 1)]
    recall, precision = (
        cells[3] / max(1, cells[2] + cells[3]),
        cells[3] / max(1, cells[1] + cells[3]),
    )
    print(
        f"{name:<8} points: {cells[0]} right, {cells[1]} called streak; streaks: {cells[3]} right, "
        f"{cells[2]} called point; streak recall {recall:.3f}, precision {precision:.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    features, kind, _ = collect(options.train)
    model = GradientBoostingClassifier(
        n_estimators=60, max_depth=3, learning_rate=0.15, min_samples_leaf=10, random_state=0
    ).fit(features, kind)
    print(f"trained on {np.sum(kind == 0)} points and {np.sum(kind == 1)} streak detections")
    held, truth, rule = collect(options.held_out)
    show("rule", rule, truth)
    show("trained", model.predict(held), truth)
    about = {
        "trained_on": f"{len(kind)} detections of sep-matched on {options.train.name}",
        "scikit_learn": sklearn.__version__,
        "held_out": f"{len(truth)} detections on {options.held_out.name}",
    }
    if options.out:
        with atomic_path(options.out) as temporary:
            temporary.write_text(json.dumps(stored(model, about)) + "\n")
        ours = read_trees(options.out).logit(held)
        difference = float(np.abs(ours - model.decision_function(held)).max())
        print(f"{options.out}: largest difference to scikit-learn's logit {difference:.1e}")


if __name__ == "__main__":
    main()
