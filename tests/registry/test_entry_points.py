"""Plug-ins of an installed package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import registry
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from tests.support.planted import ATTACK, ENTRY

ROOT = Path(__file__).parents[2]


def install(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH with the installed package `foreign`.

    It offers an attack and a model.
    """
    package, info = tmp_path / "foreign", tmp_path / "foreign_attacks-1.2.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text(
        "from pathlib import Path\nMODEL = Path(__file__).parent / 'tiny.toml'\nODD = MODEL.with_name('odd.toml')\n"
    )
    (package / "still.py").write_text(ATTACK)
    (package / "net.py").write_text("def build(num_classes): pass")
    (package / "tiny.toml").write_text(ENTRY)
    (package / "odd.toml").write_text(ENTRY.replace("size = 1", "size = 0").replace('"tiny"', '"odd"'))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign-attacks\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[attribution_bench.attacks]\nforeign-still = foreign.still:NAME\nbroken = foreign.missing:NAME\n"
        "number = foreign.still:__doc__\nmodule = foreign.still\nempty = foreign\n[attribution_bench.architectures]\n"
        "net = foreign.net\n[attribution_bench.models]\ntiny = foreign:MODEL\nodd = foreign:ODD\n"
    )
    return tmp_path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package `foreign` for one test."""
    monkeypatch.syspath_prepend(install(tmp_path))
    registry.refresh()
    yield
    monkeypatch.undo()
    registry.refresh()
    for module in [m for m in sys.modules if m.split(".")[0] == "foreign"]:
        del sys.modules[module]


def test_an_installed_package_adds_plugins(installed: None) -> None:
    assert "foreign-still" in registry.names("attacks")
    assert len(registry.names("attacks")) > 1
    assert registry.summary("attacks", "foreign-still") == "from foreign-attacks"
    assert "foreign" not in sys.modules
    attack = registry.instantiate("attacks", Component(name="foreign-still", params={"steps": 5}))
    assert attack.steps == 5
    assert type(attack).__module__ == "foreign.still"
    assert registry.load("models", "tiny").title == "A tiny network"


def test_python_finds_the_package_where_it_is_installed(tmp_path: Path) -> None:
    script = "from bench import registry; print(registry.load('attacks', 'foreign-still').__module__)"
    environment = {"PYTHONPATH": f"{ROOT}:{install(tmp_path)}", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "foreign.still\n"), done.stderr


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("models", "odd", r"odd\.toml: weights\.size"),
        ("attacks", "foreign-stil", r"did you mean 'foreign-still'"),
        (
            "attacks",
            "module",
            "expected a class of Attack, got the module foreign.still; name foreign.still:NAME in its",
        ),
        ("attacks", "empty", "got the module foreign; mend"),
        ("architectures", "net", "got the module foreign.net; name foreign.net:build in its"),
        ("attacks", "broken", "broken.*foreign"),
        ("attacks", "number", "number.*foreign"),
    ],
)
def test_an_entry_point_that_is_no_plugin_is_refused(
    installed: None, kind: registry.Kind, name: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        registry.load(kind, name)
