"""The classifiers of RobustBench.

They normalise the images themselves.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.extras import extra

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


def build(num_classes: int, *, model: str = "Standard", dataset: str = "cifar10", threat: str = "Linf") -> nn.Module:
    """Build an untrained network of RobustBench, in eval mode.

    Args:
        num_classes: K, the number of logits; RobustBench knows it from the dataset.
        model: its name in RobustBench.
        dataset: the dataset in RobustBench's model zoo.
        threat: the threat model in RobustBench's model zoo.
    Returns:
        A module from images in [0, 1] to (N, K) logits.
    Raises:
        EnvironmentFault: if robustbench is not installed.
        ValueError: if RobustBench has no such network.
    Source:
        Croce et al. 2021, RobustBench.
        Differs: one activation module per call site, none in place; names and values of the weights stay.
    """
    known = networks(dataset, threat)
    if model not in known:
        raise ValueError(f"expected a network of RobustBench's {dataset}/{threat}, got {model!r}; correct its name")
    registered = f"{model.lower().replace('-', '_')}_{dataset}_{threat.lower()}"
    import timm

    if timm.is_model(registered):
        return separate_activations(timm.create_model(registered, pretrained=False, num_classes=num_classes).eval())
    return separate_activations(known[model]["model"]().eval())


def networks(dataset: str, threat: str) -> dict[str, Any]:
    """Return the builders of RobustBench's networks by name.

    They belong to a data set and a threat model.

    Raises:
        EnvironmentFault: if robustbench is not installed.
        ValueError: if RobustBench does not know the data set or the threat model.
    """
    from bench.core.compute import vision  # noqa: F401 - robustbench imports torchvision

    with extra("robustbench"):
        from robustbench.model_zoo import model_dicts
        from robustbench.model_zoo.enums import BenchmarkDataset, ThreatModel
    found: dict[str, Any] = model_dicts[BenchmarkDataset(dataset)][ThreatModel(threat)]
    return found
