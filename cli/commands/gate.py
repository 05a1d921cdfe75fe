"""`skyduel gate`: may a new version replace the old one?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Optional

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.compare import Common, Detector, NameA, NameB, pick
from skyduel.cli.console import wide_out
from skyduel.core import atomic_path
from skyduel.evaluation.comparison.gate import (
    SPEED,
    Allowance,
    GateReport,
    decide_speed,
    judge,
    parse_allowances,
)
from skyduel.evaluation.comparison.gate_report import (
    gate_junit,
    gate_markdown,
    gate_sentence,
    loss_text,
    number,
)
from skyduel.run_folder.schema import DEFAULT_POINT

__all__ = ["NAME", "command", "run_gate"]

NAME = "gate"

_STYLE: Final = {
    "pass": "green", "worse": "red", "undecided": "yellow", "not comparable": "dim",
}  # fmt: skip


def command(
    reference: Annotated[
        Path, typer.Argument(metavar="REFERENCE", help="Run of the old version, or RUN/DETECTOR.")
    ],
    candidate: Annotated[
        Path, typer.Argument(metavar="CANDIDATE", help="Run of the new one, or RUN/DETECTOR.")
    ],
    allow: Annotated[
        str,
        typer.Option(
            metavar="QUANTITY[@POINT]=LOSS,...",
            help="Largest losses let pass: completeness, purity, f1, f2, m50 \\[mag], snr50; speed "
            "as a fraction.",
        ),
    ],
    detector: Detector = None,
    a: NameA = None,
    b: NameB = None,
    point: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            help="Operating point of criteria that name none. Default: purity95 for m50 and snr50, "
            "default for the others."
        ),
    ] = None,
    per_group: Annotated[
        bool, typer.Option("--per-group", help="Judge every group of frames by itself too.")
    ] = False,
    common_frames: Common = False,
    report: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.md", help="Write the decision as Markdown."),
    ] = None,
    junit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(metavar="FILE.xml", help="Write the decision as JUnit XML."),
    ] = None,
) -> None:
    """Judge whether a new version is no worse than the old one by more than is allowed.

    A criterion passes only if its paired interval excludes a larger loss; otherwise
    it is worse, or the frames do not tell. Exit status 0 if all pass, 1 if not,
    2 if the runs cannot be compared.
    """
    allowances = parse_allowances(allow, point)
    first, second = pick(reference, candidate, detector, a, b)
    decided = run_gate(first, second, allowances, per_group=per_group, common_frames=common_frames)
    for path, text in ((report, gate_markdown), (junit, gate_junit)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(text(decided), encoding="utf-8")
    console = wide_out()
    console.print(Text(gate_sentence(decided)), style=_STYLE[decided.verdict], soft_wrap=True)
    console.print(_table(decided))
    for judged in decided.criteria:
        if judged.verdict != "pass":
            console.print(Text(f"{judged.name}: {judged.verdict}: {judged.reason}"), soft_wrap=True)
    if not decided.passed:
        raise typer.Exit(1)


def run_gate(
    reference: Any,
    candidate: Any,
    allowances: tuple[Allowance, ...],
    *,
    per_group: bool = False,
    common_frames: bool = False,
) -> GateReport:
    """Return the gate's decision on two detectors of finished runs.

    Parameters
    ----------
    reference, candidate : RunDetector
        The old version and the new one.
    allowances : tuple of Allowance
        What to judge.
    per_group, common_frames : bool
        As the command's options.

    Raises
    ------
    BadInputError
        If the two cannot be compared.
    """
    from skyduel.run_folder.compare_runs import compare_detectors

    points = list(dict.fromkeys(a.point for a in allowances if a.quantity != SPEED))
    judged = []
    made = compare_detectors(
        reference, candidate, points or [DEFAULT_POINT], common_frames=common_frames
    )
    for allowance in allowances:
        if allowance.quantity == SPEED:
            judged.append(decide_speed(reference.speed, candidate.speed, allowance))
        else:
            judged += judge(made.table, [allowance], per_group=per_group)
    return GateReport(made.name_a, made.name_b, tuple(judged), made.rules.confidence)


def _table(report: GateReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("criterion", "frames", "reference", "candidate"):
        table.add_column(name, justify="left" if name == "criterion" else "right", no_wrap=True)
    table.add_column(f"loss [{report.confidence:.0%}]", justify="right", no_wrap=True)
    table.add_column("allowed", justify="right")
    table.add_column("verdict", no_wrap=True)
    for j in report.criteria:
        table.add_row(
            Text(j.name), str(j.n_frames or "–"), number(j.reference), number(j.candidate),
            Text(loss_text(j)), f"{j.allowance.margin:g}",
            Text(j.verdict, style=_STYLE[j.verdict]),
        )  # fmt: skip
    return table
