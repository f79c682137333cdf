"""The judge's look at clean images, on the real network.

It is taken once for all attacks, in the protocol's precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.core.compute.chunks import forward, image_slices
from bench.core.compute.norms import project
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Metric, Pair, View
from bench.core.errors import PluginFault, blamed_on, described
from bench.core.schemas.records import LEVEL_MARK
from bench.run.attack.views import JudgeProbe, predict
from bench.run.record import soundness
from bench.run.samples import Samples
from bench.run.setup import Setup
from model_zoo.derivatives.curvature import SHARPNESS, explained, gradient, shortening
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.spellings import Pooled
from model_zoo.derivatives.surrogate import sharpened
from model_zoo.logits import left_out

ROUNDING = 1e-4
"""Allowed excess over a bound, relative to it, or absolute below 1: float32 sums over an image's pixels round."""


class Clean(NamedTuple):
    """The judge's results on N clean images, for any attack."""

    explained: Tensor
    """(N,) int64: the explained classes."""
    view: View
    gap: np.ndarray
    """(N,) float64: the completeness gap; NaN if the method does not promise completeness."""
    flags: dict[str, np.ndarray]
    """The columns of the soundness flags, each of shape (N,)."""
    values: dict[str, Tensor]
    """The values, (N,), of every metric that looks at clean images only, and at its levels."""


@dataclass
class Seen:
    """The implementation of `bench.core.schemas.flags.Look` for N clean images."""

    setup: Setup
    view: View
    logits_again: Tensor
    explained: Tensor
    rng: SampleRng

    @property
    def images(self) -> Tensor:
        """(N, C, H, W): the clean images."""
        return self.view.images

    @torch.no_grad()
    def ask(self, images: Tensor) -> Tensor:
        """(N, K): the answers of the judged network."""
        return forward(self.setup.model, images)

    @property
    def logits(self) -> Tensor:
        """(N, K): the logits of the judge's view."""
        return self.view.logits

    @property
    def left_out(self) -> str | None:
        """Return the squashing operation that the network leaves out, if any."""
        return left_out(self.setup.model)

    @property
    def heatmap(self) -> Tensor | None:
        """(N, H, W): the heatmaps, or None if no metric reads maps."""
        return self.view.heatmap if self.setup.reads_maps else None

    @cached_property
    def heatmaps_again(self) -> tuple[Tensor, Tensor] | None:
        """Return two heatmaps of the same images.

        A method with many nodes uses its first node only.
        """
        if not self.setup.reads_maps:
            return None
        whole, (images, model) = self.setup.judge.method, (self.view.images, self.setup.model)
        one = replace(self.setup.judge, method=whole.turn(0, whole.nodes_per_image))
        first = self.view if one.method is whole else one.view(model, images, self.explained, self.rng)
        return first.heatmap, one.view(model, images, self.explained, self.rng).heatmap

    @cached_property
    def smooth_logits(self) -> Tensor | None:
        """(N, K): the surrogate's logits, or None if no metric reads maps."""
        return predict(self.setup.smooth, self.view.images) if self.setup.reads_maps else None

    @cached_property
    def searched(self) -> tuple[Tensor, Tensor] | None:
        """Return the search's heatmaps of the network and of its surrogate."""
        search = self.setup.search
        if not self.setup.reads_maps or not search.method.differentiable:
            return None
        networks, images = (self.setup.model, self.setup.smooth), self.view.images
        real, smooth = (search.view(network, images, self.explained, self.rng).heatmap for network in networks)
        return real, smooth

    @property
    def curvature(self) -> Tensor | None:
        """(N,): how much of the network's gradient change the surrogate predicts."""
        return foretold(self.setup, self.view.images, self.explained, self.rng.sample_ids)


def look(setup: Setup, samples: Samples) -> Clean:
    """Return the judge's results on N clean images."""
    return setup.within_memory(partial(_look, setup, samples))


