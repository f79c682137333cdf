"""Many pixels of a clean heatmap have exactly the same value, other than 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag, share

if TYPE_CHECKING:
    from torch import Tensor

TIED_SHARE = 0.1


class TiedMap(RunFlag):
    """Counts the pixels of each clean heatmap whose value, other than 0, another pixel has, too."""

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
        """(N,) share of tied pixels; NaN where there are no heatmaps."""
        unknown = look.logits.new_full((len(look.logits),), float("nan"))
        return {"map_tied": unknown if look.heatmap is None else tied(look.heatmap)}

    def find(self, run: Evidence) -> str | None:
        """Say how many heatmaps have ties."""
        return share(run.rows["map_tied"].to_numpy(np.float64) > TIED_SHARE, TIED_SHARE, "of the samples")


def tied(heatmap: Tensor) -> Tensor:
    """(N,) share of each (N, H, W) map's pixels whose value, other than 0, another pixel has too, exactly."""
    ordered = heatmap.flatten(1).sort(1).values
    equal = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != 0)
    shared = equal.new_zeros(ordered.shape)
    shared[:, 1:] |= equal
    shared[:, :-1] |= equal
    return shared.double().mean(1)
