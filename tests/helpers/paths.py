"""Paths of the checkout and of the shared data."""

from pathlib import Path

import pytest

__all__ = ["DATA", "ROOT", "needs_data"]

ROOT = Path(__file__).resolve().parents[2]
#: Real and simulated frames with truth, beside the checkout.
DATA = ROOT.parent / "shared" / "data"

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the shared frames in {DATA}")