def _look(setup: Setup, samples: Samples) -> Clean:
    images, labels = samples.images.to(setup.device), samples.labels.to(setup.device)
    logits = predict(setup.model, images)
    explained, rng = setup.explained(logits, samples.labels), setup.attribution_rng(samples.ids)
    view = view_of(setup, images, explained, rng)
    alone = Pair(view, view, labels, None, probe_of(setup, samples, explained), samples.annotations)
    values = measured_all({name: each for name, each in setup.metrics.items() if each.looks_at_clean_alone}, alone)
    found = {
        name: to_numpy(each) for name, each in soundness.measure(Seen(setup, view, logits, explained, rng)).items()
    }
    return Clean(explained, view, gap_of(setup, view, explained), found, values)


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


def view_of(setup: Setup, images: Tensor, explained: Tensor, rng: SampleRng) -> View:
    """Return the real network's view of (N, C, H, W) images.

    If no metric reads maps, the maps have no pixels.
    """
    if setup.reads_maps:
        return setup.judge.view(setup.model, images, explained, rng)
    return View(images, predict(setup.model, images), images[:, :0], images[:, 0, :0])


def probe_of(setup: Setup, samples: Samples, explained: Tensor) -> JudgeProbe:
    """Return a probe with which metrics ask the network again."""
    # Without the attack's name, so that a metric's result on the clean image is the same under every attack.
    metric_rng = SampleRng(Rng(setup.rng.seed).fork("metrics"), samples.ids)
    return JudgeProbe(
        model=setup.model,
        method=setup.judge.method,
        labels=explained,
        attribution_rng=setup.attribution_rng(samples.ids),
        rng=metric_rng,
        rule=setup.judge.rule,
        library=setup.library,
    )


def gap_of(setup: Setup, view: View, labels: Tensor) -> np.ndarray:
    """(N,) float64: the completeness gap, NaN where none is promised."""
    if not setup.reads_maps:
        return np.full(len(view.images), np.nan)
    method = setup.judge.method
    with blamed_on(method):
        gap = method.completeness_gap(setup.model, view.images, labels, view.attribution)
    return np.full(len(view.images), np.nan) if gap is None else to_numpy(gap).astype(np.float64)


def to_numpy(values: Tensor) -> np.ndarray:
    """Return a tensor of any device as an array."""
    array: np.ndarray = values.detach().cpu().numpy()
    return array


def measured(metric: Metric, pair: Pair) -> Tensor:
    """(N,): the checked values of a metric, NaN where undefined.

    Raises:
        PluginFault: if the metric fails, or a value lies outside its declared bounds.
    """
    with blamed_on(metric):
        values = metric(pair)
    return _checked(metric, values, len(pair.labels))


def measured_all(metrics: Mapping[str, Metric], pair: Pair) -> dict[str, Tensor]:
    """Return the checked values of metrics by name.

    Values at a metric's levels are named `<metric>@<level>`.
    """
    values = {}
    for name, metric in metrics.items():
        values[name] = measured(metric, pair)
        with blamed_on(metric):
            levels = metric.by_level(pair)
        values |= {f"{name}{LEVEL_MARK}{level}": _checked(metric, v, len(pair.labels)) for level, v in levels.items()}
    return values


def _checked(metric: Metric, values: Tensor, count: int) -> Tensor:
    """Return values if all `count` lie within the metric's bounds."""
    low, high = metric.bounds
    if values.shape != (count,):
        raise PluginFault(
            f"{described(metric)}: expected one value per image, the shape {(count,)}, got {tuple(values.shape)}; "
            "mend it"
        )
    defined = values[~values.isnan()]
    outside = defined[(defined < low - ROUNDING * max(1, abs(low))) | (defined > high + ROUNDING * max(1, abs(high)))]
    if len(outside):
        raise PluginFault(
            f"{described(metric)}: expected values in its bounds [{low:g}, {high:g}], got {float(outside[0]):g} and "
            f"{len(outside)} such of {count} in all; mend the metric, or its bounds"
        )
    return values
