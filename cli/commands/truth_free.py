"""The command `skyduel truth-free`: estimate purity on real frames that have no truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer
from rich.table import Table
from rich.text import Text

from skyduel.cli.commands.options import (
    Config,
    Cutout,
    MaskBits,
    RadiusPx,
    Raw,
    Set,
    With,
    detector_specs,
    mask_bits_from,
    read_config,
    rules_from,
)
from skyduel.cli.console import err, out, progress, warn, wide_out
from skyduel.cli.frame_arguments import check_files, expand_frames
from skyduel.cli.frame_facts import decision_lines
from skyduel.cli.whole_tables import WholeTable
from skyduel.core import BadInputError
from skyduel.evaluation.number_text import format_number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from skyduel.core import Detector, Frame
    from skyduel.core.scores.score_map import ScoreMap

__all__ = ["NAME", "command"]

NAME = "truth-free"

#: Least share of detections that recurs if exposures show the same sources at all.
_HARDLY_ANY: Final = 0.1


def command(
    frames: Annotated[list[str], typer.Argument(metavar="FRAME", help="FITS or ASDF images.")],
    with_: With = None,
    repeats: Annotated[
        bool,
        typer.Option(
            "--repeats",
            help="The frames are exposures of one field: also count in how many of them each "
            "source recurs.",
        ),
    ] = False,
    radius_px: RadiusPx = None,
    keep_sigma: Annotated[
        float,
        typer.Option(
            "--keep-sigma",
            "--mask-sigma",
            help="Leave sources above this many sigma as they are when the sign is flipped.",
        ),
    ] = 5.0,
    out_folder: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            "--out",
            help="Folder for flipped.csv, repeats.csv, recurrence.csv and repeat_scores.csv.",
        ),
    ] = None,
    score_map: Annotated[
        Optional[Path],  # noqa: UP045 - typer reads the annotation at run time
        typer.Option(
            "--score-map",
            metavar="FILE.toml",
            help="With --repeats: fit by how much the scores of the one detector whose scores "
            "are probabilities promise too much on this telescope, and write it here for "
            "--set LABEL.score_map=FILE.toml.",
        ),
    ] = None,
    cutout: Cutout = None,
    mask_bits: MaskBits = None,
    raw: Raw = False,
    set_: Set = None,
    config: Config = None,
) -> None:
    """Estimate each detector's purity on frames without truth, at its default threshold.

    Sign-flipped frames: where the noise has its sign reversed, every detection is false; bright
    sources stay as they are. The purity from this count is an upper limit, because it misses
    artefacts and split sources (but not in crowded fields, where it counts too many).
    With --repeats: a detection in only one exposure is suspect. The purity from this count is
    a lower limit, except that false detections which recur (hot pixels, spikes) count as real.
    Scores that are probabilities are compared with how often the detections recur.
    --score-map writes by how much they promise too much; detect, watch and run apply it.
    """
    check_files(*frames)
    from skyduel.core import atomic_path
    from skyduel.core.io.safe_csv import without_formulas
    from skyduel.core.scores.score_map import write_score_map
    from skyduel.core.used_facts import used_facts
    from skyduel.runner.detector_specs import DEFAULT_DETECTORS, build
    from skyduel.runner.read_region import read_region
    from skyduel.runner.truth_free import (
        fit_score_map,
        flip_rows,
        look_upside_down,
        recurrence_table,
        repeat_scores_table,
        repeat_table,
    )

    frames, bits = expand_frames(frames), mask_bits_from(mask_bits)
    if repeats and len(frames) < 2:
        raise BadInputError("--repeats", "at least two frames", str(len(frames)))
    if score_map is not None and score_map.suffix != ".toml":
        raise BadInputError("--score-map", "a name ending in .toml", repr(str(score_map)))
    if score_map is not None and not repeats:
        # Flipped noise alone helps little: benchmarks/accuracy/score_map.py.
        raise BadInputError("--score-map", "exposures of one field, with --repeats", "no --repeats")
    settings = read_config(config)
    specs = detector_specs(settings, with_, set_, DEFAULT_DETECTORS)
    radius = radius_px or rules_from(settings).radius_px
    images = []
    for path in frames:
        images.append(read_region(path, cutout, mask_bits=bits, raw=raw))
        _check_memory(images, len(frames))
    names = [image.name for image in images]
    if len(set(names)) < len(names):
        # Exposures often have the same name in different folders.
        images = [image.with_(name=path) for image, path in zip(images, frames, strict=True)]
    for image in images:
        facts = used_facts(image)
        for line in decision_lines(image.name, facts.notes, facts.set_aside):
            warn(line)
    detectors = {spec.name: build(spec) for spec in specs}
    looking = _that_look(detectors, repeats)
    mapped = None if score_map is None else _mapped_one(detectors)
    found = {}
    with progress() as bar:
        total = len(images) * len(detectors)
        task = bar.add_task("detect", total=total, note="")
        for label, detector in detectors.items():
            for image in images:
                found[label, image.name] = detector(image)
                bar.update(task, advance=1)
        task = bar.add_task("flipped", total=len(images) * len(looking), note="")
        looks = look_upside_down(
            images,
            looking,
            keep_sigma=keep_sigma,
            found=found,
            on_frame=lambda _: bar.update(task, advance=1),
        )
    tables = {}
    if looking:
        tables["flipped"] = flip_rows(images, looking, looks)
        view = _flip_view(tables["flipped"], images[0].name if len(images) == 1 else None)
        wide_out().print(WholeTable(view, keys=2))
    if repeats:
        tables["repeats"] = repeat_table(images, detectors, radius, found=found)
        tables["recurrence"] = recurrence_table(tables["repeats"])
        wide_out().print(WholeTable(_recurrence_view(tables["recurrence"], radius)))
        wide_out().print(WholeTable(_repeat_view(tables["repeats"], radius)))
        scores = repeat_scores_table(images, detectors, radius, found=found)
        if len(scores):  # of a detector whose scores are probabilities
            tables["repeat_scores"] = scores
            wide_out().print(WholeTable(_scores_view(scores), keys=2))
        if images[0].wcs is None:
            line = "skyduel: no WCS: the exposures are assumed to be registered to the pixel"
            err.print(line, markup=False, highlight=False, soft_wrap=True)
        if (tables["repeats"]["purity_least"] < _HARDLY_ANY).all():
            warn(
                "hardly any detection recurs but by chance: required exposures of one field, "
                "aligned by WCS or to the pixel"
            )
    if score_map is not None and mapped is not None:
        made = fit_score_map(images, detectors[mapped], radius_px=radius, looks=looks[mapped])
        write_score_map(made, score_map)
        for line in _map_lines(made, mapped, score_map):
            out.print(line, markup=False, highlight=False, soft_wrap=True)
    if out_folder is not None:
        for name, table in tables.items():
            with atomic_path(out_folder / f"{name}.csv") as temporary:
                without_formulas(table).to_csv(temporary, index=False)


def _that_look(detectors: Mapping[str, Detector], repeats: bool) -> dict[str, Detector]:
    """Return the detectors that can look at flipped pixels, which catalogues of files cannot.

    Raises
    ------
    BadInputError
        If there are others, and no repeats to compare their catalogues.
    """
    from skyduel.core import detector_info

    looking = {label: d for label, d in detectors.items() if detector_info(d).needs_pixels}
    others = [label for label in detectors if label not in looking]
    if others and not repeats:
        required = "detectors that run on flipped frames, or --repeats to compare catalogues"
        raise BadInputError("--with", required, f"{', '.join(others)}, which reads catalogues")
    return looking


def _mapped_one(detectors: Mapping[str, Detector]) -> str:
    """Return the label of the only detector whose scores are probabilities."""
    from skyduel.core import detector_info

    of = [label for label, d in detectors.items() if detector_info(d).score_is_probability]
    if len(of) != 1:
        required = "one detector whose scores are probabilities, such as neural"
        raise BadInputError("--score-map", required, ", ".join(of) or "none")
    if getattr(detectors[of[0]].settings, "score_map", None) is not None:
        raise BadInputError("--score-map", f"no score_map among the settings of {of[0]}", "one")
    return of[0]


def _map_lines(made: ScoreMap, label: str, path: Path) -> list[str]:
    """Say what a score map does, what it comes from, and how it is used."""
    [half] = made([0.5])
    shift = format_number(made.log_odds_shift, 2)
    limits = f"[{format_number(made.shift_lo, 2)}, {format_number(made.shift_hi, 2)}]"
    return [
        f"{path}: log odds of the scores of {label} {shift} {limits}, so that 0.5 becomes "
        f"{half:.2f}; from {made.n_recur:,} of {made.n_repeats:,} detections that recur and "
        f"{made.n_flipped:,} of flipped noise",
        f"use: skyduel detect FRAME --set {label}.score_map={path}",
    ]


def _check_memory(images: list[Frame], total: int) -> None:
    """Refuse more frames than fit in memory together with their sign-flipped copies."""
    from skyduel.core.io.size_limits import most_bytes

    each = sum(image.data.nbytes + image.bad.nbytes for image in images) / len(images)
    most = int(most_bytes() / (2 * each))
    if total > most:
        raise BadInputError(
            "FRAME", f"at most {most} frames of this size at a time, all held in memory",
            str(total),
        )  # fmt: skip


def _flip_view(rows: Any, single: str | None) -> Table:
    table = Table(
        title="sign-flipped frames" if single is None else f"sign-flipped: {single}",
        title_justify="left",
        caption="purity: an upper limit, because only noise is counted as false; [95 % interval]; "
        "for 95 %: a score that this purity needs at least, and how many have it",
        caption_justify="left",
    )
    for name in (
        "detector",
        "frame",
        "found",
        "flipped",
        "false per Mpix",
        "purity ≤",
        "area used",
        "for 95 %",
    ):
        table.add_column(name, justify="left" if name in ("detector", "frame") else "right")
    for row in rows.to_dict("records"):
        table.add_row(
            Text(str(row["detector"])),
            Text(str(row["frame"])),
            str(row["n_found"]),
            str(row["n_flipped"]),
            _interval(row, "false_per_mpix", "false", 1),
            _interval(row, "purity", "purity", 3),
            f"{100 * row['mpix_flipped'] / row['mpix']:.0f} %",
            f"{format_number(row['threshold_95'], 3)} ({row['n_found_95']})",
        )
    return table


def _recurrence_view(rows: Any, radius: float) -> Table:
    """Return one row for each number of exposures and one column for each detector."""
    n = int(rows["exposures"].iloc[0])
    table = Table(
        title=f"sources by the number of {n} exposures that they recur in, within {radius:g} px",
        title_justify="left",
        caption="in brackets: the share of the detector's sources seen so often or oftener",
        caption_justify="left",
    )
    table.add_column("seen in")
    cells: dict[int, list[str]] = {k: [] for k in range(n, 0, -1)}
    for name, part in rows.groupby("detector", sort=False):
        table.add_column(Text(str(name)), justify="right")
        for row in part.to_dict("records"):
            share = row["share_at_least"]
            more = f" ({100 * share:.0f} %)" if share == share else ""
            cells[row["seen_in"]].append(f"{row['sources']:,.0f}{more}")
    for k, ones in cells.items():
        table.add_row(f"{k} of {n}", *ones)
    return table


def _repeat_view(rows: Any, radius: float) -> Table:
    table = Table(
        title=f"repeats within {radius:g} px",
        title_justify="left",
        caption="purity: a lower limit if false detections do not recur; [95 % interval]",
        caption_justify="left",
    )
    table.add_column("detector")
    for name in ("fraction once", "by chance"):
        table.add_column(name, justify="right")
    table.add_column("purity ≥", justify="right")
    table.add_column("if all seen once are false", justify="right")
    for row in rows.to_dict("records"):
        table.add_row(
            Text(str(row["detector"])),
            _interval(row, "once", "once", 3),
            f"{row['chance']:.3f}",
            _interval(row, "purity", "purity", 3),
            format_number(row["purity_least"], 3),
        )
    return table


def _scores_view(rows: Any) -> Table:
    table = Table(
        title="scores, and how many detections recur",
        title_justify="left",
        caption="mean score: the share that the scores promise to be real; real: a lower limit "
        "(real ones may be missed in all other exposures) if false detections do not recur; "
        "[95 % interval]",
        caption_justify="left",
    )
    table.add_column("detector")
    for name in ("score", "detections", "recur", "by chance", "mean score", "real ≥"):
        table.add_column(name, justify="right")
    for row in rows.to_dict("records"):
        table.add_row(
            Text(str(row["detector"])),
            f"{row['score_lo']:.1f}–{row['score_hi']:.1f}",
            str(row["n"]),
            str(row["k"]),
            format_number(row["chance"], 3),
            format_number(row["predicted"], 3),
            _interval(row, "real_least", "real", 3),
        )
    return table


def _interval(row: Any, value: str, ends: str, digits: int) -> Text:
    text = format_number(row[value], digits)
    if row[f"{ends}_lo"] == row[f"{ends}_lo"]:
        text += f" [{row[f'{ends}_lo']:.{digits}f}, {row[f'{ends}_hi']:.{digits}f}]"
    return Text(text)
