"""Offers plug-ins that a test made itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench import registry

ENTRY = """
name = "tiny"
title = "A tiny network"
dataset = "cifar10"
num_classes = 10
mean = [0.5]
std = [0.25]
license = "MIT"
added = 2026-01-01
architecture = { name = "wide-resnet", params = { depth = 10 } }
weights = { file = "tiny.safetensors", sha256 = "SHA", size = 1 }
training = { method = "natural" }
""".replace("SHA", "0" * 64)
ATTACK = '''"""Moves nothing."""
from typing import ClassVar
from pydantic.dataclasses import dataclass
from bench.core.contracts import Attack

@dataclass(frozen=True, kw_only=True)
class NAME(Attack):
    knowledge: ClassVar[str] = "none"
    source: ClassVar[str] = "nobody"
    steps: int = 3

    def perturb(self, victim, images, labels, *, threat, rng):
        return images
'''


@contextmanager
def plugins_in(places: Mapping[registry.Kind, registry.Python | registry.Toml]) -> Iterator[None]:
    """Run a block in which plug-ins are found in other folders."""
    own = {kind: registry.KINDS[kind] for kind in places}
    registry.KINDS.update(places)
    registry.refresh()
    try:
        yield
    finally:
        registry.KINDS.update(own)
        registry.refresh()
