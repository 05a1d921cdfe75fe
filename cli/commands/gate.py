"""The command `skyduel gate`: non-inferiority test of a new version against the old one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.compare import Common, Detector, NameA, NameB, select_detectors
from skyduel.cli.commands.options import check_runs
from skyduel.cli.console import wide_out
from skyduel.cli.whole_tables import WholeTable
from skyduel.evaluation.comparison.gate import gated
from skyduel.evaluation.table_keys import DEFAULT_POINT

if TYPE_CHECKING:
    from skyduel.evaluation.comparison.gate import Allowance, CriterionDecision, GateReport

__all__ = ["NAME", "command", "run_gate"]

NAME = "gate"

_STYLE: Final = {
    "pass": "green", "worse": "red", "undecided": "yellow", "not comparable": "dim",
}  # fmt: skip


_AGAIN: Final = (
    "After adding frames ask again with --more: without it every further look adds to the chance "
    "of a wrong pass."
)


def command(
    reference: Annotated[
        Path,
        typer.Argument(metavar="REFERENCE", help="Run folder of the old version, or RUN/DETECTOR."),
    ],
    candidate: Annotated[
        Path,
        typer.Argument(metavar="CANDIDATE", help="Run folder of the new version, or RUN/DETECTOR."),
    ],
    allow: Annotated[
        list[str],
        typer.Option(
            metavar="QUANTITY[@POINT]=LOSS,...",
            help=f"Largest allowed losses of {', '.join(gated())}, or speed. m50 is in mag; "
            "speed is a fraction. Repeat the option to add more.",
        ),
    ],
    detector: Detector = None,
    a: NameA = None,
    b: NameB = None,
    point: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Operating point of criteria without @POINT. Default: purity95 for m50 and snr50, "
            "default for the others."
        ),
    ] = None,
    per_group: Annotated[
        bool, typer.Option("--per-group", help="Also judge every group of frames separately.")
    ] = False,
    common_frames: Common = False,
    more: Annotated[
        bool,
        typer.Option(
            "--more",
            help="These frames include those of an earlier look that was undecided: wider "
            "intervals, which hold however often the gate is asked.",
        ),
    ] = False,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.md", help="Write the decision as Markdown."),
    ] = None,
    junit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.xml", help="Write the decision as JUnit XML."),
    ] = None,
) -> None:
    """Test whether a new version loses no more than allowed against the old version.

    A criterion passes only if its paired interval excludes a loss larger than
    allowed. It is worse if the interval lies above the allowed loss, and undecided otherwise.
    Exit status: 0 if all criteria pass, 1 if not, 2 if the runs cannot be compared.
    """
    check_runs(reference, candidate)
    from skyduel.core import atomic_path
    from skyduel.evaluation.comparison.gate import parse_allowances
    from skyduel.evaluation.comparison.gate_report import (
        MORE_NOTE,
        few_frames_note,
        gate_junit,
        gate_markdown,
        gate_sentence,
        independence_note,
    )

    allowances = parse_allowances(",".join(allow), point)
    first, second = select_detectors(reference, candidate, detector, a, b)
    decided = run_gate(
        first, second, allowances, per_group=per_group, common_frames=common_frames, more=more
    )
    for path, text in ((report, gate_markdown), (junit, gate_junit)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(text(decided), encoding="utf-8")
    console = wide_out()
    console.print(Text(gate_sentence(decided)), style=_STYLE[decided.verdict], soft_wrap=True)
    console.print(WholeTable(_table(decided)))
    for decision in decided.criteria:
        if decision.verdict != "pass":
            console.print(
                Text(f"{decision.name}: {decision.verdict}: {decision.reason}"), soft_wrap=True
            )
    for note in (independence_note(decided), few_frames_note(decided)):
        if note:
            console.print(Text(note), soft_wrap=True)
    if more:
        console.print(Text(MORE_NOTE), soft_wrap=True)
    elif decided.verdict == "undecided":
        console.print(Text(_AGAIN), soft_wrap=True)
    if not decided.passed:
        raise typer.Exit(1)


def run_gate(
    reference: Any,
    candidate: Any,
    allowances: tuple[Allowance, ...],
    *,
    per_group: bool = False,
    common_frames: bool = False,
    more: bool = False,
) -> GateReport:
    """Decide the gate for two detectors of finished runs.

    Parameters
    ----------
    reference, candidate : RunDetector
        The old version and the new version.
    allowances : tuple of Allowance
        The criteria: quantity, operating point and largest allowed loss.
    per_group, common_frames, more : bool
        As the options of the command.

    Raises
    ------
    BadInputError
        If the two detectors cannot be compared.
    """
    from skyduel.evaluation.comparison.gate import SPEED, GateReport, decide, decide_speed
    from skyduel.run_folder.compare_runs import compare_detectors

    # The default point is compared, too: it tells whether another point keeps a sliver.
    points = [a.point for a in allowances if a.quantity != SPEED] + [DEFAULT_POINT]
    decisions: list[CriterionDecision] = []
    made = compare_detectors(
        reference, candidate, list(dict.fromkeys(points)), common_frames=common_frames
    )
    how: dict[str, Any] = {
        "per_group": per_group,
        "identical": made.identical,
        "more": more,
        "confidence": made.rules.confidence,
    }
    for allowance in allowances:
        if allowance.quantity == SPEED:
            decisions.append(decide_speed(reference.speed, candidate.speed, allowance))
        else:
            decisions += decide(made.table, [allowance], **how)
    return GateReport(made.name_a, made.name_b, tuple(decisions), made.rules.confidence, more)


def _table(report: GateReport) -> Table:
    from skyduel.evaluation.comparison.gate_report import loss_text, number

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("criterion", "frames", "reference", "candidate"):
        table.add_column(name, justify="left" if name == "criterion" else "right", no_wrap=True)
    table.add_column(f"loss [{100 * report.confidence:g} %]", justify="right", no_wrap=True)
    table.add_column("allowed", justify="right")
    table.add_column("verdict", no_wrap=True)
    for j in report.criteria:
        table.add_row(
            Text(j.name), str(j.n_frames or "–"), number(j.reference), number(j.candidate),
            Text(loss_text(j)), f"{j.allowance.margin:g}",
            Text(j.verdict, style=_STYLE[j.verdict]),
        )  # fmt: skip
    return table
