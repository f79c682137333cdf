"""Mean squared error of the attribution as predictor of the logit.

It predicts how the logit changes when the image is perturbed.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Pair, Role
from bench.core.schemas.protocol import Direction

from ._probe import explained, probe_of
from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves


class _Perturbed(NamedTuple):
    images: Tensor
    """(N, C, H, W)."""
    weights: Tensor
    """(N, C, H, W) float64: the factors of the attribution. The products sum to the predicted fall of the logit."""


@dataclass(frozen=True, kw_only=True)
class Infidelity(OneSided):
    """Mean squared error of predicted falls of the logit, in squared logits.

    E over I of (beta <I, A> - (z_y(x) - z_y(x - I)))^2; beta is the best factor if `rescale`. "gaussian" subtracts
    noise and reads A as slopes: 0 for the gradient of a linear model. "square" blackens a random square and reads A as
    contributions, <I, A> being A's sum over it: 0 for integrated gradients of a linear model. Take the one that fits
    the method. Neutral: it says how faithful a map is, not how far it moved.

    Source:
        Yeh et al. 2019, definition 2.1. Reference codes: chihkuanyeh/saliency_evaluation (which always
        rescales), captum.metrics.infidelity (which does if normalize).
        Differs: squares of sides up to a third of the image are drawn, not enumerated. Gaussian noise is centred on the
        image, as in the paper, and cut so that images stay in [0, 1]; the reference code's is centred on black.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True
    role: ClassVar[Role] = "faithfulness"
    place: ClassVar[int] = 1

    of: Side = "before"
    perturbation: Literal["gaussian", "square"] = "gaussian"
    """How the image is changed. Gaussian noise for maps of slopes, black squares for maps of contributions."""
    sigma: float = Field(default=0.2, gt=0)
    """Standard deviation of the Gaussian noise, in pixel units."""
    draws: int = Field(default=50, ge=1)
    """Number of changed images over which the mean is taken."""
    rescale: bool = True
    """Whether A is first multiplied by the factor that fits best. Methods have different units."""
    relative: bool = False
    """Whether the error is divided by the logit's mean squared change. Networks have different scales. Then predicting
    no change gives 1."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 errors.

        NaN where the attribution has a value that is not finite. Also where A is rescaled and never predicts a change,
        and where the error is relative and nothing changes.
        """
        probe, view = probe_of(self, pair), view_of(pair, self.of)
        attribution, logit = view.attribution.double(), explained(view.logits, probe)
        predicted, fallen = [], []
        for draw in range(self.draws):
            perturbed = self._perturb(view.images, probe.rng.fork("infidelity", draw))
            predicted.append(sum_by_halves((perturbed.weights * attribution).flatten(1)))
            fallen.append(logit - explained(probe.logits(perturbed.images), probe))
        said, seen = torch.stack(predicted, 1), torch.stack(fallen, 1)
        if self.rescale:
            said = said / said.abs().amax(1, keepdim=True)
            said = said * (sum_by_halves(said * seen) / sum_by_halves(said * said)).unsqueeze(1)
        error, change = sum_by_halves((said - seen).square()), sum_by_halves(seen.square())
        return error / (change if self.relative else self.draws)

    def _perturb(self, images: Tensor, rng: SampleRng) -> _Perturbed:
        if self.perturbation == "square":
            square = _squares(images, rng)
            return _Perturbed(images.masked_fill(square, 0), square.double().expand_as(images))
        noise = rng.normal(tuple(images.shape[1:])).to(images)
        noisy = (images - self.sigma * noise).clamp(0, 1)
        return _Perturbed(noisy, images.double() - noisy.double())


def _squares(images: Tensor, rng: SampleRng) -> Tensor:
    """(N, 1, H, W) bool: a random square in each image."""
    height, width = images.shape[2:]
    size, down, right = rng.uniform((3,), 0, 1).double().to(images.device).unbind(1)
    side = 1 + (size * max(1, min(height, width) // 3)).floor()
    top, left = (down * (height - side + 1)).floor(), (right * (width - side + 1)).floor()
    rows = torch.arange(height, device=images.device).view(1, 1, -1, 1)
    columns = torch.arange(width, device=images.device).view(1, 1, 1, -1)
    top, left, side = (value.view(-1, 1, 1, 1) for value in (top, left, side))
    return (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
