"""The network gives two different answers to the same image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.schemas.flags import Evidence, Look, RunFlag, share

if TYPE_CHECKING:
    from torch import Tensor

REPEATED = 1e-3
"""Allowed difference of two heatmaps of one image, relative to their largest value: a GPU adds in no fixed order."""


class NotRepeatable(RunFlag):
    """Computes logits and heatmaps of the clean images twice."""

    raised_if = "asking about the same clean image twice gave two answers or two heatmaps"
    means = "the model draws random numbers or keeps a state, so that noise and attack cannot be told apart"
    remedy = "put dropout and sampling out of the evaluated model"
    columns = ("map_repeatable",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,) bool: whether both answers agree up to rounding."""
        repeated, maps = same_maps(look.logits.unsqueeze(1), look.logits_again.unsqueeze(1)), look.heatmaps_again
        return {"map_repeatable": repeated if maps is None else repeated & same_maps(*maps)}

    def find(self, run: Evidence) -> str | None:
        """Return the share of images with two different answers, if any."""
        return share(~run.rows["map_repeatable"].to_numpy(bool), 0, "of the samples")


def same_maps(first: Tensor, second: Tensor) -> Tensor:
    """(N,) bool: whether two (N, H, W) maps agree up to rounding.

    Logits may be passed as (N, 1, K).
    """
    return (first - second).abs().amax((1, 2)) <= REPEATED * first.abs().amax((1, 2))
