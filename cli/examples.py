"""Summary and examples of each command, so that the list of commands imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["EXAMPLES", "SUMMARIES", "epilog"]

#: First sentence of every command's help, in the order of the list.
SUMMARIES: Final[Mapping[str, str]] = {
    "run": "Run every detector on every frame, score them, and write the report.",
    "init": "Write a commented TOML file with every setting of a run, for --config.",
    "calibrate": "Subtract bias and dark from raw frames, divide by the flat, and mask the "
    "dark's hot pixels.",
    "simulate": "Simulate frames with known truth: FITS images, ECSV tables and a manifest.",
    "inject": "Inject sources into real frames, with the frame's own PSF and noise, "
    "for `skyduel run`.",
    "detect": "Detect sources and write one catalogue per frame, with the score of every source.",
    "watch": "Watch a folder and write a catalogue of every frame as soon as it is finished.",
    "diff": "Show which sources two catalogues share, which only one has, and where these lie.",
    "truth": "Make the truth of frames from a deeper catalogue, as score and run read it.",
    "send": "Send catalogues and frames to TOPCAT, DS9, Aladin and other programs by SAMP.",
    "score": "Match two catalogues and print completeness, purity and other scores per "
    "magnitude bin.",
    "tune": "Choose the settings of every detector with the same number of trials.",
    "truth-free": "Estimate each detector's purity on frames without truth, at its "
    "default threshold.",
    "compare": "Compare two detectors, or two versions of one, on the same frames and truths.",
    "gate": "Test whether a new version loses no more than allowed against the old version.",
    "report": "Write the report of a run again, from the files of its folder.",
    "train": "Train the neural detector on simulated frames that never repeat, and calibrate it.",
    "finetune": "Adapt the neural detector to a telescope with a few of its frames.",
    "export": "Write the dense part of the network as an ONNX model, for machines without PyTorch.",
}

#: Command lines per command, without the leading `skyduel`.
EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": (
        "run",
        "run night --out runs/night --workers 2",
        "run night --with neural --with deep=sep --set deep.DETECT_THRESH=1.2",
        "run night --config duel.toml --tune",
    ),
    "init": (
        "init",
        "init night.toml --with neural --with sep-cleaned",
    ),
    "simulate": (
        "simulate --out sky",
        "simulate --out sky --family crowded --count 10 --calibration 3 --seed 5",
    ),
    "calibrate": (
        "calibrate raw/*.fits --dark darks --flat flats -o calibrated",
        "calibrate a.fits --bias bias/*.fits --dark dark_300s.fits -o a_calibrated.fits",
    ),
    "inject": (
        "inject night/a.fits night/b.fits --out injected --snr 2:50 --copies 4",
        "inject night/a.fits --out injected --mag 15:20 --psf moffat:2.4,3.0",
    ),
    "detect": (
        "detect night/a.fits night/b.fits --out catalogs",
        "detect a.fits --with sep-matched -o a.vot",
        "detect a.fits --with sep --set sep.config=mine.sex -o a.cat",
    ),
    "watch": (
        "watch /data/tonight --out catalogs",
        "watch /data/tonight --with sep --order newest --queue 20 --reference earlier",
        "watch /mnt/camera --poll 5 --events - --mqtt mqtt://localhost/observatory --http 8765",
    ),
    "diff": (
        "diff old.ecsv new.ecsv --frame a.fits --out diff",
        "diff neural sep --frame a.fits",
        "diff runs/old/neural new.fits --frame a.fits --radius-px 1.5",
    ),
    "truth": (
        "truth night/a.fits --from gaia",
        "truth night/*.fits --from gaia_hats/ --depth 20.5",
        "truth a.fits --from stars.vot --columns ra=RAJ2000,mag=rmag --reference-epoch 2000",
    ),
    "send": (
        "send found.ecsv frame.fits",
        "send found.ecsv --frame frame.fits --to topcat",
    ),
    "score": (
        "score found.ecsv truth.ecsv --radius-px 2 --bins 15:24:1",
        "score found.cat gaia.vot --frame a.fits --json",
        "score found.vot gaia.vot --radius-arcsec 1.5",
    ),
    "tune": (
        "tune night --out tuned.toml",
        "tune night --with sep --with daofind --trials 20 --objective f1",
        "run night --config tuned.toml",
    ),
    "truth-free": (
        "truth-free night/a.fits --with neural --with sep",
        "truth-free night/a.fits night/b.fits night/c.fits --repeats --radius-px 2",
        "truth-free night/a.fits night/b.fits --with neural --repeats --score-map scores.toml",
    ),
    "compare": (
        "compare runs/old runs/new --detector neural",
        "compare runs/night/neural runs/night/sep --point default",
        "compare runs/night --a neural --b sep --markdown",
    ),
    "gate": (
        "gate runs/old runs/new --detector neural --allow f1=0.01,m50=0.05",
        "gate runs/old runs/new --allow purity@default=0.01 --report gate.md --junit gate.xml",
    ),
    "report": ("report runs/night", "report runs/night --pdf"),
    "train": (
        "train --out training --steps 6000",
        "train --out training --device cuda --workers 8",
        "train --network jia2020 --form faithful --out jia",
    ),
    "finetune": (
        "finetune night --out mine.safetensors",
        "finetune night --unlabelled --steps 100 --out mine.safetensors",
        "run night --with neural --set neural.weights=mine.safetensors",
    ),
    "export": (
        "export mine.safetensors",
        "detect a.fits --runtime onnx --set neural.weights=mine.safetensors",
    ),
}


def epilog(name: str) -> str:
    """Return the text below the help of a command: its examples, one per line."""
    return "\n".join(["Examples:", *(f"$ skyduel {line}" for line in EXAMPLES[name])])
