"""Error of the attribution's sum as the logit's change from black."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair
from bench.core.schemas.protocol import Direction

from ._probe import explained, probe_of
from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves


@dataclass(frozen=True, kw_only=True)
class CompletenessGap(OneSided):
    """|sum of A - (z_y(x) - z_y(black))|, z_y the explained logit.

    Small where quadrature is fine enough, for methods that promise completeness from black (integrated gradients,
    DeepLIFT); other methods (gradient, Grad-CAM) do not promise it. Neutral: it says whether A explains the whole
    logit, not how far it moved.

    Source:
        Sundararajan, Taly, Yan 2017, axiom of completeness.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True

    of: Side = "before"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 gaps, in logits.

        NaN where the attribution has a value that is not finite.
        """
        probe, view = probe_of(self, pair), view_of(pair, self.of)
        black = probe.logits(view.images.new_zeros(view.images.shape))
        rise = explained(view.logits, probe) - explained(black, probe)
        gap = (sum_by_halves(view.attribution.flatten(1).double()) - rise).abs()
        return gap.masked_fill(gap.isinf(), math.nan)
