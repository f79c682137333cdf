"""The clean images of a protocol that every attack may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.errors import BenchError


@dataclass(frozen=True, eq=False)
class Library:
    """All images of a protocol, whichever of them a run attacks."""

    ids: tuple[str, ...]
    images: Tensor
    """(M, C, H, W)."""
    rng: Rng
    """The stream that pairs the images."""

    def first(self, count: int) -> Tensor:
        """(count, C, H, W): the first images.

        Raises:
            BenchError: if there are fewer.
        """
        if count > len(self.images):
            raise BenchError(
                f"expected at most {len(self.images)} donors, which this evaluation holds, got {count}; ask for fewer"
            )
        return self.images[:count]

    def partners(self, ids: Sequence[str]) -> Tensor:
        """(N, C, H, W): another image for each of N samples.

        Raises:
            BenchError: if there is no other image.
        """
        if len(self.ids) < 2:
            raise BenchError(
                f"expected at least 2 images, so that each has another one as its target, got {len(self.ids)}; "
                "choose a protocol with more images, or another attack"
            )
        return self.images[[self._partner[each] for each in ids]]

    @cached_property
    def _partner(self) -> Mapping[str, int]:
        """The row of each sample's partner.

        Samples stand in a circle in the order of their streams' keys, and the next one is the partner. So no sample is
        its own partner, each is the partner of one, and a new version of torch's generator changes nothing.
        """
        circle = sorted(range(len(self.ids)), key=lambda row: self.rng.fork(self.ids[row]).key)
        following = [*circle[1:], *circle[:1]]
        return {self.ids[row]: after for row, after in zip(circle, following, strict=True)}


NO_IMAGES = Library((), torch.empty(0), Rng(0))
