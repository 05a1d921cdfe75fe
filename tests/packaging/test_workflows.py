"""The workflows for a public forge: what they name exists here."""

import re
import subprocess
from configparser import ConfigParser
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT
from packaging.specifiers import SpecifierSet

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.glob("*.yml"))}
#: The example of the gate's page, which users copy.
EXAMPLE = re.search(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "gate.md").read_text(), re.M | re.S)
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")


def config(name: str) -> ConfigParser:
    read = ConfigParser(interpolation=None)
    read.read(ROOT / name)
    return read


def jobs() -> list[Any]:
    return [
        pytest.param(job, id=f"{name}-{key}")
        for name, flow in WORKFLOWS.items()
        for key, job in flow["jobs"].items()
    ]


def machines(job: Any) -> list[dict[str, str]]:
    """Return the values of the matrix, one record for each machine of a job."""
    included: list[dict[str, str]] = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
    return included


def texts(value: Any) -> list[str]:
    """Return all texts in nested lists and mappings."""
    if isinstance(value, dict):
        return [text for one in value.values() for text in texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in texts(one)]
    return [value] if isinstance(value, str) else []


def filled(text: str, machine: dict[str, str]) -> str:
    """Put the values of one machine into a text."""
    return EXPRESSION.sub(lambda m: machine[m[1].strip().removeprefix("matrix.")], text)


def test_there_are_the_workflows_that_the_documentation_names() -> None:
    assert set(WORKFLOWS) == {"tests", "wheels"}
    assert "`.github/workflows/wheels.yml`" in (ROOT / "docs" / "installing.md").read_text()


@pytest.mark.parametrize("flow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_a_workflow_may_only_read_and_takes_actions_by_their_hash(flow: Any) -> None:
    assert flow["permissions"] == {"contents": "read"}
    used = [
        step["uses"] for job in flow["jobs"].values() for step in job["steps"] if "uses" in step
    ]
    assert used
    for name in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", name), name


def asked_of_the_matrix(job: Any) -> set[str]:
    """Return the names of the values that a job asks its matrix for."""
    found = [e for text in texts(job) for e in EXPRESSION.findall(text)]
    return {name for e in found for name in re.findall(r"\bmatrix\.(\w+)", e)}


def test_the_matrix_has_exactly_the_values_that_a_job_asks_for() -> None:
    jobs_of = {f"{flow}-{key}": job for flow, one in WORKFLOWS.items()
               for key, job in one["jobs"].items()}  # fmt: skip
    asked = {name: asked_of_the_matrix(job) for name, job in jobs_of.items()}
    assert {"tests-versions", "wheels-wheels"} <= {name for name, values in asked.items() if values}
    for name, job in jobs_of.items():
        for machine in machines(job):  # one without values where there is no matrix
            assert set(machine) == asked[name], (name, machine)


@pytest.mark.parametrize("job", jobs())
def test_the_scripts_of_a_job_are_shell_and_the_programs_of_the_checkout_exist(job: Any) -> None:
    scripts = [step["run"] for step in job["steps"] if "run" in step]
    assert scripts
    for machine in machines(job):
        for script in (filled(script, machine) for script in scripts):
            subprocess.run(["bash", "-n", "-c", script], check=True, capture_output=True, text=True)
            for name in re.findall(r"^\.?[\w-]+/[\w./-]+", script, re.M):
                path = ROOT / name
                assert path.is_file(), name
                assert path.stat().st_mode & 0o100, name


def test_the_environments_and_pythons_of_the_tests_exist() -> None:
    tox, asked = config("tox.ini"), SpecifierSet(config("setup.cfg")["options"]["python_requires"])
    versions = WORKFLOWS["tests"]["jobs"]["versions"]
    (command,) = [s["run"] for s in versions["steps"] if s.get("run", "").startswith("tox")]
    for machine in machines(versions):
        name = filled(command, machine).split()[-1]
        section = tox[f"testenv:{name}"]
        assert asked.contains(machine["python"])
        # tox looks for this Python, and the machine has only the one that was set up.
        wanted = section.get("base_python", "").removeprefix("python")
        assert wanted in ("", machine["python"])


def test_the_wheels_are_those_of_the_script() -> None:
    script = (ROOT / "distribution" / "build_wheel.sh").read_text()
    job = WORKFLOWS["wheels"]["jobs"]["wheels"]
    (environment,) = [step["env"] for step in job["steps"] if "env" in step]
    assert {machine["arch"] for machine in machines(job)} == {"x86_64", "aarch64"}
    oldest = config("setup.cfg")["options"]["python_requires"].removeprefix(">=").replace(".", "")
    for machine in machines(job):
        arch = machine["arch"]
        assert filled(environment["CIBW_BUILD"], machine) == f"cp{oldest}-manylinux_{arch}"
        image = environment[f"CIBW_MANYLINUX_{arch.upper()}_IMAGE"]
        assert f"PLATFORM={image}_$ARCH" in script
    excluded = re.findall(r"--exclude '(\S+)'", script)
    assert excluded
    assert re.findall(r"--exclude '(\S+)'", environment["CIBW_REPAIR_WHEEL_COMMAND_LINUX"]) == (
        excluded
    )
    # The build reads these, and the container gets only what is named.
    assert {"SKYDUEL_CUDA", "CUDA_HOME"} == {
        pair.partition("=")[0] for pair in environment["CIBW_ENVIRONMENT"].split()
    }
    assert environment["CIBW_ENVIRONMENT_PASS_LINUX"] == "SOURCE_DATE_EPOCH"


def test_the_example_of_the_gate_gives_the_action_what_it_asks_for() -> None:
    assert EXAMPLE is not None
    (job,) = yaml.safe_load(EXAMPLE[1])["jobs"].values()
    (given,) = [step["with"] for step in job["steps"] if "skyduel@" in step.get("uses", "")]
    inputs = ACTION["inputs"]
    assert set(given) <= set(inputs)
    assert {name for name, one in inputs.items() if one.get("required")} <= set(given)
    (run,) = [step["run"] for step in job["steps"] if step.get("run", "").startswith("skyduel run")]
    assert f"--out {given['candidate']}" in run
