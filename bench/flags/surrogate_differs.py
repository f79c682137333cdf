"""The smooth surrogate is not the network that is judged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

DISAGREEING_SHARE = 0.01
SURROGATE_CORRELATION = 0.9


class SurrogateDiffers(RunFlag):
    """Compares classes and heatmaps of surrogate and network on clean images."""

    raised_if = (
        f"the smooth surrogate predicts another class for more than {DISAGREEING_SHARE:.0%} of the clean images, or "
        f"its heatmaps correlate below {SURROGATE_CORRELATION:g} with the network's"
    )
    means = "the attack climbed another network's map, and may be weaker than it looks"
    remedy = "audit the model over the surrogate's sharpness; a larger one is more faithful"
    columns = ("surrogate_agrees", "surrogate_correlation")

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """Return the agreement of classes and the correlation of heatmaps.

        (N,) bool, whether the surrogate predicts the network's class; and (N,), NaN without heatmaps.
        """
        smooth = look.logits if look.smooth_logits is None else look.smooth_logits
        maps, unknown = look.searched, look.logits.new_full((len(look.logits),), float("nan"))
        return {
            "surrogate_agrees": smooth.argmax(1) == look.logits.argmax(1),
            "surrogate_correlation": unknown if maps is None else correlation(*maps),
        }

    def find(self, run: Evidence) -> str | None:
        """Return how much the surrogate differs, if too much.

        An attack that asks for no gradients does not use the surrogate, and does not raise the flag.
        """
        if run.rows["gradient_vanished"].isna().all():
            return None
        other = float((~run.rows["surrogate_agrees"].to_numpy(bool)).mean())
        alike = float(run.rows["surrogate_correlation"].mean())
        if other <= DISAGREEING_SHARE and not alike < SURROGATE_CORRELATION:
            return None
        return f"another class for {other:.1%} of the samples, mean correlation of the heatmaps {alike:.3f}"


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """(N,): the Pearson correlation of two (N, H, W) maps.

    NaN if one is constant. Means are taken axis by axis, so that the last bit does not depend on N.
    """
    a, b = (heatmap - _mean(heatmap).view(-1, 1, 1) for heatmap in (first.double(), second.double()))
    lengths = (_mean(a.square()) * _mean(b.square())).sqrt()
    return _mean(a * b) / lengths.where(lengths > 0, float("nan"))


def _mean(heatmap: Tensor) -> Tensor:
    return heatmap.mean(2).mean(1)
