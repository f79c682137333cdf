"""How much of the change of a network's gradient across the ball its surrogate foretells."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.compute.chunks import image_slices
from bench.core.compute.norms import project
from bench.core.compute.rng import Rng, SampleRng
from bench.run.setup import Setup
from model_zoo.derivatives.curvature import explained, gradient
from model_zoo.derivatives.spellings import Pooled
from model_zoo.derivatives.surrogate import sharpened

SHARPNESS = 2.0
"""Factor on the surrogate's sharpness: robust networks bend within less than the protocol's sharpness resolves."""


def foretold(setup: Setup, images: Tensor, labels: Tensor, ids: tuple[str, ...]) -> Tensor | None:
    """(N,) along a random direction for half of the images, against the explained logit for the others.

    Directions are as long as the ball allows; a sample's stream says which it gets. Largest values count as means in
    the network and in its surrogate alike: no surrogate rounds where they switch.

    Args:
        setup: the network, its surrogate and the ball.
        images: (N, C, H, W). The clean images.
        labels: (N,) int64. The explained classes.
        ids: of the N samples, whose streams draw the random directions.
    Returns:
        NaN where the gradient does not change; None where no map is attacked within a ball.
    """
    if not setup.reads_maps or setup.threat.unbounded or not setup.search.method.differentiable:
        return None
    rng = SampleRng(Rng(setup.rng.seed).fork("curvature"), ids)
    drawn = rng.normal(tuple(images.shape[1:])).to(images)
    chance = rng.fork("which").uniform((1, 1, 1), 0.0, 1.0).to(images)
    found = [images.new_zeros(0)]
    with sharpened(setup.smooth, SHARPNESS), Pooled():
        for part in image_slices(len(images), 1, setup.device):
            here, classes = images[part], labels[part]
            direction = torch.where(chance[part] < 0.5, drawn[part], -gradient(setup.model, here, classes))
            end = project(here, here + float(setup.threat.epsilon) * direction.sign(), setup.threat)
            found.append(explained(setup.model, setup.smooth, here, classes, end - here))
    return torch.cat(found)
