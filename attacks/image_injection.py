"""Black-box, one step: blends parts of another image into this one.

The explanation of the other image says which parts; the worst of several images is kept.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, ThreatModel

from ._search import BestIterate


@dataclass(frozen=True, kw_only=True)
class ImageInjection(Attack):
    """Images into which parts of another clean image are blended.

    x' = project(x + opacity M (d - x)), the worst over donors d. d is another clean image, M the `share` of pixels
    where its heatmap is largest. There is one step for each of the first `donors` images of the protocol; the primary
    metric chooses the best. The attack asks for predictions and explanations alone.

    Source:
        Pesce, Wei, Mengaldo 2025 (eXIAA, arXiv 2511.10088).
        Differs: written from its abstract (one step, black-box, guided by explanations, the class kept): how the paper
        chooses the injected image, its region and its strength was not known; donors, share, opacity and the ball of
        the threat model are this benchmark's.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Pesce, Wei, Mengaldo 2025"

    donors: int = Field(default=10, ge=1)
    """Number of the protocol's first images that are injected, one per try."""
    share: float = Field(default=0.5, gt=0, le=1)
    """Share of the pixels, with the largest heatmap values, that are blended."""
    opacity: float = Field(default=0.2, gt=0, le=1)
    """How far these pixels are blended towards the donor; 1 replaces them."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): every image's most damaging allowed injection.

        It has the lowest similarity to the clean heatmap.
        """
        before, best = victim.observe(images, labels), BestIterate(images)
        k = max(1, round(self.share * images[0, 0].numel()))
        for donor in victim.donors(self.donors):
            # One copy per image, so that each image pays for its own look.
            others = donor.expand_as(images).contiguous()
            shown = victim.observe(others, victim.logits(others).argmax(1))
            blend = self.opacity * top_k_mask(shown.heatmap, k).unsqueeze(1) * (others - images)
            current = project(images, images + blend, threat)
            best.update(current, victim.similarity(before, victim.observe(current, labels)))
        return best.images
