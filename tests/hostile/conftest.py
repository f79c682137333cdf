"""A sandbox for hostile input.

It also sets the number of cases and prints a table of their outcomes.
"""

from __future__ import annotations

import io
import resource
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import cli
from tests.hostile.guard import guarded

ANSWERS = frozenset({0, 1, 2, 3, 4, 5})
"""Exit codes that the command line documents, but for an interruption."""

SECONDS = 20
"""Of processor time, which other processes do not change. A case that takes longer hangs: others take below one."""

BYTES = 8 * 2**30
"""Address space: a case that asks for more would take a small machine down."""

TALLIES: dict[str, Counter[int]] = {}
"""Per test, how many cases ended with which exit code."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each hostile test with few cases, or with thousands.

    Thousands are for `pytest -m slow`.
    """
    if "fuzz" in metafunc.fixturenames:
        forms = [pytest.param("short", id="short"), pytest.param("long", id="long", marks=pytest.mark.slow)]
        metafunc.parametrize("form", forms)


@dataclass
class Sandbox:
    """The folder in which the program works and is called."""

    folder: Path
    allowed: Path
    """What it may write to: by default that folder alone."""
    tally: Counter[int] = field(default_factory=Counter)

    def call(self, *arguments: str) -> tuple[int, str]:
        """Return the exit code of `bench ARGUMENTS` and all that it prints."""
        printed = io.BytesIO()
        stream = io.TextIOWrapper(printed, "utf-8", write_through=True)
        try:
            with guarded(self.allowed), bounded(), redirect_stdout(stream), redirect_stderr(stream):
                cli.main(list(arguments))
        except SystemExit as stop:
            code = stop.code
        finally:
            torch.set_flush_denormal(False)  # hypothesis makes subnormal numbers
        said = printed.getvalue().decode()
        assert isinstance(code, int)
        assert code in ANSWERS, said
        assert "Traceback" not in said
        assert code == 0 or said.strip(), "a refusal must say why"
        self.tally[code] += 1
        return code, said


class Hang(BaseException):
    """A case took too long.

    It is no `Exception`, so that no handler of errors swallows it.
    """


@contextmanager
def bounded() -> Iterator[None]:
    """Run a block with bounded time and memory."""

    def stop(*_: object) -> None:
        raise Hang(f"no answer after {SECONDS} s")

    before, (soft, hard) = signal.signal(signal.SIGPROF, stop), resource.getrlimit(resource.RLIMIT_AS)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (BYTES, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """A folder whose parents are watched, too."""
    folder = tmp_path / "sandbox" / "between" / "deep"
    for inside in ("tmp", "no-data"):
        (folder / inside).mkdir(parents=True)
    for name, inside in {"BENCH_CACHE": "cache", "BENCH_DATA": "no-data", "HF_HOME": "hf", "TMPDIR": "tmp"}.items():
        monkeypatch.setenv(name, str(folder / inside))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(folder)
    made = Sandbox(folder, folder)
    yield made
    TALLIES[request.node.name] = made.tally
    assert sum(made.tally.values()), "no case reached the program"
    everything = set(tmp_path.rglob("*"))
    assert not {path for path in everything if not path.is_relative_to(made.allowed)} - set(folder.parents)


Fuzz = Callable[..., Callable[[Callable[..., None]], None]]


@pytest.fixture
def fuzz(form: str) -> Fuzz:
    """Return a decorator that calls a function with `short` or `long` cases.

    `@fuzz(short, long, strategy)`: short runs have always the same cases, long runs have new ones.
    """

    def decorate(short: int, long: int, strategy: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], None]:
        chosen = settings(
            max_examples=short if form == "short" else long,
            derandomize=form == "short",
            database=None,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        return lambda check: chosen(given(strategy)(check))()

    return decorate


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many cases each test made, and how the program answered."""
    if not TALLIES:
        return
    terminalreporter.section("hostile input: cases, by exit code")
    for name, tally in sorted(TALLIES.items()):
        codes = ", ".join(f"{code}: {count}" for code, count in sorted(tally.items()))
        terminalreporter.write_line(f"{name}: {sum(tally.values())} cases ({codes})")
    terminalreporter.write_line(f"total: {sum(sum(tally.values()) for tally in TALLIES.values())} cases")
