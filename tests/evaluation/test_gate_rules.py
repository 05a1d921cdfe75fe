"""Each rule of the gate on a table of one row, at its very edge."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from skyduel.core.errors import BadInputError
from skyduel.evaluation.comparison.gate import (
    Allowance,
    CriterionDecision,
    GateReport,
    Speed,
    decide,
    decide_speed,
    parse_allowances,
)
from skyduel.evaluation.comparison.sources_found import Found, is_sliver
from skyduel.evaluation.statistics.anytime import anytime_radius, widening

NAN = float("nan")


def row(quantity: str = "f1", **changes: Any) -> dict[str, Any]:
    """Return a row of a comparison over all bins: a loss of 0.25 [0, 0.5] over 20 frames."""
    return {
        "detector_a": "old", "detector_b": "new", "point": "default", "group": "all", "bin": -2,
        "quantity": quantity, "value_a": 0.75, "value_b": 0.5, "delta": 0.25, "lo": 0.0,
        "hi": 0.5, "interval": "bootstrap", "n_frames": 20,
    } | changes  # fmt: skip


def outcomes(both: int, a: int, b: int, neither: int, **changes: Any) -> dict[str, Any]:
    """Return the row that says how many truths were found."""
    pairs = {"n_both": both, "n_a_only": a, "n_b_only": b, "n_neither": neither}
    return row("completeness", interval="newcombe") | pairs | changes


def judged(*rows: dict[str, Any], allow: str = "f1=1", **how: Any) -> CriterionDecision:
    (decision,) = decide(pd.DataFrame(rows), parse_allowances(allow), **how)
    return decision


@pytest.mark.parametrize(
    ("allow", "changes", "verdict", "reason"),
    [
        ("f1=0.5", {}, "pass", "a loss of more than 0.5 is excluded"),
        ("f1=0.49", {}, "undecided", "not enough frames to tell: the interval reaches both"),
        ("f1=0.25", {"lo": 0.25, "hi": 0.3}, "undecided", "not enough frames"),
        ("f1=0.25", {"lo": 0.26, "hi": 0.3, "delta": 0.28}, "worse", "a loss of more than 0.25 is"),
        ("f1=0.5", {"n_frames": 3}, "pass", "a loss of more than 0.5 is excluded"),
        ("f1=0.5", {"n_frames": 2}, "undecided", "2 frames that tell are too few to pass; 3 at"),
        ("f1=0.1", {"n_frames": 2, "lo": 0.2}, "worse", "a loss of more than 0.1 is shown"),
        ("f1=0.5", {"interval": "block bootstrap", "n_frames": 1}, "pass",
         "a loss of more than 0.5 is excluded, for this frame only"),
        ("f1=0.5", {"interval": "block bootstrap", "n_frames": 2}, "pass",
         "a loss of more than 0.5 is excluded, for these frames only"),
        ("f1=0.1", {"interval": "block bootstrap", "n_frames": 1, "lo": 0.2}, "worse",
         "a loss of more than 0.1 is shown, for this frame only"),
        ("f1=0.5", {"lo": 0.25, "hi": 0.25}, "undecided", "the interval has no width"),
        ("f1=0.5", {"lo": NAN, "hi": NAN, "n_frames": 1}, "undecided",
         "no interval from one frame that tell; at least two are needed"),
        ("f1=0.5", {"lo": NAN, "hi": NAN, "n_frames": 0}, "undecided",
         "no interval from 0 frames that tell; at least two are needed"),
        ("f1=0.5", {"lo": NAN, "hi": NAN, "n_frames": 2}, "undecided",
         "no interval: too few sources in too few frames"),
        ("f1=0.5", {"delta": NAN, "value_a": NAN}, "undecided", "f1 of the reference is undefined"),
        ("f1=0.5", {"delta": NAN, "value_b": NAN, "n_frames": 0}, "undecided",
         "f1 of the candidate is undefined (never so pure: no threshold at default)"),
        ("f1=0.5", {"delta": NAN, "value_a": NAN, "value_b": NAN}, "undecided",
         "f1 of the reference and candidate is undefined"),
        ("f1=0.5", {"delta": NAN}, "undecided", "nothing to compare at default"),
    ],
)  # fmt: skip
def test_one_row(allow: str, changes: dict[str, Any], verdict: str, reason: str) -> None:
    decision = judged(row(**changes), allow=allow)
    assert decision.verdict == verdict
    assert decision.reason.startswith(reason)
    whole = reason.endswith(("only", "undefined", "excluded", "default)"))
    if whole or "no width" in reason:
        said = ": the versions do not differ, which tells nothing of other frames"
        more = f", for every resample gives the same{said}" if "no width" in reason else ""
        assert decision.reason == reason + more


def test_a_lower_snr50_is_no_loss() -> None:
    lower = judged(row("snr50", value_a=4.0, value_b=3.0, delta=1.0, lo=0.5, hi=1.5),
                   allow="snr50@default=0.1")  # fmt: skip
    assert (lower.verdict, lower.loss, lower.lo, lower.hi) == ("pass", -1.0, -1.5, -0.5)
    assert (lower.reference, lower.candidate) == (4.0, 3.0)
    more = judged(row(delta=0.6, lo=0.5, hi=0.7), allow="f1=0.1")
    assert (more.verdict, more.loss, more.lo, more.hi) == ("worse", 0.6, 0.5, 0.7)
    # A difference of F1 is 1 at most; one of S/N has no such end.
    wide = judged(row(delta=0.8, lo=0.5, hi=1.1), allow="f1=0.1")
    assert (wide.loss, wide.lo, wide.hi) == (0.8, 0.5, 1.0)


@pytest.mark.parametrize(("lo", "shown"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_some_loss_is_said_where_the_interval_excludes_none(lo: float, shown: bool) -> None:
    said = judged(row(lo=lo), allow="f1=0.4").reason
    assert ("; some loss is shown" in said) == shown


def test_a_group_without_values_is_not_comparable() -> None:
    none = {"delta": NAN, "value_a": NAN, "value_b": NAN, "group": "aberrated"}
    rows = [
        row(group="aberrated") | none,
        row(),
        row(group="c") | none | {"group": "c", "value_a": 1.0},
    ]
    made = decide(pd.DataFrame(rows), parse_allowances("f1=1"), per_group=True)
    assert [(d.group, d.name, d.verdict) for d in made] == [
        ("all", "f1@default", "pass"),
        ("aberrated", "f1@default[aberrated]", "not comparable"),
        ("c", "f1@default[c]", "undecided"),
    ]
    assert [d.group for d in decide(pd.DataFrame(rows), parse_allowances("f1=1"))] == ["all"]
    half = none | {"value_b": 1.0}
    (_, other) = decide(pd.DataFrame([row(), row() | half]), parse_allowances("f1=1"),
                        per_group=True)  # fmt: skip
    assert other.verdict == "undecided"


def test_what_is_no_row_of_the_gate() -> None:
    for rows in ([row(), row(detector_b="newer")], [row(bin=0)]):
        with pytest.raises(BadInputError, match=r"one reference and one candidate; got [02] pairs"):
            judged(*rows)
    for rows in ([row(), row()], [row("f2")], [row(point="purity95")]):
        with pytest.raises(BadInputError, match="f1 at default in all; got no such row"):
            judged(*rows)
    made = decide(pd.DataFrame([row()]), parse_allowances("speed=0.1,f1=1"))
    assert [d.name for d in made] == ["f1@default"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"confidence": 1.0}, "confidence: required .*; got 1.0"),
        ({"table": [row()]}, "decide: table: required a DataFrame"),
        ({"table": pd.DataFrame([row()]).drop(columns=["hi", "point", "value_b"])},
         "decide: table: required the columns of compare_all; got .* without point, value_b, hi"),
        ({"allowances": ("f1=1",)}, r"decide: allowances\[0\]: required an Allowance; got str"),
    ],
)  # fmt: skip
def test_what_the_gate_cannot_judge_is_refused(changed: dict[str, Any], says: str) -> None:
    right = {"table": pd.DataFrame([row()]), "allowances": parse_allowances("f1=1")}
    with pytest.raises(BadInputError, match=says):
        decide(**right | changed)


def test_each_criterion_has_its_own_row() -> None:
    rows = [
        row(q, point=p, delta=float(k), lo=k - 0.5, hi=k + 0.5)
        for k, (q, p) in enumerate(
            (q, p) for q in ("completeness", "f1", "f2") for p in ("calibrated", "default", "z")
        )
    ]
    rows += [r | {"group": "aberrated", "delta": r["delta"] + 100} for r in rows]
    asked = parse_allowances("f1=1,f2@z=1,completeness@calibrated=1,f1@z=1")
    assert [d.loss for d in decide(pd.DataFrame(rows), asked)] == [4.0, 8.0, 0.0, 5.0]
    both = [d.loss for d in decide(pd.DataFrame(rows), asked[:1], per_group=True)]
    assert both == [4.0, 104.0]


def needed(loss: float, lo: float, hi: float, margin: float, n: int, **how: Any) -> int | None:
    return judged(row(delta=loss, lo=lo, hi=hi, n_frames=n), allow=f"f1={margin}", **how).n_needed


def test_the_frames_that_would_decide() -> None:
    # Half of the interval over what is left to the margin, squared.
    assert needed(0.0, -1.0, 1.0, 0.5, 20) == 80
    assert needed(0.0, -9.0, 1.0, 0.5, 20) == 80  # the side of the margin counts
    assert needed(1.0, 0.0, 9.0, 0.5, 20) == 80
    assert needed(0.25, -1.0, 1.25, 0.75, 20) == 80
    assert needed(0.0, -1.0, 1.5, 1.0, 7) == 16  # 15.75
    assert needed(0.5, 0.25, 0.75, 0.25, 7) == 8  # at the margin one more
    assert needed(0.25, 0.0, 0.5, 0.25, 7) is None  # a loss of just the margin
    assert needed(0.0, -1.0, 1000.0, 1.0, 3) is None
    assert needed(0.0, -1.0, 999.0, 1.0, 3) == 3 * 999**2
    said = judged(row(delta=0.0, lo=-1.0, hi=1.0), allow="f1=0.5").reason
    assert said.endswith("; about 80 frames would do to pass, if the loss stays as it is")
    said = judged(row(delta=1.0, lo=0.0, hi=2.0), allow="f1=0.5").reason
    assert said.endswith("; about 80 frames would do to be shown worse, if the loss stays as it is")


def test_the_frames_that_would_decide_when_asked_again() -> None:
    def excluded(n: int, times: float) -> bool:
        """Return whether a widened interval of n frames reaches 1 / times of that of 20."""
        return float(anytime_radius(n, 0.95)) / n**0.5 * times <= (
            float(anytime_radius(20, 0.95)) / 20**0.5
        )

    for times in (1.5, 2.0, 8.0):
        hi = times / widening(20, 0.95)
        frames = needed(0.0, -1.0, hi, 1.0, 20, more=True)
        tried = [math.ceil(20 * times**2)]  # what would do without asking again
        while not excluded(tried[-1], times):
            tried.append(math.ceil(1.02 * tried[-1]))
        assert frames == tried[-1]
        assert (len(tried) > 1) == (times > 2)
    # No more than ten million are looked at; the widened interval is as wide as told here.
    for times, plain, told in ((500.0, 10**7, 10**7), (499.0, 9960040, 10159241)):
        hi = times / widening(40, 0.95)
        frames = needed(0.0, -1.0, hi * (1 - 1e-12), 1.0, 40, more=True)
        assert frames is not None
        assert math.ceil(40 * times**2) == plain
        assert frames == pytest.approx(told, abs=2)


def test_a_widened_interval() -> None:
    times = widening(20, 0.95)
    wide = judged(row(), more=True)
    assert (wide.lo, wide.hi) == pytest.approx((0.25 - 0.25 * times, 0.25 + 0.25 * times))
    for changes in ({"n_frames": 1}, {"n_frames": 3}, {"interval": "block bootstrap"}):
        assert np.isnan([judged(row(**changes), more=True).lo]).all()
    assert judged(row(n_frames=5), more=True).lo < judged(row(n_frames=6), more=True).lo


def test_the_same_catalogues_have_no_loss() -> None:
    same = {"delta": 0.0, "lo": 0.0, "hi": 0.0, "value_b": 0.75}
    decision = judged(row(**same), identical=True)
    assert (decision.verdict, decision.reason) == ("pass", "both made the very same catalogues")
    assert judged(row(**same, n_frames=2), identical=True).verdict == "pass"
    assert judged(row(**same, n_frames=1), identical=True).verdict == "undecided"
    assert judged(row(), identical=True, allow="f1=0.1").verdict == "undecided"
    assert judged(row(**same)).verdict == "undecided"


# --- sources found --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kept", "usual", "few"), [(25, 100, False), (24, 100, True), (0, 0, False), (0, 1, True)]
)
def test_a_sliver_is_less_than_a_quarter(kept: int, usual: int, few: bool) -> None:
    assert is_sliver(kept, usual) == few


def test_what_a_comparison_says_of_the_sources_found() -> None:
    rows = [
        outcomes(60, 20, 20, 100),
        outcomes(4, 15, 6, 175, point="purity95"),
        outcomes(1, 2, 3, 4, group="b"),
        outcomes(7, 7, 7, 7, bin=0),
        row("completeness"),
    ]
    table = pd.DataFrame(rows)
    found = Found.at(table, "purity95", "all")
    assert found == Found("purity95", 25, 200, 100, False, (19, 10), (80, 80))
    assert not found.sliver  # a quarter of both
    assert found.slivers() == (True, True)
    assert found.words == "at purity95 either finds 25 of 200 truths"
    assert found.hint == "; @default can tell more, with 100 found"
    assert found.of_a_sliver(("x", "y")) == (
        "at purity95 the x finds 19 of 200 truths: too few for a limit; "
        "@default can tell more, with 80 found"
    )
    at_default = Found.at(table, "default", "all")
    assert at_default == Found("default", 100, 200, None, False, (80, 80), None)
    assert (at_default.sliver, at_default.slivers()) == (False, (False, False))
    assert (at_default.hint, at_default.of_a_sliver(("x", "y"))) == ("", "")
    assert Found.at(table, "default", "b") == Found("default", 6, 10, None, False, (3, 4), None)
    assert Found.at(table, "calibrated", "all") == Found("calibrated")
    assert Found("calibrated") == Found("calibrated", 0, 0, None, False, (0, 0), None)
    other = pd.DataFrame([*rows, outcomes(1, 2, 3, 194, point="calibrated")])
    assert Found.at(other, "calibrated", "all") == (
        Found("calibrated", 6, 200, 100, False, (3, 4), (80, 80))
    )
    assert Found("calibrated").words == "the versions do not differ"
    same = Found.at(pd.DataFrame([outcomes(5, 0, 0, 5)]), "default", "all")
    assert same.words == "at default both find the same 5 of 10 truths"
    for pairs in ((5, 1, 0, 5), (5, 0, 1, 5)):
        assert not Found.at(pd.DataFrame([outcomes(*pairs)]), "default", "all").same
    # The second alone may keep a sliver, and a point that finds no more has no hint.
    one = Found("p", 50, 99, 50, kept=(20, 19), kept_default=(80, 80))
    assert one.slivers() == (False, True)
    assert one.of_a_sliver(("x", "y")).startswith("at p the y finds 19 of 99 truths")
    assert one.hint == ""
    assert Found("p", 0, 9, 0).hint == ""


def test_a_sliver_passes_nothing() -> None:
    rows = [row(point="purity95"), outcomes(24, 0, 0, 76, point="purity95"), outcomes(97, 0, 0, 3)]
    few = judged(*rows, allow="f1@purity95=0.5")
    assert (few.verdict, few.reason) == (
        "undecided",
        "at purity95 both find the same 24 of 100 truths: too few to tell; "
        "@default can tell more, with 97 found",
    )
    assert judged(*rows, allow="f1@purity95=0.4").reason.startswith("not enough frames")
    rows[2] = outcomes(96, 0, 0, 4)
    assert judged(*rows, allow="f1@purity95=0.5").verdict == "pass"


@pytest.mark.parametrize("found", [(19, 0, 61), (19, 61, 0), (20, 0, 60), (0, 30, 19), (19, 0, 2)])
def test_a_limit_of_a_sliver_passes_nothing(found: tuple[int, int, int]) -> None:
    both, a, b = found
    rows = [
        row("m50", point="purity95"),
        outcomes(both, a, b, 100 - both - a - b, point="purity95"),
        outcomes(80, 0, 0, 20),
    ]
    # At its very edge the limit would pass.
    decision = judged(*rows, allow="m50@purity95=0.5")
    few = {n: k < 20 for n, k in (("reference", both + a), ("candidate", both + b))}
    assert (decision.verdict == "undecided") == any(few.values())
    if any(few.values()):
        name = next(n for n, is_few in few.items() if is_few)
        assert decision.reason.startswith(f"at purity95 the {name} finds 19 of 100 truths: too few")
    assert judged(*rows, allow="m50@purity95=0.4").reason.startswith("not enough frames")


# --- speed, allowances and the whole ------------------------------------------------------------


HERE = {"machine": "m", "workers": 1}


@pytest.mark.parametrize(
    ("old", "new", "where", "margin", "verdict", "reason"),
    [
        (4.0, 3.0, HERE, 0.25, "pass", "25 % slower on the same machine; 25 % is allowed"),
        (4.0, 2.9, HERE, 0.25, "worse", "28 % slower on the same machine; 25 % is allowed"),
        (4.0, 4.0, HERE, 0.0, "pass", "0 % faster on the same machine; 0 % is allowed"),
        (4.0, 6.0, HERE, 0.1, "pass", "50 % faster on the same machine; 10 % is allowed"),
        (0.5, 0.25, HERE, 0.1, "worse", "50 % slower on the same machine; 10 % is allowed"),
        (4.0, NAN, HERE, 0.1, "not comparable", "a speed is not known"),
        (0.0, 4.0, HERE, 0.1, "not comparable", "a speed is not known"),
        (4.0, 0.0, HERE, 0.1, "not comparable", "a speed is not known"),
        (4.0, 3.0, {"machine": "n", "workers": 2}, 0.5, "not comparable",
         "another machine, workers"),
        (4.0, 3.0, {"machine": "m"}, 0.5, "not comparable", "another workers"),
        (4.0, 3.0, HERE | {"device": "cuda"}, 0.5, "not comparable", "another device"),
    ],
)  # fmt: skip
def test_speeds(
    old: float, new: float, where: dict[str, Any], margin: float, verdict: str, reason: str
) -> None:
    decision = decide_speed(Speed(old, HERE), Speed(new, where), Allowance("speed", "", margin))
    assert (decision.verdict, decision.reason) == (verdict, reason)
    assert (decision.name, decision.group, decision.n_frames) == ("speed", "all", 0)
    assert np.isnan([decision.lo, decision.hi]).all()
    if verdict == "not comparable":
        assert math.isnan(decision.loss)
    else:
        assert decision.loss == pytest.approx(1 - new / old)


def test_allowances_at_their_edges() -> None:
    made = parse_allowances(" f1 = 0 ,, m50=0.05, snr50 = 1,f1@purity95=0.5,speed=0.99,")
    assert made == (
        Allowance("f1", "default", 0.0),
        Allowance("m50", "purity95", 0.05),
        Allowance("snr50", "purity95", 1.0),
        Allowance("f1", "purity95", 0.5),
        Allowance("speed", "", 0.99),
    )
    assert parse_allowances("f1=1,m50=1", "calibrated") == (
        Allowance("f1", "calibrated", 1.0),
        Allowance("m50", "calibrated", 1.0),
    )
    for text in ("f1=-0.1", "f1=inf", "f1=nan", "f1=x", "f1", "f1="):
        with pytest.raises(BadInputError, match="allowance 'f1': required a number >= 0"):
            parse_allowances(text)
    for text, said in (
        ("speed=1", "a fraction below 1"),
        ("speed@default=0.1", "speed without a point"),
        ("f1=0.1,f1@default=0.2", "each criterion once"),
        (" , ", "at least one"),
        ("f3=1", "did you mean f2"),
    ):
        with pytest.raises(BadInputError, match=said):
            parse_allowances(text)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        (("pass",), "pass"),
        (("pass", "not comparable"), "pass"),
        (("not comparable",), "undecided"),
        (("pass", "undecided"), "undecided"),
        (("undecided", "worse", "pass"), "worse"),
        ((), "undecided"),
    ],
)
def test_all_criteria_must_pass(verdicts: tuple[Any, ...], whole: str) -> None:
    one = judged(row())
    report = GateReport("a", "b", tuple(replace(one, verdict=v) for v in verdicts), 0.95)
    assert (report.verdict, report.passed) == (whole, whole == "pass")
    assert not report.more
