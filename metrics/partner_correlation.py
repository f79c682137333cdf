"""Likeness of one heatmap to another image's heatmap."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair
from bench.core.schemas.protocol import Direction

from ._probe import probe_of
from ._sides import OneSided, Side, view_of
from ._sums import centered, cosine


@dataclass(frozen=True, kw_only=True)
class PartnerCorrelation(OneSided):
    """Pearson correlation of a heatmap with its partner's clean heatmap.

    The seed pairs the images of the protocol; `shuffled-target-map` drives each map towards its partner's. Neutral: it
    tells something in comparison with the same before the attack.

    Source:
        Dombrowski et al. 2019, who compare attacked map and target by correlation, SSIM and squared error. Reference
        code: pankessel/adv_explanation_ref.
        Differs: the target is drawn by the seed; a correlation alone, which does not depend on scale.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True

    of: Side = "before"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is constant or has a value that is not finite.

        Raises:
            BenchError: if the pair has no probe, or the protocol has one image only.
        """
        target = probe_of(self, pair).partner_heatmap()
        return cosine(centered(view_of(pair, self.of).heatmap), centered(target))
