"""The image without some random frequencies.

It is the baseline of both Fourier filters.
"""

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
    """Images without random frequencies, at several probabilities.

    At level p, every pair of frequencies f and -f of a channel is dropped with probability p. A change for a protocol
    of epsilon 1.

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
        """Return the names of the levels."""
        return tuple(f"{level:g}" for level in self.levels)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:
        """Return one (N, C, H, W) tensor per level."""
        mean = radius(*images.shape[2:]) == 0
        draws = rng.fork("frequencies").uniform(tuple(images.shape[1:]), 0, 1)
        # The draw at -f equals the draw at f: the smaller index of the pair decides.
        flat = torch.arange(draws[0, 0].numel()).view(draws.shape[2:])
        opposite = flat.flip(0, 1).roll((1, 1), (0, 1))
        tied = draws.flatten(2)[..., torch.minimum(flat, opposite).flatten()].view_as(draws)
        return [filtered(images, (tied >= level) | mean) for level in self.levels]
