"""Heatmaps of clean images are constant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.schemas.flags import UNDEFINED_SHARE, Evidence, Look, RunFlag, share

if TYPE_CHECKING:
    from torch import Tensor

MAP_CONTRAST = 0.01


class ConstantMap(RunFlag):
    """Measures how much each clean heatmap varies."""

    raised_if = (
        f"for more than {UNDEFINED_SHARE:.0%} of the clean images the heatmap varies by less than {MAP_CONTRAST:.0%} "
        "of its mean"
    )
    means = "the order of its pixels is rounding error: a map that shows nothing can be perfectly robust"
    remedy = "look at the model's heatmaps, and read accuracy and faithfulness beside the score"
    columns = ("map_contrast",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,): the contrast of the clean heatmaps, NaN without heatmaps."""
        unknown = look.logits.new_full((len(look.logits),), float("nan"))
        return {"map_contrast": unknown if look.heatmap is None else contrast(look.heatmap)}

    def find(self, run: Evidence) -> str | None:
        """Return the share of constant heatmaps, if it is too large."""
        return share(run.rows["map_contrast"].to_numpy() < MAP_CONTRAST, UNDEFINED_SHARE, "of the samples")


def contrast(heatmap: Tensor) -> Tensor:
    """(N,): the standard deviation over the mean absolute value.

    One value per (N, H, W) map; 0 if the map is constant. Means are taken axis by axis, so that the last bit does not
    depend on N.
    """
    exact = heatmap.double()
    deviation = _mean((exact - _mean(exact).view(-1, 1, 1)).square()).sqrt()
    size = _mean(exact.abs())
    return deviation / size.where(size > 0, 1.0)


def _mean(heatmap: Tensor) -> Tensor:
    return heatmap.mean(2).mean(1)
