"""Some of the image's frequencies taken away at random: the control of both Fourier filters."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng

from ._fourier import filtered, radius
from ._series import ChangeSeries

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class FourierRandom(ChangeSeries):
    """Drops each pair of frequencies f and -f of each channel with probability p, at each level p.

    A change for a protocol of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.3. Reference code: PKUAI26/AT-CNN.
        Differs: f and -f go together, so that images are real; each sample has its own fixed mask; the mean stays.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Zhang, Zhu 2019"

    levels: tuple[Share, ...] = Field(default=(0.1, 0.3, 0.5), min_length=1)
    """Probabilities p with which a pair of frequencies is dropped."""

    @property
    def members(self) -> tuple[str, ...]:
        """The levels."""
        return tuple(f"{level:g}" for level in self.levels)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:
        """(N, C, H, W) at each level."""
        mean = radius(*images.shape[2:]) == 0
        draws = rng.fork("frequencies").uniform(tuple(images.shape[1:]), 0, 1)
        # The draw at -f is the one at f: of each pair the smaller index decides.
        flat = torch.arange(draws[0, 0].numel()).view(draws.shape[2:])
        opposite = flat.flip(0, 1).roll((1, 1), (0, 1))
        tied = draws.flatten(2)[..., torch.minimum(flat, opposite).flatten()].view_as(draws)
        return [filtered(images, (tied >= level) | mean) for level in self.levels]
