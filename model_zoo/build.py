"""Classifiers with the normalisation inside.

They take images in [0, 1] and return logits.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_module_registration_hook

from bench.core.errors import UsageError, blamed_on
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component
from model_zoo.logits import failure
from model_zoo.tensors import read_weights

BuildNetwork = Callable[..., nn.Module]
MAX_MODULES = 5000
"""Layers and containers of one network, twice as many as in the deepest residual networks.

An entry may come from an untrusted source.
"""


class Normalize(nn.Module):
    """(x - mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same shape, normalised."""
        return (images - self.mean) / self.std


class Classifier(nn.Sequential):
    """A normalisation and a network.

    An error of the network becomes one sentence.
    """

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) images in [0, 1] to (N, K) logits."""
        try:
            logits: Tensor = super().forward(images)  # type: ignore[no-untyped-call]
        except Exception as error:  # the network may be somebody's own, and fail in any way
            if (said := failure(error, images)) is error:
                raise
            raise said from error
        return logits


def classifier(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> Classifier:
    """Return the network with its normalisation in front.

    So no caller can forget or repeat the normalisation.
    """
    return Classifier(Normalize(mean, std), network)


def freeze(model: nn.Module) -> nn.Module:
    """Return `model` in eval mode with parameters that need no gradient."""
    return model.eval().requires_grad_(False)


def build(entry: ModelEntry, build_network: BuildNetwork, weights_path: Path, *, device: torch.device) -> nn.Module:
    """Return an entry's model, ready to be judged.

    Args:
        entry: names architecture, number of classes and normalisation.
        build_network: the architecture's `build(num_classes, **params)`.
        weights_path: a safetensors file. Only the bytes that the entry promises are parsed.
        device: where the model computes.
    Returns:
        (N, C, H, W) images in [0, 1] to (N, K) float32 logits; eval mode, frozen, channels-last.
    Raises:
        UsageError: if the architecture refuses the entry's parameters.
        IntegrityError: if the file does not hold exactly this network's finite tensors.
    """
    whose, architecture = f"entry {entry.name}", entry.architecture
    with torch.device("meta"):  # no memory yet: a stranger's entry may name any network, its file is what is there
        sketch = construct(build_network, entry.num_classes, architecture, whose=whose)
    tensors = read_weights(weights_path, sketch.state_dict(), sha256=entry.weights.sha256)
    network = construct(build_network, entry.num_classes, architecture, whose=whose)
    network.load_state_dict(tensors, strict=True)
    model = classifier(network, entry.mean, entry.std)
    return freeze(model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def construct(build_network: BuildNetwork, num_classes: int, architecture: Component, *, whose: str) -> nn.Module:
    """Return an untrained network.

    Args:
        build_network: the architecture's `build(num_classes, **params)`.
        num_classes: K, the number of logits.
        architecture: its name, for the error, and its parameters.
        whose: owner of the parameters, named in the error.
    Raises:
        UsageError: if the architecture refuses the parameters, or they make a network without bounds.
    """
    try:
        with _few_modules(), warnings.catch_warnings():
            warnings.filterwarnings("error", "Initializing zero-element tensors")
            return build_network(num_classes, **architecture.params)
    except (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError, UserWarning) as error:
        reason = (str(error) or type(error).__name__).split("\n")[0]
        raise UsageError(f"{whose}: architecture {architecture.name}: {reason}; mend its parameters") from error
    except Exception:  # of another kind than what wrong parameters cause: a mistake in the architecture's code
        with blamed_on(build_network):
            raise


@contextmanager
def _few_modules() -> Iterator[None]:
    """Stop a block that makes more than MAX_MODULES modules.

    Every module takes time, even where it takes no memory.
    """
    made = 0

    def count(module: nn.Module, name: str, child: nn.Module | None) -> None:  # noqa: ARG001
        nonlocal made
        made += 1
        if made > MAX_MODULES:
            raise ValueError(f"expected a network of at most {MAX_MODULES} modules, got more")

    hook: Any = register_module_module_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()
