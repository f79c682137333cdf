"""Random command lines end with a documented exit code."""

from __future__ import annotations

import shutil

import click
import pytest
from hypothesis import strategies as st

from bench import cli
from bench.core.errors import EnvironmentFault
from tests.hostile.conftest import Fuzz, Sandbox
from tests.hostile.mutations import hostile_words
from tests.support.factories import model_entry, store_run
from tests.support.tiny import residual_content, write_entry


def commands(group: click.Group = cli.bench, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with the words that lead to it."""
    found = []
    for name, command in sorted(group.commands.items()):
        words = (*path, name)
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


VALUES = (
    "file:tiny.toml", "tiny.toml", "tiny.safetensors", "hub:art-wrn28", "art-wrn28", "pgd-wrn28", "results", "again",
    "site", "ifia-topk", "random-noise", "cifar10-smoke-v1", "cifar10-linf8-v1", "kendall", "standings.csv",
    "pairs.csv", "steps=3", "steps=many", "x=1", "=", "k={}", "1", "0", "-1", "1e9", "8/255", "0/1", "cpu", "cuda:7",
    "meta", "models", "pgd-wrn28-1", "recipe:natural-linear", "timm:", "timm:x", "torchvision:resnet18", "zoo:x",
    "hub:a/b@main", "hub:../..", "--", "me/model", "MIT", "https://example.org/", "0.5,0.5,0.5", ".", "/dev/null",
    "2GB", "wide-resnet", "transfer", "slurm", "ray", "hours=inf", "cpus=inf", "workers=true", "cluster=local", ",",
)  # fmt: skip
"""Words that mean something to some command."""

values = st.sampled_from(VALUES) | st.sampled_from(VALUES) | st.sampled_from(VALUES) | hostile_words


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Draw a command with its arguments and some of its options.

    Sometimes it has a word more or less.
    """
    path, command = draw(st.sampled_from(commands()))
    words: list[str] = []
    for parameter in command.params:
        if isinstance(parameter, click.Argument):
            words += draw(st.lists(_values(parameter), min_size=1, max_size=2 if parameter.nargs == -1 else 1))
        elif parameter.required or draw(st.integers(0, 3)) == 0:
            flag = isinstance(parameter, click.Option) and parameter.is_flag
            words += [parameter.opts[0]] if flag else [parameter.opts[0], draw(_values(parameter))]
    if draw(st.integers(0, 4)) == 0:
        words.insert(draw(st.integers(0, len(words))), draw(values))
    return [*path, *words]


def _values(parameter: click.Parameter) -> st.SearchStrategy[str]:
    match parameter.type:
        case click.Choice(choices=choices):
            return st.sampled_from([str(choice) for choice in choices]) | values
        case click.types.IntParamType() | click.types.FloatParamType():
            return st.integers(-1, 30).map(str) | st.sampled_from(("0.5", "1e-9", "nan", "9" * 400)) | values
    return values


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stop runs, audits, studies and trainings before they compute.

    No server can be reached.
    """

    def stop(*_: object, **__: object) -> None:
        raise EnvironmentFault("expected hours of computing, got a test; look elsewhere")

    for name in (
        "bench.run.steps.run",
        "bench.sweeps.audit.run",
        "model_zoo.training.train.begin",
        "bench.checks.speed.measure",
        "bench.sweeps.study.complete",
        "bench.sweeps.sweep.sweep",
    ):
        monkeypatch.setattr(name, stop)


@pytest.mark.usefixtures("shallow")
def test_words(sandbox: Sandbox, fuzz: Fuzz) -> None:
    sandbox.allowed = sandbox.folder.parents[1]  # `--results ..` names that folder
    write_entry(sandbox.folder, residual_content(sandbox.folder))
    for name in ("art-wrn28", "pgd-wrn28"):
        for attack in ("random-noise", "ifia-topk"):
            store_run(sandbox.folder / "results", model_entry(name), attack)
    shutil.copytree(sandbox.folder / "results", sandbox.folder / "again")
    assert len(commands()) > 15

    @fuzz(150, 3500, lines())
    def answers(words: list[str]) -> None:
        sandbox.call(*words)
