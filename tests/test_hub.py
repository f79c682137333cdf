"""Models by reference: nothing is read whose bytes are not the promised ones, and every refusal says what to do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bench.core.entry import ModelEntry
from bench.core.errors import EnvironmentFault, IntegrityError, NetworkError, UnknownNameError, UsageError
from bench.core.files import sha256_of
from model_zoo import hub
from tests.tiny import tiny_content, write_entry

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def no_entries(name: str) -> ModelEntry:
    raise UnknownNameError("models", name, [])


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    return tiny_content(tmp_path)


@pytest.fixture
def toml(tmp_path: Path, content: dict[str, Any]) -> Path:
    return write_entry(tmp_path, content)


def test_a_local_entry_finds_the_weights_beside_it(toml: Path) -> None:
    found = hub.resolve(f"file:{toml}", no_entries)
    assert found.path == toml.with_suffix(".safetensors")
    assert found.entry.name == "tiny"
    assert found.reference == "file:tiny.toml", "the folder would make the identity of a run depend on the machine"


def test_a_hub_name_finds_the_embedded_weights(
    toml: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "EMBEDDED", toml.parent)
    content["weights"] |= {"repo": "owner/models", "revision": COMMIT}
    monkeypatch.setattr(hub, "_fetch", lambda weights: pytest.fail("the file is here, nothing is to be fetched"))
    found = hub.resolve("hub:tiny", lambda name: ModelEntry.model_validate(content | {"name": name}))
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
        hub.resolve(reference, no_entries)


def test_an_unknown_name_is_the_registrys_error() -> None:
    with pytest.raises(UnknownNameError):
        hub.resolve("hub:nothing", no_entries)


def test_a_missing_toml_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.toml"):
        hub.resolve(f"file:{tmp_path / 'absent.toml'}", no_entries)


@pytest.mark.parametrize("file", ["../tiny.safetensors", "/tiny.safetensors", "a\\tiny.safetensors", "tiny.pt", ""])
def test_paths_out_of_the_folder_and_other_formats_are_refused(
    file: str, tmp_path: Path, content: dict[str, Any]
) -> None:
    content["weights"]["file"] = file
    with pytest.raises(
        UsageError, match=r"tiny\.toml: weights\.file: expected a relative path of a \.safetensors file"
    ):
        hub.resolve(f"file:{write_entry(tmp_path, content)}", no_entries)


@pytest.mark.parametrize("revision", ["main", COMMIT[:12], COMMIT.upper()])
def test_a_hub_file_must_be_pinned_to_a_full_commit(revision: str, tmp_path: Path, content: dict[str, Any]) -> None:
    content["weights"] |= {"repo": "owner/models", "revision": revision}
    with pytest.raises(UsageError, match="revision"):
        hub.resolve(f"file:{write_entry(tmp_path, content)}", no_entries)


def flip_last_byte(good: bytes) -> bytes:
    return good[:-1] + bytes([good[-1] ^ 1])


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
        hub.resolve(f"file:{toml}", no_entries)
    message = str(caught.value)
    assert str(path) in message
    assert all(word in message for word in ("expected", "got", "restore it"))


def test_absent_weights_are_an_integrity_error(toml: Path) -> None:
    toml.with_suffix(".safetensors").unlink()
    with pytest.raises(IntegrityError, match="got no file"):
        hub.resolve(f"file:{toml}", no_entries)
    toml.with_suffix(".safetensors").mkdir()
    with pytest.raises(IntegrityError, match="got no file"):
        hub.resolve(f"file:{toml}", no_entries)


def test_a_full_disk_is_the_environments_fault_and_not_the_networks() -> None:
    assert isinstance(hub._translate("weights", OSError(28, "No space left on device")), EnvironmentFault)
    assert isinstance(hub._translate("weights", OSError("connection reset")), NetworkError)


# The real client of the Hub, against a server on this machine. It reads its settings when it is imported, hence the
# processes of its own.

ASK = """
import sys
from bench.core.errors import BenchError
from model_zoo.hub import resolve
for path in sys.argv[1:]:
    try:
        print("found", resolve(f"file:{path}", None).path)
    except BenchError as error:
        print(error.exit_code, error)
"""
Ask = Callable[..., list[str]]


class Hub(ThreadingHTTPServer):
    """Serves the files of a pinned commit as the Hub does: a HEAD with commit and etag, then the bytes."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = files


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        body = self.server.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        if body is None:
            self.send_header("X-Error-Code", "EntryNotFound")
        else:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{sha256_of(body)}"')
        self.end_headers()
        if body is not None and self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Hub]:
    with Hub({}) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server: Hub, tmp_path: Path) -> Ask:
    """Resolve local entries in a process whose Hub is the server, or is out of reach."""

    def answer(*tomls: Path, offline: bool = False) -> list[str]:
        settings = {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HOME": str(tmp_path / "cache"),
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "no_proxy": "127.0.0.1",
        }
        command = [sys.executable, "-c", ASK, *map(str, tomls)]
        done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return answer


def remote_entry(folder: Path, name: str) -> tuple[Path, bytes]:
    """An entry whose weights lie on the Hub only, and those weights."""
    content = tiny_content(folder, name)
    content["weights"] |= {"repo": "owner/models", "revision": COMMIT}
    path = folder / f"{name}.safetensors"
    body = path.read_bytes()
    path.unlink()
    return write_entry(folder, content), body


def test_the_client_fetches_caches_and_reports_a_404(server: Hub, ask: Ask, tmp_path: Path) -> None:
    here, body = remote_entry(tmp_path, "here")
    gone, _ = remote_entry(tmp_path, "gone")
    server.files[f"/owner/models/resolve/{COMMIT}/here.safetensors"] = body

    found, missing = ask(here, gone)
    assert found.startswith("found ")
    cached = Path(found.removeprefix("found "))
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
    assert "delete it and run again to fetch it" in damaged


def test_a_page_served_in_place_of_weights_is_named(server: Hub, ask: Ask, tmp_path: Path) -> None:
    here, _ = remote_entry(tmp_path, "here")
    server.files[f"/owner/models/resolve/{COMMIT}/here.safetensors"] = b"<!doctype html><p>Please sign in"
    (answer,) = ask(here)
    assert answer.startswith("3 ")
    assert "an HTML page" in answer
