"""A small network, its images and a victim, for oracles of searches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng, SampleRng
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

IDS = ("a", "b", "c")
THREAT = ThreatModel(norm="linf", epsilon="8/255")


def network() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))


def clean_images() -> Tensor:
    """(3, 3, 16, 16)."""
    return SampleRng(Rng(0), IDS).fork("images").uniform((3, 16, 16), 0.1, 0.9)


def victim(model: nn.Module, **changed: Any) -> WhiteBoxVictim:
    """Return a victim, some of its fields changed."""
    given: dict[str, Any] = {
        "model": model,
        "smooth": changed.get("smooth") or smooth_copy(model, 20.0),
        "explainer": Explainer(Gradient(), "sum-of-abs"),
        "primary": Kendall(),
        "threat": THREAT,
        "knowledge": "white-box",
        "rng": SampleRng(Rng(1), IDS),
    }
    return WhiteBoxVictim(**(given | changed))


class Island(nn.Module):
    """Class 0 in a ball around an image, class 1 beyond.

    The map of logit 0 changes fast with the image.
    """

    def __init__(self, image: Tensor, reach: float = 1 / 3) -> None:
        super().__init__()
        self.center = image
        self.radius = reach * (image.numel() / 3) ** 0.5 * float(THREAT.epsilon)
        """A share of the length of a random start."""

    def margin(self, images: Tensor) -> Tensor:
        """(N,): above 0 outside."""
        return (images - self.center).flatten(1).square().sum(1) - self.radius**2

    def forward(self, images: Tensor) -> Tensor:
        waves = torch.sin(60 * images).flatten(1).sum(1)
        return torch.stack([waves, waves + 100 * self.margin(images)], 1)
