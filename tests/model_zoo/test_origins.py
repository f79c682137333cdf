"""Published weights from a server on this machine.

They are checked before they are opened, and converted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor

from bench import registry
from bench.core.errors import BenchError, EnvironmentFault, IntegrityError, NetworkError, UnreachableError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of
from bench.core.storage.published import address
from bench.core.storage.toml import parse_toml
from bench.submission.convert import Answers, convert
from bench.submission.publish import entry_toml
from model_zoo.architectures import conv_small
from model_zoo.build import build
from model_zoo.foreign.names import read_checkpoint
from model_zoo.hub import resolve
from tests.support.loopback import COMMIT, Hub, Misbehaviour, serving

REPO, PATH = "somebody/networks", "models/small.pth"
NUMBERS = {"0": "conv1", "2": "conv2", "5": "linear", "7": "head"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as hub:
        monkeypatch.setenv("BENCH_MIRROR", f"http://127.0.0.1:{hub.server_port}")
        yield hub


def tensors() -> dict[str, Tensor]:
    """A network as its authors number it."""
    generator = torch.Generator().manual_seed(0)
    own = conv_small.build(10).state_dict()
    named = {
        f"{number}.{leaf}": own[f"{name}.{leaf}"] for number, name in NUMBERS.items() for leaf in ("weight", "bias")
    }
    return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in named.items()}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "made" / "small.pth"
    path.parent.mkdir()
    torch.save({"state_dict": tensors(), "epoch": 3}, path)
    return path


@pytest.fixture
def content(tmp_path: Path, checkpoint: Path) -> dict[str, Any]:
    """Return an entry whose [weights] are those of `bench submit convert`."""
    answers = Answers(name="small", architecture="conv-small", license="MIT", method="natural")
    converted = convert(read_checkpoint(checkpoint, "state_dict"), answers, tmp_path / "converted", whose="small.pth")
    assert converted.path is not None
    body, safe = checkpoint.read_bytes(), converted.path.with_suffix(".safetensors").read_bytes()
    origin = {
        "repo": REPO,
        "commit": COMMIT,
        "path": PATH,
        "size": len(body),
        "sha256": sha256_of(body),
        "table": "state_dict",
    }
    return {
        "name": "small",
        "title": "Small",
        "architecture": {"name": "conv-small"},
        "dataset": "cifar10",
        "num_classes": 10,
        "weights": {"file": "small.safetensors", "sha256": sha256_of(safe), "size": len(safe), "origin": origin},
        "mean": [0.4914, 0.4822, 0.4465],
        "std": [0.2023, 0.1994, 0.201],
        "training": {"method": "natural"},
        "license": "MIT",
        "added": "2026-11-30",
    }


def ask(content: dict[str, Any]) -> Path:
    with registry.offering("models", "small", ModelEntry.model_validate(content)):
        return resolve("hub:small").path


def serve(hub: Hub, body: bytes, wrong: Misbehaviour | None = None) -> None:
    hub.files[f"/{REPO}/{COMMIT}/{PATH}"] = body
    if wrong is not None:
        hub.wrong[f"/{REPO}/{COMMIT}/{PATH}"] = wrong


def test_a_published_checkpoint_is_fetched_once_and_kept_as_safetensors(
    server: Hub, content: dict[str, Any], checkpoint: Path
) -> None:
    serve(server, checkpoint.read_bytes())
    path = ask(content)
    kept = load_file(path)
    for name, tensor in tensors().items():
        number, _, leaf = name.partition(".")
        assert torch.equal(kept[f"{NUMBERS[number]}.{leaf}"], tensor)
    assert ask(content) == path
    assert len(server.requests) == 1
    model = build(ModelEntry.model_validate(content), conv_small.build, path, device=torch.device("cpu"))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 10)


def test_the_kept_file_is_checked_at_every_use(server: Hub, content: dict[str, Any], checkpoint: Path) -> None:
    serve(server, checkpoint.read_bytes())
    path = ask(content)
    content_before = path.read_bytes()
    path.write_bytes(content_before[:-1] + bytes([content_before[-1] ^ 1]))
    with pytest.raises(IntegrityError, match=r"sha256.*delete .* run again to convert"):
        ask(content)


def test_a_copy_in_the_folder_of_weights_is_found_by_its_hash(
    content: dict[str, Any], checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "weights" / "deep"
    folder.mkdir(parents=True)
    shutil.copy(checkpoint, folder / "any name.bin")
    (folder / "other").write_bytes(b"?" * checkpoint.stat().st_size)
    monkeypatch.setenv("BENCH_WEIGHTS", str(folder.parent))
    monkeypatch.setenv("BENCH_MIRROR", "http://127.0.0.1:9")  # nobody listens
    assert load_file(ask(content)).keys() == conv_small.build(10).state_dict().keys()


def test_a_folder_of_weights_that_is_none_is_an_error(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_WEIGHTS", "/nowhere")
    with pytest.raises(EnvironmentFault, match=r"/nowhere.*BENCH_WEIGHTS"):
        ask(content)


def test_a_download_that_breaks_goes_on_where_it_broke(server: Hub, content: dict[str, Any], checkpoint: Path) -> None:
    serve(server, checkpoint.read_bytes(), Misbehaviour(break_at=1 << 18))
    assert ask(content).is_file()
    assert [request.range for request in server.requests] == [None, f"bytes={1 << 18}-"]


def test_a_part_of_an_earlier_process_is_continued_or_replaced(
    server: Hub, content: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    body = checkpoint.read_bytes()
    serve(server, body)
    part = tmp_path / "cache" / "published" / f"{sha256_of(body)}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(body[:1000])
    assert ask(content).is_file()
    assert server.requests[0].range == "bytes=1000-"


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 861257\n"


@pytest.mark.parametrize(
    ("change", "wrong", "error", "said"),
    [
        (lambda body: body[: len(body) // 2], None, IntegrityError, r"got \d+ bytes"),
        (lambda body: body[:-1] + bytes([body[-1] ^ 1]), None, IntegrityError, "got other bytes, sha256"),
        (lambda body: body + b"?", None, IntegrityError, r"got more than \d+ bytes"),
        (lambda body: b"<!DOCTYPE html><title>Sign in</title>", None, IntegrityError, "begin with '<!DOCTYPE html>"),
        (lambda body: LFS, None, IntegrityError, "begin with 'version https://git-lfs"),
        (lambda body: body, Misbehaviour(status=404), NetworkError, "got 404 .*moved.* vanished"),
        (lambda body: body, Misbehaviour(status=503), NetworkError, "got 503"),
    ],
    ids=["truncated", "other bytes", "too long", "page", "pointer", "gone", "out of order"],
)
def test_what_comes_in_place_of_the_file_is_one_sentence(
    server: Hub, content: dict[str, Any], checkpoint: Path, change: Any, wrong: Any, error: type[BenchError], said: str
) -> None:
    serve(server, change(checkpoint.read_bytes()), wrong)
    with pytest.raises(error, match=said) as raised:
        ask(content)
    text = str(raised.value)
    assert f"{PATH} of {REPO} at {COMMIT[:12]}" in text
    assert "--mirror (BENCH_MIRROR)" in text
    assert "\n" not in text
    serve(server, checkpoint.read_bytes(), Misbehaviour())
    assert ask(content).is_file(), "what came wrongly must not be in the way"


def test_no_server_is_an_error_of_its_own(content: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="no connection; connect to the network once, or name a mirror"):
        ask(content)


@pytest.mark.parametrize("mirror", ["ftp://here", "https://here/{branch}", "https://here/{", "{repo}"])
def test_a_mirror_is_a_web_address_or_a_template(
    content: dict[str, Any], mirror: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_MIRROR", mirror)
    with pytest.raises(UsageError, match="--mirror"):
        ask(content)


def test_a_template_says_where_each_part_of_the_name_goes(
    content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = ModelEntry.model_validate(content).weights.origin
    assert origin is not None
    monkeypatch.setenv("BENCH_MIRROR", "https://here/{repo}/raw/{commit}?file={path}")
    assert address(origin) == f"https://here/{REPO}/raw/{COMMIT}?file={PATH}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": {"name": "resnet2b"}}, "got 13 missing: .*5 unexpected"),
        (
            {"architecture": {"name": "conv-small", "params": {"side": 28}}},
            r"1 of another shape: 5.weight \(100, 2048\) for linear.weight \(100, 1568\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    server: Hub, content: dict[str, Any], checkpoint: Path, change: dict[str, Any], said: str
) -> None:
    serve(server, checkpoint.read_bytes())
    with pytest.raises(IntegrityError, match=said):
        ask(content | change)


def test_a_table_that_is_not_there_is_named(server: Hub, content: dict[str, Any], checkpoint: Path) -> None:
    serve(server, checkpoint.read_bytes())
    content["weights"]["origin"]["table"] = "ema"
    with pytest.raises(IntegrityError, match=r"one of the tables 'state_dict'.*got 'ema'"):
        ask(content)


def test_a_conversion_that_gives_other_bytes_is_refused(server: Hub, content: dict[str, Any], checkpoint: Path) -> None:
    serve(server, checkpoint.read_bytes())
    content["weights"]["sha256"] = "0" * 64
    with pytest.raises(IntegrityError, match="expected safetensors with the sha256 000000000000…, got"):
        ask(content)


def test_the_checkpoints_own_normalisation_must_be_the_entrys(
    server: Hub, content: dict[str, Any], checkpoint: Path
) -> None:
    offsets = torch.tensor([[0.5, 0.4, 0.3], [0.25, 0.2, 0.1]])
    torch.save({"state_dict": tensors() | {"input_offset": offsets}}, checkpoint)
    body = checkpoint.read_bytes()
    serve(server, body)
    content["weights"]["origin"] |= {"sha256": sha256_of(body), "size": len(body)}
    with pytest.raises(IntegrityError, match=r"got \(\(0\.5, 0\.4, 0\.3\), \(0\.25, 0\.2, 0\.1\)\) in the file"):
        ask(content)
    assert ask(content | {"mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.1]}).is_file()


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a//b", "a/../b", "with space"])
def test_a_path_stays_inside_its_repository(content: dict[str, Any], path: str) -> None:
    content["weights"]["origin"]["path"] = path
    with pytest.raises(ValidationError, match="inside a repository"):
        ModelEntry.model_validate(content)


def test_an_entry_without_an_origin_is_written_as_before(content: dict[str, Any]) -> None:
    del content["weights"]["origin"]
    entry = ModelEntry.model_validate(content)
    assert entry.weights.model_dump().keys() == {"file", "repo", "revision", "sha256", "size"}
    assert not {"smooth", "manipulation"} & entry.model_dump().keys()
    assert ModelEntry.model_validate(content | {"smooth": True}).model_dump()["smooth"] is True


def test_what_is_published_again_is_pinned_to_its_new_place(content: dict[str, Any], tmp_path: Path) -> None:
    toml = tmp_path / "entry.toml"
    toml.write_text(entry_toml(ModelEntry.model_validate(content), repo="me/small", commit=COMMIT))
    weights = parse_toml(toml, ModelEntry).weights
    assert (weights.repo, weights.revision, weights.origin) == ("me/small", COMMIT, None)
