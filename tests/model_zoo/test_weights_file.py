"""References to models: what they name, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from bench import registry
from bench.core.errors import BenchError, EnvironmentFault, IntegrityError, NetworkError, UnknownNameError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of
from bench.run.plan import plan
from bench.run.request import Request
from model_zoo import hub
from model_zoo.architectures import wide_resnet
from model_zoo.build import build
from model_zoo.tensors import export_weights
from tests.support.damage import flip_last_byte
from tests.support.loopback import COMMIT
from tests.support.tiny import residual_content, tiny_network, write_entry


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    return residual_content(tmp_path)


@pytest.fixture
def toml(tmp_path: Path, content: dict[str, Any]) -> Path:
    return write_entry(tmp_path, content)


def test_a_local_entry_finds_the_weights_beside_it(toml: Path) -> None:
    found = hub.resolve(f"file:{toml}")
    assert found.path == toml.with_suffix(".safetensors")
    assert found.entry.name == "tiny"
    assert found.reference == "file:tiny.toml", "the folder would make the identity of a run depend on the machine"


def test_a_hub_name_finds_the_embedded_weights(
    toml: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "EMBEDDED", toml.parent)
    content["weights"] |= {"repo": "owner/models", "revision": COMMIT}
    monkeypatch.setattr(hub, "_fetch", lambda weights: pytest.fail("the file is here, nothing is to be fetched"))
    with registry.offering("models", "tiny", ModelEntry.model_validate(content)):
        found = hub.resolve("hub:tiny")
    assert found.path == toml.with_suffix(".safetensors")
    assert found.reference == "hub:tiny"


@pytest.mark.parametrize(
    ("reference", "hint"),
    [
        ("natural-wrn28", "write hub:natural-wrn28"),
        ("hub:", "hub:NAME"),
        ("hf:owner/models", "hub:NAME"),
        ("file:weights.safetensors", "file:PATH.toml"),
        ("", "hub:NAME"),
    ],
)
def test_other_forms_of_a_reference_are_refused_with_a_hint(reference: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        hub.resolve(reference)


def test_an_unknown_name_is_the_registrys_error() -> None:
    with pytest.raises(UnknownNameError):
        hub.resolve("hub:nothing")


def test_a_missing_toml_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml"):
        hub.resolve(f"file:{tmp_path / 'absent.toml'}")


@pytest.mark.parametrize("file", ["../tiny.safetensors", "/tiny.safetensors", "a\\tiny.safetensors", "tiny.pt", ""])
def test_paths_out_of_the_folder_and_other_formats_are_refused(
    file: str, tmp_path: Path, content: dict[str, Any]
) -> None:
    content["weights"]["file"] = file
    with pytest.raises(
        UsageError, match=r"tiny\.toml: weights\.file: expected a relative path of a \.safetensors file"
    ):
        hub.resolve(f"file:{write_entry(tmp_path, content)}")


@pytest.mark.parametrize("revision", ["main", COMMIT[:12], COMMIT.upper()])
def test_a_hub_file_must_be_pinned_to_a_full_commit(revision: str, tmp_path: Path, content: dict[str, Any]) -> None:
    content["weights"] |= {"repo": "owner/models", "revision": revision}
    with pytest.raises(UsageError, match="revision"):
        hub.resolve(f"file:{write_entry(tmp_path, content)}")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (flip_last_byte, "to have the sha256"),
        (lambda good: good[:-1], "bytes in"),
        (lambda good: good + b"\0", "bytes in"),
        (lambda good: b"", "got 0"),
        (lambda good: b"\n<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
        (lambda good: b"<html>".ljust(len(good)), "an HTML page"),
        (lambda good: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ],
)
def test_damaged_weights_are_an_integrity_error(damage: Callable[[bytes], bytes], complaint: str, toml: Path) -> None:
    path = toml.with_suffix(".safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(IntegrityError, match=complaint) as caught:
        hub.resolve(f"file:{toml}")
    message = str(caught.value)
    assert str(path) in message
    assert all(word in message for word in ("expected", "got", "correct [weights]", "bench submit init"))


def test_absent_weights_are_an_integrity_error(toml: Path) -> None:
    toml.with_suffix(".safetensors").unlink()
    with pytest.raises(IntegrityError, match="got no file"):
        hub.resolve(f"file:{toml}")
    toml.with_suffix(".safetensors").mkdir()
    with pytest.raises(IntegrityError, match="got no file"):
        hub.resolve(f"file:{toml}")


def test_a_full_disk_is_the_environments_fault_and_not_the_networks() -> None:
    assert isinstance(hub.translate("to store weights", OSError(28, "No space left on device")), EnvironmentFault)
    assert isinstance(hub.translate("to store weights", OSError("connection reset")), NetworkError)


ODD = ["a/../tiny", ".hidden", "~/tiny", "./tiny", "a//tiny", "/a/tiny", "a\\tiny", "a\x00", "a\x1b[2J", "tiny\n", "é"]


@pytest.mark.parametrize("file", [f"{name}.safetensors" for name in ODD] + ["tiny.safetensors\n", "tiny.pt"])
def test_odd_paths_are_refused(file: str, content: dict[str, Any]) -> None:
    content["weights"]["file"] = file
    with pytest.raises(ValidationError, match=r"a relative path of a \.safetensors file"):
        ModelEntry.model_validate(content)


@pytest.mark.parametrize("repo", ["../..", "a/..", "a/b/c", "a", "/b", "-a/b", "a/b\n", "é/b"])
def test_odd_repositories_are_refused(repo: str, content: dict[str, Any]) -> None:
    content["weights"] |= {"repo": repo, "revision": COMMIT}
    with pytest.raises(ValidationError, match="repo"):
        ModelEntry.model_validate(content)


@pytest.mark.parametrize("key", ["title", "license", "citation", "source", "training"])
def test_text_that_steers_a_terminal_is_refused(key: str, content: dict[str, Any]) -> None:
    hostile = "https://\x1b[2J"
    content[key] = {"method": hostile} if key == "training" else hostile
    with pytest.raises(ValidationError, match="without control characters"):
        ModelEntry.model_validate(content)


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(toml: Path, tmp_path: Path) -> None:
    path = toml.with_suffix(".safetensors")
    inside = path.rename(path.with_name("real.safetensors"))
    path.symlink_to(inside.name)
    assert hub.resolve(f"file:{toml}").path == path

    outside = tmp_path.parent / f"{tmp_path.name}-outside.safetensors"
    inside.rename(outside)
    for target in (outside, Path("..") / outside.name):
        path.unlink()
        path.symlink_to(target)
        with pytest.raises(IntegrityError, match="inside its folder, got a link to"):
            hub.resolve(f"file:{toml}")
    path.unlink()
    path.symlink_to(path.name)
    with pytest.raises(IntegrityError, match="got no file"):
        hub.resolve(f"file:{toml}")


def test_the_bytes_that_are_parsed_are_the_bytes_that_were_promised(toml: Path) -> None:
    found = hub.resolve(f"file:{toml}")
    export_weights(tiny_network(seed=1), found.path)  # somebody swaps the file between the check and the reading
    with pytest.raises(IntegrityError, match="to have the sha256"):
        build(found.entry, wide_resnet.build, found.path, device=torch.device("cpu"))


def test_a_pickle_under_the_name_of_safetensors_is_named(toml: Path, content: dict[str, Any]) -> None:
    path = toml.with_suffix(".safetensors")
    torch.save({"a": torch.zeros(2)}, path)
    with pytest.raises(IntegrityError, match="bench submit convert"):
        hub.resolve(f"file:{toml}")
    content["weights"] |= {"size": path.stat().st_size, "sha256": sha256_of(path.read_bytes())}
    found = hub.resolve(f"file:{write_entry(toml.parent, content)}")
    with pytest.raises(IntegrityError, match="a PyTorch checkpoint, which may run code"):
        build(found.entry, wide_resnet.build, found.path, device=torch.device("cpu"))


@pytest.mark.parametrize("reference", ["hub:a/b@", "hub:a/b@../x", "hub:a/b/c", "hub:/b", "hub:a/b@x y", "hub:../.."])
def test_other_forms_of_a_published_reference_are_refused(reference: str) -> None:
    with pytest.raises(UsageError, match="hub:ORG/REPO@COMMIT"):
        hub.resolve(reference)


def test_the_commit_of_a_published_model_is_part_of_a_runs_identity(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = {}
    for commit in (COMMIT, COMMIT[::-1]):
        snapshot = tmp_path / "snapshots" / commit
        snapshot.mkdir(parents=True)
        write_entry(tmp_path, content).rename(snapshot / "entry.toml")
        shutil.copy(tmp_path / "tiny.safetensors", snapshot)
        monkeypatch.setattr(hub, "_download", lambda _repo, file, _revision, folder=snapshot: folder / file)
        planned = plan(Request(model="hub:a/b", attack="random-noise", protocol="cifar10-smoke-v1"))
        specs[commit] = planned.spec
        assert planned.spec.model.reference == f"hub:a/b@{commit}"
        assert planned.model.entry.weights.revision == commit
    assert len({spec.run_id for spec in specs.values()}) == 2


def test_a_damaged_entry_in_the_cache_is_a_file_to_delete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "snapshots" / COMMIT / "entry.toml"
    cached.parent.mkdir(parents=True)
    monkeypatch.setattr(hub, "_download", lambda *_: cached)
    for body in (b"\0" * 10, b"<!doctype html><p>Sign in", b"\x80\x02}q\x00."):
        cached.write_bytes(body)
        with pytest.raises(BenchError, match=f"delete {cached}"):
            hub.resolve("hub:a/b")
