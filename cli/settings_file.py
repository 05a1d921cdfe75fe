"""Commented TOML file with every setting of a run, generated from the settings models.

No setting is listed here by hand: a new setting of a model appears in the next file.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_type_hints

from pydantic import BaseModel

from skyduel.core import SkyduelError
from skyduel.core.settings import toml_value
from skyduel.evaluation import ScoringRules
from skyduel.runner.detector_specs import DEFAULT_DETECTORS
from skyduel.runner.tune import TuningRules

__all__ = ["allowed_values", "field_descriptions", "settings_file"]

_WIDTH: Final = 96
_HEAD: Final = """\
Settings of `skyduel run --config FILE`; inject, detect, score, tune and truth-free take the
same file. A line that begins with #NAME = shows a default: remove the # to change it. An
empty value means "not set", which the explanations call None. Command-line options override
this file.
"""
_TUNING: Final = (
    "How `skyduel tune` and `skyduel run --tune` choose settings; not used by other runs."
)
_RULES: Final = "How detections are matched to the truth and scored."
_NOTES: Final = {
    "source-extractor": "Keywords of the program are allowed here too: DETECT_THRESH = 1.2."
}
#: Fields that a detector fills from the files named in its settings.
_FILLED: Final[Mapping[str, frozenset[str]]] = {
    "SepSettings": frozenset({"not_reproduced"}),
    "SExtractorSettings": frozenset({"parameters", "columns", "files"}),
}


def settings_file(detectors: Iterable[str] = DEFAULT_DETECTORS, others: Iterable[str] = ()) -> str:
    """Return the text of a commented configuration file with the default of every setting.

    Parameters
    ----------
    detectors : iterable of str
        Registered detectors that run.
    others : iterable of str
        Other registered detectors whose settings are listed.

    Raises
    ------
    BadInputError
        If a detector that runs is unknown or cannot be built.
    """
    running = list(dict.fromkeys(detectors))
    lines = [
        *_comment(_HEAD),
        "",
        "# Detectors to run: registered names, or labels of the tables below.",
    ]
    lines += [
        f"detectors = {toml_value(running)}",
        "",
        "# Number of worker processes.",
    ]
    lines += ["workers = 1", "", *_comment(_RULES), "[rules]"]
    lines += _settings(ScoringRules, ScoringRules().model_dump(), {})
    lines += ["", *_comment(_TUNING), "[tuning]"]
    lines += _settings(TuningRules, TuningRules().model_dump(), {})
    explained: dict[str, str] = {}
    for name in dict.fromkeys([*running, *others]):
        model, values, problem = _detector(name, must=name in running)
        lines += ["", f"# {_first_line(name)}", f"[detector.{_key(name)}]"]
        if problem:
            lines += _comment(f"Cannot be used with these settings: {problem}")
        lines += _comment(_NOTES.get(name, ""))
        if model is None:
            continue
        lines += _settings(model, values, explained)
        for field in model.model_fields:
            explained.setdefault(_known_as(model, field), name)
    return "\n".join(lines) + "\n"


def field_descriptions(model: type[BaseModel]) -> dict[str, str]:
    """Return the description of each field of a settings model; fields without one are left out.

    The text is the field's ``description``. If there is none, it is the text of the parameter
    in the numpydoc docstring of the model, or of the model that declares the field.
    """
    found: dict[str, str] = {}
    for parent in model.__mro__:
        if issubclass(parent, BaseModel) and parent is not BaseModel:
            for name, text in _parameters(parent).items():
                found.setdefault(name, text)
    for name, field in model.model_fields.items():
        if field.description:
            found[name] = field.description
    return {name: found[name] for name in model.model_fields if name in found}


def allowed_values(model: type[BaseModel], field: str) -> str:
    """Describe the allowed values of a field; empty if every value of its type is allowed."""
    schema = model.model_json_schema()["properties"][field]
    options = [o for o in schema.get("anyOf", [schema]) if o.get("type") != "null"]
    said = []
    for option in options:
        if "enum" in option:
            said.append(", ".join(json.dumps(v) for v in option["enum"]))
        bounds = [
            f"{sign} {option[key]:g}"
            for key, sign in (
                ("exclusiveMinimum", ">"), ("minimum", "≥"),
                ("exclusiveMaximum", "<"), ("maximum", "≤"),
            )
            if key in option
        ]  # fmt: skip
        said += [", ".join(bounds)] if bounds else []
    return "; ".join(said)


def _settings(
    model: type[BaseModel], values: Mapping[str, Any], explained: Mapping[str, str]
) -> list[str]:
    """Return the lines of one table: the description and the default of each setting."""
    lines: list[str] = []
    filled = frozenset[str]().union(*(_FILLED.get(m.__name__, ()) for m in model.__mro__))
    meanings = field_descriptions(model)
    for again in (False, True):
        said = None
        for name in model.model_fields:
            before = explained.get(_known_as(model, name))
            if name in filled or (before is not None) != again:
                continue
            if before is None:
                lines += [
                    "",
                    *_comment(_meaning(meanings.get(name, ""), allowed_values(model, name))),
                ]
            elif before != said:
                said = before
                lines += ["", f"# Described under [detector.{_key(before)}]."]
            value = values.get(name)
            lines.append(f"#{name} =" if value is None else f"#{name} = {toml_value(value)}")
    return lines


def _meaning(text: str, limits: str) -> str:
    """Return the description of one setting with its allowed values."""
    text = " ".join(text.split())
    if not re.match(r"[\w-]+:", text):  # the name of a value
        text = text[:1].upper() + text[1:]
    return f"{text} ({limits})" if limits and text else text or limits


def _known_as(model: type[BaseModel], field: str) -> str:
    """Return the name of a field qualified by the model that first declares it."""
    owners = [m for m in model.__mro__ if field in vars(m).get("__annotations__", {})]
    return f"{(owners or [model])[-1].__qualname__}.{field}"


def _detector(name: str, *, must: bool) -> tuple[type[BaseModel] | None, dict[str, Any], str]:
    """Return a detector's settings model, its defaults, and why it cannot be built, or ""."""
    from skyduel.core.registry import available, make_detector

    try:
        made = make_detector(name).settings
        return type(made), made.model_dump(), ""
    except SkyduelError as error:
        # A detector that needs a setting or a program still has a model.
        if must:
            raise
        problem = str(error)
    try:
        result = get_type_hints(available()[name].load())["return"]
        model = get_type_hints(result)["settings"]
        defaults = {
            k: f.get_default() for k, f in model.model_fields.items() if not f.is_required()
        }
    except Exception:  # a plug-in may lack the annotations
        return None, {}, problem
    return model, defaults, problem


