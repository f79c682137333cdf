"""Protocols of image files, and runs under them from start to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from bench import cli, registry
from bench.checks.records import verify_results
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.storage.stored_run import read_run
from bench.data._image_files import read_image
from bench.images.network import network_like, network_of
from bench.images.protocol import LIKENESSES, Wanted, moved, protocol_of, write
from bench.images.source import source_of
from bench.run.samples import load_samples
from tests.support.own_images import draw, folder_of_images, likeness, own_network


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    entry = registry.load("models", str(own_network(tmp_path)))
    like: Protocol = registry.load("protocols", str(likeness(tmp_path)))
    return Wanted(place=folder_of_images(tmp_path / "My photos"), like=like, network=network_of(entry))


def made(wanted: Wanted) -> tuple[Protocol, list[str]]:
    said: list[str] = []
    return protocol_of(wanted, said.append), said


def test_only_the_images_differ_from_the_other_protocol(wanted: Wanted) -> None:
    protocol, said = made(wanted)
    like = wanted.like
    assert protocol.name.startswith("my-photos-")
    assert not protocol.rankable
    assert protocol.models_of == "shapes"
    assert not said
    for part in ("threat", "surrogate", "attribution", "search_attribution", "explain", "heatmap", "seed", "floor"):
        assert getattr(protocol, part) == getattr(like, part)
    names = [metric.column for metric in like.metrics]
    assert [metric.column for metric in protocol.metrics] == names
    assert protocol.metrics[0].params == {"k": 25}, "100 of 32x32 pixels is 25 of 16x16"
    assert protocol.attacks[0].params == like.attacks[0].params | {"k": 25}


@pytest.mark.parametrize("name", LIKENESSES)
def test_metrics_that_need_annotations_are_left_out(wanted: Wanted, name: str) -> None:
    like: Protocol = registry.load("protocols", name)
    protocol, _ = made(replace(wanted, like=like))
    left = {metric.column for metric in like.metrics} - {metric.column for metric in protocol.metrics}
    assert left == {m.column for m in like.metrics if registry.instantiate("metrics", m).needs}
    assert protocol.primary_metric in {metric.column for metric in protocol.metrics}


def test_a_run_without_a_protocol_takes_the_likeness_that_the_help_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "photos")
    words = ["--model", f"file:{own_network(tmp_path)}", "--images", "photos", "--limit", "1", "--device", "cpu"]
    code, out, err = invoke(capsys, "run", *words, "--attack", "ifia-topk", "--set", "steps=1", "--json")
    assert code == 0, err
    assert "pointing-game" not in json.loads(out)[1]["summaries"]["all"]
    assert f"by default {LIKENESSES[0]}" in " ".join(invoke(capsys, "run", "--help")[1].split())


def test_the_images_are_those_of_the_folder_in_a_balanced_order(wanted: Wanted) -> None:
    protocol, _ = made(wanted)
    folder = protocol.samples.folder
    assert folder is not None
    samples = load_samples(protocol.samples, source_of(protocol.samples))
    assert samples.labels.tolist() == [0, 1, 2] * 3
    assert {each.file for each in folder.files} == {f"{c}/{i}.png" for c in folder.classes for i in range(3)}
    for each, image in zip(folder.files, samples.images, strict=True):
        assert torch.equal((image * 255).round().byte(), read_image(wanted.place / each.file, folder.geometry))


def test_the_written_protocol_is_the_same_and_its_place_is_no_part_of_it(wanted: Wanted, tmp_path: Path) -> None:
    protocol, _ = made(wanted)
    again: Protocol = registry.load("protocols", str(write(protocol, tmp_path / "made")))
    assert again == protocol
    other = moved(protocol, tmp_path / "elsewhere")
    assert other.sha256 == protocol.sha256
    assert b"place" not in protocol.content
    with pytest.raises(EnvironmentFault, match=r"got no folder .*elsewhere; name it with --images"):
        source_of(other.samples).load("test")
    with pytest.raises(UsageError, match="expected a protocol of image files, got short-v1"):
        moved(wanted.like, tmp_path)


def test_another_image_or_label_is_another_protocol(wanted: Wanted) -> None:
    before, _ = made(wanted)
    (wanted.place / "circle" / "0.png").rename(wanted.place / "square" / "9.png")
    after, _ = made(wanted)
    assert before.name != after.name


def test_fewer_images_are_drawn_equally_and_said(wanted: Wanted) -> None:
    (wanted.place / "circle" / "notes.txt").write_text("x")
    protocol, said = made(Wanted(**{**vars(wanted), "count": 4}))
    folder = protocol.samples.folder
    assert folder is not None
    assert [each.label for each in folder.files] == [0, 1, 2, 0]
    assert said == [
        "1 file without the ending of an image: not read",
        "4 of 9 images, each class equally often; --limit takes more or fewer",
    ]


def test_all_damaged_files_and_unknown_labels_are_named(wanted: Wanted) -> None:
    for name in ("circle/0.png", "square/2.png"):
        (wanted.place / name).write_bytes(b"no image" + name.encode())
    with pytest.raises(IntegrityError, match=r"got 2 to mend:\n.*circle.0\.png.*\n.*square.2\.png"):
        made(wanted)
    draw(wanted.place / "trangle" / "1.png", 3)
    with pytest.raises(UsageError, match=r"label 'trangle' of trangle/1\.png: no class .* mean 'triangle'"):
        made(wanted)


def test_a_changed_or_missing_file_is_found(wanted: Wanted) -> None:
    protocol, _ = made(wanted)
    path = wanted.place / "circle" / "0.png"
    draw(path, 1234)
    with pytest.raises(IntegrityError, match=r"circle.0\.png as it was when the protocol was made, got other bytes"):
        source_of(protocol.samples).load("test")
    path.unlink()
    with pytest.raises(IntegrityError, match=r"expected circle/0\.png in .*, got no such file; restore it"):
        source_of(protocol.samples).load("test")


def test_a_decoder_that_rounds_differently_is_forgiven_and_another_picture_is_not(
    wanted: Wanted, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, _ = made(wanted)
    whole = Image.Image.convert
    monkeypatch.setattr(Image.Image, "convert", lambda self, mode: whole(self, mode).point(lambda v: min(255, v + 1)))
    assert len(load_samples(protocol.samples, source_of(protocol.samples)).ids) == 9
    monkeypatch.setattr(Image.Image, "convert", lambda self, mode: whole(self, mode).point(lambda v: 255 - v))
    with pytest.raises(IntegrityError, match=r"the 9 images of my-photos, split test to have the sha256"):
        load_samples(protocol.samples, source_of(protocol.samples))


def test_a_name_that_a_protocol_has_is_refused(wanted: Wanted) -> None:
    with pytest.raises(UsageError, match="expected a name that no protocol has, got cifar10-smoke"):
        made(Wanted(**{**vars(wanted), "name": "cifar10-smoke"}))


def invoke(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(stop.value.code, int)
    return stop.value.code, captured.out, captured.err


def test_a_run_and_a_sweep_work_on_own_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "photos")
    model, like = f"file:{own_network(tmp_path)}", str(likeness(tmp_path))
    own = ["--protocol", like, "--images", "photos", "--device", "cpu"]
    code, out, err = invoke(capsys, "run", "--model", model, "--attack", "ifia-topk", "--limit", "6", *own, "--json")
    assert code == 0, err
    floor, attacked = json.loads(out)
    assert attacked["samples"] == 6
    assert attacked["classes"] == ["circle", "square", "triangle"]
    assert "6 of 9 images" in err
    code, out, err = invoke(
        capsys, "sweep", "--models", model, "--attacks", "ifia-topk", "--limit", "6", *own, "--json"
    )
    assert code == 0, err
    runs = [read_run(Path(path)) for path in json.loads(out)["runs"]]
    assert [run.record.run_id for run in runs] == [floor["run_id"], attacked["run_id"]], "the same protocol"
    checks = verify_results(tmp_path / "results")
    assert {check.question for check in checks} >= {"protocol", "rows", "summaries"}
    assert [check for check in checks if not check.ok] == []


def test_an_audit_works_on_own_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("RADII", "STEPS", "RESTARTS", "SHARPNESS"):
        monkeypatch.setattr(f"bench.sweeps.audit.{name}", ())
    own = ["--protocol", str(likeness(tmp_path)), "--images", str(folder_of_images(tmp_path / "photos"))]
    code, out, err = invoke(capsys, "audit", f"file:{own_network(tmp_path)}", "--limit", "3", *own, "--json")
    assert code == 0, err
    assert json.loads(out)
    records = [read_run(path).record for path in sorted((tmp_path / "results").glob("*/*/*/*.json"))]
    assert {record.spec.attack.name for record in records} == {"ifia-topk", "nes", "random-noise"}
    assert {record.samples for record in records} == {3}


def test_options_that_do_not_fit_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = f"file:{own_network(tmp_path)}"
    code, _, err = invoke(capsys, "run", "--model", model, "--size", "32")
    assert (code, "expected --images beside --size" in err) == (2, True)
    code, _, err = invoke(capsys, "run", "--model", model, "--images", str(tmp_path / "nowhere"))
    assert (code, "expected a folder of images or a CSV table" in err) == (2, True)


def test_init_writes_a_protocol_that_runs_and_follows_its_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "photos")
    model, like = f"file:{own_network(tmp_path)}", str(likeness(tmp_path))
    words = ["protocol", "init", "--images", "photos", "--like", like, "--model", model, "--name", "scans"]
    code, out, err = invoke(capsys, *words)
    assert code == 0, err
    assert "protocol: scans-v1.toml, 9 images" in out
    assert invoke(capsys, *words)[0] == 0, "the same protocol again"
    code, _, err = invoke(capsys, *words, "--count", "3")
    assert (code, "expected no other protocol in scans-v1.toml" in err) == (2, True)
    (tmp_path / "photos").rename(tmp_path / "moved")
    run = ["run", "--model", model, "--attack", "random-noise", "--protocol", "scans-v1.toml", "--limit", "3", "--json"]
    code, _, err = invoke(capsys, *run)
    assert (code, "name it with --images" in err) == (5, True)
    code, out, err = invoke(capsys, *run, "--images", "moved")
    assert code == 0, err
    record = json.loads(out)[0]
    assert (record["samples"], record["spec"]["samples"]["of"]) == (3, 9)
    assert record["spec"]["protocol"] | {"sha256": ""} == {
        "name": "scans", "version": 1, "sha256": "", "rankable": False, "floor": "random-noise", "reference": [],
        "track": "attribution",
    }  # fmt: skip


def test_init_without_the_network_says_that_it_knows_the_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder_of_images(tmp_path / "photos")
    code, _, err = invoke(capsys, "protocol", "init", "--images", "photos", "--like", "cifar10-gradient-v1")
    assert (code, "label 'circle' of circle/" in err) == (2, True)
    assert "for classes of your own, name the network that was trained on them: --model file:ENTRY.toml" in err
    code, _, err = invoke(capsys, "protocol", "init", "--images", "nowhere", "--like", "cifar10-gradient-v1")
    assert (code, "ENTRY.toml" in err) == (2, False)


def test_without_a_model_classes_and_size_are_those_of_the_likeness(tmp_path: Path) -> None:
    network = network_like(registry.load("protocols", "cifar10-gradient-v1"))
    assert (network.dataset, network.outputs.names[3], network.geometry.crop) == ("cifar10", "cat", (32, 32))
    assert network_like(registry.load("protocols", "cifar10-gradient-v1"), "64:48").geometry.crop == (48, 48)
    draw(tmp_path / "pets" / "Cat" / "1.jpg", 1, (50, 70))
    like: Protocol = registry.load("protocols", str(likeness(tmp_path)))
    protocol = protocol_of(Wanted(place=tmp_path / "pets", like=like, network=network), print)
    assert protocol.samples.folder is not None
    assert protocol.samples.folder.files[0].label == 3
    assert protocol.models_of == "cifar10"
    assert network_like(protocol).outputs.names == network.outputs.names


def test_protocols_of_networks_with_unknown_classes_need_a_model(tmp_path: Path) -> None:
    like: Protocol = registry.load("protocols", str(likeness(tmp_path)))
    with pytest.raises(UsageError, match="name one of its networks with --model"):
        network_like(like.model_copy(update={"models_of": "shapes"}))
