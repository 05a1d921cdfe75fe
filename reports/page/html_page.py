"""The report page: one self-contained HTML file that needs no script and no network."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from skyduel.core.errors import BadInputError
from skyduel.reports.tables.analysis_tables import (
    binned_scores_table,
    calibration_table,
    chance_table,
    error_kinds_table,
    ideal_table,
    ignore_table,
    precision_table,
    purity_table,
    residuals_table,
    shape_table,
)
from skyduel.reports.tables.run_tables import (
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
from skyduel.reports.text.glossary import GLOSSARY
from skyduel.reports.text.paired_sentences import differences_table
from skyduel.reports.text.verdict import cautions, confidence, leaders_table, rules, verdict
from skyduel.run_folder.read_run import Run
from skyduel.run_folder.schema import ALL_GROUPS

__all__ = ["TITLES", "PageFigure", "inline_picture", "inline_svg", "page_html"]


@dataclass(frozen=True)
class PageFigure:
    """A figure as the page holds it; `section` is where it stands, `picture` its safe markup."""

    name: str
    section: str
    title: str
    caption: str
    picture: Markup


#: The sections and their titles, in the page's order (after the verdict).
TITLES: Final[Mapping[str, str]] = {
    "scores": "Scores over all magnitudes",
    "magnitude": "Scores by magnitude",
    "groups": "Scores by group of frames",
    "curves": "Purity against completeness",
    "limits": "Limits",
    "ideal": "Beside the ideal observer",
    "differences": "Differences between detectors",
    "mistakes": "Kinds of mistake",
    "calibration": "Calibration of the scores",
    "measures": "Positions and magnitudes",
    "binnings": "Along other axes",
    "ignore": "The ignore limit",
    "chance": "Pairs by chance",
    "paper": "The original paper’s figure",
    "cost": "Cost",
    "frames": "Frames",
    "made": "How it was made",
    "terms": "Terms",
}
#: Sections that a run may lack, and their tables.
_OPTIONAL: Final[Mapping[str, tuple[str, ...]]] = {
    "ideal": ("ideal",),
    "differences": (),
    "mistakes": ("missed", "false"),
    "calibration": ("calibration", "purity"),
    "measures": ("residuals",),
    "binnings": ("facets_completeness", "facets_purity"),
    "ignore": ("ignore",),
    "chance": ("chance",),
    "paper": (),
}

#: A picture on the page is no wider than this [px]; the files beside it are.
_WIDEST: Final = 1100

_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("skyduel.reports"),
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
    record, point = run.record, run.headline_point
    sections: dict[str, list[PageFigure]] = {s: [] for s in TITLES}
    for figure in figures:
        sections[figure.section].append(figure)
    several = len(run.groups) > 1
    tables = _tables(run, point)
    differences = [differences_table(run, p) for p in run.points] if len(run.comparisons) else []
    titles = {
        section: title
        for section, title in TITLES.items()
        if section not in _OPTIONAL
        or sections[section]
        or any(tables[t] for t in _OPTIONAL[section])
        or (section == "differences" and differences)
    }
    said = cautions(run)
    failures = failures_table(run)
    return _ENVIRONMENT.get_template("report.html.j2").render(
        name=run.name,
        subtitle=_subtitle(run),
        verdict=verdict(run),
        rules=(confidence(run), *rules(run)),
        leaders=leaders_table(run) if several else None,
        cautions=said,
        failures=failures,
        titles=titles,
        contents=_contents(
            titles,
            {
                "cautions": bool(said),
                "failures": bool(failures.rows),
                "gallery": gallery is not None,
                "viewer": viewer is not None,
            },
        ),
        tables=tables,
        differences=[t for t in differences if t.rows],
        overall=scores_table(run, [ALL_GROUPS], "Scores over all frames and magnitudes"),
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


def _tables(run: Run, point: str) -> dict[str, Table | None]:
    """Return the tables that a run may lack, by the names that the template has for them."""
    return {
        "precision": precision_table(run),
        "shape": shape_table(run),
        "ideal": ideal_table(run),
        "missed": error_kinds_table(run, point, "missed"),
        "false": error_kinds_table(run, point, "false"),
        "calibration": calibration_table(run),
        "purity": purity_table(run),
        "residuals": residuals_table(run, point),
        "facets_completeness": binned_scores_table(run, point, "completeness"),
        "facets_purity": binned_scores_table(run, point, "purity"),
        "ignore": ignore_table(run, point),
        "chance": chance_table(run),
    }


def _contents(titles: Mapping[str, str], there: Mapping[str, bool]) -> list[tuple[str, str]]:
    """Return the table of contents: where each section is and what it is called."""
    contents = [("verdict", "Verdict")]
    contents += [("cautions", "Before trusting it")] * there["cautions"]
    contents += [("failures", "Failures")] * there["failures"]
    # The gallery and the viewer stand between the kinds of mistake and what follows them.
    before = list(TITLES)[: list(TITLES).index("calibration")]
    contents += [(s, titles[s]) for s in before if s in titles]
    contents += [("gallery", "Gallery")] * there["gallery"]
    contents += [("viewer", "Frame viewer")] * there["viewer"]
    return contents + [(s, titles[s]) for s in TITLES if s in titles and s not in before]


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
    # A hundredth of a point is finer than any screen, and a third of the bytes.
    body = re.sub(r'\bd="[^"]*"', lambda d: re.sub(r"(\.\d\d)\d+", r"\1", d.group(0)), body)
    head = re.search(r'viewBox="\S+ \S+ (\S+) [^"]*"', body)
    box = ""
    if head:  # letters of all figures have one size where there is room
        box = f'{head.group(0)} style="max-width: {1.5 * float(head.group(1)):.0f}px"'
    opening = f'<svg {box} role="img" aria-label="{html.escape(alt)}">'
    return Markup(re.sub(r"<svg[^>]*>", lambda _: opening, body, count=1).strip())


def inline_picture(png: bytes, alt: str) -> Markup:
    """Return a PNG as an element of the page: as WebP, no wider than `_WIDEST`."""
    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as opened:
        picture = opened.convert("RGB")
        picture.thumbnail((_WIDEST, 10 * _WIDEST))
        picture.save(smaller, format="WEBP", quality=70, method=4)
    data = base64.b64encode(smaller.getvalue()).decode("ascii")
    size = f'width="{picture.width}" height="{picture.height}"'
    return Markup(f'<img alt="{{}}" {size} src="data:image/webp;base64,{{}}">').format(alt, data)


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
    promises = record.get("promises") or {}
    rows += [
        ("The same tables come of", promises.get("same_tables")),
        ("Not promised for", promises.get("not_promised")),
    ]
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
