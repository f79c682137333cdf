"""Only the low frequencies of the image: shapes without fine texture."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from ._fourier import FourierFilter


@dataclass(frozen=True, kw_only=True)
class FourierLow(FourierFilter):
    """Images without high frequencies, at several radii.

    At level r, an image keeps the frequencies |f| <= r, in cycles per image. A change for a protocol of epsilon 1.

    Source:
        Zhang, Zhu 2019, section 4.3. Reference code: PKUAI26/AT-CNN.
        Differs: a disc about frequency 0; the code cuts one about the highest frequency out of an unshifted transform,
        so that its low-pass region is a star. Its radii for 224 x 224 pixels do not translate: these are ours.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Zhang, Zhu 2019"

    def kept(self, distance: Tensor, level: float) -> Tensor:
        """(H, W) bool: frequencies up to the radius."""
        return distance <= level
