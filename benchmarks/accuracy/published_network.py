"""Train the published network and its faults, and measure them: ``published_network.py WHAT OUT``.

``train forms OUT`` trains the faithful and the mended form on the same simulated frames of 500 px,
the same number for both. ``train faults OUT`` trains the mended form on small frames, once as it
is and once with each fault that is part of the weights, everything else being equal. Both go on
where they were stopped. ``measure OUT DATASET`` (or ``measure OUT --real DATA``: the real sets)
runs the detectors of all finished trainings in OUT on data sets, beside `neural`, `sep`,
`sep-matched` and, where the program is installed, SExtractor with the settings of the paper, and
prints a table for each.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from real.tools import markdown
from two_forms import RADIUS_PX, real_sets

import skyduel
from skyduel.detect.published.form import FAITHFUL, MENDED, NOT_AFTERWARDS, Faults
from skyduel.detect.published.train import PublishedTraining, export_weights, train_published
from skyduel.detect.published.weights import read_weights
from skyduel.detect.training.loop import Progress
from skyduel.evaluation import ScoringRules
from skyduel.evaluation.table_keys import ALL_BINS
from skyduel.run_folder.read_run import Run

WEIGHTS = "weights.safetensors"
#: Faults that a training is needed for; scaling can be turned afterwards, but then the weights
#: are of the other scaling.
FAULTS = (*NOT_AFTERWARDS, "min_max_scaling")
#: SExtractor as in the code published with the paper; what is not named here is its default.
PAPER_SEXTRACTOR = {"DETECT_THRESH": "1.5", "DETECT_MINAREA": "5", "BACK_SIZE": "128"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whats = parser.add_subparsers(dest="what", required=True)
    train = whats.add_parser("train", help="train the forms, or the mended form fault by fault")
    train.add_argument("which", choices=("forms", "faults"))
    train.add_argument("out", type=Path, help="folder of the trainings; it is resumed")
    train.add_argument("--steps", type=int, help="default: 1500 for the forms, 800 for faults")
    train.add_argument("--only", nargs="+", metavar="NAME", help="names of trainings")
    train.add_argument("--threads", type=int, default=1)
    measure = whats.add_parser("measure", help="run all on a data set and print a table")
    measure.add_argument("out", type=Path, help="folder of the trainings")
    measure.add_argument(
        "dataset", type=Path, nargs="*", help="frames with truths, as for `skyduel run`"
    )
    measure.add_argument("--real", type=Path, metavar="DATA", help="the folder of the real sets")
    measure.add_argument("--only", nargs="+", metavar="NAME", help="names of trainings")
    options = parser.parse_args()
    if options.what == "measure":
        names = options.only or [p.parent.name for p in sorted(options.out.glob(f"*/{WEIGHTS}"))]
        with tempfile.TemporaryDirectory() as place:
            sets = {d.name: d for d in options.dataset}
            if options.real is not None:
                sets |= real_sets(options.real, Path(place))
            for label, dataset in sets.items():
                print(f"\n{label}\n", flush=True)
                print(markdown(measured(options.out, names, label, dataset)), flush=True)
        return
    torch.set_num_threads(options.threads)
    for name, settings in trainings(options.which, options.steps):
        if options.only is None or name in options.only:
            trained(settings, options.out / name)


def trainings(which: str, steps: int | None) -> Iterator[tuple[str, PublishedTraining]]:
    """Yield names and settings of the trainings of the forms, or of the faults."""
    if which == "forms":
        for name, faults in (("mended", MENDED), ("faithful", FAITHFUL)):
            yield name, PublishedTraining(
                faults=faults, crop_px=500, batch=1, steps=steps or 1500, seed=11,
                validation_crops=12,
            )  # fmt: skip
        return
    for fault in ("none", *FAULTS):
        changed = {} if fault == "none" else {fault: True}
        yield fault, PublishedTraining(
            faults=MENDED.model_copy(update=changed), crop_px=128, batch=2, steps=steps or 800,
            seed=11, validation_crops=48,
        )  # fmt: skip


def trained(settings: PublishedTraining, folder: Path) -> None:
    """Train, or go on with a training, and write its weights."""

    def show(step: Progress) -> None:
        if step.validation is not None:
            print(f"{folder.name}: step {step.step}: validation {step.validation:.4f}", flush=True)

    export_weights(train_published(settings, folder, show), folder / WEIGHTS)
    print(f"{folder.name}: {folder / WEIGHTS}", flush=True)


def measured(out: Path, names: list[str], label: str, dataset: Path) -> list[dict[str, object]]:
    """Run all detectors on a data set; return a row of scores of each."""
    detectors = [f"{name}=jia2020" for name in names]
    settings: dict[str, dict[str, object]] = {
        name: {"weights": out / name / WEIGHTS, **turned(out / name / WEIGHTS)} for name in names
    }
    detectors += ["neural", "sep", "sep-matched"]
    if shutil.which("source-extractor"):
        detectors.append("paper=source-extractor")
        settings["paper"] = dict(PAPER_SEXTRACTOR)
    rules = ScoringRules(radius_px=RADIUS_PX.get(label, 2.0))
    return rows_of(
        skyduel.run(dataset, detectors, out / f"run-{label}", settings=settings, rules=rules),
        {name: read_weights(out / name / WEIGHTS).facts["validation"] for name in names},
    )


def rows_of(done: Run, losses: Mapping[str, float]) -> list[dict[str, object]]:
    """Return a row of scores of each detector of a finished run."""
    scores = done.scores[(done.scores["group"] == "all") & (done.scores["bin"] == ALL_BINS)]
    whole = scores[scores["point"] == "default"].groupby(["detector", "quantity"]).last()
    limits = done.limits[done.limits["point"] == "purity95"]
    limits = limits.set_index(["detector", "group"])
    areas = done.analysis("average_precision")
    areas = areas[areas["group"] == "all"].set_index(["detector", "method", "kind"])["value"]
    groups = [str(g) for g in dict.fromkeys(done.limits["group"]) if g != "all"] or ["all"]
    rows = []
    for name in done.detectors:
        row: dict[str, object] = {
            "detector": name,
            "validation loss": cell(losses.get(name)),
        }
        for quantity in ("purity", "completeness", "f1"):
            row[quantity] = cell(whole["value"].get((name, quantity)))
        row["mAP (voc07)"] = cell(areas.get((name, "voc07", "mean")))
        row["AP of points"] = cell(areas.get((name, "voc07", "point")))
        row["completeness at 95 %"] = cell(limits["completeness"].get((name, "all")))
        for group in groups:
            row[f"S/N50 {group}"] = cell(limits["snr50"].get((name, group)), 2)
        rows.append(row)
    return rows


def turned(weights: Path) -> dict[str, bool]:
    """Return the settings of a detector that has all faults of its weights."""
    faults: Faults = read_weights(weights).network.faults
    return faults.model_dump()


def cell(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}f}"


if __name__ == "__main__":
    main()
