"""The contract of training objectives: the loss of a batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts.plugin import Plugin


class Student(NamedTuple):
    """A network in training, with copies that share its parameters.

    `fast` is the context of passes in the recipe's precision.
    """

    model: nn.Module
    curved: nn.Module
    """The same function, for losses that contain its input gradients."""
    smooth: Callable[[float], nn.Module]
    """Returns the smooth copy for a sharpness of softplus."""
    searched: nn.Module
    """The same function in eval mode, for gradients of images only, in fewer passes over memory."""
    fast: Callable[[], AbstractContextManager[object]]


class Objective(Plugin, ABC):
    """A training's loss."""

    version: ClassVar[int] = 1

    @abstractmethod
    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Return the scalar loss of a batch, ready for `backward`.

        The images are (N, C, H, W) in [0, 1], the labels (N,).
        """
