"""The classifiers of timm (PyTorch Image Models)."""

from __future__ import annotations

from torch import nn

from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.extras import extra

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


def build(num_classes: int, *, model: str = "resnet18") -> nn.Module:
    """Build an untrained network of timm, in eval mode.

    Args:
        num_classes: K, the number of logits.
        model: its name in timm, with or without the tag of pretrained weights.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        EnvironmentFault: if timm is not installed.
        ValueError: if timm has no such network.
    Source:
        Wightman 2019, PyTorch Image Models.
        Differs: one activation module per call site, none in place; names and values of the weights stay.
    """
    from bench.core.compute import vision  # noqa: F401 - timm imports torchvision

    with extra("timm"):
        import timm
    try:
        network: nn.Module = timm.create_model(model, pretrained=False, num_classes=num_classes).eval()
    except RuntimeError as error:
        raise ValueError(str(error)) from error
    return separate_activations(network)
