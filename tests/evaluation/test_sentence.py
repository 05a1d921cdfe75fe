"""The sentence that sums up a comparison, and the rows that it rests on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from skyduel.core.errors import BadInputError
from skyduel.evaluation.comparison.headline import headline, rests_on, sentence
from skyduel.evaluation.comparison.sources_found import without_limits_of_slivers
from skyduel.evaluation.statistics.paired_tests import holm

NAN = float("nan")


def told(deltas: dict[str, tuple[float, float]], quantity: str = "m50", point: str = "purity95",
         n: int = 20) -> pd.DataFrame:  # fmt: skip
    rows = []
    p = {
        g: 2 * norm.sf(abs(d) / s) if s == s and d == d else np.nan for g, (d, s) in deltas.items()
    }
    groups = [g for g in deltas if g != "all"]
    corrected = dict(zip(groups, holm([p[g] for g in groups]), strict=True)) | {"all": p["all"]}
    for group, (delta, s) in deltas.items():
        for name in (quantity, "f1"):
            rows.append({
                "detector_a": "old", "detector_b": "new", "point": point, "group": group,
                "bin": -2, "quantity": name, "delta": delta, "lo": delta - 2 * s,
                "hi": delta + 2 * s, "p": p[group], "p_holm": corrected[group],
                "interval": "bootstrap", "n_frames": n if group == "all" else n // 4,
            })  # fmt: skip
        if quantity == "f1":
            rows.pop()
            rows.append(rows[-1] | {"quantity": "m50", "delta": np.nan, "p": np.nan})
    return pd.DataFrame(rows)


def test_the_sentence_names_the_detector_bin_difference_and_interval() -> None:
    table = told({"crowded": (-0.21, 0.03), "field": (0.01, 0.05), "all": (-0.1, 0.06)})
    assert sentence(table, "purity95") == (
        "new finds more than old in crowded (Δm50 = 0.21 mag [0.15, 0.27]); no difference shown "
        "elsewhere; at 95 % purity over 20 frames"
    )


@pytest.mark.parametrize(
    ("deltas", "options", "expected"),
    [
        (
            {"a": (0.3, 0.02), "b": (0.2, 0.02), "all": (0.25, 0.02)},
            {},
            "old finds more than new in all 2 groups: Δm50 = 0.25 mag [0.21, 0.29] over all "
            "frames; at 95 % purity over 20 frames",
        ),
        (
            {"a": (0.3, 0.02), "b": (-0.2, 0.02), "all": (0.05, 0.2)},
            {"n": 8},
            "old finds more than new in a (Δm50 = 0.30 mag [0.26, 0.34]); new finds more than old "
            "in b (Δm50 = 0.20 mag [0.16, 0.24]); at 95 % purity over 8 frames; with fewer "
            "than 20, intervals are rough",
        ),
        (
            {"a": (0.0, 0.02), "b": (np.nan, 0.02), "all": (0.01, 0.02)},
            {},
            "no difference shown between old and new: Δm50 = 0.01 mag [−0.03, 0.05]; not to be "
            "told in b; at 95 % purity over 20 frames",
        ),
        (
            {"a": (0.03, 0.02), "b": (0.03, 0.02), "all": (0.03, 0.01)},
            {},
            "old finds more than new over all frames: Δm50 = 0.03 mag [0.01, 0.05], but in no "
            "single group is it shown; at 95 % purity over 20 frames",
        ),
        (
            {"all": (-0.3, 0.1)},
            {"quantity": "f1"},
            "new scores higher than old: ΔF1 = 0.300 [0.100, 0.500]; at 95 % purity over 20 frames",
        ),
        (
            {"all": (-0.3, 0.1)},
            {"point": "default"},
            "new scores higher than old: ΔF1 = 0.300 [0.100, 0.500]; at each one's own "
            "threshold over 20 frames",
        ),
        (
            {"all": (0.2, np.nan)},
            {"n": 1},
            "no telling between old and new: Δm50 = 0.20 mag without an interval; at 95 % purity "
            "over 1 frame; with fewer than 20, intervals are rough",
        ),
    ],
)
def test_sentences(deltas, options, expected) -> None:
    assert sentence(told(deltas, **options), options.get("point", "purity95")) == expected


def test_one_frame_tells_of_itself_only() -> None:
    alone = told({"all": (-0.3, 0.1)}, n=1).assign(interval="block bootstrap")
    assert sentence(alone, "purity95") == (
        "new finds more than old: Δm50 = 0.30 mag [0.10, 0.50]; at 95 % purity over 1 frame, "
        "which tells of this frame only"
    )
    table = told({"a": (-0.3, 0.02), "b": (0.0, 0.2), "all": (-0.1, 0.2)})
    one = table["group"] == "a"
    table.loc[one, ["interval", "n_frames"]] = ["block bootstrap", 1]
    assert sentence(table, "purity95").startswith(
        "new finds more than old in a (Δm50 = 0.30 mag [0.26, 0.34], its one frame only); "
    )
    assert rests_on(3, "block bootstrap") == "over 3 frames, which tell of these frames only"
    assert rests_on(20, "bootstrap") == "over 20 frames"


def test_a_sentence_is_about_one_pair() -> None:
    table = told({"all": (0.1, 0.1)})
    with pytest.raises(BadInputError, match="one pair"):
        headline(pd.concat([table, table.assign(detector_b="third")]), "purity95")
    with pytest.raises(BadInputError, match="at 'default'"):
        headline(table, "default")


ROUGH = "; with fewer than 20, intervals are rough"


def rows_of(*rows: tuple, n: int = 20, point: str = "purity95", **changes: object) -> pd.DataFrame:
    """Return rows of (group, quantity, delta, half the interval, p after Holm's correction)."""
    return pd.DataFrame([
        {"detector_a": "old", "detector_b": "new", "point": point, "group": group, "bin": -2,
         "quantity": quantity, "delta": delta, "lo": delta - half, "hi": delta + half, "p": p,
         "p_holm": p, "interval": "bootstrap", "n_frames": n} | changes
        for group, quantity, delta, half, p in rows
    ])  # fmt: skip


def outcomes(
    point: str, both: int, a: int, b: int, neither: int, group: str = "all"
) -> pd.DataFrame:
    """Return the row that says how many truths were found."""
    made = rows_of((group, "completeness", 0.0, 0.1, 0.5), point=point, interval="newcombe")
    return made.assign(n_both=both, n_a_only=a, n_b_only=b, n_neither=neither)


def test_the_rows_of_a_headline_stand_by_group_with_all_last() -> None:
    groups = ["zeta", "all", "alpha", "beta"]
    table = pd.concat([
        rows_of(*[(g, q, k / 10, 0.01, 0.5) for k, g in enumerate(groups) for q in ("f1", "m50")]),
        rows_of(("alpha", "m50", 9.0, 0.01, 0.5), bin=0),
        rows_of(("alpha", "m50", 8.0, 0.01, 0.5), bin=-3),
        rows_of(*[(g, "snr50", 6.0, 0.01, 0.5) for g in groups]),
        rows_of(*[(g, q, 7.0, 0.01, 0.5) for g in groups for q in ("f1", "m50", "snr50")],
                point="default"),
    ], ignore_index=True)  # fmt: skip
    got = headline(table, "purity95")
    assert list(zip(got["group"], got["quantity"], got["delta"], strict=True)) == [
        ("alpha", "m50", 0.2), ("beta", "m50", 0.3), ("zeta", "m50", 0.0), ("all", "m50", 0.1),
    ]  # fmt: skip
    assert "_last" not in got
    assert headline(table, "default")["quantity"].tolist() == ["f1"] * 4


@pytest.mark.parametrize(
    ("all_delta", "group_delta", "kept", "usual", "quantity"),
    [
        (0.1, 0.2, 25, 100, "m50"),
        (0.1, 0.2, 24, 100, "f1"),  # all of it rests on a sliver
        (NAN, 0.2, 24, 100, "m50"),  # what is not defined is not cut
        (NAN, NAN, 90, 100, "f1"),
        (0.1, NAN, 90, 100, "m50"),
    ],
)
def test_a_headline_is_that_of_m50_unless_it_is_undefined_or_of_a_sliver(
    all_delta: float, group_delta: float, kept: int, usual: int, quantity: str
) -> None:
    table = pd.concat([
        rows_of(("a", "m50", group_delta, 0.1, 0.5), ("all", "m50", all_delta, 0.1, 0.5),
                ("a", "f1", 0.1, 0.1, 0.5), ("all", "f1", 0.1, 0.1, 0.5)),
        outcomes("purity95", kept, 50, 0, 9), outcomes("default", usual, 0, 0, 9),
    ], ignore_index=True)  # fmt: skip
    assert headline(table, "purity95")["quantity"].tolist() == [quantity] * 2


@pytest.mark.parametrize("group", ["a", "b"])
def test_a_sliver_in_a_group_leaves_the_headline_that_of_m50(group: str) -> None:
    table = pd.concat([
        rows_of(*[(g, q, 0.1, 0.1, 0.5) for g in (group, "c", "all") for q in ("m50", "f1")]),
        outcomes("purity95", 24, 50, 0, 9, group=group),
        outcomes("default", 100, 0, 0, 9, group=group),
    ], ignore_index=True)  # fmt: skip
    assert headline(table, "purity95")["quantity"].tolist() == ["m50"] * 3


def test_limits_of_slivers_are_cut_where_either_keeps_one() -> None:
    places = [(p, g) for p in ("calibrated", "default", "purity95") for g in ("a", "all", "z")]
    table = pd.concat([
        *[rows_of((g, "m50", 0.1, 0.1, 0.5), (g, "snr50", 0.1, 0.1, 0.5), (g, "f1", 0.1, 0.1, 0.5),
                  point=p) for p, g in places],
        # At calibrated all over, at purity95 in one group, one of the two keeps less than 25.
        *[outcomes(p, 24 if (p, g) in (("calibrated", "all"), ("purity95", "a")) else 90, 0,
                   50, 9, group=g) for p, g in places if p != "default"],
        *[outcomes("default", 100, 0, 0, 9, group=g) for p, g in places if p == "default"],
    ], ignore_index=True)  # fmt: skip
    before = table.copy()
    told = without_limits_of_slivers(table)
    limits = table["quantity"].isin(["m50", "snr50"])
    cut = limits & (
        (table["point"] == "calibrated") & (table["group"] == "all")
        | (table["point"] == "purity95") & (table["group"] == "a")
    )
    numbers = ["delta", "lo", "hi", "p", "p_holm"]
    assert told.loc[cut, numbers].isna().all(axis=None)
    pd.testing.assert_frame_equal(told[~cut], table[~cut])
    assert told.loc[cut].drop(columns=numbers).equals(table.loc[cut].drop(columns=numbers))
    pd.testing.assert_frame_equal(table, before)


A, B, C = ("a", "m50", 0.3, 0.1, 0.01), ("b", "m50", 0.2, 0.1, 0.02), ("c", "m50", 0.1, 0.2, 0.4)
UNTOLD = ("d", "m50", NAN, NAN, NAN)
ALL = ("all", "m50", 0.25, 0.1, 0.001)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        ((A, B, C, ALL), {},
         "old finds more than new in a (Δm50 = 0.30 mag [0.20, 0.40]), b (0.20 mag [0.10, 0.30]); "
         "no difference shown elsewhere; at 95 % purity over 20 frames"),
        ((A, B, UNTOLD, ALL), {},
         "old finds more than new in a (Δm50 = 0.30 mag [0.20, 0.40]), b (0.20 mag [0.10, 0.30]); "
         "not to be told in d; at 95 % purity over 20 frames"),
        ((A, B, C, UNTOLD, ("e", *UNTOLD[1:]), ALL), {"n": 19},
         "old finds more than new in a (Δm50 = 0.30 mag [0.20, 0.40]), b (0.20 mag [0.10, 0.30]); "
         "no difference shown elsewhere; not to be told in d, e; at 95 % purity over 19 frames"
         + ROUGH),
        # Less sure, only one is shown; and of one that is just at the level nothing is.
        ((A, B, ALL), {"confidence": 0.985},
         "old finds more than new in a (Δm50 = 0.30 mag [0.20, 0.40]); no difference shown "
         "elsewhere; at 95 % purity over 20 frames"),
        ((("a", "m50", 0.3, 0.1, 0.25), C, (*ALL[:4], 0.25)), {"confidence": 0.75},
         "no difference shown between old and new: Δm50 = 0.25 mag [0.15, 0.35]; "
         "at 95 % purity over 20 frames"),
        # With one group, what is said is said over all frames.
        ((("b", "m50", -0.3, 0.1, 0.01), ALL), {},
         "old finds more than new: Δm50 = 0.25 mag [0.15, 0.35]; at 95 % purity over 20 frames"),
        ((A, ("all", "m50", 0.25, 0.3, 0.4)), {},
         "no difference shown between old and new: Δm50 = 0.25 mag [−0.05, 0.55]; "
         "at 95 % purity over 20 frames"),
        ((C, ("b", "m50", -0.2, 0.3, 0.2), ("all", "m50", -0.2, 0.1, 0.03)), {},
         "new finds more than old over all frames: Δm50 = 0.20 mag [0.10, 0.30], but in no single "
         "group is it shown; at 95 % purity over 20 frames"),
        ((("a", "m50", -0.3, 0.1, 0.01), ("b", "m50", -0.2, 0.1, 0.02),
          ("all", "m50", -0.2, 0.1, 0.1)), {},
         "new finds more than old in all 2 groups: Δm50 = 0.20 mag [0.10, 0.30] over all frames; "
         "at 95 % purity over 20 frames"),
        ((UNTOLD, ("e", *UNTOLD[1:]), ("all", "m50", 0.2, 0.3, 0.4)), {"quantity": "f1"},
         "no difference shown between old and new: ΔF1 = 0.200 [−0.100, 0.500]; "
         "at 95 % purity over 20 frames"),
        # No difference in F1 is larger than 1.
        ((("all", "f1", 0.2, 1.1, 0.4),), {"point": "calibrated"},
         "no difference shown between old and new: ΔF1 = 0.200 [−0.900, 1.000]; at each one's best "
         "threshold of the calibration frames over 20 frames"),
        ((("all", "f1", -0.2, 0.1, 0.01),), {"point": "own"},
         "new scores higher than old: ΔF1 = 0.200 [0.100, 0.300]; at own over 20 frames"),
        ((("all", "f1", NAN, NAN, NAN),), {"point": "default"},
         "no comparison between old and new: f1 is undefined for one of them; at each one's own "
         "threshold over 20 frames"),
        ((("all", "f1", 0.1, 0.0, 0.9),), {"point": "default"},
         "undecided between old and new: the versions do not differ; at each one's own threshold "
         "over 20 frames"),
        # A difference of 0 has no better one, whatever p says.
        ((("b", "f1", 0.0, 0.1, 0.0), ("all", "f1", 0.0, 0.1, 0.0)), {"point": "default"},
         "no difference shown between old and new: ΔF1 = 0.000 [−0.100, 0.100]; at each one's own "
         "threshold over 20 frames"),
    ],
)  # fmt: skip
def test_what_a_sentence_says(rows: tuple, options: dict, said: str) -> None:
    options = dict(options)
    quantity = options.pop("quantity", None)
    rows = tuple((g, quantity or q, *rest) for g, q, *rest in rows)
    confidence = {k: options.pop(k) for k in ("confidence",) if k in options}
    table = rows_of(*rows, **options)
    assert sentence(table, options.get("point", "purity95"), **confidence) == said


