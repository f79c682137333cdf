"""The image cut into squares in random order, which leaves texture."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.errors import UsageError

from ._series import ChangeSeries


@dataclass(frozen=True, kw_only=True)
class PatchShuffle(ChangeSeries):
    """Images cut into k x k equal patches in a random order.

    Each level has its own k; all orders are equally probable. A change for a protocol of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.2. Reference code: PKUAI26/AT-CNN.
        Differs: each sample has its own fixed permutation, where the code draws another permutation at every pass;
        patches are laid row by row as they were cut, where the code lays them column by column (equal in distribution).
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Zhang, Zhu 2019"

    levels: tuple[int, ...] = Field(default=(2, 4, 8), min_length=1)
    """Patches along a side."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the levels."""
        return tuple(str(level) for level in self.levels)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:
        """Return one (N, C, H, W) tensor per level.

        Raises:
            UsageError: if a level does not divide height and width.
        """
        return [shuffled(images, level, rng.fork("order", level)) for level in self.levels]


def shuffled(images: Tensor, k: int, rng: SampleRng) -> Tensor:
    """Return (N, C, H, W) images of k x k shuffled patches.

    Every image has its own order.
    """
    count, channels, height, width = images.shape
    if k < 1 or height % k or width % k:
        raise UsageError(f"expected levels that divide {height} x {width} pixels, got {k}; choose other levels")
    tall, wide = height // k, width // k
    patches = images.reshape(count, channels, k, tall, k, wide).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    order = rng.uniform((k * k,), 0, 1).argsort(1).to(images.device)
    moved = patches[torch.arange(count, device=images.device).unsqueeze(1), order]
    laid = moved.reshape(count, k, k, channels, tall, wide).permute(0, 3, 1, 4, 2, 5)
    return laid.reshape(images.shape)
