"""The table of average precisions of a few sources, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.evaluation import FrameInput, ScoringRules
from skyduel.evaluation.analyses.average_precision import (
    average_precision_of,
    average_precision_table,
)
from skyduel.evaluation.analyses.coco_ap import coco_precision
from skyduel.evaluation.matching.doubles import doubles_warning
from skyduel.evaluation.scoring.candidate_store import candidate_frames
from skyduel.evaluation.scoring.threshold_sweep import Curve

RULES = ScoringRules()
EDGES = (0.0, 1.0)


def frames() -> list[FrameInput]:
    """Two frames: three points and a galaxy, two streaks; and one without the column ignore."""
    one = Catalog.build(
        x=[10.0, 40.0, 70.0, 100.0, 10.0, 100.0], y=[10.0] * 4 + [60.0] * 2,
        kind=["point", "point", "point", "galaxy", "streak", "streak"],
        length=[0.0] * 4 + [20.0] * 2, half_light_px=[1.0] * 6,
        ignore=[False, False, True, False, False, True],
    )  # fmt: skip
    found = Catalog.build(
        # Right, false, on the ignored point, right at IoU 0.5 (0.53) and not by position; a right
        # streak, one that the ignored streak excuses, a false one. A point on the ignored streak.
        x=[10.5, 25.0, 70.0, 103.1, 10.0, 100.0, 55.0, 100.0],
        y=[10.0] * 4 + [60.0] * 4,
        kind=["point"] * 4 + ["streak"] * 3 + ["point"], length=[0.0] * 4 + [20.0] * 3 + [0.0],
        score=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.97, 0.85],
    )  # fmt: skip
    two = Catalog.build(x=[10.0], y=[10.0])
    other = Catalog.build(x=[10.0, 90.0], y=[10.0, 10.0], score=[0.65, 0.95])
    return [
        FrameInput(frame="1", truth=one, found=found, mpix=1.0),
        FrameInput(frame="2", truth=two, found=other, mpix=1.0),
    ]


def test_the_rows_of_the_table() -> None:
    made = frames()
    table = average_precision_table([], candidate_frames(made, RULES), RULES, EDGES)
    boxes = coco_precision([(f.truth, f.found) for f in made])
    rows = table.set_index(["method", "kind"])
    assert rows.index.is_unique
    assert (rows["n_frames"] == 2).all()
    # Four points and galaxies count, and one streak; seven points are found, and three streaks.
    number = {"point": (4, 7), "streak": (1, 3), "mean": (5, 10), "all": (5, 10)}
    for (_, kind), row in rows.iterrows():
        assert (row["truths"], row["detections"]) == number[kind]
    value = rows["value"]
    # Of the points, in order of score: false, right, excused by the streak, false, excused,
    # right, false: purity 1/2 at a quarter, 1/2 at a half (2 of 4).
    assert value["position", "point"] == pytest.approx(0.5 * 0.5)
    # Of the streaks: false, right, excused.
    assert value["position", "streak"] == 0.5
    assert value["position", "mean"] == pytest.approx((0.25 + 0.5) / 2)
    # All: purity 1/3 at 1/5, 2/5 at 2/5, 3/7 at 3/5.
    assert value["position", "all"] == pytest.approx(3 / 5 * 3 / 7)
    for method, per_kind in (
        ("coco50", {k: boxes.value[k][0] for k in ("point", "streak")}),
        ("coco50_95", {k: np.mean(boxes.value[k]) for k in ("point", "streak")}),
        ("voc07", {k: boxes.voc07[k][0] for k in ("point", "streak")}),
    ):
        for kind, one in per_kind.items():
            assert value[method, kind] == pytest.approx(one)
        assert value[method, "mean"] == pytest.approx(sum(per_kind.values()) / 2)
    assert len({round(v, 9) for v in (value["coco50", "point"], value["coco50_95", "point"],
                                      value["voc07", "point"])}) == 3  # fmt: skip
    assert list(rows.index) == [
        ("position", "all"),
        *((m, k) for m in ("position", "coco50", "coco50_95", "voc07")
          for k in ("point", "streak", "mean")),
    ]  # fmt: skip


def test_a_kind_without_truths_is_not_in_the_mean() -> None:
    made = frames()[1:]
    value = average_precision_table([], candidate_frames(made, RULES), RULES, EDGES).set_index(
        ["method", "kind"]
    )["value"]
    for method in ("position", "coco50", "coco50_95", "voc07"):
        assert np.isnan(value[method, "streak"])
        assert value[method, "mean"] == value[method, "point"] > 0
    nothing = average_precision_table([], candidate_frames([], RULES), RULES, EDGES)
    assert nothing["value"].isna().all()
    assert (nothing[["truths", "detections", "n_frames"]] == 0).all(axis=None)


def test_one_truth_has_an_average_precision() -> None:
    def made(truths: int) -> Curve:
        return Curve(np.array([1.0]), np.array([1]), np.array([2]), truths, 1.0)

    assert average_precision_of(made(1)) == 0.5
    assert np.isnan(average_precision_of(made(0)))


# --- truths too close together -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pairs", "alone", "told"),
    [(2, 0, False), (3, 0, True), (3, 294, True), (4, 392, True), (4, 393, False)],
)
def test_a_hundredth_of_the_truths_and_three_at_least(pairs: int, alone: int, told: bool) -> None:
    # Of two that are a tenth of a pixel apart, one is too many. The others are 9 px apart.
    x = 9.0 * np.arange(pairs + alone)
    x = np.concatenate([x, x[:pairs] + 0.1])
    line = doubles_warning(Catalog.build(x=x, y=np.zeros(x.size)))
    if told:
        assert line is not None
        assert line.startswith(f"{pairs} of {x.size} truths are within 0.5 px of another one")
    else:
        assert line is None


def test_ignored_truths_and_streaks_are_no_doubles() -> None:
    columns = {"x": [0.0, 0.1, 9.0, 9.1, 18.0, 18.1, 27.0], "y": [0.0] * 7}
    for k, told in ((0, False), (6, True)):
        ignore = np.arange(7) == k
        kind = np.where(ignore, "streak", "point")
        ignored = Catalog.build(**columns, ignore=ignore)
        streak = Catalog.build(**columns, kind=kind, length=9.0 * ignore)
        for truth in (ignored, streak):
            assert (doubles_warning(truth) is not None) == told
