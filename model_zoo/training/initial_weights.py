"""Draws the weights at which a training begins."""

from __future__ import annotations

from typing import Literal

from torch import nn

from bench.core.compute.rng import Rng


def initialize(network: nn.Module, rng: Rng) -> None:
    """Give every convolution and linear layer He-normal weights.

    They come from a named stream, in the order of the modules.
    """
    generator = rng.generator()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            mode: Literal["fan_out", "fan_in"] = "fan_out" if isinstance(module, nn.Conv2d) else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=mode, generator=generator)
            if isinstance(module, nn.Conv2d) and module.groups > 1:  # torch counts the outputs of all groups
                module.weight.data *= module.groups**0.5
            if module.bias is not None:
                nn.init.zeros_(module.bias)
