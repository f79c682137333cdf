"""A server on this machine that speaks the Hub's protocol.

It answers the real client, well or badly. The client reads its settings at import, so it runs in its own process.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.core.storage.files import sha256_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Misbehaviour:
    """The faults in the delivery of a file."""

    status: int = 200
    code: str = ""
    message: str = ""
    etag: str = ""
    """A value that replaces the real etag of the body."""
    break_at: int = 0
    """Number of bytes after which the first answer ends."""
    delay: float = 0
    """Delay of the first answer, in seconds."""


@dataclass
class Request:
    """A request of the client."""

    method: str
    path: str
    range: str | None = None


class Hub(ThreadingHTTPServer):
    """Repositories with one commit each, to which `main` points."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.wrong: dict[str, Misbehaviour] = {}
        self.requests: list[Request] = []
        self.created: list[dict[str, Any]] = []
        self.commit = COMMIT
        self.token_needed = ""

    def put(self, repo: str, name: str, body: bytes, wrong: Misbehaviour | None = None) -> None:
        """Add a file to a repository, at its commit and at `main`."""
        for revision in (self.commit, "main"):
            path = f"/{repo}/resolve/{revision}/{name}"
            self.files[path] = body
            if wrong is not None:
                self.wrong[path] = wrong


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        hub, path = self.server, self.path
        hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        body, wrong = hub.files.get(path), hub.wrong.get(path, Misbehaviour())
        if wrong.delay and self.command == "HEAD":
            delay, wrong.delay = wrong.delay, 0
            time.sleep(delay)
        if wrong.status != 200:
            self._head(wrong.status, 0, **{"X-Error-Code": wrong.code, "X-Error-Message": wrong.message})
        elif path.startswith("/api/datasets/"):
            self._describe(path.removeprefix("/api/"))
        elif body is None:
            self._head(404, 0, **{"X-Error-Code": "EntryNotFound"})
        else:
            self._send(body, wrong)

    def _describe(self, path: str) -> None:
        """Answer with the description of a dataset repository.

        The answer may also be its tree of files.
        """
        repo, kind, revision = re.split("/(revision|tree)/", path.partition("?")[0])
        start = f"/{repo}/resolve/{self.server.commit}/"
        files = {name.removeprefix(start): body for name, body in self.server.files.items() if name.startswith(start)}
        if not files or revision not in {"main", self.server.commit}:
            self._head(404, 0, **{"X-Error-Code": "RevisionNotFound" if files else "RepoNotFound"})
        elif kind == "tree":
            self._json([{"type": "file", "path": n, "size": len(b), "oid": sha256_of(b)} for n, b in files.items()])
        else:
            name, siblings = repo.removeprefix("datasets/"), [{"rfilename": name} for name in files]
            self._json({"id": name, "sha": self.server.commit, "private": False, "siblings": siblings})

    def _send(self, body: bytes, wrong: Misbehaviour) -> None:
        headers = {"X-Repo-Commit": self.server.commit, "ETag": f'"{wrong.etag or sha256_of(body)}"'}
        wanted, start = self.headers.get("Range"), 0
        if wanted is not None:
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        self._head(206 if start else 200, len(body) - start, **headers)
        if self.command == "GET":
            end = len(body)
            if wrong.break_at:
                end, wrong.break_at = wrong.break_at, 0
            self.wfile.write(body[start:end])

    def do_POST(self) -> None:
        hub = self.server
        hub.requests.append(Request(self.command, self.path))
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or self._chunks()
        if hub.token_needed and self.headers.get("Authorization") != f"Bearer {hub.token_needed}":
            self._head(401, 0, **{"X-Error-Message": "Invalid credentials"})
        elif self.path == "/api/repos/create":
            hub.created.append(json.loads(content))
            self._json({"url": f"http://127.0.0.1:{hub.server_port}/somebody/{hub.created[-1]['name']}"})
        elif self.path == "/api/validate-yaml":
            self._json({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in json.loads(content)["files"]
            ]
            self._json({"files": files})
        elif "/commit/" in self.path:
            repo = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    hub.put(repo, line["value"]["path"], base64.b64decode(line["value"]["content"]))
            self._json({"commitUrl": f"http://127.0.0.1:{hub.server_port}/{repo}/commit/{hub.commit}"} | {
                "commitOid": hub.commit, "success": True, "hookOutput": ""})  # fmt: skip
        else:
            self._head(404, 0)

    def _chunks(self) -> bytes:
        parts = []
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
        return b"".join(parts)

    def _json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self._head(200, len(body), **{"Content-Type": "application/json"})
        self.wfile.write(body)

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a Hub while the context lasts."""
    with Hub() as hub:
        thread = threading.Thread(target=hub.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()


@dataclass
class Client:
    """Programs that use a Hub through the real client.

    They have their own cache.
    """

    hub: Hub
    home: Path

    def environment(self, *, offline: bool = False) -> dict[str, str]:
        """Return the variables that let the client know only this Hub."""
        known = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        return known | {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.hub.server_port}",
            "HF_HOME": str(self.home),
            "HF_HUB_OFFLINE": str(int(offline)),
            "HF_HUB_ETAG_TIMEOUT": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "no_proxy": "127.0.0.1",
        }  # fmt: skip

    def run(self, program: str, *arguments: str, offline: bool = False) -> list[str]:
        """Run Python code and return the lines that it prints."""
        command = [sys.executable, "-c", program, *arguments]
        environment = self.environment(offline=offline)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()
