"""The command `skyduel compare`: paired comparison of two detectors on the same frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.options import check_runs
from skyduel.cli.console import wide_out, without_controls
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import BadInputError
from skyduel.evaluation.table_keys import (
    ALL_BINS,
    ALL_GROUPS,
    DEFAULT_POINT,
    EQUAL_PURITY_POINT,
    range_label,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["NAME", "Common", "Detector", "NameA", "NameB", "command", "select_detectors"]

NAME = "compare"

#: Version of the JSON; increased whenever the meaning of a field changes.
SCHEMA: Final = 1

Detector = Annotated[
    Optional[str],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option("--detector", metavar="NAME", help="The detector's name in both runs."),
]
NameA = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--a", metavar="NAME", help="The detector of the first run."),
]
NameB = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--b", metavar="NAME", help="The detector of the second run."),
]
Common = Annotated[
    bool,
    typer.Option(
        "--common-frames",
        help="Use only the frames that both runs have. Default: refuse runs with other frames.",
    ),
]


def command(
    run_a: Annotated[Path, typer.Argument(metavar="RUN_A", help="A run folder, or RUN/DETECTOR.")],
    run_b: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="RUN_B", help="Second run folder, or RUN/DETECTOR. Default: RUN_A."),
    ] = None,
    detector: Detector = None,
    a: NameA = None,
    b: NameB = None,
    point: Annotated[
        str, typer.Option(help="Operating point: purity95, default or calibrated.")
    ] = EQUAL_PURITY_POINT,
    common_frames: Common = False,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown instead of tables.")
    ] = False,
) -> None:
    """Compare two detectors, or two versions of one, on the same frames and truths.

    The first line is a summary: which detector is better, on which frames, by how
    much, with the interval. Tables of the differences per group and per magnitude follow. The
    runs must have the same frames, truth and scoring rules.
    """
    check_runs(*(run for run in (run_a, run_b) if run is not None))
    from skyduel.evaluation.comparison.headline import sentence
    from skyduel.evaluation.comparison.possible_intervals import within_possible
    from skyduel.evaluation.comparison.sources_found import without_limits_of_slivers
    from skyduel.run_folder.compare_runs import compare_detectors

    if json_ and markdown:
        raise BadInputError("output", "--json or --markdown", "both")
    first, second = select_detectors(run_a, run_b, detector, a, b)
    points = list(dict.fromkeys((point, DEFAULT_POINT)))
    made = compare_detectors(first, second, points, common_frames=common_frames)
    said = sentence(made.table, point, confidence=made.rules.confidence)
    shown = within_possible(made.table[made.table["point"] == point])
    if json_:
        document = {
            "schema": SCHEMA,
            "sentence": said,
            "a": made.name_a,
            "b": made.name_b,
            "point": point,
            "confidence": made.rules.confidence,
            "frames": list(made.frames),
            "rows": [
                {str(k): _plain(v) for k, v in row.items()} for row in shown.to_dict("records")
            ],
        }
        typer.echo(json.dumps(document, sort_keys=True, indent=2, allow_nan=False))
        return
    alpha = 1 - made.rules.confidence
    names = (made.name_a, made.name_b)
    told = without_limits_of_slivers(made.table)
    told = told[told["point"] == point]
    tables = [_groups(told, names, alpha), _bins(told, alpha)]
    note = _frames_note(shown)
    if markdown:
        from skyduel.evaluation.comparison.gate_report import markdown_text

        text = f"{markdown_text(said)}.\n" + "".join(f"\n{_markdown(*t)}" for t in tables)
        text += f"\n{markdown_text(note)}\n" if note else ""
        typer.echo(without_controls(text), nl=False)
        return
    console = wide_out()
    console.print(Text(f"{said}."), soft_wrap=True)
    for table in tables:
        console.print(WholeTable(_rich(*table)))
    if note:
        console.print(Text(note), soft_wrap=True)


def _frames_note(shown: pd.DataFrame) -> str:
    """Return what the intervals over frames take for granted; empty if there is none."""
    from skyduel.evaluation.comparison.gate_report import frames_note

    rows = shown[shown["lo"].notna() & (shown["interval"] != "newcombe")]
    return frames_note(0 if rows.empty else int(rows["n_frames"].max()))


def select_detectors(
    run_a: Path, run_b: Path | None, detector: str | None, a: str | None, b: str | None
) -> tuple[Any, Any]:
    """Return the two detectors of finished runs named by arguments and options."""
    from skyduel.run_folder.compare_runs import run_detector

    if detector is not None and (a is not None or b is not None):
        raise BadInputError("--detector", "either --detector or --a and --b", "both")
    first = run_detector(run_a, a or detector)
    second = run_detector(first.run.path if run_b is None else run_b, b or detector)
    if run_b is None and first.detector == second.detector:
        raise BadInputError("comparison", "two detectors, as with --a and --b", "one")
    return first, second


def _shown() -> list[str]:
    """Return the names of the quantities shown: limits, scores that join both, the others."""
    from skyduel.evaluation.scoring.metrics import LIMITS, listed

    metrics = [m for m in listed("terminal") if "compared" in m.uses]
    metrics.sort(key=lambda m: m.axis != "joined")
    return [q.name for q in (*LIMITS, *metrics)]


def _units(rows: pd.DataFrame) -> str:
    """Return what was resampled, in words."""
    from skyduel.evaluation.comparison.headline import BLOCKS

    one = rows[rows["group"] == ALL_GROUPS]
    if not (one["interval"] == BLOCKS).any():
        return "frames"
    return "parts of " + ("the one frame" if (one["n_frames"] <= 1).all() else "frames")


Grid = tuple[str, list[str], list[list[str]], str]


def _groups(table: pd.DataFrame, names: tuple[str, str], alpha: float) -> Grid:
    """Return the table of differences over all bins, one row per group."""
    from skyduel.evaluation.scoring.metrics import quantity_named

    rows = table[(table["bin"] == ALL_BINS) & (table["interval"] != "newcombe")]
    cells = {(r["group"], r["quantity"]): r for r in rows.to_dict("records")}
    groups = [*sorted(set(rows["group"]) - {ALL_GROUPS}), ALL_GROUPS]
    shown = _shown()
    out = []
    for group in groups:
        n = max(int(cells[group, q]["n_frames"]) for q in shown)
        out.append([str(group), str(n), *(_difference(cells[group, q], alpha) for q in shown)])
    title = f"{names[0]} minus {names[1]}, all magnitudes"
    note = (
        f"difference ± half of the paired {100 * (1 - alpha):g} % interval, or [its ends], over "
        f"{_units(rows)}; * "
        "significant: "
        f"p < {alpha:.2g} after Holm's correction over groups. m50 in mag: larger is deeper; "
        "S/N50: smaller is deeper."
    )
    return title, ["frames", "n", *(f"Δ{quantity_named(q).short}" for q in shown)], out, note


def _bins(table: pd.DataFrame, alpha: float) -> Grid:
    """Return the outcomes per truth and the differences, one row a bin."""
    from skyduel.evaluation.number_text import format_number
    from skyduel.evaluation.scoring.metrics import listed

    rows = table[table["group"] == ALL_GROUPS]
    shown = [m for m in listed("brief") if m.name != "completeness"]
    out = []
    cells: dict[tuple[int, str], dict[Any, Any]] = {}
    for r in rows.to_dict("records"):
        if r["bin"] != ALL_BINS or r["interval"] == "newcombe":
            cells[int(r["bin"]), str(r["quantity"])] = r
    for number in sorted({k for k, _ in cells}, key=lambda k: (k == ALL_BINS, k)):
        found = cells[number, "completeness"]
        others = [cells.get((number, m.name)) for m in shown]
        if found["n_frames"] == 0:
            continue
        counts = [f"{found[k]:.0f}" for k in ("n_both", "n_a_only", "n_b_only", "n_neither")]
        p = found["p_holm"]
        told = "< 0.001" if p < 0.0005 else format_number(p, 3)
        out.append([
            _bin_name(found), *counts, _difference(found, alpha), told,
            *("" if r is None else _difference(r, alpha) for r in others),
        ])  # fmt: skip
    head = ["mag", "both", "A only", "B only", "neither", "Δcompleteness", "p"]
    head += [f"Δ{m.short}" for m in shown]
    note = (
        "Counts: truths found by both, by one or by neither. Δcompleteness: Newcombe's paired "
        "interval; p: exact McNemar test after Holm's correction over bins. Δpurity, ΔF1: interval "
        f"over {_units(table)}."
    )
    return "all frames, per magnitude", head, out, note


def _bin_name(row: dict[Any, Any]) -> str:
    low, high = row["bin_lo"], row["bin_hi"]
    if row["bin"] == ALL_BINS:
        return "all"
    if low != low:
        return "none"
    return range_label(low, high)


def _difference(row: dict[Any, Any], alpha: float) -> str:
    from skyduel.evaluation.number_text import format_interval, format_number
    from skyduel.evaluation.scoring.metrics import quantity_named

    quantity = quantity_named(str(row["quantity"]))
    delta, lo, hi = (float(row[k]) for k in ("delta", "lo", "hi"))
    text = format_number(delta, quantity.digits, sign=True)
    if delta == delta and row["interval"] == "newcombe":
        ends = (format_number(end, quantity.digits, sign=True) for end in (lo, hi))
        text += "" if lo != lo else f" [{', '.join(ends)}]"
    elif delta == delta:
        text = format_interval(
            delta, lo, hi, quantity.digits, sign=True, least=-quantity.most, most=quantity.most
        )
    return text + ("*" if row["p_holm"] < alpha else "")


def _rich(title: str, head: list[str], rows: list[list[str]], note: str) -> Table:
    table = Table(
        title=Text(title), caption=Text(note), title_justify="left", caption_justify="left",
        box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for k, name in enumerate(head):
        table.add_column(Text(name), justify="left" if k == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _markdown(title: str, head: list[str], rows: list[list[str]], note: str) -> str:
    from skyduel.evaluation.comparison.gate_report import markdown_text

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(map(markdown_text, cells)) + " |"

    rule = "|" + "---|" * len(head)
    lines = [f"**{markdown_text(title)}**", "", line(head), rule, *map(line, rows)]
    return "\n".join([*lines, "", markdown_text(note), ""])


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    return value
