"""The report page: one self-contained HTML file that needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from catalog.errors import BadInputError
from reports.folder import Run
from reports.tables import (
    Table,
    bins_table,
    cost_table,
    counts_table,
    failures_table,
    frames_table,
    limits_table,
    number,
    scores_table,
    text,
)
from reports.verdict import RULES, cautions, confidence, leaders_table, verdict

__all__ = ["GLOSSARY", "PageFigure", "inline_png", "inline_svg", "page_html"]


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page holds it; `section` is where it stands, `picture` its safe markup."""

    name: str
    section: str
    title: str
    caption: str
    picture: Markup


#: What each term on the page means.
GLOSSARY: Final[tuple[tuple[str, str], ...]] = (
    (
        "Completeness (recall)",
        "Of the true sources, the part that was found. Binned by true magnitude.",
    ),
    (
        "Purity (precision)",
        "Of the detections, the part that is a true source. Binned by measured magnitude, since a "
        "false detection has no true one. It depends on how many sources the frames hold.",
    ),
    (
        "F1, F2",
        "Purity P and completeness R in one number: F1 = 2PR/(P+R), F2 = 5PR/(4P+R); F2 gives "
        "completeness more weight. In a magnitude bin they join a true and a measured axis.",
    ),
    ("False per Mpix", "False detections in each million pixels searched."),
    (
        "Operating point",
        "The score threshold at which a detector’s catalogue is cut. “Own default” is the "
        "detector’s own threshold; “calibrated” is the one of highest F1 on frames set apart for "
        "that; “equal purity 0.95” is the lowest at which purity is at least 0.95 on the scored "
        "frames themselves: good for comparing, but not a threshold anyone could have known.",
    ),
    (
        "S/N and magnitude of half completeness",
        "Where the completeness curve falls through one half: fainter sources than this are missed "
        "more often than found. Compare detectors at equal purity, for a lower threshold always "
        "reaches fainter.",
    ),
    (
        "Interval",
        "The range of values that the counts support, in brackets after the value: Wilson for "
        "proportions, a bootstrap over frames for F-scores, Poisson for rates. scores.csv names "
        "the kind of each.",
    ),
    (
        "n",
        "How many the value rests on: truths for completeness, detections for purity, both "
        "together for F1 and F2. Bins with fewer than 10 are drawn hollow.",
    ),
    ("A dash", "Undefined (NaN in the files): nothing to divide by. It is neither 0 nor 1."),
    (
        "Ignored",
        "Counted neither for nor against: sources that are masked, at the edge, saturated or "
        "fainter than the stated limit, and detections that pair with them.",
    ),
    (
        "Duplicate",
        "A false detection near a true source that another detection already has.",
    ),
    ("No magnitude", "Detections too faint or too disturbed for the common aperture to measure."),
)

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("reports"),
    autoescape=True,  # names and reasons come from files
    undefined=StrictUndefined,
    trim_blocks=False,
    keep_trailing_newline=True,
)


def page_html(
    run: Run,
    figures: Sequence[PageFigure],
    *,
    frames_choice: str = "",
    gallery: Any = None,
    viewer: Any = None,
    scripts: Sequence[str] = (),
) -> str:
    """Return the page of a run.

    Parameters
    ----------
    run : Run
        The run.
    figures : sequence of PageFigure
        Its figures.
    frames_choice : str
        By which rule the frames shown were chosen.
    gallery, viewer : object, optional
        What ``gallery.html.j2`` and ``viewer.html.j2`` render; each is left
        out where its own is None.
    scripts : sequence of str
        JavaScript of these two, written by this package: nothing that came
        from a file. Only scripts with the hashes of these may run on the page.

    Returns
    -------
    str
        HTML. Everything that came from files is escaped; no address outside
        the page is named.
    """
    record = run.record
    point = "calibrated" if "calibrated" in run.points else "default"
    if point not in run.points and run.points:
        point = run.points[0]
    sections: dict[str, list[PageFigure]] = {
        s: [] for s in ("scores", "magnitude", "groups", "limits", "frames")
    }
    for figure in figures:
        sections[figure.section].append(figure)
    several = len(run.groups) > 1
    return _ENVIRONMENT.get_template("report.html.j2").render(
        name=run.name,
        subtitle=_subtitle(run),
        verdict=verdict(run),
        rules=(confidence(run), *RULES),
        leaders=leaders_table(run) if several else None,
        cautions=cautions(run),
        failures=failures_table(run),
        overall=scores_table(run, ["all"], "Scores over all frames and magnitudes"),
        counts=counts_table(run),
        bins=[bins_table(run, p) for p in run.points],
        by_group=scores_table(run, run.groups, "Scores by group") if several else None,
        limits=limits_table(run) if len(run.limits) else None,
        frames=frames_table(run, point),
        frames_choice=frames_choice,
        cost=cost_table(run),
        facts=_facts(record),
        dataset=_dataset(run),
        truth_note=_truth_note(run),
        machine=_machine(record.get("machine") or {}),
        scoring_rules=_json(record.get("rules")),
        detectors=[
            {
                "name": d.get("name"),
                "default": _threshold(d.get("default_threshold")),
                "calibrated": _threshold(d.get("calibrated_threshold")),
                "weights": d.get("weights_sha256") or "none",
                "settings": _json(d.get("settings")),
            }
            for d in record.get("detectors", ())
        ],
        glossary=GLOSSARY,
        figures=sections,
        gallery=gallery,
        viewer=viewer,
        scripts=[_script(s) for s in scripts],
        script_policy=_script_policy(scripts),
    )


