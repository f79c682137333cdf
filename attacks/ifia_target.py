"""Iterative feature-importance attack that drives attribution into the emptiest corner."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import normalize
from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import mass_inside


@dataclass(frozen=True, kw_only=True)
class IfiaTarget(HeatmapAscent):
    """Increase the heatmap's share in a target region by signed gradient steps.

    D(x') is the sum of the sum-normalised heatmap over the region. The region is the corner window of half the height
    and width (a quarter of the image) with the least clean mass.

    Source:
        Ghorbani, Abid, Zou 2019, algorithm 1 (targeted). Reference code: amiratag/InterpretationFragility.
        Differs: the references leave the region to the user; this one is deterministic per sample. Random start; the
        best iterate by the protocol's primary metric, not by D.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return mass_inside, (emptiest_corner(before.heatmap),)


def emptiest_corner(heatmap: Tensor) -> Tensor:
    """(N, H, W) bool: the corner window with the least mass.

    Each of the four windows has half the height and width; among equals the first window is taken.
    """
    height, width = heatmap.shape[1] // 2, heatmap.shape[2] // 2
    corners = torch.zeros((4, *heatmap.shape[1:]), dtype=torch.bool, device=heatmap.device)
    corners[0, :height, :width] = corners[1, :height, -width:] = True
    corners[2, -height:, :width] = corners[3, -height:, -width:] = True
    mass = torch.stack([(normalize(heatmap) * corner).sum(2).sum(1) for corner in corners], dim=1)
    return corners[mass.argmin(1)]
