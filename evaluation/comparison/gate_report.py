"""A gate's decision as Markdown for people and JUnit XML for machines."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import Final
from xml.etree import ElementTree

from skyduel.core.errors import printable
from skyduel.evaluation.comparison.gate import CriterionDecision, GateReport
from skyduel.evaluation.number_text import with_minus
from skyduel.evaluation.table_keys import FEW_FRAMES

__all__ = [
    "COMMENT_MARK",
    "few_frames_note",
    "frames_note",
    "gate_junit",
    "gate_markdown",
    "gate_sentence",
    "independence_note",
    "markdown_text",
]

_WORD: Final = {
    "pass": "pass", "worse": "**worse**", "undecided": "**undecided**", "not comparable": "–",
}  # fmt: skip
#: Of intervals that were widened.
MORE_NOTE: Final = (
    "The intervals hold however often the gate is asked after more frames were added "
    "(anytime-valid t-test)."
)
#: First line of the Markdown, by which a pull request's comment is found and replaced.
COMMENT_MARK: Final = "<!-- skyduel gate -->"
_LONGEST_CELL: Final = 2000
#: What XML 1.0 cannot hold, not even escaped, and what changes the direction of writing.
_UNFIT: Final = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
    "|[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def gate_sentence(report: GateReport) -> str:
    """Return the decision in one line."""
    n = Counter(j.verdict for j in report.criteria)
    told = ", ".join(f"{count} {verdict}" for verdict, count in n.items())
    old, new = report.reference, report.candidate
    head = {
        "pass": f"pass: {new} is no worse than {old} by more than allowed",
        "worse": f"worse: {new} loses more than allowed against {old}",
        "undecided": f"undecided: these frames cannot tell whether {new} loses more than allowed "
        f"against {old}",
    }[report.verdict]
    return f"{head} ({told})"


def gate_markdown(report: GateReport) -> str:
    """Return the decision as a Markdown document: one line, then a row per criterion."""
    level = f"{100 * report.confidence:g} %"
    lines = [
        COMMENT_MARK,
        f"# Gate: {markdown_text(report.candidate)} against {markdown_text(report.reference)}",
        "",
        f"**{markdown_text(gate_sentence(report))}**",
        "",
        f"| criterion | frames | reference | candidate | loss [{level} interval] | allowed | "
        "verdict | why |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for j in report.criteria:
        cells = (
            j.name, str(j.n_frames or "–"), number(j.reference), number(j.candidate), loss_text(j),
            f"{j.allowance.margin:g}",
        )  # fmt: skip
        row = " | ".join(markdown_text(c) for c in cells)
        lines.append(f"| {row} | {_WORD[j.verdict]} | {markdown_text(j.reason)} |")
    lines += [
        "",
        "A loss is positive where the candidate is worse; its interval is over frames, in pairs.",
    ]
    if report.more:
        lines += ["", MORE_NOTE]
    note = independence_note(report)
    if note:
        lines += ["", note]
    note = few_frames_note(report)
    if note:
        lines += ["", note]
    return "\n".join(lines) + "\n"


def few_frames_note(report: GateReport) -> str:
    """Return that intervals over few frames are rough, in a sentence; empty if there are enough."""
    few = min((j.n_frames for j in report.criteria if j.n_frames), default=FEW_FRAMES)
    if few >= FEW_FRAMES:
        return ""
    return f"Fewer than {FEW_FRAMES} frames ({few}): the intervals are rough."


def independence_note(report: GateReport) -> str:
    """Return what the intervals of a gate take for granted, in a sentence, as `frames_note`."""
    return frames_note(max((j.n_frames for j in report.criteria if j.lo == j.lo), default=0))


def frames_note(n: int) -> str:
    """Return what intervals over n frames take for granted, in a sentence; empty below two.

    Of n frames none has a failure of frequency 3 / n with a probability of 5 %.
    """
    if n < 2:
        return ""
    return (
        f"The intervals take the {n} frames as independent: frames of one field or night tell "
        f"less, and failures on fewer than {100 * min(3 / n, 1):.0f} % of frames may be missing "
        "here."
    )


def gate_junit(report: GateReport) -> str:
    """Return the decision as JUnit XML, one test case per criterion.

    *Worse* is a failure, *undecided* an error and *not comparable* skipped, so
    that a dashboard tells them apart.
    """
    n = Counter(j.verdict for j in report.criteria)
    counts = {
        "tests": len(report.criteria), "failures": n["worse"], "errors": n["undecided"],
        "skipped": n["not comparable"],
    }  # fmt: skip
    shown = {k: str(v) for k, v in counts.items()}
    root = ElementTree.Element("testsuites", shown)
    suite = ElementTree.SubElement(root, "testsuite", {"name": "skyduel gate", **shown})
    properties = ElementTree.SubElement(suite, "properties")
    for key in ("reference", "candidate"):
        ElementTree.SubElement(
            properties, "property", {"name": key, "value": _fit(getattr(report, key))}
        )
    for j in report.criteria:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": "skyduel.gate", "name": _fit(j.name)}
        )
        text = _fit(f"{j.reason}; loss {loss_text(j)}, allowed {j.allowance.margin:g}")
        if j.verdict == "pass":
            ElementTree.SubElement(case, "system-out").text = text
            continue
        tag = {"worse": "failure", "undecided": "error", "not comparable": "skipped"}[j.verdict]
        ElementTree.SubElement(case, tag, {"message": text, "type": j.verdict}).text = text
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(
        root, encoding="unicode"
    ) + "\n"  # fmt: skip


def number(value: float, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits, a dash for NaN."""
    return "–" if value != value else with_minus(f"{value + 0.0:.{digits}g}")  # no −0


def loss_text(decision: CriterionDecision) -> str:
    """Return the loss and its interval."""
    text = number(decision.loss, 3)
    if decision.lo == decision.lo:
        text += f" [{number(decision.lo, 3)}, {number(decision.hi, 3)}]"
    return text


def _fit(text: str) -> str:
    return _UNFIT.sub("?", text)


def markdown_text(text: str) -> str:
    """Return text that Markdown shows as it is: names must not become links, pictures or tags."""
    shown = printable(" ".join(text.split()), longest=_LONGEST_CELL)
    # Brackets alone, as of intervals, are text; a link needs what follows them.
    return re.sub(r"([\\`*|~#]|\](?=[(\[:]))", r"\\\1", escape(shown, quote=False))
