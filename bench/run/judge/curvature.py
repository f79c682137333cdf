"""Measures how well a surrogate predicts its network's change of gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.compute.chunks import image_slices
from bench.core.compute.norms import project
from bench.core.compute.rng import Rng, SampleRng
from bench.run.setup import Setup
from model_zoo.derivatives.curvature import SHARPNESS, explained, gradient, shortening
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.spellings import Pooled
from model_zoo.derivatives.surrogate import sharpened


def foretold(setup: Setup, images: Tensor, labels: Tensor, ids: tuple[str, ...]) -> Tensor | None:
    """(N,): the predicted share of the change of gradient across the ball.

    The direction is random for about half of the images, and against the explained logit for the others; a sample's
    stream decides which. Directions are as long as the ball allows, but no longer in large images than in small ones
    (`shortening`). Max pooling counts as mean pooling in the network and in its surrogate, because a surrogate does not
    smooth the points where the maximum switches.

    Args:
        setup: the network, its surrogate and the ball.
        images: (N, C, H, W). The clean images.
        labels: (N,) int64. The explained classes.
        ids: the sample ids, whose streams draw the random directions.
    Returns:
        NaN where the gradient does not change; None if no metric reads maps, or the search has no ball or gradient.
    """
    if not setup.reads_maps or setup.threat.unbounded or not setup.search.method.differentiable:
        return None
    if isinstance(setup.smooth, Differenced):  # there is no surrogate that foretells enough
        return images.new_zeros(len(images))
    rng = SampleRng(Rng(setup.rng.seed).fork("curvature"), ids)
    drawn = rng.normal(tuple(images.shape[1:])).to(images)
    chance = rng.fork("which").uniform((1, 1, 1), 0.0, 1.0).to(images)
    found = [images.new_zeros(0)]
    with sharpened(setup.smooth, SHARPNESS), Pooled():
        for part in image_slices(len(images), 1, setup.device):
            here, classes = images[part], labels[part]
            direction = torch.where(chance[part] < 0.5, drawn[part], -gradient(setup.model, here, classes))
            end = project(here, here + float(setup.threat.epsilon) * direction.sign(), setup.threat)
            directions = (end - here) * shortening(images)
            found.append(explained(setup.model, setup.smooth, here, classes, directions))
    return torch.cat(found)
