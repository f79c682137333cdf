"""Top-k attack that must leave the neighbourhood of the clean top-k, not its pixels alone."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._search import ascend
from attacks.ifia_topk import mass_outside
from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class LensTopk(Attack):
    """Increase minus the mass inside N_w(S), S the clean top-k and N_w its dilation by w rows and columns.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS.
        Differs: the reference's windows wrap around at row ends; here they end at the border. Otherwise as `ifia-topk`.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Kamath et al. 2024"

    steps: int = Field(default=50, ge=1)
    """Steps of each restart."""
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""
    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""
    window: int = Field(default=1, ge=0)
    """How many rows and columns the top is widened to each side."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        return ascend(
            victim,
            images,
            labels,
            lambda before: (mass_outside, (dilate(top_k_mask(before.heatmap, self.k), self.window),)),
            threat=threat,
            rng=rng,
            schedule=(self.restarts, self.steps, float(self.step_size)),
        )
