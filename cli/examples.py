"""Examples of each command, shown below its help and in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["EXAMPLES", "epilog"]

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
    "inject": (
        "inject night/a.fits night/b.fits --out injected --snr 2:50 --copies 4",
        "inject night/a.fits --out injected --mag 15:20 --psf moffat:2.4,3.0",
    ),
    "detect": (
        "detect night/a.fits night/b.fits --out catalogs",
        "detect a.fits --with sep-matched -o a.vot",
        "detect a.fits --with sep --set sep.config=mine.sex -o a.cat",
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
    ),
    "finetune": (
        "finetune night --out mine.safetensors",
        "finetune night --unlabelled --steps 100 --out mine.safetensors",
        "run night --with neural --set neural.weights=mine.safetensors",
    ),
}


def epilog(name: str) -> str:
    """Return the text below the help of a command: its examples, one per line."""
    return "\n".join(["Examples:", *(f"$ skyduel {line}" for line in EXAMPLES[name])])
