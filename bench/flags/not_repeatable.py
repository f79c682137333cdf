"""The network answers the same question in two ways."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.schemas.flags import Evidence, Look, RunFlag, share

if TYPE_CHECKING:
    from torch import Tensor

REPEATED = 1e-3
"""Share of a heatmap's largest value by which two looks at one image may differ: a GPU adds in no fixed order."""


class NotRepeatable(RunFlag):
    """Asks for logits and heatmaps of the clean images twice."""

    raised_if = "asking about the same clean image twice gave two answers or two heatmaps"
    means = "the model draws random numbers or keeps a state, so that noise and attack cannot be told apart"
    remedy = "put dropout and sampling out of the evaluated model"
    columns = ("map_repeatable",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,) bool: whether both answers agree up to the order of additions."""
        repeated, maps = same_maps(look.logits.unsqueeze(1), look.logits_again.unsqueeze(1)), look.heatmaps_again
        return {"map_repeatable": repeated if maps is None else repeated & same_maps(*maps)}

    def find(self, run: Evidence) -> str | None:
        """Say for how many images the answers differ."""
        return share(~run.rows["map_repeatable"].to_numpy(bool), 0, "of the samples")


def same_maps(first: Tensor, second: Tensor) -> Tensor:
    """(N,) bool: whether two (N, H, W) maps, or logits shaped as such, agree up to the order of additions."""
    return (first - second).abs().amax((1, 2)) <= REPEATED * first.abs().amax((1, 2))
