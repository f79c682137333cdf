"""Many pixels of a clean heatmap share a value other than 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag, share

if TYPE_CHECKING:
    from torch import Tensor

TIED_SHARE = 0.1


class TiedMap(RunFlag):
    """Counts the pixels of a clean heatmap that share their value.

    Pixels of value 0 do not count.
    """

    raised_if = (
        f"for more than {TIED_SHARE:.0%} of the clean images, more than {TIED_SHARE:.0%} of the heatmap's pixels have "
        "exactly the value of another one; pixels of value 0 are left out, as valid padding and dead ReLUs make them "
        "in sound networks"
    )
    means = (
        "these pixels have no order of their own: among equals the top k goes by index, and a rank correlation falls "
        "as soon as an attack breaks the ties, however little moves"
    )
    remedy = "read cosine and mass center beside it, and compare with random noise"
    columns = ("map_tied",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,): the share of tied pixels, NaN without heatmaps."""
        unknown = look.logits.new_full((len(look.logits),), float("nan"))
        return {"map_tied": unknown if look.heatmap is None else tied(look.heatmap)}

    def find(self, run: Evidence) -> str | None:
        """Return the share of heatmaps with many ties, if too large."""
        return share(run.rows["map_tied"].to_numpy(np.float64) > TIED_SHARE, TIED_SHARE, "of the samples")


def tied(heatmap: Tensor) -> Tensor:
    """(N,): the share of tied pixels of (N, H, W) maps.

    A pixel is tied if another pixel has exactly its value, and the value is not 0.
    """
    ordered = heatmap.flatten(1).sort(1).values
    equal = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)
    shared = equal.new_zeros(ordered.shape)
    shared[:, 1:] |= equal
    shared[:, :-1] |= equal
    return shared.double().mean(1)
