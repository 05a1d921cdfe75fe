"""`skyduel init` writes the default settings of a run."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any

import pytest
from helpers.command_line import skyduel
from pydantic import BaseModel, Field

from skyduel.cli.commands.options import read_config, rules_from, tuning_from
from skyduel.cli.settings_file import allowed_values, field_descriptions, settings_file, toml_value
from skyduel.core import BadInputError
from skyduel.core.registry import available, make_detector
from skyduel.evaluation import ScoringRules
from skyduel.runner.detector_specs import DEFAULT_DETECTORS, build, parse_specs
from skyduel.runner.tune import TuningRules

BUILDABLE = sorted(set(available()) - {"file", "source-extractor"})


@pytest.fixture(scope="module")
def text() -> str:
    return settings_file(DEFAULT_DETECTORS, available())


def uncommented(text: str) -> str:
    """The file with the # of every default taken away; what is not set stays a comment."""
    return re.sub(r"^#(\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_file_as_written_says_nothing_but_the_defaults(tmp_path, capsys) -> None:
    target = tmp_path / "duel.toml"
    assert skyduel("init", target) == 0
    assert capsys.readouterr().out.strip() == str(target)
    config = read_config(target)
    assert config["detectors"] == list(DEFAULT_DETECTORS)
    assert config["workers"] == 1
    assert rules_from(config) == ScoringRules()
    assert (
        tuning_from(config, trials=None, objective=None, per_group=False, seed=None)
        == TuningRules()
    )
    chosen = parse_specs(config["detectors"], (), config["detector"])
    assert chosen == parse_specs(DEFAULT_DETECTORS)


def test_every_default_uncommented_is_the_default(text: str) -> None:
    config = tomllib.loads(uncommented(text))
    assert ScoringRules(**config["rules"]) == ScoringRules()
    assert TuningRules(**config["tuning"]) == TuningRules()
    assert set(config["detector"]) == set(available())
    for contestant in parse_specs(BUILDABLE, (), config["detector"]):
        assert build(contestant).settings == make_detector(contestant.use).settings


def test_no_setting_is_left_out_or_without_a_word(text: str) -> None:
    for table, model in [
        ("rules", ScoringRules),
        ("tuning", TuningRules),
        *((f"detector.{n}", type(make_detector(n).settings)) for n in BUILDABLE),
    ]:
        part = text.partition(f"[{table}]\n")[2].partition("\n[")[0]
        listed = set(re.findall(r"^#(\w+) =", part, flags=re.MULTILINE))
        assert set(model.model_fields) - listed <= {"not_reproduced"}, table
        assert set(field_descriptions(model)) == set(model.model_fields), table


def test_what_is_not_set_has_none_for_its_default(text: str) -> None:
    part = text.partition("[detector.sep]\n")[2].partition("\n[")[0]
    unset = set(re.findall(r"^#(\w+) =$", part, flags=re.MULTILINE))
    values = make_detector("sep").settings.model_dump()
    assert unset == {k for k, v in values.items() if v is None}


def test_an_existing_file_stays(tmp_path, capsys) -> None:
    target = tmp_path / "duel.toml"
    target.write_text("workers = 3\n")
    assert skyduel("init", target) == 2
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "workers = 3\n"
    assert skyduel("init", target, "--force", "--with", "sep") == 0
    assert read_config(target)["detectors"] == ["sep"]


def test_the_name_says_toml(tmp_path, capsys) -> None:
    assert skyduel("init", tmp_path / "duel.yaml") == 2
    assert ".toml" in capsys.readouterr().err


def test_an_unknown_detector_is_refused() -> None:
    with pytest.raises(BadInputError, match="did you mean sep"):
        settings_file(["sepp"])


def test_options_stand_above_the_file(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text('[tuning]\ntrials = 7\nobjective = "f2"\nper_group = true\n')
    made = tuning_from(read_config(path), trials=None, objective="f1", per_group=False, seed=None)
    assert made == TuningRules(trials=7, objective="f1", per_group=True)


def test_a_run_with_the_file_is_the_run_without(tmp_path, capsys, monkeypatch) -> None:
    assert skyduel("simulate", "--out", tmp_path / "sky", "--family", "sparse", "--count", 1,
                   "--ny", 64, "--nx", 72) == 0  # fmt: skip
    assert skyduel("init", tmp_path / "duel.toml") == 0
    plans = []

    def planned(plan: Any, watch: Any) -> Any:
        plans.append(plan)
        raise BadInputError("test", "the plan alone", "it")

    monkeypatch.setattr("skyduel.runner.run.run", planned)
    words = ["run", tmp_path / "sky", "--tune", "--out", tmp_path / "a"]
    assert skyduel(*words, *(w for n in DEFAULT_DETECTORS for w in ("--with", n))) == 2
    assert skyduel(*words, "--config", tmp_path / "duel.toml") == 2
    one, other = plans
    assert (one.specs, one.rules, one.workers, one.tuning) == (
        other.specs, other.rules, other.workers, other.tuning,
    )  # fmt: skip


class Plain(BaseModel):
    """A model that explains itself in its docstring.

    Parameters
    ----------
    depth : float
        How deep. And more that is too long
        for a comment.
    first, second : int
        A pair ...

    Notes
    -----
    third : nothing
    """

    depth: Annotated[float, Field(gt=0, le=2)] = 1.0
    first: int = 1
    second: int = 2
    third: str | None = Field(None, description="said by the field")


def test_meanings_come_from_the_field_or_the_docstring() -> None:
    assert field_descriptions(Plain) == {
        "depth": "How deep",
        "first": "A pair ...",
        "second": "A pair ...",
        "third": "said by the field",
    }
    assert allowed_values(Plain, "depth") == "> 0, ≤ 2"
    assert allowed_values(Plain, "third") == ""


@pytest.mark.parametrize(
    "value",
    [1, 1.5, 1e-7, True, 'a"b\\c', [1, 2], {"a b": [True]}, [[1.0, 2.0], [3.0, 4.0]]],
)
def test_values_are_read_back(value: Any) -> None:
    assert tomllib.loads(f"v = {toml_value(value)}")["v"] == value


def test_a_path_is_a_string() -> None:
    assert tomllib.loads(f"v = {toml_value(Path('a') / 'b')}")["v"] == "a/b"
