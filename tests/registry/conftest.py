"""An empty package in place of our folders of plug-ins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import registry
from bench.core.schemas.entry import ModelEntry
from tests.support.planted import plugins_in


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `planted` in place of the attacks' folder.

    Its `entries` replace the models' folder.
    """
    package = tmp_path / "planted"
    (package / "entries").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    places: dict[registry.Kind, registry.Python | registry.Toml] = {
        "attacks": registry.Python("planted", "Attack", parameters=True),
        "architectures": registry.Python("planted", None),
        "models": registry.Toml("planted", "entries", ModelEntry),
    }
    with plugins_in(places):
        yield package
    for module in [m for m in sys.modules if m.split(".")[0] == "planted"]:
        del sys.modules[module]
