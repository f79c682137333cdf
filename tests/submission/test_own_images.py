"""Entries of networks for images of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bench import cli, registry
from bench.core.schemas.entry import ModelEntry
from tests.support.own_images import folder_of_images
from tests.support.tiny import tiny_network


def converted(tmp_path: Path, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    torch.save(tiny_network(num_classes=3).state_dict(), tmp_path / "net.pt")
    words = ["submit", "convert", str(tmp_path / "net.pt"), "--architecture", "wide-resnet", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--set", "depth=10", "--set", "width=1", *options])
    assert isinstance(stop.value.code, int)
    return stop.value.code, capsys.readouterr().err


def test_the_classes_are_the_folders_that_it_was_trained_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = str(folder_of_images(tmp_path / "My photos", 1))
    code, err = converted(tmp_path, capsys, "--classes", photos, "--size", "18:16", "--mean", "imagenet")
    assert code == 0, err
    entry: ModelEntry = registry.load("models", str(tmp_path / "net.toml"))
    assert entry.classes == ("circle", "square", "triangle")
    assert (entry.dataset, entry.num_classes) == ("my-photos", 3)
    assert entry.geometry is not None
    assert (entry.geometry.resize, entry.geometry.crop) == ((18, 18), (16, 16))
    assert (entry.training.method, entry.license) == ("unknown", "none given")
    assert entry.mean == (0.485, 0.456, 0.406)


def test_a_check_of_a_model_for_own_images_asks_for_them_and_then_passes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = folder_of_images(tmp_path / "photos", 4)
    rights = ("--license", "MIT", "--citation", "@misc{me}", "--method", "natural")
    assert converted(tmp_path, capsys, "--classes", str(photos), "--size", "16", "--mean", "imagenet", *rights)[0] == 0
    entry = str(tmp_path / "net.toml")
    assert "write a protocol of your images with `bench protocol init --images" in checked(capsys, entry)["samples"]
    words = ["protocol", "init", "--images", str(photos), "--model", entry, "--like", "cifar10-smoke-v1"]
    words += ["--name", "my-photos", "--out", str(tmp_path)]
    with pytest.raises(SystemExit) as stop:
        cli.main(words)
    assert stop.value.code == 0, capsys.readouterr().err
    capsys.readouterr()
    found = checked(capsys, entry, "--protocol", str(tmp_path / "my-photos-v1.toml"))
    assert found["samples"] == "the 12 samples of my-photos-v1"
    assert found["normalisation"].startswith("inside the model")


def checked(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """Return the answers of `bench submit check` by question."""
    with pytest.raises(SystemExit):
        cli.main(["submit", "check", *words, "--json"])
    return {each["question"]: each["detail"] for each in json.loads(capsys.readouterr().out)}


def test_a_named_data_set_and_answers_stay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--classes", "a,b,c", "--dataset", "shapes", "--license", "MIT", "--method", "pgd", "--mean", "none")
    assert converted(tmp_path, capsys, *options)[0] == 0
    entry: ModelEntry = registry.load("models", str(tmp_path / "net.toml"))
    assert (entry.dataset, entry.license, entry.training.method) == ("shapes", "MIT", "pgd")
    assert entry.geometry is None


def test_answers_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, err = converted(tmp_path, capsys, "--classes", "a,b", "--mean", "none")
    assert (code, "expected every tensor of wide-resnet" in err) == (2, True)
    code, err = converted(tmp_path, capsys, "--size", "16", "--mean", "none", "--license", "MIT", "--method", "x")
    assert (code, "expected --classes beside --size" in err) == (2, True)
