"""Cosine of the angle between the signed attributions before and after."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from bench.core.contracts import Metric, Pair


@dataclass(frozen=True, kw_only=True)
class Cosine(Metric):
    """<A, A'> / (|A| |A'|) of the raw attributions (N, C, H, W), signs and channels kept: chance is 0.

    On heatmaps of absolute values it would be another metric, with a chance value near 2/pi.

    Source:
        Wang and Kong 2022 (IGR), who relate Kendall's tau to it.
        Differs: of the two variants in use, this is the one on signed attributions.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Literal["more-robust", "less-robust", "neutral"]] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """(N,) float64 in [-1, 1]; NaN where an attribution is zero everywhere or not finite somewhere."""
        before, after = _largest_to_one(pair.before.attribution), _largest_to_one(pair.after.attribution)
        lengths = (_sum_by_halves(before * before) * _sum_by_halves(after * after)).sqrt()
        return (_sum_by_halves(before * after) / lengths).clamp(-1, 1)


def _largest_to_one(attribution: Tensor) -> Tensor:
    # Squares of very small numbers would vanish; of an attribution that is zero everywhere this makes NaN.
    flat = attribution.flatten(1).double()
    return flat / flat.abs().amax(1, keepdim=True)


def _sum_by_halves(values: Tensor) -> Tensor:
    # (N, n) to (N,). The order of additions, hence the last bit, hangs on n alone: not on N, threads or the device.
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        values = values[:, :half] + F.pad(values[:, half:], (0, values.shape[1] % 2))
    return values.squeeze(1)
