"""Only the high frequencies of the image: fine texture without shapes."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from ._fourier import FourierFilter


@dataclass(frozen=True, kw_only=True)
class FourierHigh(FourierFilter):
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

    def kept(self, distance: Tensor, level: float) -> Tensor:
        """(H, W) bool: frequencies above the radius, and the mean."""
        return (distance > level) | (distance == 0)
