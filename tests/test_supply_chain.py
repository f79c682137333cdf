"""The lock with hashes and the constraints have equal versions."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def locked() -> dict[str, tuple[Requirement, list[str]]]:
    """Per package, its pin and the hashes of its files."""
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    pins = [(Requirement(HASH.sub("", line).strip()), HASH.findall(line)) for line in lines]
    return {canonicalize_name(pin.name): (pin, hashes) for pin, hashes in pins}


def constrained() -> dict[str, Requirement]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in map(Requirement, lines)}


def test_every_package_of_the_lock_is_one_version_with_hashes() -> None:
    for name, (pin, hashes) in locked().items():
        assert len(pin.specifier) == 1, name
        assert str(pin.specifier).startswith("=="), name
        assert hashes, f"{name} has no hash, so pip would refuse the whole file"


def test_the_lock_has_the_versions_of_the_constraints() -> None:
    lock, constraints = locked(), constrained()
    assert {name: str(pin.specifier) for name, pin in constraints.items()} == {
        name: str(pin.specifier) for name, (pin, _) in lock.items() if name in constraints
    }, "make requirements.lock again by the command in its first lines"
    beyond = [name for name, (pin, _) in lock.items() if name not in constraints and pin.marker is None]
    assert not beyond, "a package that every platform installs has a place in constraints.txt"


@pytest.mark.parametrize("extra", [None, "dev", "autoattack"])
def test_the_lock_satisfies_what_the_project_asks_for(extra: str | None) -> None:
    project, lock = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"], locked()
    wanted = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    for requirement in map(Requirement, wanted):
        (pin,) = lock[canonicalize_name(requirement.name)][0].specifier
        assert requirement.specifier.contains(pin.version), requirement


def test_the_lowest_constraints_are_the_floors_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    floors = {canonicalize_name(wanted.name): wanted for wanted in map(Requirement, project["dependencies"])}
    lines = [line for line in (ROOT / "constraints-lowest.txt").read_text().splitlines() if not line.startswith("#")]
    lowest = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in map(Requirement, lines)}
    assert lowest.keys() == floors.keys()
    for name, version in lowest.items():
        floor = str(floors[name].specifier).removeprefix(">=")
        if name.startswith("torch"):
            assert f"=={version}" == str(constrained()[name].specifier)
        else:
            assert Version(version).release[: len(Version(floor).release)] == Version(floor).release, name
            assert not any(Version(version).release[len(Version(floor).release) :]), f"{name}: declare {version}"
