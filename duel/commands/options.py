"""Options that several subcommands share."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from catalog.errors import BadInputError
from catalog.settings import build_settings
from duel.tuning import TuningRules
from evaluation import ScoringRules

__all__ = [
    "Bins",
    "Config",
    "Objective",
    "Pairing",
    "PerGroup",
    "RadiusPx",
    "Set",
    "Trials",
    "TuningSeed",
    "With",
    "Workers",
    "read_config",
    "rules_from",
    "tuning_from",
]


def _registered(incomplete: str) -> list[str]:
    """Return the registered detectors that a word may become, for the shell."""
    from baseline import available

    label, equals, name = incomplete.rpartition("=")
    return [f"{label}{equals}{known}" for known in available() if known.startswith(name)]


With = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(
        "--with",
        autocompletion=_registered,
        metavar="NAME|LABEL=NAME",
        help="A detector to run: neural, sep, sep-matched, sep-cleaned, daofind, file or a "
        "plug-in's. Repeat for more.",
    ),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        metavar="LABEL.SETTING=VALUE",
        help="Change a detector's setting, e.g. sep.DETECT_THRESH=2. Repeat for more.",
    ),
]
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FILE", help="TOML file of settings; `skyduel init` writes one with all of them."
    ),
]
RadiusPx = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Largest distance of a pair in px, inclusive. Default 2."),
]
Pairing = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="RULE",
        help="How rivals are told apart: most-pairs (default; then the least distance), "
        "mutual-nearest or score-first.",
    ),
]
Bins = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="START:STOP:STEP", help="Magnitude bins. Default: from the truth."),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Processes that handle frames side by side. Default 1."),
]
Trials = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Settings tried for each contestant, its own included. Default 40."),
]
Objective = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="purity95|purity95-groups|f1|f2",
        help="What settings are chosen for: completeness where 95 % of the detections are right "
        "(default), its mean over groups that are each that pure, or the best F1 or F2.",
    ),
]
PerGroup = Annotated[
    bool, typer.Option("--per-group", help="Choose settings for every group of frames by itself.")
]
TuningSeed = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--tuning-seed", min=0, help="Of the settings drawn. Default 0."),
]

_TOP = ("detectors", "detector", "rules", "tuning", "workers")


def read_config(path: Path | None) -> dict[str, Any]:
    """Return a TOML configuration, {} without one; an unknown key is an error."""
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            config = tomllib.load(file)
    except OSError as error:
        raise BadInputError(str(path), "a readable TOML file", error.strerror or "error") from error
    except (ValueError, RecursionError) as error:  # of TOML, of Unicode, of endless digits
        raise BadInputError(str(path), "a TOML file", str(error)) from error
    for key, value in config.items():
        if key not in _TOP:
            raise BadInputError(str(path), f"keys among {', '.join(_TOP)}", repr(key))
        wanted: type = {"detectors": list, "workers": int}.get(key, dict)
        if not isinstance(value, wanted):
            raise BadInputError(str(path), f"{key} to be a {wanted.__name__}", repr(value))
    return config


def rules_from(
    config: dict[str, Any],
    *,
    radius_px: float | None = None,
    bins: str | None = None,
    pairing: str | None = None,
) -> ScoringRules:
    """Return the scoring rules: the file's, overridden by options."""
    given = {"radius_px": radius_px, "bins": bins, "pairing": pairing}
    return ScoringRules(
        **{**config.get("rules", {}), **{k: v for k, v in given.items() if v is not None}}
    )


def tuning_from(
    config: dict[str, Any],
    *,
    trials: int | None,
    objective: str | None,
    per_group: bool,
    seed: int | None,
) -> TuningRules:
    """Return how settings are chosen: the file's, overridden by options."""
    given = {"trials": trials, "objective": objective, "per_group": per_group or None, "seed": seed}
    chosen = {key: value for key, value in given.items() if value is not None}
    return build_settings(TuningRules, "tuning", {**config.get("tuning", {}), **chosen})
