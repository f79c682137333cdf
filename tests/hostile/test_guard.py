"""The guard forbids hostile actions and allows those the program needs."""

from __future__ import annotations

import os
import pickle  # noqa: TID251 what an attacker writes
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hostile.conftest import Hang, bounded
from tests.hostile.guard import CANARY, guarded


def import_planted(folder: Path) -> None:
    (folder / "planted.py").write_text("x = 1")
    exec(compile((folder / "planted.py").read_text(), str(folder / "planted.py"), "exec"))


@pytest.mark.parametrize(
    "misdeed",
    [
        lambda folder: os.system("true"),
        lambda folder: subprocess.run([sys.executable, "--version"], check=True, capture_output=True),
        lambda folder: pickle.loads(b"cbuiltins\nlen\n(]tR."),
        lambda folder: eval(f"'{CANARY}'"),
        import_planted,
        lambda folder: (folder.parent / "outside").write_text(""),
        lambda folder: (folder.parent / "made").mkdir(),
        lambda folder: os.replace(folder / "own", folder.parent / "moved"),
        lambda folder: os.symlink(folder, folder.parent / "link"),
        lambda folder: socket.getaddrinfo("localhost", 80),
    ],
)
def test_a_misdeed_is_seen(misdeed: Callable[[Path], object], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "own").touch()
    with pytest.raises(AssertionError), guarded(folder):
        misdeed(folder)


def test_work_in_the_folder_is_none(tmp_path: Path) -> None:
    with guarded(tmp_path):
        (tmp_path / "deep").mkdir()
        (tmp_path / "deep" / "file").write_text("text")
        os.replace(tmp_path / "deep" / "file", tmp_path / "file")
        assert Path(__file__).read_text()
        subprocess.run(["git", "--version"], check=True, capture_output=True)


def spin() -> None:
    while True:
        pass


def test_a_hang_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.hostile.conftest.SECONDS", 0.2)
    with pytest.raises(Hang), bounded():
        spin()


def test_a_flood_of_memory_is_stopped() -> None:
    with pytest.raises(MemoryError), bounded():
        bytearray(2**40)
