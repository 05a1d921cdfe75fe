"""Gallery of cut-outs: missed sources and false detections of each detector, by kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from PIL import Image

from skyduel.evaluation.scoring.table_columns import FALSE_KINDS, MISSED_KINDS
from skyduel.reports.error_kinds import error_kind
from skyduel.reports.page.cutouts import CUT_PX, Cut, Marks, cut_out, sheet
from skyduel.reports.pictures import quality_for
from skyduel.reports.style import point_name, shorten
from skyduel.run_folder.previews import read_preview
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_BINS, ALL_GROUPS, CALIBRATED_POINT, DEFAULT_POINT

__all__ = [
    "MOST_CUTS",
    "PER_FRAME",
    "PER_KIND",
    "Gallery",
    "Kind",
    "choose_errors",
    "gallery",
]

#: Most cut-outs of one detector and kind.
PER_KIND: Final = 6
#: Most of these from one frame, as long as other frames have some.
PER_FRAME: Final = 2
#: Most cut-outs of the page. With more kinds, each has fewer.
MOST_CUTS: Final = 400

#: Kinds that are no fault of a detector: they are not opened first.
_EXCUSED: Final = frozenset({("missed", "faint"), ("false", "noise")})


@dataclass(frozen=True)
class Kind:
    """The cut-outs of one kind of mistake, of every detector that made it.

    `counts` has one entry a detector: its number, name and how many mistakes
    of this kind it made (None where the run does not say).
    """

    side: str
    kind: str
    title: str
    rule: str
    opened: bool
    counts: tuple[tuple[int, str, int | None], ...]
    rows: tuple[tuple[int, str, tuple[Cut, ...]], ...]

    @property
    def name(self) -> str:
        """Side and kind, joined by a hyphen."""
        return f"{self.side}-{self.kind}"


@dataclass(frozen=True)
class Gallery:
    """Values of ``gallery.html.j2``.

    `sheets` has a detector's number, width and height [px] and picture,
    `frames` how many cut-outs each frame has.
    """

    point: str
    rule: str
    per_kind: int
    detectors: tuple[tuple[int, str], ...]
    kinds: tuple[Kind, ...]
    sheets: tuple[tuple[int, int, int, str], ...]
    frames: Mapping[str, int]
    cut_px: int = CUT_PX

    @property
    def n_cuts(self) -> int:
        """Number of cut-outs."""
        return sum(len(cuts) for kind in self.kinds for _, _, cuts in kind.rows)


def choose_errors(sources: pd.DataFrame, point: str, per_kind: int = PER_KIND) -> pd.DataFrame:
    """Return the errors that the gallery shows, chosen by a rule.

    Parameters
    ----------
    sources : DataFrame
        ``analyses/mistake_sources`` of a run.
    point : str
        The operating point.
    per_kind : int
        Most rows of each detector, side and kind.

    Returns
    -------
    DataFrame
        Rows of `sources`, each source once: of every detector, side and kind
        the missed of highest S/N and the false of highest score, undefined
        ones last, ties in the table's order. First come up to `PER_FRAME` of
        each frame, then the rest.
    """
    rows = sources[sources["point"] == point]
    if point not in (DEFAULT_POINT, CALIBRATED_POINT):
        # Here every group is cut at a threshold of its own, so that the same
        # source may be a mistake of its group and none of all frames together.
        rows = rows[rows["group"] == ALL_GROUPS]
    keys = ["detector", "side", "kind"]
    rows = rows.drop_duplicates([*keys, "frame", "truth_index", "found_index"])
    clearness = np.where(rows["side"] == "missed", rows["snr"], rows["score"])
    rows = rows.assign(_clear=clearness).sort_values(
        "_clear", ascending=False, na_position="last", kind="stable"
    )
    rows["_late"] = rows.groupby([*keys, "frame"], sort=False).cumcount() >= PER_FRAME
    rows = rows.sort_values("_late", kind="stable")
    chosen = rows.groupby(keys, sort=False).head(per_kind)
    order = ["_late", "_clear"]
    return chosen.sort_values(order, ascending=[True, False], kind="stable")[sources.columns]


def gallery(run: Run, point: str) -> Gallery | None:
    """Return the gallery of a run; None where the run lists no mistakes.

    Parameters
    ----------
    run : Run
        The run.
    point : str
        The operating point.

    Raises
    ------
    BadInputError
        If a preview is unreadable, or pairs point beyond their tables.
    """
    sources = run.analysis("mistake_sources")
    if not len(sources):
        return None
    numbers = {name: i for i, name in enumerate(run.detectors)}
    sources = sources[sources["detector"].isin(list(numbers))]
    kinds = sources.loc[sources["point"] == point, ["detector", "side", "kind"]].drop_duplicates()
    per_kind = max(1, min(PER_KIND, MOST_CUTS // max(len(kinds), 1)))
    chosen = choose_errors(sources, point, per_kind)
    if not len(chosen):
        return None
    cells: dict[int, list[Image.Image | None]] = {}
    quality = quality_for(run.frame(name) for name in run.scored_frames)
    cuts: dict[tuple[str, str], dict[int, list[tuple[int, Cut]]]] = {}
    # Frame by frame, so that one preview is in memory; then back into the order chosen.
    ranked = chosen.reset_index(drop=True)
    for frame, part in ranked.groupby("frame", sort=True):
        picture = read_preview(run.preview_path(str(frame)))
        for name, rows in part.groupby("detector", sort=True):
            d = numbers[str(name)]
            drawn = Marks(run, str(name), point, str(frame))
            for rank, row in rows.iterrows():
                title = error_kind(str(row["kind"])).title
                number = len(cells.setdefault(d, []))
                cell, cut = cut_out(d, str(name), row, point, picture, drawn, number, title)
                cells[d].append(cell)
                place = cuts.setdefault((str(row["side"]), str(row["kind"])), {})
                place.setdefault(d, []).append((int(str(rank)), cut))
    names = tuple((i, shorten(name)) for name, i in numbers.items())
    return Gallery(
        point=point_name(point),
        rule=_rule(per_kind),
        per_kind=per_kind,
        detectors=names,
        kinds=_kinds(cuts, names, _totals(run, point, numbers)),
        sheets=tuple((d, *sheet(cells[d], quality)) for d in sorted(cells)),
        frames=dict(Counter(chosen["frame"].astype(str))),
    )


def _rule(per_kind: int) -> str:
    return (
        f"Up to {per_kind} of each detector and kind: the missed sources of highest S/N and the "
        f"false detections of highest score. Up to {PER_FRAME} of each frame come first, then the "
        "others. The choice is by this rule alone."
    )


def _totals(
    run: Run, point: str, numbers: Mapping[str, int]
) -> dict[tuple[str, str], dict[int, int]]:
    """Return the number of errors of each side and kind, by detector, in all frames."""
    table = run.analysis("mistakes")
    totals: dict[tuple[str, str], dict[int, int]] = {}
    if not len(table):
        return totals
    rows = table[
        (table["point"] == point)
        & (table["group"] == ALL_GROUPS)
        & (table["bin"] == ALL_BINS)
        & table["detector"].isin(list(numbers))
    ]
    for name, side, kind, n in rows[["detector", "side", "kind", "n"]].itertuples(index=False):
        totals.setdefault((str(side), str(kind)), {})[numbers[str(name)]] = int(n)
    return totals


def _kinds(
    cuts: Mapping[tuple[str, str], Mapping[int, list[tuple[int, Cut]]]],
    names: Sequence[tuple[int, str]],
    totals: Mapping[tuple[str, str], Mapping[int, int]],
) -> tuple[Kind, ...]:
    known = [("missed", k) for k in MISSED_KINDS] + [("false", k) for k in FALSE_KINDS]
    order = [k for k in known if k in cuts] + [k for k in cuts if k not in known]

    def size(key: tuple[str, str]) -> int:
        return sum(totals.get(key, {}).values())

    opened = set()
    for side in ("missed", "false"):
        faults = [k for k in order if k[0] == side and k not in _EXCUSED]
        opened |= set(sorted(faults, key=size, reverse=True)[:1])
    out = []
    for side, kind in order:
        named = error_kind(kind)
        of = cuts[side, kind]
        rows = tuple(
            (d, name, tuple(cut for _, cut in sorted(of[d], key=lambda pair: pair[0])))
            for d, name in names
            if d in of
        )
        counted = totals.get((side, kind))
        counts = tuple((d, name, counted.get(d, 0) if counted else None) for d, name in names)
        opens = (side, kind) in opened
        out.append(Kind(side, kind, named.title, named.rule(side), opens, counts, rows))
    return tuple(out)