def _first_line(name: str) -> str:
    """Return the first line of the docstring of a detector's factory."""
    from skyduel.core.registry import available

    try:
        text = inspect.getdoc(available()[name].load()) or ""
    except Exception:  # importing a plug-in may fail in any way
        return name
    line = _plain(" ".join(text.split("\n\n", 1)[0].split())).partition(";")[0]
    line = line.removeprefix("Return ").removeprefix(f"{name}: ").removesuffix(".")
    return f"{line[:1].upper()}{line[1:]}." if line else name


def _parameters(model: type[BaseModel]) -> dict[str, str]:
    """Return the first sentence about every parameter in a model's own numpydoc docstring."""
    doc = inspect.cleandoc(model.__doc__ or "")
    _, _, section = doc.partition("Parameters\n----------\n")
    section = re.split(r"\n\n?\w[\w ]*\n-{3,}\n", section)[0]
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=\S)", section):
        head, _, body = part.partition("\n")
        names = head.partition(" : ")[0].split(", ")
        text = _plain(" ".join(body.split()))
        sentence = re.match(r"(.*?[^.]\.)(?= [A-Z]|$)", text)
        for name in names:
            said = sentence.group(1) if sentence else text
            found[name] = said if said.endswith("...") else said.removesuffix(".")
    return found


def _plain(text: str) -> str:
    return text.replace("`", "")


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), _WIDTH - 2)]


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)
