"""Section on pairs by chance: pairs that remain when the detections are shifted."""

from __future__ import annotations

from skyduel.reports.sections.section import Section, present
from skyduel.reports.tables.rows import HEADS, heads, rows_in_order
from skyduel.reports.tables.run_tables import Table, interval, number
from skyduel.run_folder.read_run import Run

__all__ = ["CHANCE_MATCHES", "chance_table"]


def chance_table(run: Run) -> Table | None:
    """Return the number and share of pairs by chance."""
    chance = run.analysis("chance")
    if not len(chance):
        return None
    rows = [
        (
            *heads(row),
            number(row["pairs"]),
            interval(row, ("chance_pairs", "chance_lo", "chance_hi"), 1),
            interval(row, ("chance_share", "share_lo", "share_hi"), 4),
            number(row["truths"]),
            number(row["n_frames"]),
        )
        for row in rows_in_order(run, chance)
    ]
    return Table(
        "Pairs by chance",
        (*HEADS, "Pairs", "Pairs by chance", "their share", "Truths", "Frames"),
        tuple(rows),
        n_heads=3,
        note="Pairs that remain when the detections are shifted against the truth. In crowded "
        "frames a good part of a high completeness can be chance.",
    )


CHANCE_MATCHES = Section(
    name="chance",
    title="Pairs by chance",
    tables=lambda run: present(chance_table(run)),
)
