"""Tests of the scoring rules: errors, bins, and ignored sources."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core.catalog import Catalog
from skyduel.core.errors import BadInputError
from skyduel.evaluation import ScoringRules, apply_ignore, mark_ignored_regions
from skyduel.evaluation.rules import auto_bins, parse_bins


def test_an_unknown_key_suggests_the_nearest() -> None:
    with pytest.raises(BadInputError, match=r"'radus_px'; did you mean 'radius_px'\?"):
        ScoringRules(radus_px=3)
    with pytest.raises(BadInputError, match="did you mean 'min_snr'"):
        ScoringRules(min_snr=2, minsnr=3)
    with pytest.raises(BadInputError, match="keys among radius_px"):
        ScoringRules(zzz=1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"radius_px": 0}, "radius_px: required .*greater than 0; got 0"),
        ({"radius_px": float("nan")}, "radius_px: required .*finite"),
        ({"confidence": 95}, "confidence: required .*less than 1; got 95"),
        ({"bins": "15:24"}, "whole number of steps, such as 15:24:1"),
    ],
)
def test_impossible_values_are_refused_in_one_line(values: dict, says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        ScoringRules(**values)
    assert "\n" not in str(caught.value)


def test_rules_are_frozen_and_travel_as_json() -> None:
    rules = ScoringRules(bins="15:24:0.5", min_snr=3)
    assert ScoringRules.model_validate_json(rules.model_dump_json()) == rules
    with pytest.raises(ValueError, match="frozen"):
        rules.min_snr = 1


def test_the_radius_may_follow_the_fwhm() -> None:
    assert ScoringRules(radius_px=3).radius_for(None) == 3
    assert ScoringRules(radius_fwhm=0.5).radius_for(4.0) == 2
    with pytest.raises(BadInputError, match="a frame whose FWHM is known"):
        ScoringRules(radius_fwhm=0.5).radius_for(None)


def test_bins_are_parsed_without_rounding_debris() -> None:
    assert parse_bins("15:15.3:0.1") == (15.0, 15.1, 15.2, 15.3)
    assert ScoringRules(bins="15:24:1").edges() == tuple(map(float, range(15, 25)))
    assert ScoringRules().edges() is None


def test_endless_bins_are_refused_before_they_are_made() -> None:
    for text in ("0:9223372036854775807:1", "15:24:1e-9", "-1e300:1e300:1"):
        with pytest.raises(BadInputError, match="at most 1000 bins"):
            parse_bins(text)


@pytest.mark.parametrize(
    "text", ["", "1:2", "2:1:1", "1:2:0", "1:2:-1", "1:2.5:1", "a:b:c", "1:inf:1"]
)
def test_bad_bins_are_refused(text: str) -> None:
    with pytest.raises(BadInputError, match="start:stop:step"):
        parse_bins(text)


@given(st.floats(-5, 25), st.floats(0.5, 30), st.integers(1, 300))
def test_chosen_bins_are_round_about_ten_and_hold_the_truth(lo: float, span: float, n: int) -> None:
    mag = np.append(np.linspace(lo, lo + span, n), np.nan)
    edges = np.array(auto_bins(mag))
    width = edges[1] - edges[0]
    np.testing.assert_allclose(np.diff(edges), width)
    np.testing.assert_allclose(edges / width, np.round(edges / width), atol=1e-6)
    inside = (mag[:-1] >= edges[0]) & (mag[:-1] <= edges[-1])
    assert inside.mean() >= 0.98 or n - inside.sum() <= 2
    assert len(edges) <= 20
    if n > 100:
        assert len(edges) >= 5


def test_chosen_bins_of_nothing_are_one_bin() -> None:
    assert auto_bins([]) == (0.0, 1.0)
    assert auto_bins([np.nan], width=0.5) == (0.0, 0.5)
    assert auto_bins([17.2, 18.4], width=1) == (17.0, 18.0, 19.0)


def truth() -> Catalog:
    return Catalog.build(
        x=[5.0, 29.4, 29.6, 1.0, 12.0, 15.0, 20.0],
        y=[5.0, 9.0, 9.0, 9.0, 13.0, 3.0, 10.0],
        snr=[50, 50, 50, 50, 50, 1.9, np.nan],
        ignore=[True, False, False, False, False, False, False],
    )


def test_every_ignored_truth_has_its_first_reason() -> None:
    shape = (20, 30)
    mask, saturated = np.zeros(shape, bool), np.zeros(shape, bool)
    mask[13, 12] = saturated[10, 20] = True
    rules = ScoringRules(edge_px=2, ignore_saturated=True)
    got = apply_ignore(truth(), shape, mask, saturated, rules)
    want = ["given", "edge", "off_frame", "edge", "masked", "faint", "saturated"]
    assert list(got["ignore_reason"]) == want
    assert got["ignore"].all()
    plain = apply_ignore(truth(), shape, mask, saturated, ScoringRules(ignore_masked=False))
    assert list(plain["ignore_reason"]) == ["given", "", "off_frame", "", "", "faint", ""]
    np.testing.assert_array_equal(plain["ignore"], plain["ignore_reason"] != "")


def test_a_source_of_unknown_brightness_among_known_ones_is_ignored() -> None:
    nan = np.nan
    truth = Catalog.build(
        x=[5.0, 9, 13, 17],
        y=[5.0, 9, 9, 9],
        mag=[18.0, nan, nan, nan],
        snr=[nan, nan, 20.0, nan],
        kind=["point", "point", "point", "streak"],
        length=[0.0, 0, 0, 9],
        theta=[0.0, 0, 0, 0],
    )
    got = apply_ignore(truth, (20, 30), None, None, ScoringRules())
    assert list(got["ignore_reason"]) == ["", "no_mag", "", ""]
    # Where none has a magnitude, all count: there is one bin for all.
    none = apply_ignore(truth.select(np.array([1, 2, 3])), (20, 30), None, None, ScoringRules())
    assert not none["ignore"].any()


def test_applying_other_rules_later_forgets_the_earlier_ones() -> None:
    shape = (20, 30)
    once = apply_ignore(truth(), shape, None, None, ScoringRules(edge_px=4, min_snr=60))
    again = apply_ignore(once, shape, None, None, ScoringRules())
    assert list(again["ignore_reason"]) == ["given", "", "off_frame", "", "", "faint", ""]


def test_without_a_frame_or_snr_only_the_given_are_ignored() -> None:
    got = apply_ignore(Catalog.build(x=[-50.0, 2], y=[1.0, 2]), None, None, None, ScoringRules())
    assert not got["ignore"].any()
    empty = apply_ignore(Catalog.empty(), (4, 5), None, None, ScoringRules(edge_px=1))
    assert len(empty) == 0
    assert "ignore_reason" in empty


def test_a_streak_is_masked_when_most_of_it_on_the_frame_is() -> None:
    mask = np.zeros((40, 60), bool)
    mask[:, 30:] = True
    streaks = Catalog.build(
        x=[29.0, 31.0], y=[20.0, 20.0], kind=["streak"] * 2, length=[200.0, 20.0], theta=[0.0, 0.0]
    )
    got = apply_ignore(streaks, (40, 60), mask, None, ScoringRules())
    assert list(got["ignore_reason"]) == ["", "masked"]


def test_detections_in_ignored_regions_are_marked() -> None:
    mask = np.zeros((20, 30), bool)
    mask[4, 17] = True
    found = Catalog.build(
        x=[17.4, 17.6, 28.6, 40.0, 9.0, 8.0],
        y=[4.0, 4.0, 9.0, 9.0, 9.0, 9.0],
        ignore=[0, 0, 0, 0, 1, 0],
    )
    got = mark_ignored_regions(found, (20, 30), mask, ScoringRules(edge_px=1))
    assert got["ignore"].tolist() == [True, False, True, True, True, False]
    with pytest.raises(BadInputError, match=r"mask: required the frame's shape \(20, 31\)"):
        mark_ignored_regions(found, (20, 31), mask, ScoringRules())
