"""A gate's decision as text, word by word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from skyduel.evaluation.comparison.gate import Allowance, CriterionDecision, GateReport
from skyduel.evaluation.comparison.gate_report import (
    MORE_NOTE,
    few_frames_note,
    frames_note,
    gate_junit,
    gate_markdown,
    gate_sentence,
    independence_note,
    loss_text,
    markdown_text,
    number,
)

NAN = float("nan")
ONE = CriterionDecision(
    allowance=Allowance("f1", "default", 0.0125), group="all", verdict="pass", reason="so it is",
    reference=0.75, candidate=0.5, loss=0.12345, lo=-0.25, hi=0.54321, n_frames=30,
    n_needed=None,
)  # fmt: skip
SPEED = replace(
    ONE, allowance=Allowance("speed", "", 0.1), verdict="not comparable", reason="no speed",
    reference=NAN, candidate=123456.0, loss=NAN, lo=NAN, hi=NAN, n_frames=0,
)  # fmt: skip


def report(*criteria: CriterionDecision, **more: Any) -> GateReport:
    return GateReport("old", "new", criteria, 0.95, **more)


def test_the_markdown_of_a_report() -> None:
    text = gate_markdown(report(ONE, SPEED))
    assert text == (
        "<!-- skyduel gate -->\n"
        "# Gate: new against old\n"
        "\n"
        "**pass: new is no worse than old by more than allowed (1 pass, 1 not comparable)**\n"
        "\n"
        "| criterion | frames | reference | candidate | loss [95 % interval] | allowed | verdict "
        "| why |\n"
        "|---|---|---|---|---|---|---|---|\n"
        "| f1@default | 30 | 0.75 | 0.5 | 0.123 [−0.25, 0.543] | 0.0125 | pass | so it is |\n"
        "| speed | – | – | 1.235e+05 | – | 0.1 | – | no speed |\n"
        "\n"
        "A loss is positive where the candidate is worse; its interval is over frames, in pairs.\n"
        "\n"
        f"{frames_note(30)}\n"
    )
    more = gate_markdown(report(ONE, SPEED, more=True))
    assert more == text.replace("pairs.\n", f"pairs.\n\n{MORE_NOTE}\n")
    few = gate_markdown(report(replace(ONE, n_frames=19)))
    assert few.endswith(
        f"pairs.\n\n{frames_note(19)}\n\nFewer than 20 frames (19): the intervals are rough.\n"
    )


@pytest.mark.parametrize(
    ("frames", "few"), [((19, 30), 19), ((30, 19, 0), 19), ((20,), None), ((0,), None), ((), None)]
)
def test_few_frames_are_those_of_the_criterion_that_has_fewest(
    frames: tuple[int, ...], few: int | None
) -> None:
    note = few_frames_note(report(*(replace(ONE, n_frames=n) for n in frames)))
    assert note == (
        "" if few is None else f"Fewer than 20 frames ({few}): the intervals are rough."
    )


def test_what_intervals_take_for_granted_is_of_the_frames_of_the_intervals() -> None:
    many, none = replace(ONE, n_frames=40), replace(ONE, n_frames=90, lo=NAN, hi=NAN)
    assert independence_note(report(ONE, many, none)) == frames_note(40)
    assert independence_note(report(none)) == independence_note(report()) == ""


@pytest.mark.parametrize(("n", "share"), [(2, "100"), (3, "100"), (4, "75"), (60, "5")])
def test_failures_that_n_frames_may_lack(n: int, share: str) -> None:
    assert f"the {n} frames as independent" in frames_note(n)
    assert f"fewer than {share} % of frames" in frames_note(n)
    assert frames_note(1) == frames_note(0) == ""


def test_numbers_of_a_report() -> None:
    assert (number(0.123456), number(-0.0), number(NAN), number(-1.5, 1)) == (
        "0.1235", "0", "–", "−2",
    )  # fmt: skip
    assert loss_text(ONE) == "0.123 [−0.25, 0.543]"
    assert loss_text(replace(ONE, lo=NAN, hi=NAN)) == "0.123"
    assert loss_text(replace(ONE, loss=1234.0, lo=0.0001234, hi=5678.0)) == (
        "1.23e+03 [0.000123, 5.68e+03]"
    )


def test_the_sentence_counts_verdicts() -> None:
    for verdict, head in (
        ("worse", "worse: new loses more than allowed against old"),
        ("undecided", "undecided: these frames cannot tell whether new loses more than allowed "
         "against old"),
    ):  # fmt: skip
        made = report(ONE, replace(ONE, verdict=verdict), ONE)
        assert gate_sentence(made) == f"{head} (2 pass, 1 {verdict})"


def test_the_cases_of_junit() -> None:
    others = [replace(ONE, verdict=v) for v in ("worse", "undecided")]
    text = gate_junit(report(ONE, *others, SPEED))
    lines = text.splitlines()
    assert lines[0] == '<?xml version="1.0" encoding="utf-8"?>'
    assert lines[2].startswith("  <testsuite ")  # a person may read it
    assert text.endswith("</testsuites>\n")
    root = ElementTree.fromstring(text.partition("\n")[2])
    counts = {"tests": "4", "failures": "1", "errors": "1", "skipped": "1"}
    assert root.attrib == counts
    suite = root[0]
    assert suite.attrib == {"name": "skyduel gate", **counts}
    assert [p.attrib for p in suite[0]] == [
        {"name": "reference", "value": "old"}, {"name": "candidate", "value": "new"},
    ]  # fmt: skip
    said = "so it is; loss 0.123 [−0.25, 0.543], allowed 0.0125"
    cases = suite.findall("testcase")
    assert [[one.tag for one in case] for case in cases] == [
        ["system-out"], ["failure"], ["error"], ["skipped"]
    ]  # fmt: skip
    assert cases[0][0].text == said
    assert cases[1][0].attrib == {"message": said, "type": "worse"}
    assert cases[3][0].attrib == {"message": "no speed; loss –, allowed 0.1",
                                  "type": "not comparable"}  # fmt: skip
    assert {case.get("classname") for case in cases} == {"skyduel.gate"}
    assert [case.get("name") for case in cases] == ["f1@default"] * 3 + ["speed"]


def test_a_cell_is_plain_text_of_two_thousand_characters() -> None:
    assert markdown_text('a "b" <c> & `d` | e\n f') == r'a "b" &lt;c&gt; &amp; \`d\` \| e f'
    assert markdown_text("x" * 2000) == "x" * 2000
    assert markdown_text("x" * 2001) == f"{'x' * 1000} ... {'x' * 1000}"
