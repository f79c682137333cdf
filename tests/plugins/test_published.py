"""Entries of networks that other people trained.

They state the required facts, and their weights are not in the repository.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import registry
from bench.checks.models import verify_model
from bench.cli import main
from bench.core.errors import NetworkError
from bench.core.schemas.entry import ModelEntry, Origin
from bench.core.storage.files import sha256_of_file
from model_zoo.build import build
from model_zoo.hub import resolve

ROOT = Path(__file__).parents[2]
ENTRIES: dict[str, ModelEntry] = {name: registry.load("models", name) for name in registry.names("models")}
PUBLISHED = {name: entry for name, entry in ENTRIES.items() if entry.weights.origin is not None}
needs_weights = pytest.mark.skipif(not os.environ.get("BENCH_WEIGHTS"), reason="BENCH_WEIGHTS names no folder")


def pinned(value: object) -> Iterator[Origin]:
    """Every published file that an entry or a protocol names."""
    if isinstance(value, dict):
        if {"repo", "commit", "path", "sha256"} <= value.keys():
            fields = Origin.model_fields.keys()
            yield Origin.model_validate({key: each for key, each in value.items() if key in fields})
        for each in value.values():
            yield from pinned(each)
    elif isinstance(value, list):
        for each in value:
            yield from pinned(each)


def test_there_are_entries_of_eight_sources_beside_ours() -> None:
    assert len({entry.weights.origin.repo for entry in PUBLISHED.values() if entry.weights.origin}) >= 7
    assert len(ENTRIES) >= 50


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_network_says_where_it_comes_from_and_how_it_was_trained(name: str) -> None:
    entry = PUBLISHED[name]
    assert entry.training.by
    assert entry.training.description
    assert entry.claimed
    assert entry.citation
    assert entry.source.endswith(entry.weights.origin.repo if entry.weights.origin else "")
    assert entry.training.recipe is None, "no recipe of ours trained it"


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_is_called_smooth_has_no_relu_and_nothing_else_lacks_one(name: str) -> None:
    entry = PUBLISHED[name]
    with torch.device("meta"):
        architecture = registry.load("architectures", entry.architecture.name)
        network = architecture(entry.num_classes, **entry.architecture.params)
    assert entry.smooth == (not any(isinstance(module, nn.ReLU) for module in network.modules()))


def test_a_manipulated_network_never_contends_and_names_its_clean_twin() -> None:
    manipulated = [entry for entry in ENTRIES.values() if entry.manipulation is not None]
    assert len(manipulated) == 4
    for entry in manipulated:
        assert not entry.contends
        assert entry.parent is not None
        assert ENTRIES[entry.parent].contends


def test_no_published_file_is_in_the_repository() -> None:
    """Compare hashes of files, whatever their names are.

    Originals, converted weights and triggers are looked for.
    """
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("no git repository")
    foreign = {entry.weights.sha256: name for name, entry in PUBLISHED.items()}
    for kind in ("models", "protocols"):
        for name in registry.names(kind):
            foreign |= {found.sha256: name for found in pinned(registry.load(kind, name).model_dump(mode="json"))}
    assert len(foreign) >= 2 * len(PUBLISHED)
    files = [ROOT / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    binary = [path for path in files if path.is_file() and b"\0" in path.read_bytes()[:8000]]
    assert binary
    held = {
        str(path.relative_to(ROOT)): foreign[found] for path in binary if (found := sha256_of_file(path)) in foreign
    }
    assert not held


def test_a_tracked_copy_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "copy").write_bytes(b"\0weights")
    origin = {"repo": "a/b", "commit": "0" * 40, "path": "c", "size": 8, "sha256": sha256_of_file(tmp_path / "copy")}
    assert [found.sha256 for found in pinned({"weights": [{"origin": origin | {"table": ""}}]})] == [origin["sha256"]]


@needs_weights
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_weights_become_the_promised_safetensors(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    found = resolve(f"hub:{name}")
    assert sha256_of_file(found.path) == found.entry.weights.sha256
    architecture = registry.load("architectures", found.entry.architecture.name)
    model = build(found.entry, architecture, found.path, device=torch.device("cpu"))
    side = found.entry.architecture.params.get("side", 32)
    assert model(torch.zeros(1, len(found.entry.mean), side, side)).isfinite().all()


@pytest.mark.parametrize("skip", [True, False])
def test_without_network_and_folder_a_model_is_skipped_by_name_where_all_are_asked(
    skip: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_MIRROR", "http://127.0.0.1:9")  # nobody listens
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    (check,) = verify_model("hub:oval-pgd-conv-small", device=torch.device("cpu"), skip=skip)
    assert (check.ok, check.skipped) == (skip, skip)
    assert check.subject == "hub:oval-pgd-conv-small"
    assert "--weights (BENCH_WEIGHTS)" in check.detail


def test_the_command_asks_all_and_says_what_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setenv("BENCH_MIRROR", "http://127.0.0.1:9")
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setattr(registry, "names", lambda kind: ["mmr-conv-small", "wong-svhn-conv-small"])
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--all"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "skip   hub:mmr-conv-small: weights" in printed
    assert "0 of 2 checks passed, 2 skipped" in printed
    with pytest.raises(SystemExit) as ended:
        main(["verify", "hub:mmr-conv-small"])
    assert ended.value.code == NetworkError.exit_code
