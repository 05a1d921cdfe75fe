"""Values written as TOML are read back by the standard library."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyduel.core.settings import toml_value


def back(value: Any) -> Any:
    return tomllib.loads(f"a = {toml_value(value)}\n")["a"]


PLAIN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])), st.booleans(),
    st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False),
)  # fmt: skip


@given(st.recursive(PLAIN, lambda inner: st.one_of(
    st.lists(inner, max_size=4), st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])),
                                                 inner, max_size=4),
), max_leaves=8))  # fmt: skip
def test_any_value_comes_back(value: Any) -> None:
    assert back(value) == value


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("M 31", '"M 31"'),
        ('a "b" \\', '"a \\"b\\" \\\\"'),
        ("é ☉ \U0001f30c", '"é ☉ \U0001f30c"'),
        ("\x7f\t\n", '"\\u007f\\u0009\\u000a"'),
        ("\u202eabc", '"\\u202eabc"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_text_is_readable_and_what_cannot_be_seen_is_escaped(text: str, written: str) -> None:
    assert toml_value(text) == written
    assert back(text) == text


def test_a_lone_surrogate_becomes_words_and_paths_are_text() -> None:
    assert back("a\udcff") == "a\\udcff"
    assert back(Path("a b/c.fits")) == "a b/c.fits"


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        toml_value([1.0, float("nan")])
