"""The completeness gap of an attribution against the black image."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def gap_to_black(model: nn.Module, images: Tensor, labels: Tensor, attribution: Tensor) -> Tensor:
    """(N,) |sum of A - (z_y(x) - z_y(black))|, in logits."""
    with torch.no_grad():
        rise = torch.stack(
            [
                (model(torch.stack([image, torch.zeros_like(image)]))[:, label] * image.new_tensor([1, -1])).sum()
                for image, label in zip(images, labels, strict=True)
            ]
        )
    return (attribution.sum((1, 2, 3)) - rise).abs()
