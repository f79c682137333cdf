"""A tiny untrained model and a short protocol, as files.

They are for tests that need no good classifier. A run with them takes less than a second.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tomli_w
import torch
from torch import nn

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.samples import checksum
from model_zoo.architectures import conv_small, wide_resnet
from model_zoo.build import build as load
from model_zoo.tensors import export_weights
from model_zoo.training.initial_weights import initialize


def tiny_network(seed: int = 0, num_classes: int = 10) -> nn.Module:
    network = wide_resnet.build(num_classes, depth=10, width=1)
    initialize(network, Rng(seed).fork("tiny"))
    return network.eval()


def quick_network() -> nn.Module:
    """Return a network that takes a third of a residual one's time."""
    network = conv_small.build(10)
    initialize(network, Rng(0).fork("tiny"))
    return network.eval()


def tiny_content(folder: Path, name: str = "tiny") -> dict[str, Any]:
    """Write weights into `folder` and return a valid entry for them."""
    return _content(folder, name, quick_network(), {"name": "conv-small"})


def residual_content(folder: Path, name: str = "tiny") -> dict[str, Any]:
    """Write weights of a residual network and return a valid entry."""
    return _content(folder, name, tiny_network(), {"name": "wide-resnet", "params": {"depth": 10, "width": 1}})


def _content(folder: Path, name: str, network: nn.Module, architecture: dict[str, Any]) -> dict[str, Any]:
    weights = export_weights(network, folder / f"{name}.safetensors")
    return {
        "name": name,
        "title": "A tiny model",
        "architecture": architecture,
        "dataset": "cifar10",
        "num_classes": 10,
        "weights": weights.model_dump(exclude_none=True),
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.2, 0.3],
        "training": {"method": "none"},
        "license": "MIT",
        "added": "2026-01-01",
    }


def tiny_count(folder: Path, content: dict[str, Any]) -> int:
    """Count the wheel's images that the tiny model classifies correctly, singly."""
    builder = registry.load("architectures", content["architecture"]["name"])
    model = load(ModelEntry.model_validate(content), builder, folder / "tiny.safetensors", device=torch.device("cpu"))
    images, labels = FoolboxCifar10().load("test")
    with torch.no_grad():
        return sum(int(model(x[None].float() / 255).argmax()) == int(y) for x, y in zip(images, labels, strict=True))


def write_entry(folder: Path, content: dict[str, Any]) -> Path:
    """Write an entry as `<name>.toml` with dotted keys.

    Values are written as JSON, which is TOML, too.
    """
    path = folder / f"{content['name']}.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in _flat(content)))
    return path


def write_protocol(folder: Path, name: str, count: int, shard_size: int) -> Path:
    """Write a short protocol as `<name>-v1.toml`.

    It uses the first real images and few steps.
    """
    smoke = registry.load("protocols", "cifar10-smoke-v1")
    images = registry.instantiate("datasets", Component(name="foolbox-cifar10")).load("test").images
    content: dict[str, Any] = smoke.model_dump(mode="json", exclude_none=True)
    content |= {"name": name, "shard_size": shard_size}
    content["attribution"] = {"name": "integrated-gradients", "params": {"nodes": 4}}
    content["search_attribution"] = {"name": "integrated-gradients", "params": {"nodes": 2}}
    content["samples"] |= {"indices": list(range(count)), "showcase": [0, 3], "sha256": checksum(images[:count])}
    content["attacks"][0]["params"] |= {"steps": 2}
    content["attacks"][1]["params"] |= {"draws": 2}
    path = folder / f"{name}-v1.toml"
    path.write_text(tomli_w.dumps(content))
    return path


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in content.items():
        nested = isinstance(value, dict)
        pairs += _flat(value, f"{prefix}{key}.") if nested else [(prefix + key, json.dumps(value))]
    return pairs
