"""Call the compiled operators with random arguments, including invalid values.

Every call must return or raise ValueError; `sanitize.sh` runs this under sanitizers.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def main() -> int:
    """Call the operators for a number of seconds; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--library", type=Path, default=Path(__file__).resolve().parents[1] / "src")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sys.path.insert(0, str(chosen.library))
    import numpy as np
    import torch

    from skyduel import cuda_ops

    rng = np.random.default_rng(chosen.seed)
    odd = np.array(
        [
            np.nan,
            np.inf,
            -np.inf,
            1e30,
            -1e30,
            3.4e38,
            1e308,
            0.0,
            -0.0,
            1e-300,
            2.0**31,
            -(2.0**63),
        ]
    )

    def numbers(shape: tuple[int, ...], scale: float) -> torch.Tensor:
        made = rng.normal(0, scale, shape)
        if rng.random() < 0.07 and made.size:
            where = rng.random(shape) < rng.choice([0.02, 0.3, 1.0])
            made[where] = rng.choice(odd, int(where.sum()))
        kind = torch.float32 if rng.random() < 0.6 else torch.float64
        with np.errstate(all="ignore"):
            return torch.from_numpy(made).to(kind)

    def boxes(count: int) -> torch.Tensor:
        at = numbers((count, 4), float(rng.choice([3, 100, 1e6])))
        if rng.random() < 0.7 and count:
            at[:, 2:] = at[:, :2] + at[:, 2:].abs()
        return at

    def suppress() -> None:
        count = int(rng.choice([0, 1, 2, 17, 400]))
        kinds = (
            None if rng.random() < 0.5 else torch.from_numpy(rng.integers(-3, 2**40, count) % 5 - 2)
        )
        usual = rng.random() < 0.9
        threshold = float(rng.choice([0.0, 0.3, 1.0] if usual else odd))
        if rng.random() < 0.5:
            cuda_ops.batched_nms(boxes(count), numbers((count,), 1), kinds, threshold)
        else:
            method = rng.choice(["gaussian", "linear", "hard"])
            cuda_ops.soft_nms(boxes(count), numbers((count,), 1), kinds, method,
                              float(rng.choice([0.6, 1e-9] if usual else odd)), threshold, float(rng.choice([0.001, -1.0, 0.5] if usual else odd)))  # fmt: skip

    def crop() -> None:
        n, c, h, w = (int(v) for v in rng.integers(rng.random() > 0.05, [4, 20, 20, 24]))
        maps = numbers((n, c, h, w), 1).requires_grad_()
        if rng.random() < 0.4:
            maps = maps.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        count = int(rng.integers(0, 40))
        rows = torch.cat([numbers((count, 1), 1).abs().floor(), boxes(count).to(torch.float64)], 1)
        if rng.random() < 0.8 and n:
            rows[:, 0] = torch.from_numpy(rng.integers(0, n, count)).double()
        size = tuple(int(v) for v in rng.integers(rng.random() > 0.05, 9, 2))
        scale = float(rng.choice([1.0, 0.25, 0.5, 2.0] if rng.random() < 0.9 else odd))
        made = cuda_ops.roi_align(
            maps, rows.to(maps.dtype), size, scale, int(rng.integers(-1, 5)), bool(rng.integers(2))
        )
        if made.requires_grad:
            made.backward(torch.ones_like(made))

    calls = refused = 0
    until = time.monotonic() + chosen.seconds
    while time.monotonic() < until:
        calls += 1
        try:
            (crop if rng.random() < 0.5 else suppress)()
        except ValueError:
            refused += 1
    print(
        f"operators     {calls:>8} calls {refused:>8} refused (seed {chosen.seed}, {cuda_ops.__file__})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
