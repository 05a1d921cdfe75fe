"""Pytest plugin of the gate: ``pytest --skyduel-reference RUN --skyduel-candidate RUN``.

The plugin adds one test item per criterion. Every pytest of an environment with
Skyduel loads the plugin, so it imports nothing more until the options are given.

PYTEST_DONT_REWRITE: this module has no assert.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from skyduel.evaluation.comparison.gate import CriterionDecision

__all__ = ["GateFailed", "GateItem", "pytest_addoption", "pytest_collection_modifyitems"]


class GateFailed(Exception):
    """A criterion did not pass; the message says whether it is worse or undecided."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line options of the gate."""
    group = parser.getgroup(
        "skyduel", "non-inferiority gate: compare a detector's new version with the old one"
    )
    group.addoption("--skyduel-reference", metavar="RUN", help="run of the old version")
    group.addoption("--skyduel-candidate", metavar="RUN", help="run of the new version")
    group.addoption(
        "--skyduel-allow", metavar="QUANTITY=LOSS,...", default="f1=0.01",
        help="largest allowed losses, as for `skyduel gate --allow` (default: f1=0.01)",
    )  # fmt: skip
    group.addoption("--skyduel-detector", metavar="NAME", help="the detector's name in both runs")
    group.addoption(
        "--skyduel-per-group",
        action="store_true",
        help="also judge every group of frames separately",
    )


def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Add a test item for every criterion, if a reference run is given."""
    reference = config.getoption("--skyduel-reference")
    candidate = config.getoption("--skyduel-candidate")
    if reference is None and candidate is None:
        return
    if reference is None or candidate is None:
        raise pytest.UsageError("--skyduel-reference and --skyduel-candidate go together")
    from skyduel.cli.commands.compare import select_detectors
    from skyduel.cli.commands.gate import run_gate
    from skyduel.core import SkyduelError
    from skyduel.evaluation.comparison.gate import parse_allowances

    try:
        first, second = select_detectors(
            Path(reference), Path(candidate), config.getoption("--skyduel-detector"), None, None
        )
        report = run_gate(
            first,
            second,
            parse_allowances(config.getoption("--skyduel-allow")),
            per_group=config.getoption("--skyduel-per-group"),
        )
    except SkyduelError as error:
        raise pytest.UsageError(f"skyduel: {error}") from error
    items += [
        GateItem.from_parent(session, name=f"skyduel-gate::{decision.name}", decision=decision)
        for decision in report.criteria
    ]


class GateItem(pytest.Item):
    """One criterion of the gate."""

    def __init__(self, *, decision: CriterionDecision, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._decision = decision

    def runtest(self) -> None:
        """Fail if the criterion did not pass; skip it if it cannot be compared."""
        from skyduel.evaluation.comparison.gate_report import loss_text

        decision = self._decision
        text = (
            f"{decision.reason} (loss {loss_text(decision)}, allowed {decision.allowance.margin:g})"
        )
        self.add_report_section("call", "skyduel", text)
        if decision.verdict == "not comparable":
            pytest.skip(f"not comparable: {decision.reason}")
        if decision.verdict != "pass":
            raise GateFailed(f"{decision.verdict}: {text}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return a one-line message for a criterion that did not pass."""
        if isinstance(excinfo.value, GateFailed):
            return f"{self._decision.name}: {excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return the location and the name of the criterion for test reports."""
        return self.config.rootpath, None, self.name
