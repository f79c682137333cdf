"""The judge: measures clean and attacked images on the real network.

It computes in the protocol's precision. Clean images are measured once for all attacks.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.core.compute import norms
from bench.core.compute.chunks import forward
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Pair, View
from bench.core.faults import blamed_on
from bench.core.schemas.records import ATTACK_COLUMNS, ROW_COLUMNS
from bench.run.attack.search import Attacked
from bench.run.attack.views import JudgeProbe, predict
from bench.run.judge.curvature import foretold
from bench.run.judge.verdict import Verdict, mean, measured_all, worst
from bench.run.record import soundness
from bench.run.record.showcase import encode, tiles
from bench.run.samples import Samples
from bench.run.setup import Setup
from model_zoo.logits import left_out


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
    view = _view(setup, images, explained, rng)
    alone = Pair(view, view, labels, None, _probe(setup, samples, explained), samples.annotations)
    values = measured_all({name: each for name, each in setup.metrics.items() if each.looks_at_clean_alone}, alone)
    found = {name: _numpy(each) for name, each in soundness.measure(Seen(setup, view, logits, explained, rng)).items()}
    return Clean(explained, view, _gap(setup, view, explained), found, values)


def measure_shard(
    setup: Setup, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean | None = None
) -> pd.DataFrame:
    """Return the rows of an attacked shard.

    Args:
        setup: networks, metrics and rules.
        samples: the N clean images.
        attacked: the result of the attack on them.
        showcase: ids of samples whose tiles are kept for the pages.
        clean: the result of `look` on these samples, if it is known.
    Returns:
        N rows: ROW_COLUMNS and ATTACK_COLUMNS of `bench.core.schemas.records`, the columns of the flags, one column per
        metric and per level of a series, `winner` if the attack is a suite, and `tiles`, a PNG or None.
    """
    found = look(setup, samples) if clean is None else clean
    return setup.within_memory(partial(_measure, setup, samples, attacked, showcase, found))


def _measure(
    setup: Setup, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean
) -> pd.DataFrame:
    attack, before, explained = setup.attack, clean.view, clean.explained
    verdict = _verdict(setup, samples, attacked, clean)
    after = verdict.pair.after
    confidence = [view.logits.softmax(1).gather(1, explained.unsqueeze(1)).squeeze(1) for view in (before, after)]
    predicted = [view.logits.argmax(1) for view in (before, after)]
    columns: dict[str, object] = {
        "sample_id": list(samples.ids),
        "label": _numpy(samples.labels),
        "predicted_before": _numpy(predicted[0]),
        "predicted_after": _numpy(predicted[1]),
        "confidence_before": _numpy(confidence[0]),
        "confidence_after": _numpy(confidence[1]),
        "correct": _numpy(predicted[0].cpu() == samples.labels),
        "feasible": _numpy(attacked.feasible.any(1)),
        "linf": _numpy(norms.linf(before.images, after.images)),
        "l2": _numpy(norms.l2(before.images, after.images)),
        "gradient_evaluations": _numpy(attacked.gradient),
        "forward_evaluations": _numpy(attacked.forward),
        "seed": [f"{seed:016x}" for seed in setup.attack_rng(samples.ids).seeds()],
        "completeness_gap_before": clean.gap,
        "completeness_gap_after": _gap(setup, after, explained),
        "projected": _numpy(attacked.projected),
        "gradient_vanished": _numpy(attacked.vanished),
    }
    assert tuple(columns) == ROW_COLUMNS + ATTACK_COLUMNS
    columns |= clean.flags
    columns |= {name: _numpy(values).astype(np.float64) for name, values in verdict.values.items()}
    if len(attack.members) > 1 and not attack.series:
        columns["winner"] = [attack.members[index] for index in verdict.winner.tolist()]
    columns["tiles"] = None
    if setup.reads_maps:
        shown = tiles(before, after, setup.top_k, outlined=setup.outlined)
        columns["tiles"] = [encode(t) if i in showcase else None for i, t in zip(samples.ids, shown, strict=True)]
    return pd.DataFrame(columns)


def _verdict(setup: Setup, samples: Samples, attacked: Attacked, clean: Clean) -> Verdict:
    """Return the measured comparison of attacked and clean images."""
    rng, labels = setup.attribution_rng(samples.ids), samples.labels.to(setup.device)
    probe = _probe(setup, samples, clean.explained)
    members = zip(attacked.images.to(setup.device).unbind(1), attacked.feasible.to(setup.device).unbind(1), strict=True)
    pairs = [
        Pair(clean.view, _view(setup, images, clean.explained, rng), labels, feasible, probe, samples.annotations)
        for images, feasible in members
    ]
    if setup.attack.series:
        return mean(pairs, setup.metrics, setup.attack.members, clean.values)
    return worst(pairs, setup.metrics, setup.primary, clean.values)


def _view(setup: Setup, images: Tensor, explained: Tensor, rng: SampleRng) -> View:
    """Return the real network's view of (N, C, H, W) images.

    If no metric reads maps, the maps have no pixels.
    """
    if setup.reads_maps:
        return setup.judge.view(setup.model, images, explained, rng)
    return View(images, predict(setup.model, images), images[:, :0], images[:, 0, :0])


def _probe(setup: Setup, samples: Samples, explained: Tensor) -> JudgeProbe:
    # Without the attack's name, so that a metric's result on the clean image is the same under every attack.
    metric_rng = SampleRng(Rng(setup.rng.seed).fork("metrics"), samples.ids)
    return JudgeProbe(setup.model, setup.judge.method, explained, setup.attribution_rng(samples.ids), metric_rng)


def _gap(setup: Setup, view: View, labels: Tensor) -> np.ndarray:
    if not setup.reads_maps:
        return np.full(len(view.images), np.nan)
    method = setup.judge.method
    with blamed_on(method):
        gap = method.completeness_gap(setup.model, view.images, labels, view.attribution)
    return np.full(len(view.images), np.nan) if gap is None else _numpy(gap).astype(np.float64)


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy()
    return array
