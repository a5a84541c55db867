"""The constraints for vLLM and SGLang fit the program."""

import subprocess

import pin_engines
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def read_pins(engine):
    text = (pin_engines.ROOT / f"constraints-{engine}.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize("engine", pin_engines.RELEASES)
def test_pins_fit_what_the_program_needs(engine):
    import tomllib

    pins = read_pins(engine)
    project = tomllib.loads((pin_engines.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in [*project["dependencies"], *project["optional-dependencies"][engine]]:
        requirement = Requirement(line)
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, line
    assert pins[engine] == pin_engines.RELEASES[engine]
    assert pins["lm-eval"] == "0.4.13"


@pytest.mark.parametrize("engine", pin_engines.RELEASES)
def test_pins_resolve(engine):
    lines = [f"{name}=={version}" for name, version in read_pins(engine).items()]
    try:
        found = pin_engines.resolve(engine, lines)
    except subprocess.CalledProcessError as error:
        if "Failed to fetch" in error.stderr or "error sending request" in error.stderr:
            pytest.skip("no package index within reach")
        raise AssertionError(error.stderr) from error
    assert {canonicalize_name(name): version for name, version in found.items()} == read_pins(engine)