@pytest.mark.parametrize(
    ("kept", "usual", "half", "ends"),
    [
        # Both keep a sliver together: nothing is decided, and the other point can tell more.
        ((10, 5, 4, 200), (80, 20, 10, 109), 0.1,
         "undecided between old and new: at purity95 either finds 19 of 219 truths; "
         "--point default can tell more, with 110 found; at 95 % purity over 20 frames"),
        ((10, 0, 0, 209), (10, 20, 10, 179), 0.0,
         "undecided between old and new: at purity95 both find the same 10 of 219 truths; "
         "--point default can tell more, with 40 found; at 95 % purity over 20 frames"),
        ((10, 80, 4, 125), (80, 20, 10, 109), 0.1,
         "no difference shown between old and new: ΔF1 = 0.020 [−0.080, 0.120]; at 95 % purity "
         "over 20 frames; new has only 14 of 219 sources left there"),
        ((10, 4, 80, 1125), (80, 20, 10, 1109), 0.1,
         "no difference shown between old and new: ΔF1 = 0.020 [−0.080, 0.120]; at 95 % purity "
         "over 20 frames; old has only 14 of 1,219 sources left there"),
        ((60, 10, 10, 139), (80, 20, 10, 109), 0.1,
         "no difference shown between old and new: ΔF1 = 0.020 [−0.080, 0.120]; at 95 % purity "
         "over 20 frames"),
    ],
)  # fmt: skip
def test_a_sentence_says_where_few_sources_are_left(
    kept: tuple, usual: tuple, half: float, ends: str
) -> None:
    table = pd.concat([
        rows_of(("all", "f1", 0.02, half, 0.5)),
        outcomes("purity95", *kept), outcomes("default", *usual),
        outcomes("purity95", 0, 0, 0, 9, group="a"),
    ], ignore_index=True)  # fmt: skip
    assert sentence(table, "purity95") == ends


