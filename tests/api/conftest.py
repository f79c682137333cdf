"""A short protocol, and a home of its own for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.tiny import write_protocol


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A protocol of four real images and few steps."""
    return str(write_protocol(tmp_path_factory.mktemp("protocol"), "short", 4, 4))


@pytest.fixture(autouse=True)
def _clean_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
