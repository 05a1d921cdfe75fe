"""Options and configuration shared by several subcommands."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Optional

import typer

from skyduel.cli.console import err, warn
from skyduel.core.errors import BadInputError

if TYPE_CHECKING:
    from skyduel.core.io.dataset import Dataset
    from skyduel.core.operating_point import RowChoice
    from skyduel.evaluation import ScoringRules
    from skyduel.evaluation.suspect_list import SuspectList
    from skyduel.runner.detector_specs import DetectorSpec
    from skyduel.runner.tune import TuningRules

__all__ = [
    "ENDINGS",
    "Bins",
    "Columns",
    "Config",
    "Cutout",
    "Ending",
    "Everything",
    "IgnoreSuspects",
    "MaskBits",
    "Most",
    "Objective",
    "OneDetector",
    "Pairing",
    "PerGroup",
    "Purity",
    "RadiusPx",
    "Raw",
    "Regions",
    "Set",
    "Threshold",
    "Trials",
    "TuningSeed",
    "With",
    "Workers",
    "detector_specs",
    "installed",
    "mask_bits_from",
    "one_detector",
    "print_listing",
    "read_config",
    "rules_from",
    "suspects_of",
    "tuning_from",
    "with_mask_bits",
    "with_raw",
]


def _registered(incomplete: str) -> list[str]:
    """Return the registered detectors that complete a word, for shell completion."""
    from skyduel.core.registry import available

    label, equals, name = incomplete.rpartition("=")
    return [f"{label}{equals}{known}" for known in available() if known.startswith(name)]


With = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads the annotation at run time
    typer.Option(
        "--with",
        autocompletion=_registered,
        metavar="NAME|LABEL=NAME",
        help="Detector to run: neural, sep, sep-matched, sep-cleaned, daofind, file or the name "
        "of a plug-in. Repeat the option for several.",
    ),
]
Set = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--set",
        metavar="LABEL.SETTING=VALUE",
        help="Change a setting of a detector, e.g. sep.DETECT_THRESH=2. Repeat the option "
        "for several.",
    ),
]
Config = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        metavar="FILE", help="TOML file of settings; `skyduel init` writes one with all settings."
    ),
]
Cutout = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="X0:X1,Y0:Y1",
        help="Use only this region of every frame: columns X0 to X1 - 1, rows Y0 to "
        "Y1 - 1, counted from 0. Required for frames larger than 4096 x 4096 px.",
    ),
]
RadiusPx = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(help="Matching radius in px, inclusive. Default 2."),
]
Pairing = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="RULE",
        help="How ambiguous matches are resolved: most-pairs (default; ties by the least total "
        "distance), mutual-nearest or score-first.",
    ),
]
Bins = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(metavar="START:STOP:STEP", help="Magnitude bins. Default: chosen from the truth."),
]
Columns = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="OURS=THEIRS,...",
        help="Columns under other names, e.g. ra=RAJ2000,mag=rmag. Our names: x, y, ra, dec, mag, "
        "flux, flux_err, score, kind, flags, ...",
    ),
]
MaskBits = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--mask-bits",
        metavar="BITS",
        help="Bits of the frame's mask or data-quality array that make a pixel unusable, added "
        "up, e.g. 5 or 0x5. Default: any bit of a mask, none of a data-quality array.",
    ),
]
Ignore = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--ignore",
        metavar="FILE",
        help="Areas where neither truth nor detections count: DS9 regions, a MOC (FITS) or a FITS "
        "image. Default: NAME_ignore.reg, NAME_ignore.fits or NAME.moc.fits beside the frame.",
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Take the pixels as they are: no calibration by folders bias, dark and flat or the "
        "columns of a manifest, and no balance of the filter phases of a raw colour frame.",
    ),
]
IgnoreSuspects = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--ignore-suspects",
        metavar="TABLE",
        help="Ignore these suspects in the truth: analyses/suspects.csv of a run, reviewed by you. "
        "The scores with them counted are stated beside.",
    ),
]
Workers = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(min=1, help="Number of worker processes. Default 1."),
]
Trials = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        min=1, help="Number of settings tried per detector, its own included. Default 40."
    ),
]
Objective = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="purity95|purity95-groups|f1|f2",
        help="Objective of the choice: completeness at 95 % purity (default), the mean of this "
        "completeness over groups, each at its own 95 % purity, or the best F1 or F2.",
    ),
]
PerGroup = Annotated[
    bool, typer.Option("--per-group", help="Choose settings for every group of frames separately.")
]
TuningSeed = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--tuning-seed", min=0, help="Seed of the sampled settings. Default 0."),
]

OneDetector = Annotated[
    str,
    typer.Option(
        "--with",
        metavar="NAME",
        help="Detector: neural, sep, sep-matched, the name of a plug-in …",
    ),
]
#: Endings of the catalogues of `skyduel detect`.
ENDINGS: Final = ("ecsv", "fits", "vot", "csv", "parquet", "cat", "ldac", "json", "reg")
Ending = Annotated[
    str,
    typer.Option(
        "--format",
        help=f"One of {', '.join(ENDINGS)}: cat is SExtractor's ASCII_HEAD, ldac is "
        "FITS_LDAC, json is COCO, reg is a DS9 region file.",
    ),
]
Threshold = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Lowest score of a source. Default: the detector's own operating point (neural: 0.5)."
    ),
]
Purity = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        help="Keep as many sources as this expected purity allows, e.g. 0.95, by the scores "
        "themselves. Only for detectors whose scores are probabilities, as neural."
    ),
]
Most = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--max", metavar="N", help="At most N sources, of the highest scores."),
]
Everything = Annotated[
    bool, typer.Option("--all", help="Every candidate above the detector's lowest score.")
]
Regions = Annotated[bool, typer.Option(help="Also write a DS9 region file beside each table.")]

_TOP = ("detectors", "detector", "rules", "tuning", "workers")


def read_config(path: Path | None) -> dict[str, Any]:
    """Read a TOML configuration; {} without a file. An unknown key is an error."""
    from skyduel.core.settings import nearest

    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            config = tomllib.load(file)
    except OSError as error:
        raise BadInputError(str(path), "a readable TOML file", error.strerror or "error") from error
    except (ValueError, RecursionError) as error:  # from TOML, Unicode or huge integers
        raise BadInputError(str(path), "a TOML file", str(error)) from error
    for key, value in config.items():
        if key not in _TOP:
            close = nearest(key, _TOP)
            hint = f"; did you mean {close}?" if close else ""
            raise BadInputError(str(path), f"keys among {', '.join(_TOP)}", f"{key!r}{hint}")
        if key == "detectors":
            names = isinstance(value, list) and all(isinstance(name, str) for name in value)
            fits, wanted = bool(names and value), "a list of at least one name"
        elif key == "workers":
            fits, wanted = type(value) is int and value >= 1, "a number, 1 or more"
        else:
            fits, wanted = isinstance(value, dict), "a table"
        if not fits:
            raise BadInputError(str(path), f"{key} to be {wanted}", repr(value))
    # Checked even if the command does not use them, so that a typo is reported at once.
    rules_from(config)
    tuning_from(config)
    return config


def mask_bits_from(text: str | None) -> int | None:
    """Return the bits of the option --mask-bits, None without it."""
    from skyduel.core.io.dataset import parse_mask_bits

    return None if text is None else parse_mask_bits(text.strip() or "none", "--mask-bits")


def with_mask_bits(dataset: Dataset, text: str | None) -> Dataset:
    """Return a data set whose frames have the bits of --mask-bits; as it is without the option."""
    bits = mask_bits_from(text)
    if bits is None:
        return dataset
    return replace(dataset, entries=tuple(replace(entry, mask_bits=bits) for entry in dataset))


def with_ignore(dataset: Dataset, file: Path | None) -> Dataset:
    """Return a data set whose frames have the areas of --ignore; as it is without the option."""
    if file is None:
        return dataset
    from skyduel.core.io.atomic_files import existing_file

    area = existing_file(file)
    return replace(dataset, entries=tuple(replace(entry, ignore=area) for entry in dataset))


def with_raw(dataset: Dataset, raw: bool) -> Dataset:
    """Return a data set whose frames are read raw with --raw; as it is without the option."""
    if not raw:
        return dataset
    return replace(dataset, entries=tuple(replace(entry, raw=True) for entry in dataset))


def suspects_of(path: Path, dataset: Dataset) -> SuspectList:
    """Return the suspects in a table, all of frames of a data set.

    Raises
    ------
    BadInputError
        If the table cannot be read, or names a frame that the set has not.
    """
    from skyduel.evaluation.suspect_list import read_suspects

    suspects = read_suspects(path)
    names = {entry.name for entry in dataset}
    other = sorted(set(suspects.rows) - names)
    if other:
        raise BadInputError(str(path), f"frames of {dataset.name}", f"{other[0]!r}")
    return suspects


def check_runs(*places: Path) -> None:
    """Refuse run folders that do not exist, before anything that takes seconds to import.

    A place is a run folder, or a run folder and the name of a detector.

    Raises
    ------
    BadInputError
        With the first of them.
    """
    from skyduel.core.io.atomic_files import existing_folder
    from skyduel.run_folder.layout import RunPaths

    for place in places:
        if not RunPaths(place.parent).record.is_file():
            existing_folder(place, "a run folder")


def print_listing(dataset: Dataset) -> None:
    """Print one line on the files of a data set's folder on stderr, if any is not used."""
    from skyduel.core.io.dataset_listing import list_files, summarize_files

    listed = list_files(dataset)
    if any(not one.use for one in listed):
        line = summarize_files(dataset, listed)
        err.print(f"skyduel: {line}", markup=False, highlight=False, soft_wrap=True)


