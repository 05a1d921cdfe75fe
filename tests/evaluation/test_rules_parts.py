"""The rules at their very edge: values, bins, and the pixels where sources are ignored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.core.sections.large_image import PackedMask
from skyduel.evaluation import ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.evaluation.rules import auto_bins, ignore_note, parse_bins

NAN, INF = float("nan"), float("inf")
SHAPE = (20, 30)
PLAIN = ScoringRules()


def test_the_rules_that_apply_without_a_word() -> None:
    assert ScoringRules().model_dump() == {
        "radius_px": 2.0, "radius_fwhm": None, "pairing": "most-pairs", "bins": None,
        "min_snr": 2.0, "edge_px": 0.0, "ignore_masked": True, "ignore_saturated": False,
        "require_kind": False, "streak_angle_deg": 10.0, "confidence": 0.95,
        "proportion_interval": "wilson", "n_bootstrap": 1000, "block_px": None,
        "n_thresholds": 64, "seed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("radius_px", [1e-9], [0.0, -1.0, INF]),
        ("radius_fwhm", [1e-9, None], [0.0, INF]),
        ("min_snr", [0.0], [-1e-9]),
        ("edge_px", [0.0], [-1e-9]),
        ("streak_angle_deg", [0.0, 90.0], [-1e-9, 90.01]),
        ("confidence", [1e-9, 1 - 1e-9], [0.0, 1.0]),
        ("n_bootstrap", [1, 1_000_000], [0, 1_000_001]),
        ("block_px", [1e-9, None], [0.0]),
        ("n_thresholds", [2, 1_000_000], [1, 1_000_001]),
        ("seed", [0], [-1]),
        ("pairing", ["most-pairs", "mutual-nearest", "score-first"], ["nearest"]),
        ("proportion_interval", ["wilson", "jeffreys"], ["wald"]),
    ],
)
def test_values_at_the_bounds_of_a_rule(name: str, good: list, bad: list) -> None:
    for value in good:
        assert getattr(ScoringRules(**{name: value}), name) == value
    for value in bad:
        with pytest.raises(BadInputError, match=f"scoring rules: {name}: required"):
            ScoringRules(**{name: value})


def test_the_first_unknown_rule_is_named() -> None:
    with pytest.raises(BadInputError, match=r"keys among radius_px, .*; got 'zeal'$"):
        ScoringRules(zeal=1, zseed=2)
    with pytest.raises(BadInputError, match="got 'sed'; did you mean 'seed'"):
        ScoringRules(zeal=1, sed=2)


def test_a_metric_is_no_rule_of_pairing() -> None:
    with pytest.raises(BadInputError, match="required input should be 'most-pairs'") as best:
        ScoringRules(pairing="best")
    assert "jia2020" not in str(best.value)
    with pytest.raises(BadInputError, match="jia2020 gives no pairs and is a metric of its own"):
        ScoringRules(pairing="jia2020")


@pytest.mark.parametrize("fwhm", [None, 0.0, -2.0, NAN, INF])
def test_a_radius_in_fwhm_needs_one(fwhm: float | None) -> None:
    assert ScoringRules(radius_px=3.0).radius_for(fwhm) == 3.0
    with pytest.raises(BadInputError, match="radius_fwhm: required a frame whose FWHM is known"):
        ScoringRules(radius_fwhm=2.0).radius_for(fwhm)
    assert ScoringRules(radius_fwhm=2.0).radius_for(0.5) == 1.0


@pytest.mark.parametrize(
    ("text", "edges"),
    [
        ("15:16:1", (15.0, 16.0)),
        ("-1:0.5:0.5", (-1.0, -0.5, 0.0, 0.5)),
        ("0:1000:1", tuple(float(k) for k in range(1001))),
        ("0:0.3:0.1", (0.0, 0.1, 0.2, 0.3)),
        ("0:1.0000005:1", (0.0, 1.0)),  # half a millionth of a step off
        ("0:1.00000105:1", "whole number of steps"),
        ("0.1234567894:1.1234567894:1", (0.123456789, 1.123456789)),
        ("0:1001:1", "at most 1000 bins"),
        ("0:-1:-1", "whole number of steps"),
        ("1:0:-0.5", "whole number of steps"),
        ("0:1:2", "whole number of steps"),
        ("1:1:1", "whole number of steps"),
        ("0:1:0", "whole number of steps"),
        ("nan:1:1", "whole number of steps"),
        ("0:inf:1", "whole number of steps"),
        ("0:1:inf", "whole number of steps"),
        ("-1e308:1e308:1", "whole number of steps"),
        ("0:1:1:1", "whole number of steps"),
    ],
)
def test_bins_of_a_text(text: str, edges: tuple | str) -> None:
    if isinstance(edges, tuple):
        assert parse_bins(text) == edges
    else:
        with pytest.raises(BadInputError, match=f"bins: required .*{edges}"):
            parse_bins(text)


@pytest.mark.parametrize(
    ("span", "width"),
    # The width is the one nearest in ratio to a tenth: between two, that of their geometric mean.
    [(0.3, 0.1), (1.4, 0.1), (1.45, 0.2), (2.2, 0.2), (2.3, 0.25), (3.5, 0.25), (3.6, 0.5),
     (7.0, 0.5), (7.1, 1.0), (14.0, 1.0), (14.2, 2.0), (31.0, 2.0), (32.0, 5.0), (500.0, 5.0)],
)  # fmt: skip
def test_the_width_of_chosen_bins(span: float, width: float) -> None:
    edges = auto_bins(np.repeat([15.0, 15.0 + span, NAN, INF], [100, 100, 3, 3]))
    first, last = np.floor(15.0 / width), np.ceil(round((15.0 + span) / width, 9))
    assert edges == tuple(float(round(k * width, 9)) for k in range(int(first), int(last) + 1))


def test_chosen_bins_leave_out_half_a_percent_on_either_side() -> None:
    mag = np.concatenate([[2.0], np.linspace(15, 20, 199), [40.0]])
    assert auto_bins(mag) == tuple(np.arange(15.0, 20.5, 0.5))
    mag[1] = 14.999  # the 0.5 % quantile itself
    assert auto_bins(mag) == tuple(np.arange(14.5, 20.5, 0.5))
    assert auto_bins([17.0, 17.0]) == (17.0, 17.1)
    assert auto_bins([17.0], width=0.5) == (17.0, 17.5)
    assert auto_bins([], width=2.0) == (0.0, 2.0)
    assert auto_bins([0.2], width=0.1234567894) == (0.123456789, 0.246913579)
    for width in (0.0, -1.0, NAN, INF):
        with pytest.raises(BadInputError, match="width: required a bin width > 0"):
            auto_bins([17.0], width=width)


# --- which sources are ignored -----------------------------------------------------------------


def reasons(truth: Catalog, rules: ScoringRules = PLAIN, **planes: np.ndarray) -> list[str]:
    got = apply_ignore(
        truth, SHAPE, planes.get("mask"), planes.get("saturated"), rules, planes.get("area")
    )
    assert got["ignore"].tolist() == [r != "" for r in got["ignore_reason"]]
    return got["ignore_reason"].tolist()


@pytest.mark.parametrize(
    ("x", "y", "on"),
    [
        (-0.5, 5.0, True), (-0.51, 5.0, False), (29.49, 5.0, True), (29.5, 5.0, False),
        (5.0, -0.5, True), (5.0, -0.51, False), (5.0, 19.49, True), (5.0, 19.5, False),
    ],
)  # fmt: skip
def test_a_source_is_on_the_frame_if_its_pixel_is(x: float, y: float, on: bool) -> None:
    one = Catalog.build(x=[x], y=[y])
    assert reasons(one) == ["" if on else "off_frame"]
    assert mark_ignored_regions(one, SHAPE, None, PLAIN)["ignore"].tolist() == [not on]


@pytest.mark.parametrize(
    ("x", "y", "far"), [(2.5, 9.0, 3.0), (26.5, 9.0, 3.0), (9.0, 2.5, 3.0), (9.0, 16.5, 3.0)]
)
def test_the_edge_is_the_band_of_less_than_its_width(x: float, y: float, far: float) -> None:
    one = Catalog.build(x=[x], y=[y])
    for edge_px, inside in ((far, False), (far + 1e-9, True)):
        rules = ScoringRules(edge_px=edge_px)
        assert reasons(one, rules) == ["edge" if inside else ""]
        assert mark_ignored_regions(one, SHAPE, None, rules)["ignore"].tolist() == [inside]


def plane(*pixels: tuple[int, int]) -> np.ndarray:
    made = np.zeros(SHAPE, dtype=bool)
    for y, x in pixels:
        made[y, x] = True
    return made


@pytest.mark.parametrize("name", ["mask", "saturated", "area"])
@pytest.mark.parametrize(("x", "y", "inside"), [(6.5, 3.5, True), (7.49, 4.49, True),
    (7.5, 4.0, False), (7.0, 4.5, False), (6.49, 4.0, False), (7.0, 3.49, False)])  # fmt: skip
def test_a_border_of_pixels_belongs_to_the_next(
    name: str, x: float, y: float, inside: bool
) -> None:
    one, pixel = Catalog.build(x=[x], y=[y]), plane((4, 7))
    reason = {"mask": "masked"}.get(name, name) if inside else ""
    for switched in (True, False):
        rules = ScoringRules(ignore_masked=switched, ignore_saturated=switched)
        assert reasons(one, rules, **{name: pixel}) == [
            reason if switched or name == "area" else ""
        ]
        if name != "saturated":
            got = mark_ignored_regions(
                one, SHAPE, rules=rules, **{"mask": None, name: plane((4, 7))}
            )
            assert got["ignore"].tolist() == [inside and (switched or name == "area")]


def test_the_first_reason_is_recorded() -> None:
    # From source to source one reason less applies.
    every = ["given", "off_frame", "edge", "area", "masked", "saturated", "faint", "no_mag"]
    inside = plane((10, 1), (10, 9))
    for k, reason in enumerate(every):
        edge, off = k <= every.index("edge"), k <= every.index("off_frame")
        truth = Catalog.build(
            x=[-3.0 if off else 1.0 if edge else 9.0, 15.0], y=[10.0, 15.0], mag=[NAN, 18.0],
            snr=[1.0 if k <= every.index("faint") else NAN, NAN],
            ignore=[k == 0, False], suspect=[k % 2, 0],
        )  # fmt: skip
        planes = {name: inside for name in ("area", "mask", "saturated")
                  if k <= every.index({"mask": "masked"}.get(name, name))}  # fmt: skip
        rules = ScoringRules(edge_px=3.0, ignore_saturated=True)
        assert reasons(truth, rules, **planes) == [reason, ""]
    truth = Catalog.build(x=[9.0, 9.0], y=[9.0, 9.0], suspect=[1, 0])
    assert reasons(truth) == ["suspect", ""]


def test_as_faint_as_the_rule_is_not_faint() -> None:
    truth = Catalog.build(x=[5.0, 5.0, 5.0], y=[5.0] * 3, snr=[2.0, 1.999, NAN])
    assert reasons(truth) == ["", "faint", ""]


def test_only_what_was_given_stays_given() -> None:
    truth = Catalog.build(
        x=[5.0] * 4, y=[5.0] * 4, ignore=[True, True, False, True],
        ignore_reason=["given", "faint", "", ""],
    )  # fmt: skip
    assert reasons(truth) == ["given", "", "", "given"]


@pytest.mark.parametrize(
    ("length", "theta", "x", "masked"),
    [
        # Columns from 15 on are masked, those of x >= 14.5. Points are a pixel apart.
        (4.0, 0.0, 14.5, True),  # 12.5 ... 16.5: of five, three
        (4.0, 0.0, 14.4, False),
        (4.0, np.pi / 2, 14.5, True),
        (4.0, np.pi / 2, 14.4, False),
        (3.9, 0.0, 14.5, True),
        (3.9, 0.0, 14.4, False),
        (4.1, 0.0, 14.5, True),
        (1.0, 0.0, 14.5, True),  # 14, 14.5 and 15
        (1.0, 0.0, 14.4, False),
        (0.0, 0.0, 14.5, True),
        (0.0, 0.0, 14.4, False),
        (200.0, 0.0, 14.0, False),  # of 30 on the frame, 15
        (200.0, 0.0, 14.9, False),
        (40.0, 0.0, 25.0, True),  # of 25 on the frame, 15
        (14.0, 0.0, 14.5, True),  # of 15, eight
        (14.0, 0.0, 14.4, False),
    ],
)
def test_a_streak_lies_where_most_of_its_points_on_the_frame_do(
    length: float, theta: float, x: float, masked: bool
) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, 15:] = True
    line = Catalog.build(x=[x], y=[9.0], kind=["streak"], length=[length], theta=[theta])
    assert reasons(line, mask=mask) == ["masked" if masked else ""]


@pytest.mark.parametrize(
    ("length", "columns", "masked"),
    [
        (6.0, [13, 14, 16], False),  # 11 ... 17: of seven, three
        (6.0, [12, 13, 14, 16], True),
        (3.0, [13, 16], True),  # 12.5, 13.25, 14, 14.75, 15.5: of five, three
        (3.0, [14, 16], False),
    ],
)
def test_the_points_of_a_streak_are_as_far_apart_as_a_pixel_allows(
    length: float, columns: list[int], masked: bool
) -> None:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[:, columns] = True
    line = Catalog.build(x=[14.0], y=[9.0], kind=["streak"], length=[length], theta=[0.0])
    assert reasons(line, mask=mask) == ["masked" if masked else ""]


@pytest.mark.parametrize(("theta", "masked"), [(0.25, True), (-0.25, False), (0.75, False)])
def test_a_streak_runs_from_x_to_y(theta: float, masked: bool) -> None:
    y, x = np.indices(SHAPE)
    line = Catalog.build(
        x=[9.0], y=[9.0], kind=["streak"], length=[12.0], theta=[np.pi * theta]
    )  # fmt: skip
    assert reasons(line, mask=np.abs(x - y) <= 1) == ["masked" if masked else ""]


def test_a_streak_beside_the_frame_is_off_it_alone() -> None:
    line = Catalog.build(x=[40.0], y=[9.0], kind=["streak"], length=[8.0], theta=[0.0])
    assert reasons(line, ScoringRules(edge_px=4.0), mask=~plane()) == ["off_frame"]
    # Half of it at the edge is not most of it.
    for x, edge in ((3.5, ""), (3.4, "edge")):
        line = Catalog.build(x=[x], y=[9.0], kind=["streak"], length=[4.0], theta=[0.0])
        assert reasons(line, ScoringRules(edge_px=4.0)) == [edge]


def test_without_a_frame_only_what_needs_none_is_asked() -> None:
    truth = Catalog.build(x=[-9.0, 9.0], y=[0.0, 0.0], snr=[1.0, 9.0])
    got = apply_ignore(truth, None, None, None, ScoringRules(edge_px=3.0))
    assert got["ignore_reason"].tolist() == ["faint", ""]


def test_a_source_of_unknown_brightness_counts_where_no_magnitude_is_known() -> None:
    nothing = Catalog.build(x=[5.0, 6.0], y=[5.0, 5.0])
    assert reasons(nothing) == ["", ""]


def test_the_note_of_ignore_areas() -> None:
    area = PackedMask.of(plane((10, 1), (10, 9), (3, 3)))
    truth = Catalog.build(x=[1.0, 5.0, 6.0], y=[10.0, 5.0, 5.0], snr=[9.0, 9.0, 1.0])
    truth = apply_ignore(truth, SHAPE, None, None, PLAIN, area)
    assert truth["ignore_reason"].tolist() == ["area", "", "faint"]
    assert ignore_note(Path("some/a.reg"), area, truth) == (
        "1 of 3 truths and 0.5 % of the pixels lie in the ignore areas of a.reg; "
        "detections there count neither way"
    )


@pytest.mark.parametrize(
    ("shape", "planes", "says"),
    [
        ((20,), {}, r"frame_shape: required \(ny, nx\), two whole numbers"),
        ((20, 30.5), {}, "frame_shape: required"),
        ((20, 30, 3), {}, "frame_shape: required"),
        (600, {}, "frame_shape: required"),
        (SHAPE, {"mask": np.zeros((20, 31), dtype=bool)}, "mask: required the frame's shape"),
        (SHAPE, {"saturated": np.zeros(SHAPE)}, "saturated: required an array of bool"),
        (SHAPE, {"area": [[True]]}, "area: required"),
    ],
)
def test_planes_have_the_shape_of_the_frame(shape: object, planes: dict, says: str) -> None:
    every = {"mask": None, "saturated": None} | planes
    with pytest.raises(BadInputError, match=says):
        apply_ignore(Catalog.build(x=[1.0], y=[1.0]), shape, rules=PLAIN, **every)
    assert reasons(Catalog.build(x=[1.0], y=[1.0])) == [""]
