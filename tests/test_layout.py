"""Rules for the size of folders and files.

One more is for what tests share.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LINES = {"bench": 300, "model_zoo": 300, "attacks": 300, "metrics": 300, "leaderboard": 300, "tests": 400}
"""Most lines of a file, by folder."""


def too_long(root: Path, most: Mapping[str, int]) -> list[str]:
    """List the files with more lines than their folder allows."""
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for name in most for path in _files(root, name)}
    wide = {path: count for path, count in counts.items() if count > most[path.relative_to(root).parts[0]]}
    return sorted(f"{path.relative_to(root)}: {count} lines; split it" for path, count in wide.items())


def borrowing(root: Path) -> list[str]:
    """List imports from test files.

    What tests share lies in tests/support or a conftest.
    """
    return [
        f"{path.relative_to(root)}:{node.lineno} imports from {node.module}; move what both need to tests/support"
        for path in sorted((root / "tests").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").rpartition(".")[2].startswith("test_")
    ]


def _files(root: Path, folder: str) -> list[Path]:
    return list((root / folder).rglob("*.py"))


@pytest.mark.parametrize(("folder", "most"), [("bench", 17), ("leaderboard", 10)])
def test_a_folder_holds_few_rooms(folder: str, most: int) -> None:
    names = {path.name for path in (ROOT / folder).iterdir() if path.suffix == ".py" or path.is_dir()}
    rooms = sorted(names - {"__init__.py", "__pycache__"})
    assert len(rooms) <= most, f"expected a room for what is new, got {rooms}"


def test_no_file_is_long() -> None:
    assert not too_long(ROOT, LINES)


def test_no_test_file_imports_from_another() -> None:
    assert not borrowing(ROOT)


def test_a_planted_import_from_a_test_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("from tests.support.tiny import tiny\nfrom tests.test_b import b\n")
    assert borrowing(tmp_path) == ["tests/test_a.py:2 imports from tests.test_b; move what both need to tests/support"]


def test_a_planted_long_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "long.py").write_text("a = 1\n" * 4)
    (tmp_path / "bench" / "short.py").write_text("a = 1\n" * 3)
    assert too_long(tmp_path, {"bench": 3}) == ["bench/long.py: 4 lines; split it"]
