"""Compare average precision with its definition, and that of boxes with pycocotools."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import FrameInput, ScoringRules, evaluate
from skyduel.evaluation.analyses.average_precision import average_precision_of, precision_recall
from skyduel.evaluation.analyses.coco_ap import BOX_PX, COCO_IOU, coco_precision
from skyduel.evaluation.scoring.table_columns import AP_COLUMNS
from skyduel.evaluation.scoring.threshold_sweep import Curve, curve

RULES = ScoringRules(n_bootstrap=20)


def frame(rng: np.random.Generator, n: int, m: int, *, whole: bool = False) -> tuple:
    """A small crowd of both kinds; some truths ignored; on whole pixels if asked."""

    def place(k: int) -> np.ndarray:
        xy = rng.uniform(0, [40, 25], (k, 2))
        return np.rint(xy) if whole else xy

    at = place(n)
    seen = at[rng.integers(0, max(n, 1), m // 2)] if n else place(m // 2)
    near = seen + (rng.integers(-3, 4, seen.shape) if whole else rng.normal(0, 1.2, seen.shape))
    found = np.concatenate([near, place(m - len(near))])

    def kinds(k: int) -> np.ndarray:
        return np.where(rng.random(k) < 0.3, "streak", "point")

    truth = Catalog.build(x=at[:, 0], y=at[:, 1], kind=kinds(n), ignore=rng.random(n) < 0.2)
    score = rng.integers(0, 8, m) / 8 if whole else rng.random(m)
    return truth, Catalog.build(x=found[:, 0], y=found[:, 1], kind=kinds(m), score=score)


def pycocotools_precision(frames: list[tuple], max_detections: int) -> np.ndarray:
    """Precision of pycocotools, mean over recalls, shape (thresholds, kinds); -1 for no truth."""
    coco = pytest.importorskip("pycocotools.coco")
    judge = pytest.importorskip("pycocotools.cocoeval")
    truths, found = [], []
    for image, (truth, seen) in enumerate(frames):
        for catalog, rows in ((truth, truths), (seen, found)):
            for k in range(len(catalog)):
                kind = str(catalog["kind"][k])
                side = BOX_PX[kind]
                box = [catalog["x"][k] - side / 2, catalog["y"][k] - side / 2, side, side]
                row = {"image_id": image + 1, "category_id": 1 + (kind == "streak"), "bbox": box}
                if catalog is truth:
                    crowd = int(truth["ignore"][k])
                    row |= {"id": len(rows) + 1, "area": side * side, "iscrowd": crowd}
                else:
                    row["score"] = float(catalog["score"][k])
                rows.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = coco.COCO()
        reference.dataset = {
            "info": {},
            "images": [{"id": k + 1} for k in range(len(frames))],
            "categories": [{"id": 1, "name": "point"}, {"id": 2, "name": "streak"}],
            "annotations": truths,
        }
        reference.createIndex()
        run = judge.COCOeval(reference, reference.loadRes(found), "bbox")
        run.params.maxDets = [max_detections]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()
    return run.eval["precision"][:, :, :, 0, 0].mean(axis=1)


@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from([4, 100]))
@settings(deadline=None, max_examples=30)
def test_boxes_are_judged_as_by_pycocotools(seed: int, whole: bool, most: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [frame(rng, *rng.integers(0, 14, 2), whole=whole) for _ in range(5)]
    frames.append(frame(rng, 9, 7, whole=whole))
    want = pycocotools_precision(frames, most)
    got = coco_precision(frames, max_detections=most)
    for k, kind in enumerate(("point", "streak")):
        if (want[:, k] == -1).all():
            assert np.isnan(got.value[kind]).all()
        else:
            np.testing.assert_allclose(got.value[kind], want[:, k], atol=1e-9, rtol=0)
    some = want[want > -1]
    assert got.mean == pytest.approx(some.mean(), abs=1e-9) if some.size else np.isnan(got.mean)


def test_the_default_thresholds_are_cocos() -> None:
    assert tuple(np.linspace(0.5, 0.95, 10)) == COCO_IOU
    assert dict(BOX_PX) == {"point": 10.0, "streak": 12.0}


def test_boxes_by_hand() -> None:
    # Shifted by s, squares of side 10 overlap by (10 - s) / (10 + s).
    truth = Catalog.build(x=[20.0, 60.0, 90.0, 30.0], y=np.full(4, 9.0), ignore=[0, 0, 0, 1])
    found = Catalog.build(
        x=[20.0, 62.0, 94.0, 31.0, 33.0, 50.0], y=np.full(6, 9.0), score=[6, 5, 4, 3, 2, 7.0]
    )
    got = coco_precision([(truth, found)], iou=(0.42, 0.5, 0.7)).value["point"]
    # Surest first: false, right, right, right or false (4 px: 0.43), two on the ignored truth.
    # Interpolated precision over recalls 0 ... 1/3 ... 2/3 ... 1.
    assert got[0] == pytest.approx(3 / 4)
    assert got[1] == pytest.approx(67 / 101 * 2 / 3)
    assert got[2] == pytest.approx(34 / 101 * 1 / 2)
    free = found.with_columns(ignore=[0, 0, 0, 0, 0, 1])
    assert coco_precision([(truth, free)], iou=(0.42,)).value["point"][0] == pytest.approx(1.0)


def test_boxes_of_far_frames_do_not_meet_and_no_frames_are_nothing() -> None:
    one = Catalog.build(x=[5.0], y=[5.0], score=[0.5])
    empty = Catalog.empty()
    frames = [(one, empty), (empty, one)] * 300
    assert coco_precision(frames).value["point"].tolist() == [0.0] * 10
    assert coco_precision([(one, one)] * 600).value["point"] == pytest.approx(np.ones(10))
    assert np.isnan(coco_precision([]).mean)
    assert np.isnan(coco_precision([(empty, one)]).mean)
    assert coco_precision([(one, empty)]).mean == 0
    unscored = one.with_columns(score=[np.nan])
    assert coco_precision([(one, unscored)]).mean == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("more", "says"),
    [({"iou": (0.0, 0.5)}, r"iou: required thresholds in \(0, 1\]"),
     ({"box_px": {"point": 10.0}}, "a side > 0 for streak")],
)  # fmt: skip
def test_impossible_boxes_are_refused(more: dict, says: str) -> None:
    with pytest.raises(BadInputError, match=says):
        coco_precision([], **more)


def made(found: list[int], detections: list[int], truths: int) -> Curve:
    steps = -np.arange(len(found), dtype=float)
    return Curve(steps, np.array(found), np.array(detections), truths, 1.0)


def test_average_precision_by_hand() -> None:
    # Purity 1, 1/2, 2/3, 1/2 at completeness 1/4, 1/4, 2/4, 2/4: envelope 1 then 2/3, then nothing.
    c = made([1, 1, 2, 2], [1, 2, 3, 4], 4)
    r, p = precision_recall(c)
    assert r.tolist() == [0.25, 0.5]
    assert p == pytest.approx([1, 2 / 3])
    assert average_precision_of(c) == pytest.approx(1 / 4 + 1 / 4 * 2 / 3)
    # A low start is lifted by what comes later; a start where nothing counts is left out.
    assert average_precision_of(made([0, 0, 2, 3], [0, 1, 3, 4], 4)) == pytest.approx(3 / 4 * 3 / 4)
    assert average_precision_of(made([4], [4], 4)) == 1
    assert average_precision_of(made([0], [3], 4)) == 0
    assert average_precision_of(made([], [], 4)) == 0
    assert np.isnan(average_precision_of(made([0], [3], 0)))


@given(st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=25)
def test_average_precision_is_its_definition(seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [
        FrameInput(frame=f"{k}", truth=truth, found=found, mpix=1.0)
        for k, (truth, found) in enumerate(frame(rng, 12, 19) for _ in range(3))
    ]
    c = curve(frames, RULES)
    want = 0.0
    for level in range(c.truths):  # each truth's step from level to level + 1
        there = (c.truths_found > level) & (c.detections > 0)
        want += (c.purity[there].max() if there.any() else 0.0) / c.truths
    assert average_precision_of(c) == pytest.approx(want)
    # Only the order of scores matters.
    squeezed = [
        FrameInput(
            frame=f.frame,
            truth=f.truth,
            found=f.found.with_columns(score=np.exp(5 * f.found["score"])),
            mpix=1.0,
        )
        for f in frames
    ]
    assert average_precision_of(curve(squeezed, RULES)) == average_precision_of(c)


def test_eleven_recalls_by_hand() -> None:
    truth = Catalog.build(x=[10.0, 60.0], y=[10.0, 60.0])
    found = Catalog.build(x=[10.0, 30.0, 60.0], y=[10.0, 30.0, 60.0], score=[0.9, 0.8, 0.7])
    boxes = coco_precision([(truth, found)])
    # Precision 1 at the recalls 0 to 0.5, and 2/3 from 0.6 to 1 (COCO: 0.51 to 1).
    assert boxes.voc07["point"][0] == pytest.approx((6 + 5 * 2 / 3) / 11)
    assert boxes.value["point"][0] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert np.isnan(boxes.voc07["streak"]).all()


def test_the_table_of_a_run() -> None:
    rng = np.random.default_rng(8)
    frames = [
        FrameInput(frame=f"{k}", truth=truth, found=found, mpix=1.0, group="ab"[k % 2])
        for k, (truth, found) in enumerate(frame(rng, 14, 17) for _ in range(4))
    ]
    table = evaluate({"sep": frames}, RULES).analyses["average_precision"]
    assert tuple(table.columns) == ("detector", "group", *AP_COLUMNS)
    value = table[table["group"] == "all"].set_index(["method", "kind"])["value"]
    boxes = coco_precision([(f.truth, f.found) for f in frames])
    assert value["coco50", "point"] == boxes.value["point"][0]
    assert value["coco50_95", "mean"] == pytest.approx(boxes.mean)
    assert value["position", "all"] == average_precision_of(curve(frames, RULES))
    assert value["voc07", "streak"] == boxes.voc07["streak"][0]
    for method in ("position", "coco50", "coco50_95", "voc07"):
        both = (value[method, "point"] + value[method, "streak"]) / 2
        assert value[method, "mean"] == pytest.approx(both)
    only = table[(table["group"] == "a") & (table["kind"] == "streak")]
    truths = sum(
        int(((f.truth["kind"] == "streak") & ~f.truth["ignore"]).sum()) for f in frames[::2]
    )
    assert set(only["truths"]) == {truths}
    assert set(only["n_frames"]) == {2}
    nothing = evaluate({"sep": []}, RULES).analyses["average_precision"]
    assert nothing["value"].isna().all()
