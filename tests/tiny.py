"""A tiny, untrained model as files: an entry TOML and its weights, for tests that need no good classifier."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from bench.core.rng import Rng
from model_zoo.architectures.wide_resnet import build
from model_zoo.build import export_weights
from model_zoo.training.loop import initialize


def tiny_network(seed: int = 0, num_classes: int = 10) -> nn.Module:
    network = build(num_classes, depth=10, width=1)
    initialize(network, Rng(seed).fork("tiny"))
    return network.eval()


def tiny_content(folder: Path, name: str = "tiny") -> dict[str, Any]:
    """Write weights into `folder` and return a valid entry of them."""
    weights = export_weights(tiny_network(), folder / f"{name}.safetensors")
    return {
        "name": name,
        "title": "A tiny model",
        "architecture": {"name": "wide-resnet", "params": {"depth": 10, "width": 1}},
        "dataset": "cifar10",
        "num_classes": 10,
        "weights": weights.model_dump(exclude_none=True),
        "mean": [0.5, 0.4, 0.3],
        "std": [0.25, 0.2, 0.3],
        "training": {"method": "none"},
        "license": "MIT",
        "added": "2026-01-01",
    }


def write_entry(folder: Path, content: dict[str, Any]) -> Path:
    """Write an entry as `<name>.toml`: dotted keys, JSON values (which are TOML values)."""
    path = folder / f"{content['name']}.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in _flat(content)))
    return path


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for key, value in content.items():
        nested = isinstance(value, dict)
        pairs += _flat(value, f"{prefix}{key}.") if nested else [(prefix + key, json.dumps(value))]
    return pairs
