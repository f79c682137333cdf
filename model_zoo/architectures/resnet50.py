"""ResNet-50 for images of about 224x224 pixels, with torchvision's names."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Width and blocks of a stage, and stride of its first block."""
EXPANSION = 4


class Add(nn.Module):
    """A sum as a module.

    Layer-wise relevance propagation can then split relevance between its terms.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        return a + b


class Bottleneck(nn.Module):
    """A bottleneck of 1x1, 3x3 and 1x1 convolutions.

    The 3x3 convolution strides. Every activation is its own module.
    """

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * EXPANSION
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.act2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = (
            nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
            if inputs != outputs or stride > 1
            else None
        )
        self.add = Add()
        self.act3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, 4*width, H/stride, W/stride)."""
        y = self.act1(self.bn1(self.conv1(x)))
        y = self.act2(self.bn2(self.conv2(y)))
        skip = x if self.downsample is None else self.downsample(x)
        activated: Tensor = self.act3(self.add(skip, self.bn3(self.conv3(y))))
        return activated


class ResNet50(nn.Module):
    """A ResNet-50 of four stages of bottlenecks.

    A strided stem comes first, global average pooling and one linear layer last.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.act = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        inputs = 64
        for index, (width, blocks, stride) in enumerate(STAGES):
            stage = []
            for block in range(blocks):
                stage.append(Bottleneck(inputs, width, stride if block == 0 else 1))
                inputs = width * EXPANSION
            self.add_module(f"layer{index + 1}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(inputs, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, K) logits."""
        features = self.maxpool(self.act(self.bn1(self.conv1(images))))
        for index in range(len(STAGES)):
            features = self.get_submodule(f"layer{index + 1}")(features)
        logits: Tensor = self.fc(torch.flatten(self.avgpool(features), 1))
        return logits


def build(num_classes: int) -> nn.Module:
    """Build an untrained ResNet-50.

    Args:
        num_classes: K, the number of logits.
    Returns:
        A module from normalised images to (N, K) logits.
    Source:
        He et al. 2016; the stride in the 3x3 convolution and the names of the weights are torchvision's.
        Differs: one activation module per call site (Captum's DeepLIFT and LRP need it); He initialisation is the
        training loop's.
    """
    return ResNet50(num_classes)
