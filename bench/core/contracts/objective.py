"""What a training objective promises: the loss of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from bench.core.compute.rng import Rng


class Student(NamedTuple):
    """A network in training, its copies over the same parameters, and the context of fast passes."""

    model: nn.Module
    curved: nn.Module
    """The same function, for losses of its input gradients."""
    smooth: Callable[[float], nn.Module]
    """From the sharpness of softplus to the smooth copy."""
    searched: nn.Module
    """The same function in eval mode, for gradients of images alone, in fewer passes over memory."""
    fast: Callable[[], AbstractContextManager[object]]


class Objective(ABC):
    """A training's loss."""

    version: ClassVar[int] = 1

    @abstractmethod
    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar loss of a batch of (N, C, H, W) images in [0, 1], ready for `backward`."""