def detector_specs(
    config: dict[str, Any],
    with_: list[str] | None,
    set_: list[str] | None,
    default: Sequence[str],
) -> list[DetectorSpec]:
    """Return the detectors to run: from the options, else from the file, else the default.

    Detectors of the default that are not installed are left out, with one line on stderr.
    """
    from skyduel.runner.detector_specs import parse_specs, require_installed

    listed = config.get("detectors") or ()
    names = with_ or listed or installed(default)
    specs = parse_specs(names, set_ or (), config.get("detector"), listed=listed)
    require_installed(specs)
    return specs


def one_detector(
    config: dict[str, Any], name: str, set_: list[str] | None, choice: RowChoice
) -> DetectorSpec:
    """Return the one detector of a command, after a check that it can be built.

    Lines on stderr name settings that it does not reproduce, and a threshold below its floor.

    Raises
    ------
    BadInputError
        If the detector or a setting is unknown, or the choice of rows does not suit it.
    """
    from skyduel.core import Catalog, detector_info
    from skyduel.runner.frame_steps import process_detector

    (spec,) = detector_specs(config, [name], set_, ())
    detector = process_detector(spec)  # the one that the frames will get
    for problem in detector_info(detector).not_reproduced if "config" in spec.settings else ():
        warn(f"{spec.name} does not reproduce a setting of its file: {problem}")
    floor = getattr(detector.settings, "floor", None)
    if choice.threshold is not None and floor is not None and choice.threshold < floor:
        warn(f"{spec.name} returns no score below {floor:g}; --set {spec.name}.floor=… lowers it")
    if choice.purity is not None:  # before any work, and once
        choice.threshold_on(Catalog.empty(), detector_info(detector), spec.name)
    return spec


