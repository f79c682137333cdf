"""Only the high frequencies of the image: fine texture without shapes."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng

from ._fourier import filtered, radius
from ._series import ChangeSeries


@dataclass(frozen=True, kw_only=True)
class FourierHigh(ChangeSeries):
    """Images without low frequencies, at several radii.

    At level r, every channel keeps its mean and the frequencies |f| > r, in cycles per image. A change for a protocol
    of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.3. Reference code: PKUAI26/AT-CNN.
        Differs: the complement of a disc about frequency 0, where the code keeps a disc about the highest frequency;
        the mean stays, so that half of the pixels are not clipped to black. The radii are ours.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Zhang, Zhu 2019"

    levels: tuple[float, ...] = Field(default=(2, 4, 8), min_length=1)
    """Radii r in cycles per image; lower frequencies are dropped, except the mean."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the levels."""
        return tuple(f"{level:g}" for level in self.levels)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:  # noqa: ARG002
        """Return one (N, C, H, W) tensor per level."""
        distance = radius(*images.shape[2:])
        return [filtered(images, (distance > level) | (distance == 0)) for level in self.levels]
