"""`bench submit init` and `bench submit convert` make entries of checkpoints."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import click
import pytest
import torch
from safetensors.torch import load_file

from bench import registry
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.toml import parse_toml
from bench.data.cifar10 import Cifar10
from bench.submission import normalisation
from model_zoo.tensors import export_weights
from tests.support.commands import invoke
from tests.support.foreign import foreign_state_dict
from tests.support.tiny import tiny_network

FLAGS = ("--architecture", "wide-resnet", "--method", "pgd", "--license", "MIT")


def test_init_writes_an_entry_of_weights_by_our_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = export_weights(tiny_network(), tmp_path / "My_Net.v2.safetensors")
    flags = ("--set", "depth=10", "--set", "width=1", "--clean", "0.5", "--images", "20", "--mean", "0,0,0")
    code, out, err = invoke(capsys, "submit", "init", str(tmp_path / weights.file), *FLAGS, *flags, "--std", "1,1,1")
    assert code == 0, err
    entry = parse_toml(tmp_path / "my-net.v2.toml", ModelEntry)
    assert "my-net.v2.toml" in out.replace("\n", "")
    assert entry.weights == weights
    assert (entry.mean, entry.std, entry.license) == ((0, 0, 0), (1, 1, 1), "MIT")
    assert entry.architecture.params == {"depth": 10, "width": 1}


def test_a_person_at_a_terminal_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    export_weights(tiny_network(), tmp_path / "net.safetensors")
    answers = iter(["wide-resnet", "art", "Apache-2.0", "half"])
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click, "prompt", lambda *_, **__: next(answers))
    assert invoke(capsys, "submit", "init", str(tmp_path / "net.safetensors"))[0] == 0
    entry = parse_toml(tmp_path / "net.toml", ModelEntry)
    assert (entry.license, entry.training.method, entry.mean) == ("Apache-2.0", "art", (0.5, 0.5, 0.5))


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["init", "none.safetensors", *FLAGS], 2, "expected weights at none.safetensors"),
        (["init", "net.pth", *FLAGS], 2, "bench submit convert"),
        (["convert", "none.pth", *FLAGS], 2, "expected a checkpoint at none.pth"),
        (["convert", "net.pth", "--license", "MIT"], 2, "expected --architecture, --method, --mean, got none; add"),
        (["init", "net.safetensors"], 2, "expected --architecture, --method, --license, --mean, got none"),
        (
            ["convert", "net.pth", *FLAGS[:1], "resnot", *FLAGS[2:]],
            2,
            "constant-map, conv-blocks, conv-small, efficientnet-lite,",
        ),
        (
            ["convert", "net.pth", *FLAGS[:1], "resnot", *FLAGS[2:]],
            2,
            "To add it, write a file with VERSION and build(",
        ),
        (["convert", "net.pth", *FLAGS, "--mean", "0,0,0"], 2, "expected --mean and --std together"),
        (["convert", "net.pth", *FLAGS, "--mean", "none", "--std", "1,1,1"], 2, "expected no --std beside --mean none"),
        (["convert", "net.pth", *FLAGS, "--mean", "0,0,0", "--std", "0,0,0"], 2, "write --mean none for a network"),
        (
            ["convert", "net.pth", *FLAGS, "--mean", "125.3,123,113.9", "--std", "63,62.1,66.7"],
            2,
            "mean 125.3,123,113.9, std 63,62.1,66.7; divide both by 255: --mean 0.4914,0.4824,0.4467 --std 0.2471",
        ),
        (["convert", "net.pth", *FLAGS, "--drop", "loss."], 2, "names in net.pth that begin with 'loss.', got none"),
        (["convert", "net.pth", *FLAGS, "--table", "ema"], 2, "got 'ema'; correct --table"),
        (["convert", "net.pth", *FLAGS, "--name", "../up"], 2, "the model's name"),
        (["convert", "net.pth", *FLAGS, "--mean", "red"], 2, "numbers with commas"),
        (["convert", "net.pth", *FLAGS, "--set", "depth=16"], 2, "--set takes depth (16), width (1)"),
        (
            ["convert", "headless.pth", *FLAGS, "--set", "width=1"],
            2,
            "2 missing: head.weight, head.bias; 1 unexpected",
        ),
        (["convert", "net.pth", *FLAGS, "--set", "width=2"], 2, "of another shape: "),
        (["convert", "net.pth", *FLAGS, "--title", "\x1b[2J"], 2, "without control characters"),
        (["convert", "net.pth", *FLAGS, "--citation", "none.bib"], 2, "expected a BibTeX file"),
        (["convert", "page.pth", *FLAGS], 3, "an HTML page"),
        (["publish", "net.toml", "--repo", "../up"], 2, "expected a repository as ORG/NAME"),
        (["check", "none.toml"], 2, "none.toml"),
    ],
)
def test_mistakes_are_one_sentence_and_the_documented_code(
    words: list[str], code: int, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    torch.save(foreign_state_dict(tiny_network()), "net.pth")
    headless = {name: t for name, t in foreign_state_dict(tiny_network()).items() if ".fc." not in name}
    torch.save(headless | {"module.top": torch.ones(3)}, "headless.pth")
    Path("page.pth").write_text("<html>")
    actual, out, err = invoke(capsys, "submit", *words)
    assert actual == code
    assert sentence in " ".join((err + out).split())
    assert "\x1b" not in err + out
    assert not list(tmp_path.glob("**/*.safetensors")), "nothing is written where something is wrong"


def test_a_conversion_that_fails_names_a_few_keys_of_each_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({f"layer{i}.weight": torch.ones(i + 1, 7) for i in range(30)}, "net.pth")
    code, out, err = invoke(capsys, "submit", "convert", "net.pth", *FLAGS)
    assert code == 2
    lines = out.splitlines()
    for kind in ("missing", "unexpected"):
        start = next(index for index, line in enumerate(lines) if line.startswith(f"{kind}: "))
        assert [line[:2] for line in lines[start + 1 : start + 7]] == ["  "] * 6
        assert lines[start + 6].startswith("  … and ")
    assert len(lines) < 30
    assert "expected every tensor" in err


@pytest.mark.parametrize(
    ("habit", "mean", "std"),
    [
        ("none", (0, 0, 0), (1, 1, 1)),
        ("half", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ("cifar10", Cifar10.mean, Cifar10.std),
        ("grey-levels", (0, 0, 0), (1 / 255, 1 / 255, 1 / 255)),
        ("imagenet", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ("0.1,0.2,0.3 0.5", (0.1, 0.2, 0.3), (0.5, 0.5, 0.5)),
    ],
)
def test_a_normalisation_is_taken_by_the_name_of_the_habit(
    habit: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> None:
    mean_text, _, std_text = habit.partition(" ")
    assert normalisation.parse(mean_text, std_text, "cifar10") == (mean, std)


def test_a_normalisation_that_nobody_said_is_never_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(foreign_state_dict(tiny_network()), "net.pth")
    code, out, _ = invoke(capsys, "submit", "convert", "net.pth", *FLAGS)
    assert code == 0
    assert "The entry lacks mean and std, without which nothing can run it" in out
    assert "--mean none (pixels in [0, 1] as they are)" in out
    content = tomllib.loads((tmp_path / "runs/net/net.toml").read_text())
    assert not {"mean", "std"} & content.keys()
    for words in (["submit", "check", "runs/net/net.toml"], ["run", "--model", "file:runs/net/net.toml"]):
        code, out, err = invoke(capsys, *words)
        assert code == 2
        assert "expected the key 'mean' (subtracted from pixels in [0, 1] before the network" in " ".join(
            (out + err).split()
        )


def test_what_lies_beside_a_network_can_be_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {f"model.{name}": tensor for name, tensor in tiny_network().state_dict().items()}
    average = {f"ema_{name}": tensor + 1 for name, tensor in own.items()}
    torch.save({"state_dict": own | average | {"loss.weight": torch.ones(10)}}, "net.ckpt")
    code, _, err = invoke(capsys, "submit", "convert", "net.ckpt", *FLAGS, "--mean", "none")
    assert code == 2
    assert (
        "choose a part by --table state_dict.model or state_dict.ema_model or state_dict.loss, or leave one out, such "
        "as --drop loss." in err
    )
    expected = dict(tiny_network().state_dict())
    ways = (
        (["--table", "state_dict.model"], 0),
        (["--table", "ema_model"], 1),
        (["--drop", "ema_model.", "--drop", "loss."], 0),
    )
    for number, (words, shift) in enumerate(ways):
        flags = ("--mean", "none", "--name", f"net-{number}", "--out", "out")
        assert invoke(capsys, "submit", "convert", "net.ckpt", *FLAGS, *flags, *words)[0] == 0
        for name, tensor in load_file(f"out/net-{number}.safetensors").items():
            assert torch.equal(tensor, expected[name] + shift)


@pytest.mark.parametrize("path", ["net.pth", "../net.pth", "file:net.ckpt", "net.safetensors", "model.onnx"])
def test_weights_in_the_place_of_a_model_name_the_command_for_them(
    path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = invoke(capsys, "run", "--model", path)
    assert code == 2
    command = "init" if path.endswith(".safetensors") else "convert"
    assert f"`bench submit {command} {path.removeprefix('file:')} --architecture NAME`" in err


def test_a_checkpoint_of_another_architecture_is_told_which_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    build = registry.load("architectures", "resnet-basic")
    torch.save(build(10, depth=20).state_dict(), "net.pth")
    code, _, err = invoke(capsys, "submit", "convert", "net.pth", *FLAGS, "--mean", "none")
    assert code == 2
    found = re.search(r"probably has another architecture: by shapes these fit better: ([a-z0-9-]+) \((\d+) of", err)
    assert found is not None
    assert found[1] == "resnet-basic"
    assert "--table" not in err
    torch.save({"a.weight": torch.ones(3, 7), "b.weight": torch.ones(5, 3)}, "net.pth")
    code, _, err = invoke(capsys, "submit", "convert", "net.pth", *FLAGS, "--mean", "none")
    assert code == 2
    assert "no architecture here has their shapes" in err
