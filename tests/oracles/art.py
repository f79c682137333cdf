"""A tiny network and images for the tests of ART's objectives."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Student
from model_zoo.build import classifier
from model_zoo.derivatives.surrogate import second_order_copy, smooth_copy
from model_zoo.training.folded import folded
from tests.support.tiny import tiny_network

LABELS = torch.tensor([1, 7, 4])


def tiny_classifier() -> nn.Module:
    """A float64 network in eval mode."""
    return classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).double().eval()


def tiny_images() -> Tensor:
    """(3, 3, 16, 16) float64 images in [0, 1]."""
    return torch.rand((3, 3, 16, 16), generator=Rng(0).generator(), dtype=torch.float64)


def student_of(model: nn.Module) -> Student:
    """A network as trainings see it."""
    return Student(model, second_order_copy(model), lambda beta: smooth_copy(model, beta), folded(model), nullcontext)
