"""Tests of errors in settings: nearest names, and one line per error."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from skyduel.core import BadInputError, build_settings
from skyduel.core.settings import nearest


class Kettle(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    litres: Annotated[float, Field(gt=0)] = 1.5
    WATTS: int = 2000
    lids: tuple[int, int] = (1, 2)

    @field_validator("WATTS")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("An even number")
        return value


def test_nearest_looks_past_the_case_and_gives_up_on_strangers() -> None:
    assert nearest("watt", ["litres", "WATTS"]) == "WATTS"
    assert nearest("LITRE", iter(["litres", "WATTS"])) == "litres"
    assert nearest("zzz", ["litres", "WATTS"]) is None
    assert nearest("anything", []) is None


def test_overrides_go_over_the_base_and_the_base_over_the_defaults() -> None:
    base = Kettle(litres=3, WATTS=10)
    assert build_settings(Kettle, "kettle", {"WATTS": 20}, base) == Kettle(litres=3, WATTS=20)
    assert build_settings(Kettle, "kettle", {}) == Kettle()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        ({"liters": 1}, r"kettle: required a setting among litres, WATTS, lids; got 'liters'; "
                        r"did you mean litres\?"),
        ({"zzz": 1}, r"got 'zzz'$"),
        ({"litres": -1}, r"kettle: litres: required input should be greater than 0; got -1"),
        ({"WATTS": 3}, r"kettle: WATTS: required an even number; got 3"),
        ({"lids": (1, "x")}, r"kettle: lids\.1: required .*; got 'x'"),
    ],
)  # fmt: skip
def test_a_fault_is_one_line_that_names_it(overrides: dict[str, object], says: str) -> None:
    with pytest.raises(BadInputError, match=says) as caught:
        build_settings(Kettle, "kettle", overrides)
    assert "\n" not in str(caught.value)
