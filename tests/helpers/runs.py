"""Small runs, and the comparison of run folders."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from skyduel.core.io.dataset import open_dataset
from skyduel.evaluation.rules import ScoringRules
from skyduel.runner.detector_specs import parse_specs
from skyduel.runner.run import RunPlan

__all__ = ["assert_same_tables", "inline_pool", "two_detector_plan"]


class _Inline:
    """An executor that calls at once and here."""

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments, **options))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def inline_pool(*_: Any) -> Iterator[_Inline]:
    """Take the place of a pool of processes, whose start takes seconds."""
    yield _Inline()


def two_detector_plan(frames: Path, folder: Path, **changes: Any) -> RunPlan:
    """Return the plan of a run of ``sep`` and ``sep-matched`` with few bootstrap samples."""
    return RunPlan(
        dataset=open_dataset(frames),
        specs=parse_specs(["sep", "deep=sep-matched"]),
        rules=ScoringRules(n_bootstrap=20),
        folder=folder,
        **changes,
    )


def assert_same_tables(one: Path, other: Path) -> None:
    """Check that two run folders hold the same tables, to the last digit."""
    names = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    assert len(names) > 30
    assert names == sorted(path.relative_to(other) for path in other.rglob("*.parquet"))
    for name in names:
        pd.testing.assert_frame_equal(
            pd.read_parquet(one / name), pd.read_parquet(other / name), check_exact=True
        )
    texts = sorted(path.name for path in one.glob("*.csv"))
    assert texts
    for name in texts:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
