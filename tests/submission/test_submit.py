"""`bench submit` accepts an honest model and finds every fault.

The published files tell the truth.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import torch
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.checks.verify import Check
from bench.commands.plugins import show_lists, show_plugin
from bench.commands.run import run
from bench.commands.submit import show_check_table
from bench.commands.verify import show_checks
from bench.core.errors import BenchError, IntegrityError, ModelOutputError
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of_file
from bench.core.storage.toml import parse_toml
from bench.core.text import printable
from bench.data.cifar10 import Cifar10
from bench.submission import check as checks
from bench.submission import normalisation
from bench.submission.card import accuracy_lines, escaped, eval_results, fenced
from bench.submission.measure import confirm
from bench.submission.publish import pull_request, records_of, write_folder
from bench.terminal import console
from model_zoo.build import classifier, freeze
from model_zoo.tensors import export_weights
from model_zoo.weights_file import Resolved
from tests.checks.test_verify import tiny_count
from tests.support.factories import model_entry, store_run
from tests.support.foreign import foreign_state_dict
from tests.support.tiny import tiny_content, tiny_network, write_entry
from tests.terminal.test_cli import invoke

CPU = torch.device("cpu")
QUESTIONS = ["entry and weights", "name", "licence and citation", "normalisation", "architecture", "samples", "logits",
    "second derivatives", "deterministic", "[0, 1] contract", "clean accuracy"]  # fmt: skip


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An honest submission."""
    (tmp_path / "no-data").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "no-data"))
    honest = tiny_content(tmp_path) | {"citation": "@misc{me}"}
    return honest | {"accuracy": {"images": 20, "clean": tiny_count(tmp_path, honest) / 20}}


def asked(folder: Path, content: dict[str, Any]) -> list[Check]:
    return checks.check_submission(f"file:{write_entry(folder, content)}", device=CPU)


def test_an_honest_model_passes_every_check(tmp_path: Path, content: dict[str, Any]) -> None:
    found = asked(tmp_path, content)
    assert [check.question for check in found] == QUESTIONS
    assert all(check.ok and check.exit_code == 0 for check in found)
    assert not any("\n" in check.detail for check in found)


def set_key(key: str, value: Any) -> Callable[[Path, dict[str, Any]], None]:
    def change(_: Path, content: dict[str, Any]) -> None:
        *outer, last = key.split(".")
        for name in outer:
            content = content[name]
        content[last] = value

    return change