def installed(default: Sequence[str]) -> Sequence[str]:
    """Return the installed detectors of a default; one line on stderr names the others."""
    from skyduel.runner.detector_specs import installed_defaults

    names, line = installed_defaults(default)
    if line:
        warn(line)
    return names


def rules_from(
    config: dict[str, Any],
    *,
    radius_px: float | None = None,
    bins: str | None = None,
    pairing: str | None = None,
) -> ScoringRules:
    """Return the scoring rules of a configuration, overridden by options."""
    from skyduel.evaluation import ScoringRules

    given = {"radius_px": radius_px, "bins": bins, "pairing": pairing}
    return ScoringRules(
        **{**config.get("rules", {}), **{k: v for k, v in given.items() if v is not None}}
    )


def tuning_from(
    config: dict[str, Any],
    *,
    trials: int | None = None,
    objective: str | None = None,
    per_group: bool = False,
    seed: int | None = None,
) -> TuningRules:
    """Return the tuning rules of a configuration, overridden by options."""
    from skyduel.core.settings import build_settings
    from skyduel.runner.tune import TuningRules

    given = {"trials": trials, "objective": objective, "per_group": per_group or None, "seed": seed}
    chosen = {key: value for key, value in given.items() if value is not None}
    return build_settings(TuningRules, "tuning", {**config.get("tuning", {}), **chosen})
