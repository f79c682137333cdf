"""An honest submission."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny import residual_content, tiny_count


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An honest submission."""
    (tmp_path / "no-data").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "no-data"))
    honest = residual_content(tmp_path) | {"citation": "@misc{me}"}
    return honest | {"accuracy": {"images": 20, "clean": tiny_count(tmp_path, honest) / 20}}
