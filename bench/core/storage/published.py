"""Fetches published files at a pinned commit, and checks their bytes."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bench.core.errors import (
    BenchError,
    EnvironmentFault,
    IntegrityError,
    NetworkError,
    UnreachableError,
    UsageError,
)
from bench.core.schemas.entry import Origin, PackagedWeights
from bench.core.storage.files import sha256_of_file
from bench.core.storage.folders import cache_folder
from bench.core.storage.lease import lease
from bench.core.text import printable

if TYPE_CHECKING:
    from requests import Response

RAW = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
"""Address of a file of a public repository at a commit; BENCH_MIRROR replaces this template."""

SECONDS = 30
"""Seconds without an answer after which a download fails."""

WORDS = 60
"""Number of bytes that an error shows if a text came in place of the file."""

ELSEWHERE = "name a mirror with --mirror (BENCH_MIRROR), or a folder that holds a copy with --weights (BENCH_WEIGHTS)"


def published(origin: Origin) -> Path:
    """Return the path of a checked copy of a published file.

    It is taken from the folder of weights, from the cache, or fetched.

    Raises:
        NetworkError: if it must be fetched and cannot be.
        IntegrityError: if its bytes are not the promised ones.
    """
    if (copy := copy_in_folder(origin)) is not None:
        return copy
    path = cache_folder() / "published" / origin.sha256
    if not path.exists():
        with lease(path.with_suffix(".lease"), _patient):
            if not path.exists():  # another process may have fetched it meanwhile
                _fetch(origin, path)
    if (actual := sha256_of_file(path)) != origin.sha256:
        raise IntegrityError(
            f"expected {path} to have the sha256 {origin.sha256[:12]}…, got {actual[:12]}…; delete it, and run again"
        )
    return path


def address(origin: Origin) -> str:
    """Return the URL of a published file.

    Raises:
        UsageError: if BENCH_MIRROR is not such a template.
    """
    template = os.environ.get("BENCH_MIRROR") or RAW
    if "{" not in template:
        template = template.rstrip("/") + "/{repo}/{commit}/{path}"
    try:
        url = template.format(repo=origin.repo, commit=origin.commit, path=origin.path)
    except (LookupError, ValueError):
        url = ""
    if not url.startswith(("https://", "http://")):
        raise UsageError(
            "expected a mirror as https://HOST or a template of {repo}, {commit} and {path}, got "
            f"{template!r}; correct --mirror or BENCH_MIRROR"
        )
    return url


def named(origin: Origin | PackagedWeights) -> str:
    """Return a published file's name for messages."""
    if isinstance(origin, PackagedWeights):
        return f"{origin.path} of the package {origin.package}"
    return f"{origin.path} of {origin.repo} at {origin.commit[:12]}"


def weights_folder() -> Path | None:
    """Return the folder with copies of published files, or None.

    `BENCH_WEIGHTS` names it. Copies are looked for there first.

    Raises:
        EnvironmentFault: if `BENCH_WEIGHTS` does not name a folder.
    """
    chosen = os.environ.get("BENCH_WEIGHTS")
    if chosen and not Path(chosen).is_dir():
        raise EnvironmentFault(
            f"expected a folder of published weights at {chosen}, got none; correct --weights or BENCH_WEIGHTS"
        )
    return Path(chosen) if chosen else None


def _patient() -> None:
    """Wait for another process that fetches the same file."""


def copy_in_folder(origin: Origin | PackagedWeights) -> Path | None:
    """Return the copy of a published file in the folder of weights.

    It is found by its bytes; its name does not matter.
    """
    folder = weights_folder()
    files = () if folder is None else sorted(path for path in folder.rglob("*") if path.is_file())
    same_size = (path for path in files if path.stat().st_size == origin.size)
    return next((path for path in same_size if sha256_of_file(path) == origin.sha256), None)


class _Part:
    """An unfinished download that accepts at most one byte too many."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size + 1 - file.tell()

    def write(self, chunk: bytes) -> None:
        """Append a chunk."""
        self.file.write(chunk[: self.left])
        self.left -= len(chunk)
        if self.left <= 0:
            raise _TooLongError

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


class _TooLongError(Exception):
    """A download that is longer than the file."""


def _fetch(origin: Origin, path: Path) -> None:
    """Download a file, check it and move it to its place.

    An earlier unfinished download is continued.
    """
    part, url = path.with_suffix(".part"), address(origin)
    part.touch()
    while True:
        before = part.stat().st_size
        try:
            _append(url, part, origin.size)
            break
        except OSError as error:  # also the errors of the HTTP library
            if part.stat().st_size <= before:
                raise _refused(named(origin), url, error) from error
    size = part.stat().st_size
    if size == origin.size and sha256_of_file(part) == origin.sha256:
        part.replace(path)
        return
    came = f"{size} bytes" if size < origin.size else f"more than {origin.size} bytes"
    if size == origin.size:
        came = f"other bytes, sha256 {sha256_of_file(part)[:12]}…"
    came += _beginning(part)
    part.unlink()
    raise IntegrityError(
        f"expected {origin.size} bytes, sha256 {origin.sha256[:12]}…, as {named(origin)} from {url}, got {came}; "
        f"{ELSEWHERE}"
    )


def _beginning(part: Path) -> str:
    """Return the first words of a download that is text.

    It may be a web page, or a pointer to the file. Empty for binary content.
    """
    with part.open("rb") as file:
        start = file.read(WORDS)
    if b"\0" in start or not start.isascii():
        return ""
    return f" that begin with {printable(' '.join(start.decode().split()))!r}"


def _append(url: str, part: Path, size: int) -> None:
    """Download the missing rest of an unfinished download.

    If the server sends too much, the part is one byte too long.
    """
    from pooch import HTTPDownloader

    if (have := part.stat().st_size) == size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    responses: list[Response] = []  # closed here, as the downloader leaves them open if it fails
    download = HTTPDownloader(
        progressbar=sys.stderr.isatty(),
        chunk_size=1 << 16,
        timeout=SECONDS,
        headers=headers,
        hooks={"response": lambda response, **_: responses.append(response)},
    )
    with part.open("ab") as file, suppress(_TooLongError):
        try:
            download(url, _Part(file, size), None)
        finally:
            for response in responses:
                response.close()
    if have and part.stat().st_size > size:  # the server sent the whole file and not the rest
        part.write_bytes(b"")
        _append(url, part, size)


def _refused(what: str, url: str, error: OSError) -> BenchError:
    from requests import ConnectionError as NoConnection
    from requests import RequestException, Timeout

    if not isinstance(error, RequestException):
        return EnvironmentFault(
            f"expected to write {what}, got: {error.strerror or error}; set BENCH_CACHE to a writable folder with space"
        )
    if error.response is not None:
        status = f"{error.response.status_code} {error.response.reason}"
        return NetworkError(
            f"expected {what} at {url}, got {status}; the file was moved, or its repository has vanished: {ELSEWHERE}"
        )
    reason = "no answer" if isinstance(error, Timeout) else "no connection"
    kind = UnreachableError if isinstance(error, NoConnection | Timeout) else NetworkError
    return kind(f"expected {what} at {url}, got {reason}; connect to the network once, or {ELSEWHERE}")
