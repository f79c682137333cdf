"""Locality-sensitive Kendall: the rank correlation of heatmaps that are smoothed first."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from ._ranks import kendall_tau_b
from ._smooth import Correlation, SmoothedRanks


@dataclass(frozen=True, kw_only=True)
class LensKendall(SmoothedRanks):
    """tau-b of the smoothed heatmaps.

    A smoothed pixel is the mean of its window: the pixels at most w rows and columns away. A map that moves by a pixel
    changes `kendall` much, but this metric little; with w = 0 it is `kendall`. Smoothing makes unrelated maps of the
    same outline look related, so compare it with a floor.

    Source:
        Kamath et al. 2024 (LENS-Kendall), from memory of the paper: its code has none.
        Differs: windows end at the border, where the mean is of the pixels that there are.
    """

    version: ClassVar[int] = 1
    correlation: ClassVar[Correlation] = staticmethod(kendall_tau_b)
