"""The curve that deletion and insertion share.

It shows the probability of the explained class while pixels go or come in the order of a heatmap.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair
from bench.core.schemas.protocol import Direction

from ._probe import probe_of
from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves
from ._undefined import nan_where_constant

Fill = Literal["image-mean", "black"]


@dataclass(frozen=True, kw_only=True)
class AblationMetric(OneSided):
    """Area under the curve of p_y over the share of changed pixels.

    A subclass says whether pixels go or come.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True
    inserts: ClassVar[bool]

    of: Side = "before"
    """Whose heatmap gives the order."""
    image: Literal["own", "before"] = "own"
    """Which image's pixels are shown. "own": the image that the heatmap explains; "before": the clean image."""
    fill: Fill = "image-mean"
    """What fills the places where no pixel is shown: the mean of the image's channel, or black."""
    steps: int = Field(default=20, ge=1)
    """Number of equal parts of the curve. The network is asked at each end of a part."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 areas in [0, 1].

        NaN where the heatmap is constant or holds a NaN, as such a map has no order.
        """
        probe, heatmap = probe_of(self, pair), view_of(pair, self.of).heatmap
        images = view_of(pair, self.of if self.image == "own" else "before").images
        ranks, pixels = falling_ranks(heatmap), heatmap.shape[1:].numel()
        blank = images.new_zeros(images.shape) if self.fill == "black" else _channel_means(images)
        taken = [(pixels * step + self.steps // 2) // self.steps for step in range(self.steps + 1)]
        heights = []
        for count in taken:
            shown = (ranks < count) == self.inserts
            logits = probe.logits(torch.where(shown.unsqueeze(1), images, blank))
            heights.append(logits.double().softmax(1).gather(1, probe.labels.unsqueeze(1)).squeeze(1))
        area = heights[0] * 0
        for step in range(self.steps):
            area = area + (heights[step] + heights[step + 1]) / 2 * ((taken[step + 1] - taken[step]) / pixels)
        return nan_where_constant(area.clamp(0, 1), heatmap)


def falling_ranks(heatmap: Tensor) -> Tensor:
    """Return (N, H, W) int64 ranks, 0 for the largest pixel.

    Among equal pixels the lower index comes first.
    """
    order = torch.sort(heatmap.flatten(1), dim=1, descending=True, stable=True).indices
    position = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, position).view(heatmap.shape)


def _channel_means(images: Tensor) -> Tensor:
    """(N, C, H, W): each channel filled with its mean."""
    means = sum_by_halves(images.double().flatten(0, 1).flatten(1)) / images.shape[2:].numel()
    return means.to(images.dtype).view(*images.shape[:2], 1, 1).expand_as(images)
