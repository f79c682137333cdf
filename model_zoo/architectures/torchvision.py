"""The classifiers of torchvision."""

from __future__ import annotations

from torch import nn

from model_zoo.derivatives.call_sites import separate_activations

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


def build(num_classes: int, *, model: str = "resnet18") -> nn.Module:
    """Build an untrained network of torchvision, in eval mode.

    Args:
        num_classes: K, the number of logits.
        model: its name in `torchvision.models`.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if torchvision has no such classifier.
    Source:
        torchvision.models.
        Differs: one activation module per call site, none in place; names and values of the weights stay.
    """
    from bench.core.compute.vision import models

    return separate_activations(models.get_model(model, weights=None, num_classes=num_classes).eval())
