"""A run, sweep or training continues after kill -9.

The signal comes at random moments. The same command completes the work, to the same bytes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.compute.rng import Rng
from bench.core.storage.files import sha256_of_file
from bench.core.storage.store import Store
from tests.support.stored import content
from tests.support.tiny import tiny_content, write_entry, write_protocol
from tests.training.conftest import RECIPE, write_digits

FORKING = """
import json, os, sys
from multiprocessing import get_context
import bench.commands.run, bench.commands.sweep, bench.commands.train, bench.sweeps.worker, leaderboard.pages.run
import model_zoo.training.train, torch._dynamo, torch.fx.experimental.symbolic_shapes, scipy.stats
from bench.executors import local
from model_zoo.training import loop
from bench import cli
local.CONTEXT = get_context("fork")
loop.CHECKPOINT_SECONDS = 0
step = loop.Training.one_step
def logged(training):
    with open(os.path.join(os.environ["BENCH_CACHE"], "steps"), "a") as log:
        log.write(f"{training.step}\\n")
    return step(training)
loop.Training.one_step = logged
for line in sys.stdin:
    words, cache = json.loads(line)
    pid = os.fork()
    if not pid:
        os.environ["BENCH_CACHE"] = cache
        os.makedirs(cache, exist_ok=True)
        for stream in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), stream)
        try:
            cli.main(words)
        except SystemExit as end:
            os._exit(end.code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
"""Runs commands in copies of a process that has imported all there is, so that moments fall into work, not imports."""


class Commands:
    """Runs commands in fresh processes, and kills them."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._said, self._told = process.stdin, process.stdout

    def run(self, words: list[str], cache: Path, due: Callable[[float], bool] = lambda _: False) -> int:
        """Return a command's exit code, killing it once it is due.

        `due` is asked every few milliseconds with the seconds since the start.
        """
        self._said.write(json.dumps([words, str(cache)]) + "\n")
        self._said.flush()
        pid, clock = int(self._told.readline()), time.monotonic()
        with suppress(ProcessLookupError):  # it has ended
            while not due(time.monotonic() - clock):
                time.sleep(0.005)
                os.kill(pid, 0)
            os.kill(pid, signal.SIGKILL)
        return int(self._told.readline())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words")
    write_entry(folder, tiny_content(folder))
    write_protocol(folder, "short", 6, 2)
    write_digits(folder)
    (folder / "recipes").mkdir()
    (folder / "recipes" / "tiny.toml").write_text(RECIPE)
    return folder


@pytest.fixture(scope="module")
def commands(folder: Path) -> Iterator[Commands]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "BENCH_DATA": str(folder)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FORKING], env=environment, **pipes) as process:
        yield Commands(process)


def words_of(what: str, folder: Path, out: Path) -> list[str]:
    if what == "train":
        return [
            "train",
            str(folder / "recipes" / "tiny.toml"),
            "--out",
            str(out / "trained"),
            "--resume",
            "--device",
            "cpu",
        ]
    model = {"run": "--model", "sweep": "--models"}[what]
    workers = ["--workers", "2"] if what == "sweep" else []
    words = [what, model, f"file:{folder}/tiny.toml", "--protocol", str(folder / "short-v1.toml"), *workers]
    return [*words, "--device", "cpu", "--results", str(out / "results")]


def made(what: str, out: Path) -> Any:
    """All that a finished command left but where and when."""
    if what == "train":
        return {path.name: sha256_of_file(path) for path in sorted((out / "trained").glob("tiny*.safetensors"))}
    return [content(run) for run in Store(out / "results").runs()]


def units_of(out: Path) -> dict[str, tuple[str, int]]:
    """Return finished shards and records with bytes and times."""
    return {str(path): (sha256_of_file(path), path.stat().st_mtime_ns) for path in finished(out)}


def finished(out: Path) -> list[Path]:
    return [*out.glob("cache/work/attacks/*/*.safetensors"), *out.glob("results/*/*/*/*.json")]


def progress(out: Path) -> int:
    """Count the shards, records and steps that commands have finished."""
    log = out / "cache" / "steps"
    return len(finished(out)) + (log.read_text().count("\n") if log.exists() else 0)


def check_steps(cache: Path) -> None:
    """Check that a killed training repeats at most one step."""
    log = cache / "steps"
    steps = [int(line) for line in log.read_text().split()] if log.exists() else []
    assert all(after - before in {0, 1} for before, after in pairwise([0, *steps])), steps


def moment(out: Path, units: int, delay: float) -> Callable[[float], bool]:
    """Return what says when to kill a command.

    It is `delay` seconds after the command has finished `units` more units.
    """
    least, met = progress(out) + units, list[float]()

    def due(seconds: float) -> bool:
        if not met and progress(out) >= least:
            met.append(seconds)
        return bool(met) and seconds >= met[0] + delay

    return due


def kill_often(kills: int, what: str, folder: Path, out: Path, run: Callable[..., int]) -> int:
    """Kill a command at random moments, and count its beginnings from nothing.

    The command is killed alive `kills` times: the first time as soon as it has finished something, then at any moment,
    or after some units more. Whenever it completes, it is compared with a command that was never killed, and begun in
    another folder.
    """
    words = words_of(what, folder, out / "whole")
    clock = time.monotonic()
    assert run(words, out / "whole" / "cache") == 0
    seconds, whole = time.monotonic() - clock, made(what, out / "whole")
    assert whole
    stream, met, begun = Rng(0).fork("kill", what).generator(), 0, 0

    def drawn(where: Path) -> Callable[[float], bool]:
        units, share = int(torch.randint(3, (), generator=stream)), float(torch.rand((), generator=stream))
        return moment(where, units, share * seconds / (20 if units else 2)) if met else moment(where, 1, 0.0)

    while met < kills:
        assert begun < 10 + kills, f"the command ended before it was killed; {met} of {kills} kills met it alive"
        where, code, before = out / f"killed {begun}", -signal.SIGKILL, dict[str, tuple[str, int]]()
        words, begun = words_of(what, folder, where), begun + 1
        while code == -signal.SIGKILL:
            code = run(words, where / "cache", *([drawn(where)] if met < kills else []))
            now = units_of(where)
            met += code == -signal.SIGKILL
            assert before.items() <= now.items(), "a finished unit was lost, or done again"
            check_steps(where / "cache")
            before = now
        assert code == 0
        assert made(what, where) == whole
        assert not list(where.rglob("*.tmp")), "killed writers' leavings stayed"
    return begun


@pytest.mark.parametrize("what", ["run", "sweep", "train"])
def test_kill_minus_nine_loses_the_unit_in_hand_alone(
    what: str, folder: Path, commands: Commands, tmp_path: Path
) -> None:
    kill_often(1 if what == "sweep" else 2, what, folder, tmp_path, commands.run)  # a sweep starts processes


@pytest.mark.slow
@pytest.mark.parametrize("what", ["run", "sweep", "train"])
def test_fifty_kills(what: str, folder: Path, commands: Commands, tmp_path: Path) -> None:
    print(f"{what}: 50 kills met it alive, {kill_often(50, what, folder, tmp_path, commands.run)} times from nothing")  # noqa: T201
