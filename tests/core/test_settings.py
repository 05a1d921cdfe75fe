"""Tests of errors in settings: nearest names, and one line per error."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from typing import Annotated

import pytest
from helpers.paths import ROOT
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from skyduel.core import BadInputError, build_settings
from skyduel.core.settings import Settings, nearest
from skyduel.simulation import InjectionSettings, SceneSettings


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


#: A record of another version may have more; none of the settings of users may.
ALL = [
    one
    for name in ("baseline", "detect", "runner", "simulation")
    for path in sorted((ROOT / name).rglob("*.py"))
    for one in re.findall(r"^class (\w+)\((.*)\):", path.read_text("utf-8"), re.MULTILINE)
    if "BaseModel" in one[1]
]


def test_all_settings_of_users_have_one_line_errors() -> None:
    assert ALL == []


class Pot(Settings):
    model_config = ConfigDict(frozen=True, extra="forbid")

    litres: Annotated[float, Field(gt=0)] = 1.5


class Stove(Settings):
    pot: Pot = Pot()


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: Pot(liters=1), "Pot: required a setting among litres; got 'liters'; did you mean "
                                "litres?"),
        (lambda: Pot(litres="a"), "Pot: litres: required input should be a valid number, unable to "
                                  "parse string as a number; got 'a'"),
        (lambda: InjectionSettings(number=-1),
         "InjectionSettings: number: required input should be greater than or equal to 0; got -1"),
        (lambda: InjectionSettings(snr=(5, 2)),
         "InjectionSettings: settings: required snr must run from low to high, not 5:2; "
         "got {'snr': (5, 2)}"),
        (lambda: SceneSettings(ny="a"),
         "SceneSettings: ny: required input should be a valid integer, unable to parse string as "
         "an integer; got 'a'"),
        (lambda: Stove(pot={"litres": 0}),
         "Stove: pot.litres: required input should be greater than 0; got 0"),
    ],
)  # fmt: skip
def test_settings_built_in_python_have_one_line_errors(
    build: Callable[[], object], says: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        build()
    assert str(caught.value) == says


def test_settings_are_copied_and_pickled_as_other_models() -> None:
    settings = InjectionSettings(number=3)
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert settings.model_copy(update={"number": 4}).number == 4
    assert Stove.model_validate({"pot": {"litres": 2}}) == Stove(pot=Pot(litres=2))
    with pytest.raises(ValidationError, match="greater than 0"):  # whose caller names the source
        Stove.model_validate({"pot": {"litres": 0}})
