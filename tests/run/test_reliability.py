"""Faults that must not damage results.

They are full disks, read-only folders, two processes at one file, clocks that jump, and little memory.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import Busy, EnvironmentFault
from bench.core.storage.files import remove_leftovers, try_to_write, write_atomic
from bench.core.storage.lease import is_held, lease
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.shards import Shards
from bench.run.steps import run
from tests.support.stored import content
from tests.support.tiny import tiny_content, write_entry, write_protocol
from tests.support.watcher import Watcher

COUNT = 4


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("words")
    entry = write_entry(folder, tiny_content(folder))
    return {"model": f"file:{entry}", "protocol": str(write_protocol(folder, "short", COUNT, 2))}


def completed(words: dict[str, Any], folder: Path, watcher: Watcher | None = None, **changes: Any) -> StoredRun:
    execution = Execution(Store(folder / "results"), folder / "work", "cpu", **({"batch_size": 4} | changes))
    return run([Request(attack="ifia-topk", **words)], execution, watcher or Watcher())[0]


@pytest.fixture(scope="module")
def undisturbed(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return completed(words, tmp_path_factory.mktemp("undisturbed"))


def test_bytes_reach_the_disk_before_their_name_does_and_the_name_before_the_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def recorded(name: str, call: Callable[..., Any], subject: Callable[[Any], str]) -> None:
        def record(first: Any, *others: Any) -> Any:
            calls.append(f"{name} {subject(first)}")
            return call(first, *others)

        monkeypatch.setattr(os, name, record)

    recorded("fsync", os.fsync, lambda fd: Path(os.readlink(f"/proc/self/fd/{fd}")).suffix or "folder")
    recorded("replace", os.replace, lambda path: Path(path).suffix)
    recorded("mkdir", os.mkdir, lambda path: Path(path).name)
    write_atomic(tmp_path / "new" / "newer" / "a.json", b"content")
    made = ["mkdir new", "fsync folder", "mkdir newer", "fsync folder"]
    assert calls == [*made, "fsync .tmp", "replace .tmp", "fsync folder"]


def test_a_record_is_filed_after_all_that_it_names(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    replace = os.replace

    def noted(old: Path, new: Path) -> None:
        written.append(Path(new).suffix)
        replace(old, new)

    monkeypatch.setattr(os, "replace", noted)
    completed(words, tmp_path)
    assert written[-3:] == [".parquet", ".png", ".json"]


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return a function that leaves space for a number of files."""
    fsync, left = os.fsync, [10**9]

    def sync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    return lambda count: left.__setitem__(0, count)


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, full_disk: Callable[[int], None]) -> None:
    write_atomic(tmp_path / "a", b"old")
    full_disk(0)
    with pytest.raises(EnvironmentFault, match=r"No space left.*free space"):
        write_atomic(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}


@pytest.mark.parametrize("writes", [2, 3, 7, 10])
def test_a_run_on_a_full_disk_stops_and_continues_to_the_same_bytes(
    words: dict[str, str],
    undisturbed: StoredRun,
    tmp_path: Path,
    full_disk: Callable[[int], None],
    writes: int,
) -> None:
    full_disk(writes)
    with pytest.raises(EnvironmentFault, match="No space left"):
        completed(words, tmp_path)
    assert not list(tmp_path.rglob("*.json")), "an unfinished run must leave no record"
    full_disk(10**9)
    assert content(completed(words, tmp_path)) == content(undisturbed)
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.parametrize("folder", ["results", "work"])
def test_a_folder_that_cannot_be_written_is_named(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    refused, make = tmp_path / folder, os.mkdir

    def mkdir(path: Any, *others: Any) -> None:
        if Path(path).is_relative_to(refused):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        make(path, *others)

    monkeypatch.setattr(os, "mkdir", mkdir)
    monkeypatch.setattr(
        "bench.run.session.attack_shard", lambda *_: pytest.fail("hours were spent before it was found")
    )
    with pytest.raises(EnvironmentFault, match=f"{refused}.*Read-only file system; choose a writable folder"):
        completed(words, tmp_path)


def test_a_folder_is_tried_without_a_file_that_a_killed_process_would_leave(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[Path]] = []
    usual = tempfile.TemporaryFile

    def looked_at(**words: Any) -> Any:
        file = usual(**words)
        seen.append(list(tmp_path.rglob("*.*")))
        return file

    monkeypatch.setattr(tempfile, "TemporaryFile", looked_at)
    try_to_write(tmp_path / "new")
    assert seen == [[]]
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFault, match=r"file/below, got: .*; choose a writable folder"):
        try_to_write(tmp_path / "file" / "below")


def test_what_killed_writers_left_goes_with_the_next_writer(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path
) -> None:
    write_atomic(tmp_path / "kept", b"")
    left = [tmp_path / name for name in (".a.json.x1.tmp", ".a.json.x2.tmp", ".b.json.x1.tmp")]
    for path in left:
        path.write_bytes(b"half")
    remove_leftovers(tmp_path / "a.json")
    assert sorted(p.name for p in tmp_path.iterdir()) == [".b.json.x1.tmp", "kept"]
    spec = undisturbed.record.spec
    shards = Shards(spec, tmp_path / "work")
    for path in (Store(tmp_path / "results").path(spec), shards._attacked_path(0), shards._measured_path(1)):
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / f".{path.name}.x1.tmp").write_bytes(b"half")
    completed(words, tmp_path)
    assert [p.name for p in tmp_path.rglob("*.tmp")] == [".b.json.x1.tmp"]