def nan_weights(folder: Path, content: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    path = folder / "tiny.safetensors"
    save_file(load_file(path) | {"head.bias": torch.full((10,), float("nan"))}, path)
    content["weights"] |= {"sha256": sha256_of_file(path), "size": path.stat().st_size}


def borrowed_name(folder: Path, content: dict[str, Any]) -> None:
    (folder / "tiny.safetensors").rename(folder / "art-wrn28.safetensors")
    content["name"], content["weights"]["file"] = "art-wrn28", "art-wrn28.safetensors"


@pytest.mark.parametrize(
    ("change", "question", "code", "sentence"),
    [
        (set_key("colour", "red"), "entry and weights", 2, "unknown key 'colour'"),
        (set_key("weights.size", 5), "entry and weights", 3, "expected 5 bytes"),
        (set_key("weights.sha256", "0" * 64), "entry and weights", 3, "sha256"),
        (set_key("weights.file", "tiny.pth"), "entry and weights", 2, ".safetensors file"),
        (borrowed_name, "name", 2, "expected a free name, got art-wrn28"),
        (set_key("citation", " "), "licence and citation", 2, "--citation"),
        (set_key("mean", [125.3, 123.0, 113.9]), "normalisation", 2, "divide them by 255"),
        (set_key("num_classes", 9), "normalisation", 2, "expected 10 classes"),
        (set_key("architecture.name", "wide-resnot"), "architecture", 2, "did you mean 'wide-resnet'?"),
        (set_key("architecture.params.depth", 16), "architecture", 3, "missing"),
        (set_key("architecture.params.width", 3000), "architecture", 3, "missing: blocks.0.shortcut"),
        (set_key("architecture.params.width", 10**12), "architecture", 2, "mend its parameters"),
        (set_key("architecture.params.depth", 6 * 10**9 + 4), "architecture", 2, "at most 5000 modules"),
        (nan_weights, "architecture", 3, "finite numbers, got NaN"),
        (set_key("accuracy.clean", 0.95), "clean accuracy", 3, "measured before: 95.00%"),
        (set_key("claimed", {"clean": 0.95}), "clean accuracy", 3, "from the claimed 95.00%"),
        (set_key("accuracy.clean", 0.95), "clean accuracy", 3, "likely causes: a wrong mean or std"),
    ],
)
def test_each_fault_is_found(
    change: Callable[[Path, dict[str, Any]], None], question: str, code: int, sentence: str,
    tmp_path: Path, content: dict[str, Any],
) -> None:  # fmt: skip
    change(tmp_path, content)
    content = {key: value for key, value in content.items() if value is not None}
    failed = {check.question: check for check in asked(tmp_path, content) if not check.ok}
    assert failed[question].exit_code == code
    assert sentence in failed[question].detail
    assert "\n" not in failed[question].detail


class Random(nn.Module):
    """Logits with noise that no seed controls."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.randn(len(images), 10)


class Batch(nn.Module):
    """Logits that depend on the batch an image is in."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - images.mean(0)).flatten(1)[:, :10]


class Brightness(nn.Module):
    """Return a network that is right on correctly normalised grey images."""

    def forward(self, images: Tensor) -> Tensor:
        grey = images.mean((1, 2, 3))[:, None]
        return -((grey - torch.arange(10) / 10).abs())


def subject(network: nn.Module, mean: float, std: float) -> checks.Subject:
    model = freeze(classifier(network, [mean] * 3, [std] * 3))
    labels = torch.arange(20) % 10
    images = (labels / 10).view(-1, 1, 1, 1).expand(20, 3, 4, 4).contiguous()
    entry = model_entry(mean=[mean] * 3, std=[std] * 3)
    return checks.Subject(Resolved(entry, "file:x.toml", Path("x")), model, images, labels, CPU)


@pytest.mark.parametrize(("network", "what"), [(Random(), "randomised"), (Batch(), "not to depend on its batch")])
def test_a_model_that_answers_differently_twice_is_found(network: nn.Module, what: str) -> None:
    with pytest.raises(ModelOutputError, match=what):
        checks._check_deterministic(subject(network, 0.0, 1.0))


def test_a_normalisation_that_the_network_was_not_trained_with_is_found() -> None:
    assert "20 of 20 right" in checks._check_contract(subject(Brightness(), 0.0, 1.0))
    with pytest.raises(IntegrityError, match="20 of 20 right for images without any normalisation"):
        checks._check_contract(subject(Brightness(), 0.5, 0.2))

    class Usual(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (Cifar10.mean, Cifar10.std))
            return super().forward(images * std + mean)

    with pytest.raises(IntegrityError, match="20 of 20 right for images with the data set's own"):
        checks._check_contract(subject(Usual(), 0.0, 1.0))


def test_infinite_logits_are_found() -> None:
    class Infinite(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10] / images.mean((1, 2, 3))[:, None]

    with pytest.raises(ModelOutputError, match="NaN or infinity"):
        checks._check_logits(subject(Infinite(), 0.0, 1.0))


# The commands


@pytest.mark.usefixtures("content")
def test_check_prints_a_table_and_exits_with_the_worst_code(
    tmp_path: Path, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_entry(tmp_path, content)
    code, out, _ = invoke(capsys, "submit", "check", str(path))
    assert code == 0
    assert "11 of 11 checks passed" in out
    content["accuracy"]["clean"], content["citation"] = 0.95, ""
    write_entry(tmp_path, content)
    code, out, _ = invoke(capsys, "submit", "check", str(path), "--json")
    assert code == 3
    assert [c["question"] for c in json.loads(out) if not c["ok"]] == ["licence and citation", "clean accuracy"]


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
        (["convert", "net.pth", *FLAGS[:1], "resnot", *FLAGS[2:]], 2, "constant-map, conv-small, linear,"),
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


def test_run_is_bench_run_with_the_entry(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(run, "callback", lambda **given: seen.update(given))
    path = write_entry(tmp_path, content)
    words = ("--attack", "ifia-topk", "--limit", "3", "--protocol", "cifar10-linf8-v1", "--json")
    assert invoke(capsys, "submit", "run", str(path), *words)[0] == 0
    assert (seen["model"], seen["attacks"], seen["limit"]) == (f"file:{path}", ("ifia-topk",), 3)
    assert (seen["protocol"], seen["as_json"]) == ("cifar10-linf8-v1", True)
    assert invoke(capsys, "submit", "run", "hub:me/net", "--limit", "x")[0] == 2


def test_run_measures_the_accuracy_and_writes_it_into_the_entry(
    tmp_path: Path, content: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "callback", lambda **_: None)
    honest = content.pop("accuracy")["clean"]
    path = write_entry(tmp_path, content | {"claimed": {"clean": honest, "images": 20}})
    code, _, err = invoke(capsys, "submit", "publish", str(path), "--repo", "me/net", "--dry-run")
    assert code == 2
    assert "expected a measured clean accuracy" in err
    assert f"`bench submit run {path}` measures it in seconds" in err
    assert invoke(capsys, "submit", "run", str(path))[0] == 0
    entry = parse_toml(path, ModelEntry)
    assert entry.accuracy is not None
    assert (entry.accuracy.clean, entry.accuracy.images) == (honest, 20)
    assert entry.claimed is not None
    assert entry.claimed.clean == honest

    path = write_entry(tmp_path, content | {"claimed": {"clean": 0.9999}})
    code, _, err = invoke(capsys, "submit", "run", str(path))
    assert code == 3
    assert "from the claimed 99.99%" in err
    assert parse_toml(path, ModelEntry).accuracy is None


def test_an_accuracy_as_by_chance_is_doubted_unless_it_is_claimed() -> None:
    silent = model_entry(accuracy=None, claimed={"statement": "high"})
    with pytest.raises(IntegrityError, match=r"2 of 20 .* as by chance .* likely causes: a wrong"):
        confirm(2, 20, silent)
    assert confirm(12, 20, silent).startswith("12 of 20 test images correct")
    assert confirm(2, 20, model_entry(accuracy=None, claimed={"clean": 0.1})).startswith("2 of 20")


def test_cards_name_what_is_measured_and_what_is_claimed() -> None:
    entry = model_entry(accuracy={"images": 1000, "clean": 0.5}, claimed={"clean": 0.788, "statement": "in the README"})
    assert accuracy_lines(entry) == [
        "Clean accuracy, measured: 50.00% of 1000 test images.",
        "Clean accuracy, claimed by its authors: 78.80% in the README.",
    ]
    names = {result.metric_name for result in eval_results(entry, [])}
    assert names == {"clean accuracy, measured"}


class Cut(nn.Module):
    """A forward without gradients."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10].square()


def test_a_network_that_no_attack_can_differentiate_is_found() -> None:
    with pytest.raises(BenchError) as caught:
        checks._check_curvature(subject(Cut(), 0.0, 1.0))
    assert "\n" not in str(caught.value)
    bent = nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 10))
    assert "smooth surrogate" in checks._check_curvature(subject(bent, 0.0, 1.0))


def test_publish_refuses_a_model_that_fails_a_check(
    tmp_path: Path, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_entry(tmp_path, content | {"citation": ""})
    code, out, _ = invoke(capsys, "submit", "publish", str(path), "--repo", "me/net", "--dry-run")
    assert code == 2
    assert "10 of 11 checks passed" in out
    assert not (tmp_path / "published").exists()


# What is published


@dataclass
class Model:
    """An entry, its weights, and a run of exactly them."""

    entry: ModelEntry
    weights: Path
    results: Path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    content = tiny_content(tmp_path) | {
        "title": "*bold* <b>[link](javascript:x)</b>\u202e",
        "license": "Odd Licence",
        "citation": "@misc{me, note={```\n# Break out}}",
        "accuracy": {"images": 10_000, "clean": 0.5},
    }
    entry = ModelEntry.model_validate(content)
    store_run(tmp_path / "results", entry)
    store_run(tmp_path / "results", model_entry("another"))
    return Model(entry, tmp_path / "tiny.safetensors", tmp_path / "results")


def test_the_folder_is_what_the_hub_expects(model: Model, tmp_path: Path) -> None:
    records = records_of(model.entry, model.results)
    assert [record.entry.name for record in records] == ["tiny"]
    write_folder(model.entry, model.weights, records, "me/tiny", tmp_path / "hub")
    assert sha256_of_file(tmp_path / "hub" / "tiny.safetensors") == model.entry.weights.sha256
    assert parse_toml(tmp_path / "hub" / "entry.toml", ModelEntry) == model.entry

    card = ModelCard.load(tmp_path / "hub" / "README.md")
    (summary,) = [r.summaries["correct"]["kendall"] for r in records]
    (kendall,) = [r for r in card.data.eval_results or [] if r.metric_type == "kendall"]
    assert kendall.metric_value == summary.mean
    assert kendall.metric_args["low"] == summary.low
    assert kendall.dataset_config == "cifar10-linf8-v1"
    assert kendall.verified is None, "the Hub's to set"
    assert (card.data.model_name, card.data.license, card.data.license_name) == ("tiny", "other", "odd-licence")
    assert "<b>" not in card.text
    assert "\u202e" not in card.text
    assert card.text.count("````") == 2, "the citation cannot close its block"

    text = (tmp_path / "hub" / ".eval_results" / "attribution-bench.yaml").read_text()
    (result,) = parse_eval_result_entries(yaml.safe_load(text))
    assert (result.value, result.task_id) == (summary.mean, "cifar10-linf8-v1.ifia-topk.kendall")
    assert result.verify_token is None


def test_the_pull_request_pins_the_entry_and_tells_checks_and_numbers(model: Model) -> None:
    records, commit = records_of(model.entry, model.results), "a" * 40
    answers = [Check("x", "name", True, "free"), Check("x", "logits", True, "`x` | </details>")]
    text = pull_request(model.entry, answers, records, "me/tiny", commit)
    assert text.startswith("Register tiny\n\n")
    assert "- [x] name: free" in text
    assert "</details>" not in text.replace("\\<", "")
    assert f"`hub:me/tiny@{commit}`" in text
    assert f"{records[0].summaries['correct']['kendall'].mean:.3f} [" in text
    (toml,) = re.findall(r"\n(`{3,})toml\n(.*?)\n\1\n", text, flags=re.DOTALL)
    entry = ModelEntry.model_validate(tomllib.loads(toml[1]))
    assert (entry.weights.repo, entry.weights.revision) == ("me/tiny", commit)
    assert entry.citation == model.entry.citation

    unpublished = pull_request(model.entry, answers, records, "me/tiny", None)
    assert "not uploaded yet" in unpublished
    assert "revision" not in unpublished


def test_the_text_of_strangers_cannot_steer(capsys: pytest.CaptureFixture[str]) -> None:
    assert escaped("a*b_[c](d)`e`\n# f") == r"a\*b\_\[c\]\(d\)\`e\` \# f"
    assert fenced("a\n````\nb").startswith("`````\n")
    assert printable("a\x1b[2J\u202eb\rc\n") == "a\ufffd[2J\ufffdb\ufffdc\n"
    hostile = Check("x", "[bold]q[/bold]", False, "\x1b[2J[link=http://x]y[/link]", 1)
    show_checks([hostile])
    show_check_table([hostile])
    console.show_error("\x1b]0;title\x07 [red]")
    show_lists({"models": [{"name": "a", "summary": "\x1b[31m[red]"}]})
    show_plugin("models", "a", {"title": "\x1b[31m[red]"})
    shown = "".join(capsys.readouterr())
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.count("[red]") == 3
    assert "[link=http://x]" in shown
