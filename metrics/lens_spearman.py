"""Locality-sensitive Spearman: the rank correlation of heatmaps that are smoothed first."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from ._ranks import spearman_rho
from ._smooth import Correlation, SmoothedRanks


@dataclass(frozen=True, kw_only=True)
class LensSpearman(SmoothedRanks):
    """rho of the smoothed heatmaps.

    A smoothed pixel is the mean of its window: the pixels at most w rows and columns away. A map that moves by a pixel
    changes `spearman` much, but this metric little; with w = 0 it is `spearman`. Smoothing makes unrelated maps of the
    same outline look related, so compare it with a floor.

    Source:
        Kamath et al. 2024 (LENS-Spearman), from memory of the paper: its code has none.
        Differs: windows end at the border, where the mean is of the pixels that there are.
    """

    version: ClassVar[int] = 1
    correlation: ClassVar[Correlation] = staticmethod(spearman_rho)