def inline_svg(svg: bytes, name: str, alt: str) -> Markup:
    """Return an SVG of `figure_files` as an element of the page.

    What HTML has no use for is left out: prologue, metadata, comments,
    namespaces. Ids are prefixed with `name`, so that two figures' do not meet.
    """
    body = svg.decode("utf-8")
    body = body[body.index("<svg") :]
    body = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", body, flags=re.S)
    body = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", body)
    body = body.replace("xlink:href=", "href=")
    body = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', body)
    body = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', body)
    body = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", body)
    body = re.sub(r"<defs>\s*</defs>\s*", "", body)
    head = re.search(r'viewBox="[^"]*"', body)
    box = head.group(0) if head else ""
    opening = f'<svg {box} role="img" aria-label="{html.escape(alt)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1).strip())


def inline_png(png: bytes, alt: str) -> Markup:
    """Return a PNG as an element of the page."""
    data = base64.b64encode(png).decode("ascii")
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(alt, data)


def _script(source: str) -> Markup:
    if "</" in source or "<!--" in source:
        raise BadInputError("a script of the page", "no '</' or '<!--' inside", "one")
    return Markup(source)


def _script_policy(scripts: Sequence[str]) -> Markup:
    """Return the part of the page's content policy that admits these scripts and no other."""
    digests = [hashlib.sha256(s.encode("utf-8")).digest() for s in scripts]
    hashes = " ".join(f"'sha256-{base64.b64encode(d).decode('ascii')}'" for d in digests)
    return Markup(f"; script-src {hashes}" if hashes else "")


def _subtitle(run: Run) -> str:
    record = run.record
    n = len(run.scored_frames)
    parts = [
        f"{len(run.detectors)} detector{'' if len(run.detectors) == 1 else 's'}",
        f"{n} frame{'' if n == 1 else 's'} scored",
        f"data set {record.get('dataset', {}).get('name', 'unnamed')}",
        f"status: {record.get('status', 'unknown')}",
    ]
    if record.get("finished_utc"):
        parts.append(f"finished {record['finished_utc']}")
    return " · ".join(parts)


def _facts(record: Mapping[str, Any]) -> Table:
    """Return what was run, with what and on what."""
    rows = [
        ("Command", record.get("command")),
        ("Started (UTC)", record.get("created_utc")),
        ("Finished (UTC)", record.get("finished_utc")),
        ("Git revision", record.get("git_revision")),
        ("Changes beyond it", {True: "yes", False: "no"}.get(record.get("git_dirty"))),  # type: ignore[arg-type]
    ]
    for key, title in (("versions", "Version of"), ("seeds", "Seed of"), ("machine", "Machine:")):
        rows += [(f"{title} {k}", v) for k, v in (record.get(key) or {}).items()]
    return Table("The run", ("Fact", "Value"), tuple((text(k), text(v)) for k, v in rows))


def _dataset(run: Run) -> Table:
    """Return the data set's facts: all that the record says, frames counted by split and group."""
    dataset = run.record.get("dataset", {})
    rows = [
        (text(k), text(v if isinstance(v, str | int | float) else _json(v)))
        for k, v in dataset.items()
        if k != "frames"
    ]
    for key in ("split", "group"):
        tally: dict[str, int] = {}
        for frame in run.frames:
            tally[str(frame.get(key))] = tally.get(str(frame.get(key)), 0) + 1
        rows += [(text(f"frames of {key} {k}"), number(v)) for k, v in sorted(tally.items())]
    if run.frames:
        rows.append((text("first truth file"), text(run.frames[0].get("truth"))))
    return Table("The data set", ("Fact", "Value"), tuple(rows))


def _truth_note(run: Run) -> str:
    dataset = run.record.get("dataset", {})
    told = [k for k in ("truth", "truth_source", "description", "provenance") if dataset.get(k)]
    if told:
        return f"How the truth was made: {'; '.join(str(dataset[k]) for k in told)}"
    if (run.path / "data").is_dir():  # only the built-in set lies inside the run folder
        return (
            "The frames are simulated by this program: the truth is every source that was put in, "
            "and no contestant had a part in it."
        )
    return (
        "The run’s record names the files of the truth and does not say how it was made. A truth "
        "that one contestant helped to make favours that contestant."
    )


def _machine(machine: Mapping[str, Any]) -> str:
    return ", ".join(f"{k} {v}" for k, v in machine.items()) or "a machine it does not name"


def _threshold(value: Any) -> str:
    return "none" if value is None else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)