def test_a_lease_is_held_by_one_and_ends_with_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "0.lease"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert is_held(path)
    with pytest.raises(Busy, match="held by another process"), lease(path):
        pass
    waited: list[None] = []

    def waiting() -> None:
        waited.append(None)
        holder.kill()

    with lease(path, waiting):
        assert waited, "it was held when it was asked for"
        assert is_held(path)
    assert not path.exists()
    assert not is_held(path)
    holder.communicate()


HOLD = """
import sys
from pathlib import Path
from bench.core.storage.lease import lease
with lease(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_never_do_the_same_shard(words: dict[str, str], undisturbed: StoredRun, tmp_path: Path) -> None:
    program = TWICE.format(words=words, folder=str(tmp_path), log=str(tmp_path / "log"))
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, timeout=240)
    attacked = (tmp_path / "log").read_text().split()
    assert sorted(attacked) == sorted(set(attacked)), "a shard was attacked twice"
    (stored,) = Store(tmp_path / "results").runs()
    assert content(stored) == content(undisturbed)


TWICE = """
import os
from pathlib import Path
from bench.run import session
from tests.support.short_runs import completed
attack = session.attack_shard
def logged(bench, samples, *others):
    with open({log!r}, "a") as log:
        log.write(samples.ids[0] + "\\n")
    return attack(bench, samples, *others)
session.attack_shard = logged
other = os.fork()
completed({words!r}, Path({folder!r}))
if other:
    assert os.waitstatus_to_exitcode(os.waitpid(other, 0)[1]) == 0
"""


def test_a_clock_that_jumps_changes_nothing(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter([10.0**9, -(10.0**9)] * 10**6)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(days=next(jumps) / 10**6)

    monkeypatch.setattr("bench.run.steps.datetime", Jumping)
    stored = completed(words, tmp_path)
    assert content(stored) == content(undisturbed)
    assert 0 <= stored.record.environment.seconds < 60


def raising(error: type[BaseException]) -> Callable[..., Any]:
    def fail(*_: object) -> Any:
        raise error

    return fail


@pytest.fixture(scope="module")
def interrupted(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run killed just before its filing."""
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.MonkeyPatch.context() as killed:
        killed.setattr("bench.run.steps.file", raising(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            completed(words, folder)
    return folder


@pytest.fixture
def shards(words: dict[str, Any], interrupted: Path, tmp_path: Path) -> Shards:
    """Its shards, in a copy below this test's folder."""
    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    return Shards(plan(Request(attack="ifia-topk", **words)).spec, tmp_path / "work")


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"", flipped, None])
@pytest.mark.parametrize("suffix", ["", ".note"])
def test_a_damaged_file_of_a_finished_shard_counts_as_missing(
    shards: Shards, damage: Callable[[bytes], bytes] | None, suffix: str
) -> None:
    assert all(shards.is_measured(index) and shards.is_attacked(index) for index in (0, 1))
    for path in (shards._measured_path(1), shards._attacked_path(1)):
        file = path.with_name(f"{path.name}{suffix}")
        file.unlink() if damage is None else file.write_bytes(damage(file.read_bytes()))
    assert [shards.is_measured(index) for index in (0, 1)] == [True, False]
    assert [shards.is_attacked(index) for index in (0, 1)] == [True, False]
    assert shards.measured(1) is None
    assert shards.attacked(1, 1) is None
    assert len(shards.efforts([0])) == 2


@pytest.mark.parametrize("both", [False, True], ids=["rows", "rows and images"])
def test_a_run_with_a_damaged_shard_computes_it_anew(
    words: dict[str, str], undisturbed: StoredRun, shards: Shards, tmp_path: Path, both: bool
) -> None:
    for path in [shards._measured_path(1), shards._attacked_path(1)][: 1 + both]:
        path.write_bytes(flipped(path.read_bytes()))
    watcher, intact = Watcher(), shards._attacked_path(0)
    before = intact.stat().st_mtime_ns
    assert content(completed(words, tmp_path, watcher)) == content(undisturbed)
    assert watcher.done == watcher.total == COUNT
    assert intact.stat().st_mtime_ns == before


class WaitedError(Exception):
    """Somebody was waited for."""


def test_a_run_is_filed_by_one_process_wherever_its_unfinished_work_lies(
    words: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, wanted = Store(tmp_path / "results"), Request(attack="ifia-topk", **words)
    execution = Execution(store, tmp_path / "another work", "cpu", 4)
    monkeypatch.setattr("bench.run.steps.patient", raising(WaitedError))
    with store.filing(plan(wanted).spec, raising(AssertionError)), pytest.raises(WaitedError):
        run([wanted], execution, Watcher())
    assert not list(store.runs())
    run([wanted], execution, Watcher())
    (stored,) = store.runs()
    beside = [path for path in store.root.rglob("*.*") if path.is_file() and path.parent == stored.path.parent]
    assert sorted(path.suffix for path in beside) == [".json", ".parquet", ".png"]
