"""A tiny model under a short protocol, and its undisturbed run."""

from __future__ import annotations

import pytest

from bench.core.storage.stored_run import StoredRun
from tests.support.short_runs import COUNT, completed
from tests.support.tiny import tiny_content, write_entry, write_protocol


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny model and a protocol of five images, for commands."""
    folder = tmp_path_factory.mktemp("words")
    entry = write_entry(folder, tiny_content(folder))
    for name, shard_size in (("short", 2), ("one-shard", COUNT)):
        write_protocol(folder, name, COUNT, shard_size)
    return {"model": f"file:{entry}", "protocol": str(folder / "short-v1.toml")}


@pytest.fixture(scope="module")
def undisturbed(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return completed(words, tmp_path_factory.mktemp("undisturbed"))