@pytest.mark.parametrize(
    ("n", "interval", "said"),
    [
        (0, "bootstrap", "over 0 frames"),
        (0, "block bootstrap", "over 0 frames"),
        (1, "bootstrap", "over 1 frame" + ROUGH),
        (19, "bootstrap", "over 19 frames" + ROUGH),
        (20, "bootstrap", "over 20 frames"),
        (1, "block bootstrap", "over 1 frame, which tells of this frame only"),
        (2, "block bootstrap", "over 2 frames, which tell of these frames only"),
    ],
)
def test_what_a_difference_rests_on(n: int, interval: str, said: str) -> None:
    assert rests_on(n, interval) == said


@pytest.mark.parametrize(
    ("interval", "n", "alone"), [("block bootstrap", 1, True), ("block bootstrap", 2, False),
                                 ("bootstrap", 1, False)]
)  # fmt: skip
def test_a_group_of_one_frame_in_blocks_is_said_to_be_one(
    interval: str, n: int, alone: bool
) -> None:
    table = rows_of(A, C, ALL)
    table.loc[0, ["interval", "n_frames"]] = [interval, n]
    told = sentence(table, "purity95")
    assert ("0.40], its one frame only)" in told) == alone
    table = rows_of(ALL, n=1, interval="block bootstrap")
    assert "its one frame" not in sentence(table, "purity95")
