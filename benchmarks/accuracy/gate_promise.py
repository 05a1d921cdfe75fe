"""How often intervals of `compare` cover, and how often the gate is wrong, by kind of frames.

    python benchmarks/accuracy/gate_promise.py
    python benchmarks/accuracy/gate_promise.py --repeats 500 --frames 5,20

Counts of two versions are simulated frame by frame. The candidate loses a share of the sources
that the reference finds: 2 % in the mean, differently in every frame. The kinds of frames:

even           the loss of a frame scatters normally (sigma 2 %)
unequal        the same, and the number of sources of a frame is log-normal (sigma 1.2)
heavy tails    the loss of a frame follows Student's t with two degrees, of infinite variance
rare failures  one frame in ten loses 20 %, the others nothing
clusters       five frames each share the loss (of a night, or a field)
correlated     the losses of consecutive frames are correlated by 0.9
drift          the loss rises evenly from nothing to 4 % over the frames

The allowance is the true loss in F1, of infinitely many frames. A *wrong pass* is a pass of the
gate then, and *wrongly worse* its opposite; both should be 2.5 %. *Covered* are intervals that
hold the true loss, nominally 95 %. *False claims* are differences with p < 0.05 between versions
that lose nothing in the mean, with the same scatter, nominally 5 %.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from skyduel.evaluation.scoring.metrics import f_from_counts
from skyduel.evaluation.statistics.intervals import resampled
from skyduel.evaluation.statistics.paired_tests import frame_interval

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LOSS, SCATTER, SOURCES = 0.02, 0.02, 200
MANY = 400_000


def _even(rng: np.random.Generator, n: int) -> Floats:
    return rng.normal(0, SCATTER, n)


def _heavy(rng: np.random.Generator, n: int) -> Floats:
    return np.clip(0.01 * rng.standard_t(2, n), -0.5, 0.5)


def _rare(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.1, 0.2, 0.0) - 0.02


def _clusters(rng: np.random.Generator, n: int) -> Floats:
    shared = np.repeat(rng.normal(0, SCATTER, -(-n // 5)), 5)[:n]
    return shared + rng.normal(0, 0.25 * SCATTER, n)


def _correlated(rng: np.random.Generator, n: int) -> Floats:
    from scipy.signal import lfilter

    steps = rng.normal(0, SCATTER * np.sqrt(1 - 0.9**2), n)
    steps[0] /= np.sqrt(1 - 0.9**2)
    return np.asarray(lfilter([1.0], [1.0, -0.9], steps))


def _drift(rng: np.random.Generator, n: int) -> Floats:
    return 2 * LOSS * (np.arange(n) + 0.5) / n - LOSS + rng.normal(0, 0.25 * SCATTER, n)


#: Deviation of each frame's loss from the mean loss; the scatter of the number of sources.
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], Floats], float]] = {
    "even": (_even, 0.0), "unequal": (_even, 1.2), "heavy tails": (_heavy, 0.0),
    "rare failures": (_rare, 0.0), "clusters": (_clusters, 0.0),
    "correlated": (_correlated, 0.0), "drift": (_drift, 0.0),
}  # fmt: skip


def versions(rng: np.random.Generator, kind: str, n: int, loss: float) -> tuple[Ints, Ints]:
    """Return truths, found and detections of reference and candidate, each of shape (n, 3)."""
    deviation, unequal = KINDS[kind]
    truths = rng.poisson(SOURCES * np.exp(rng.normal(0, unequal, n) - unequal**2 / 2))
    found = rng.binomial(truths, rng.beta(12, 8, n))
    false = rng.poisson(0.05 * truths)
    change = np.clip(loss + deviation(rng, n), -1, 1)
    gone = rng.binomial(found, np.maximum(change, 0))
    # A negative loss finds as many more as a loss would lose, of those that were missed.
    won = rng.binomial(truths - found, np.minimum(np.maximum(-change, 0) * 1.5, 1))
    other = found - gone + won
    return (
        np.stack([truths, found, found + false], axis=1),
        np.stack([truths, other, other + false], axis=1),
    )


def f1(sums: npt.NDArray[np.generic]) -> Floats:
    """Return F1 of summed counts, shape (..., 3)."""
    return f_from_counts(sums[..., 1], sums[..., 0], sums[..., 2], 1.0)


def judged(pair: tuple[Ints, Ints], n_bootstrap: int, seed: int = 0) -> tuple[float, float, float]:
    """Return interval and p of the loss in F1, as `compare` computes them."""
    n = len(pair[0])
    a, b = (f1(resampled(n_bootstrap, seed, counts)[0]) for counts in pair)
    delta = f1(pair[0].sum(axis=0)) - f1(pair[1].sum(axis=0))
    lo, hi, p = frame_interval([delta], (a - b)[:, None], [n], 0.95)
    return float(lo[0]), float(hi[0]), float(p[0])


def true_loss(kind: str, loss: float) -> float:
    """Return the loss in F1 over very many frames."""
    a, b = versions(np.random.default_rng(12), kind, MANY, loss)
    return float(f1(a.sum(axis=0)) - f1(b.sum(axis=0)))


def rates(kind: str, n: int, repeats: int, n_bootstrap: int, seed: int = 1) -> dict[str, float]:
    """Return the shares of covered intervals, wrong verdicts and false claims."""
    rng = np.random.default_rng([seed, n, list(KINDS).index(kind)])
    loss, none = true_loss(kind, LOSS), true_loss(kind, 0.0)
    seen = np.zeros(4)
    for _ in range(repeats):
        lo, hi, _ = judged(versions(rng, kind, n, LOSS), n_bootstrap)
        seen[:3] += lo <= loss <= hi, n >= 3 and hi < loss, lo > loss
        lo, hi, _ = judged(versions(rng, kind, n, 0.0), n_bootstrap)
        # The versions are equal in the mean of frames; in F1 they are but for rounding.
        seen[3] += not lo <= none <= hi
    names = ("covered", "wrong pass", "wrongly worse", "false claims")
    return dict(zip(names, (seen / repeats).tolist(), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--frames", default="5,10,20,40")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print("| frames are | n | covered | wrong pass | wrongly worse | false claims |")
    print("|---|---|---|---|---|---|")
    for kind in KINDS:
        for n in map(int, chosen.frames.split(",")):
            got = rates(kind, n, chosen.repeats, chosen.bootstrap, chosen.seed)
            cells = " | ".join(f"{100 * v:.1f} %" for v in got.values())
            print(f"| {kind} | {n} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
