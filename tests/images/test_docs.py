"""Runs the page about images of one's own.

This is its script, its commands and its Python.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.core.compute import vision
from tests.support.own_images import likeness

PAGE = (Path(__file__).parents[2] / "docs" / "your-images.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)


def done(command: str, *more: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([*shlex.split(command)[1:], *more])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_the_commands_work_on_what_the_script_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    script, python = blocks("python")
    assert vision.datasets, "beside a CPU-only torch the published torchvision cannot be imported without it"
    names: dict[str, Any] = {}
    exec(script.replace("EPOCHS = 12", "EPOCHS = 1"), names)
    assert len(list(Path("photos").rglob("*.png"))) == 60
    first, _, pinned = blocks("bash")
    install, convert, run = first.splitlines()
    assert install == "pip install attribution-bench"
    short = ["--protocol", str(likeness(tmp_path)), "--device", "cpu"]
    assert done(convert) == 0
    assert "next: bench run --model file:runs/resnet18/resnet18.toml --images FOLDER" in capsys.readouterr().out
    assert done(run, *short, "--limit", "1") == 0
    said = capsys.readouterr().out
    page = re.search(r"^page: (.+)$", said, flags=re.MULTILINE)
    assert page is not None
    assert "these are images of your own" in Path(page[1]).read_text()
    init, again, *_ = pinned.splitlines()
    assert done(init) == 0
    assert done(again, "--attack", "random-noise", "--limit", "1", "--device", "cpu") == 0
    assert done("bench verify results") == 0
    exec(python, names)
    assert names["result"].record.samples == 2
