"""A tiny vision transformer for maps of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.compute.vision import models
from model_zoo.build import classifier, freeze


def tiny_transformer(side: int = 12, patch: int = 4, classes: int = 4) -> nn.Module:
    """Return a frozen ViT of torchvision with two blocks."""
    network = models.VisionTransformer(side, patch, 2, 2, 16, 32, num_classes=classes)
    return drawn(network)


def drawn(network: nn.Module) -> nn.Module:
    """Return a frozen classifier over a network with fixed random weights."""
    generator = Rng(0).fork("transformer").generator()
    for name, parameter in network.named_parameters():
        draws = torch.randn(parameter.shape, generator=generator)
        scaled = draws / parameter[0].numel() ** 0.5 if parameter.dim() > 1 else draws / 5
        parameter.data = scaled + float(parameter.dim() == 1 and not name.endswith("bias"))
    return freeze(classifier(network, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))


class Pooled(nn.Module):
    """A transformer without a class token, with softmax written out."""

    def __init__(self, width: int = 16, heads: int = 2, layers: int = 2, classes: int = 4) -> None:
        super().__init__()
        self.heads, self.patches = heads, nn.Conv2d(3, width, 4, 4)
        self.qkv = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers + 1))
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        for qkv, norm in zip(self.qkv, self.norms, strict=False):
            q, k, v = qkv(norm(tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            attention = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)
            tokens = tokens + (attention @ v).transpose(1, 2).flatten(2)
        logits: Tensor = self.head(self.norms[-1](tokens).mean(1))
        return logits
