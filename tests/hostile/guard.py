"""A guard that watches the program while it reads hostile input.

No code in the input runs, and the program writes only into allowed folders.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CANARY = "canary_that_sings"
"""A name in every payload: code that holds it is a stranger's."""

_RUNS = frozenset({"os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "pickle.find_class"})
_TALKS = frozenset({"socket.connect", "socket.getaddrinfo", "socket.bind"})
_WRITES: Mapping[str, tuple[int, ...]] = {
    "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.rename": (0, 1), "os.link": (0, 1),
    "os.symlink": (1,), "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,),
}  # fmt: skip
"""Which arguments of an audit event are paths that it changes."""

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_OWN_CHILDREN = ("git",)
"""Programs that ours start by themselves, without a shell."""


class _Guard:
    """The state of the one audit hook, which Python cannot remove."""

    def __init__(self) -> None:
        self.folder: str | None = None
        self.offences: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.folder is not None and (offence := self._judge(event, arguments)):
            self.offences.append(offence)

    def _judge(self, event: str, arguments: tuple[Any, ...]) -> str | None:
        if event in _RUNS or event in _TALKS:
            return f"{event} {arguments!r:.200}"
        if event == "subprocess.Popen" and arguments[1][0] not in _OWN_CHILDREN:
            return f"started {arguments[1]!r:.200}"
        if event == "ctypes.dlopen" and arguments[0] is not None:
            return f"loaded {arguments[0]!r}"
        if event == "compile" and CANARY in repr(arguments[0]):
            return f"compiled {arguments[0]!r:.200}"
        if event == "exec" and self._is_inside(getattr(arguments[0], "co_filename", "")):
            return f"ran code of {arguments[0].co_filename}"
        if event == "open" and arguments[2] & _CHANGES:
            return self._written(event, arguments[0])
        for index in _WRITES.get(event, ()):
            if offence := self._written(event, arguments[index]):
                return offence
        return None

    def _written(self, event: str, path: Any) -> str | None:
        if isinstance(path, int) or self._is_inside(path) or os.fsdecode(path) == os.devnull:
            return None
        return f"{event} {os.fsdecode(path)!r}"

    def _is_inside(self, path: Any) -> bool:
        return os.path.realpath(os.fsdecode(path)).startswith(f"{self.folder}{os.sep}")


_GUARD = _Guard()
sys.addaudithook(_GUARD)


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Run a block that may write below `folder` only.

    It may neither start programs nor talk to the network.

    Raises:
        AssertionError: after the block, if it did anything else.
    """
    _GUARD.folder, _GUARD.offences = os.path.realpath(folder), []
    without_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        _GUARD.folder = None
        sys.dont_write_bytecode = without_bytecode
    assert not _GUARD.offences, _GUARD.offences
