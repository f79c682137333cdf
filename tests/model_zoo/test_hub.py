"""Models and weights on a Hub, through the real client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of
from bench.submission.publish import write_folder
from tests.support.damage import flip_last_byte
from tests.support.loopback import COMMIT, Client, Hub, Misbehaviour, serving
from tests.support.tiny import residual_content, write_entry

ASK = """
import sys
from bench import registry
from bench.core.errors import BenchError
from model_zoo.hub import resolve
for reference in sys.argv[1:]:
    try:
        found = resolve(reference)
        print("found", found.path, found.reference, found.entry.weights.repo, found.entry.weights.revision)
    except BenchError as error:
        print(error.exit_code, error)
assert "torch" not in sys.modules
"""
REPO = "owner/models"
CHUNK = 10 * 1024 * 1024
"""What the client writes at a time: a download that breaks earlier starts again from nothing."""
Ask = Callable[..., list[str]]


@pytest.fixture
def server() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture
def client(server: Hub, tmp_path: Path) -> Client:
    return Client(server, tmp_path / "cache")


@pytest.fixture
def ask(client: Client) -> Ask:
    """Resolve references in another process.

    Its Hub is the server, or out of reach.
    """

    def answer(*references: str, offline: bool = False) -> list[str]:
        return client.run(ASK, *references, offline=offline)

    return answer


def remote_entry(folder: Path, name: str, size: int = 0) -> tuple[str, bytes]:
    """Write an entry whose weights are on the Hub only.

    Return it with the weights, or with `size` bytes in their place.
    """
    content = residual_content(folder, name)
    path = folder / f"{name}.safetensors"
    body = bytes(size) or path.read_bytes()
    content["weights"] |= {"repo": REPO, "revision": COMMIT, "size": len(body), "sha256": sha256_of(body)}
    path.unlink()
    return f"file:{write_entry(folder, content)}", body


def publish(server: Hub, folder: Path, repo: str = REPO, **changes: Any) -> bytes:
    """Upload a model as `bench submit publish` does, and return its weights."""
    content = residual_content(folder, "theirs") | changes
    body = (folder / "theirs.safetensors").read_bytes()
    server.put(repo, "theirs.safetensors", body)
    server.put(repo, "entry.toml", write_entry(folder, content).read_bytes())
    return body


def test_the_client_fetches_caches_and_reports_a_404(server: Hub, ask: Ask, tmp_path: Path) -> None:
    (here, body), (gone, _) = remote_entry(tmp_path, "here"), remote_entry(tmp_path, "gone")
    server.put(REPO, "here.safetensors", body)

    found, missing = ask(here, gone)
    assert found.startswith("found ")
    cached = Path(found.split()[1])
    assert cached.read_bytes() == body
    assert missing.startswith("4 expected to download gone.safetensors of owner/models at 0123456789ab, got: ")
    assert "404" in missing

    server.files.clear()
    again, unreachable = ask(here, gone, offline=True)
    assert again == found, "a cached file of a pinned commit needs no network"
    assert unreachable.startswith("4 expected to download gone.safetensors")
    assert "HF_HOME" in unreachable

    cached.resolve().write_bytes(flip_last_byte(body))
    (damaged,) = ask(here, offline=True)
    assert damaged.startswith("3 ")
    assert f"delete {cached.resolve()} and run again to fetch it" in damaged
    cached.resolve().unlink()
    server.put(REPO, "here.safetensors", body)
    assert ask(here) == [found], "what the message says helps"


def test_a_bad_server_is_named_and_a_slow_or_broken_one_is_outlasted(server: Hub, ask: Ask, tmp_path: Path) -> None:
    bodies = {}
    cases: dict[str, tuple[Callable[[bytes], bytes], Misbehaviour]] = {
        "page": (lambda good: b"<!doctype html><p>Please sign in", Misbehaviour()),
        "private": (lambda good: good, Misbehaviour(401, "RepoNotFound", "Repository not found")),
        "gated": (lambda good: good, Misbehaviour(403, "GatedRepo", "Access is restricted")),
        "expired": (lambda good: good, Misbehaviour(401, "", "Invalid credentials in Authorization header")),
        "lying": (flip_last_byte, Misbehaviour(etag="0" * 64)),
        "short": (lambda good: good[:-9], Misbehaviour()),
        "broken": (lambda good: good, Misbehaviour(break_at=CHUNK + 99)),
        "slow": (lambda good: good, Misbehaviour(delay=1.2)),
    }
    references = []
    for name, (change, wrong) in cases.items():
        reference, bodies[name] = remote_entry(tmp_path, name, CHUNK + 1000 if name == "broken" else 0)
        references.append(reference)
        server.put(REPO, f"{name}.safetensors", change(bodies[name]), wrong)
    answers = dict(zip(cases, ask(*references), strict=True))

    assert answers["page"].startswith("3 ")
    assert "an HTML page" in answers["page"]
    assert "the token is wrong or has expired: log in again with `hf auth login`" in answers["expired"]
    for name in ("private", "gated"):
        assert answers[name].startswith(f"4 expected to download {name}.safetensors of owner/models")
        assert "log in" in answers[name]
    assert answers["lying"].startswith("3 ")
    assert "to have the sha256" in answers["lying"], "the server is not trusted for file and hash"
    assert answers["short"].startswith("3 ")
    for name in ("broken", "slow"):
        assert Path(answers[name].split()[1]).read_bytes() == bodies[name]
    assert [r.range for r in server.requests if r.method == "GET" and "broken" in r.path] == [None, f"bytes={CHUNK}-"]
    assert len([r for r in server.requests if r.method == "HEAD" and "slow" in r.path]) == 2


def test_a_published_model_is_pinned_to_its_commit(server: Hub, ask: Ask, tmp_path: Path) -> None:
    body = publish(server, tmp_path)
    (found,) = ask(f"hub:{REPO}")
    _, path, *pinned = found.split()
    assert Path(path).read_bytes() == body
    assert pinned == [f"hub:{REPO}@{COMMIT}", REPO, COMMIT]
    assert ask(f"hub:{REPO}", f"hub:{REPO}@main", f"hub:{REPO}@{COMMIT}", offline=True) == [found] * 3

    moved = COMMIT[::-1]
    server.commit = moved
    publish(server, tmp_path, title="A later commit")
    newer, older = ask(f"hub:{REPO}", f"hub:{REPO}@{COMMIT}")
    assert f"hub:{REPO}@{moved}" in newer
    assert older == found


def test_published_entries_that_are_not_to_be_trusted_are_refused(server: Hub, ask: Ask, tmp_path: Path) -> None:
    publish(
        server, tmp_path, "a/traversal", weights=residual_content(tmp_path)["weights"] | {"file": "../x.safetensors"}
    )
    publish(server, tmp_path, "a/impostor", name="art-wrn28")
    publish(server, tmp_path, "a/control", title="\x1b[2J")
    server.put("a/page", "entry.toml", b"<html>Sign in</html>")
    server.put("a/huge", "entry.toml", b"#" * 100_000)
    server.put("a/nested", "entry.toml", b"a = " + b"[" * 5000)
    names = ("traversal", "impostor", "control", "page", "huge", "nested", "absent")
    answers = dict(zip(names, ask(*(f"hub:a/{name}" for name in names)), strict=True))
    expected = {
        "traversal": f"2 hub:a/traversal@{COMMIT}: entry.toml: weights.file: expected a relative path",
        "impostor": f"2 expected hub:a/impostor@{COMMIT} under a name of its own, got art-wrn28",
        "control": f"2 hub:a/control@{COMMIT}: entry.toml: title: expected text without control characters",
        "page": f"3 expected an entry of at most 65536 bytes in entry.toml of hub:a/page@{COMMIT}, got 20 bytes (an",
        "huge": "3 expected an entry of at most 65536 bytes",
        "nested": f"2 hub:a/nested@{COMMIT}: entry.toml: expected TOML",
        "absent": "4 expected to download entry.toml of a/absent at main",
    }
    for name, start in expected.items():
        assert answers[name].startswith(start)
    assert all(answer.isprintable() for answer in answers.values())


UPLOAD = """
import json, os, sys
from pathlib import Path
from bench.core.errors import BenchError
from bench.submission.publish import upload
for os.environ["HF_TOKEN"] in sys.argv[3:]:
    try:
        print(upload(Path(sys.argv[1]), json.loads(sys.argv[2]), "owner/uploaded"))
    except BenchError as error:
        print(error.exit_code, error)
"""


def test_what_is_uploaded_can_be_resolved(server: Hub, client: Client, ask: Ask, tmp_path: Path) -> None:
    content = residual_content(tmp_path)
    folder = tmp_path / "hub"
    entry = ModelEntry.model_validate(content)
    names = write_folder(entry, tmp_path / "tiny.safetensors", [], "owner/uploaded", folder)
    (folder / "private.txt").write_text("not to be uploaded")
    server.token_needed = "secret"
    refused, commit = client.run(UPLOAD, str(folder), json.dumps(names), "wrong", "secret")
    assert refused.startswith("4 expected to upload")
    assert "log in" in refused
    assert commit == COMMIT
    assert len(server.created) == 1
    assert server.created[0]["name"] == "uploaded"
    assert {path.rpartition("/")[2] for path in server.files} == {"entry.toml", "README.md", "tiny.safetensors"}
    (found,) = ask("hub:owner/uploaded")
    assert found.split()[2:] == [f"hub:owner/uploaded@{COMMIT}", "owner/uploaded", COMMIT]
