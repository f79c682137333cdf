"""Pixels pulled to black and white, or to grey.

What is left is shape, or contrast is gone.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng

from ._series import ChangeSeries


@dataclass(frozen=True, kw_only=True)
class Saturation(ChangeSeries):
    """Images with stronger or weaker contrast, at several levels p.

    v' = clip(1/2 + sign(2v - 1) |2v - 1|^(2/p) / 2, 0, 1); level 2 is the identity. Large p leaves black and white, so
    that only shapes remain; small p leaves grey. The change leaves every small ball: choose a protocol of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.2, with its levels. Reference code: PKUAI26/AT-CNN.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Zhang, Zhu 2019"

    levels: tuple[float, ...] = Field(default=(0.25, 0.5, 1, 4, 8, 16, 64, 1024), min_length=1)
    """Levels p: 2 changes nothing, larger levels saturate, smaller levels turn to grey."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the levels."""
        return tuple(f"{level:g}" for level in self.levels)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:  # noqa: ARG002
        """Return one (N, C, H, W) tensor per level."""
        centered = 2 * images - 1
        return [(0.5 + 0.5 * centered.sign() * centered.abs() ** (2 / p)).clamp(0, 1) for p in self.levels]
