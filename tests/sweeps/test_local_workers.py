"""Workers in other processes: dead, hung, slow and abandoned ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.core.contracts import Worker
from bench.core.schemas.units import Report, RunUnit, Unit
from bench.executors.local import Local


class Odd(Worker):
    """Does what the unit's request says."""

    def __init__(self, device: str) -> None:
        self.device = device

    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        assert isinstance(unit, RunUnit)
        word = unit.request["attack"]
        if word == "die":
            os.kill(os.getpid(), 9)
        if word == "hang":
            time.sleep(600)
        if word == "stay":
            Path(unit.request["model"], str(os.getpid())).touch()
            time.sleep(600)
        if word == "slow":
            for _ in range(8):
                time.sleep(0.5)
                tell(Report(unit, "alive", 1))
        return Report(unit, "done", text=f"{os.getpid()}")


def test_dead_and_hung_workers_are_replaced_and_slow_ones_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter([10.0**9, -(10.0**9)] * 10**6)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))  # a clock that jumps ends nobody
    words = ["die", "hang", "slow", "good", "good"]
    todo = [
        RunUnit(request={"model": "m", "attack": word}, run_id=f"{i:064x}", shard=0, images=1)
        for i, word in enumerate(words)
    ]
    last = dict[str, Report]()
    pids = set[int]()
    for report in Local(workers=2, device="cpu", timeout=600).run(todo[:1] + todo[2:], Odd):
        if report.kind != "alive":
            assert report.unit.id not in last
            last[report.unit.id] = report
            pids |= {int(report.text)} if report.kind == "done" else set()
    assert [last[unit.id].kind for unit in todo if unit.id in last] == ["lost", "done", "done", "done"]
    assert "died with exit code -9" in last[todo[0].id].text
    (hung,) = Local(device="cpu", timeout=2).run(todo[1:2], Odd)
    assert hung.kind == "lost"
    assert "no sign of life for 2 s" in hung.text
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


ABANDONED = """
import sys
from tests.sweeps.test_local_workers import Local, Odd, RunUnit
request = {"model": sys.argv[1], "attack": "stay"}
todo = [RunUnit(request=request, run_id=f"{i:064x}", shard=0, images=1) for i in range(2)]
list(Local(workers=2, device="cpu").run(todo, Odd))
"""


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(over: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not over() and time.monotonic() < deadline:
        time.sleep(0.05)
    return over()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_end_with_the_process_that_minds_them(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", ABANDONED, str(tmp_path)])
    try:
        assert until(lambda: len(list(tmp_path.iterdir())) == 2, 120)
    finally:
        parent.kill()
        parent.wait()
    workers = [int(path.name) for path in tmp_path.iterdir()]
    try:
        assert until(lambda: not any(map(lives, workers)), 20), "a worker whose parent was killed goes on"
    finally:
        for pid in filter(lives, workers):
            os.kill(pid, signal.SIGKILL)
