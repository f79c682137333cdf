"""What the judge finds, in float32 on the real network: of clean images once, of an attack's images against them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.core.compute import norms
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Pair, View
from bench.core.faults import blamed_on
from bench.core.schemas.records import DIAGNOSTIC_COLUMNS, ROW_COLUMNS
from bench.run.attack.search import Attacked, Bench
from bench.run.attack.views import JudgeProbe, predict
from bench.run.judge.diagnostics import are_probabilities, contrast, correlation, same_maps, tied
from bench.run.judge.verdict import Verdict, mean, measured, worst
from bench.run.record.showcase import encode, tiles
from bench.run.samples import Samples


class Clean(NamedTuple):
    """What the judge finds of N clean images, whatever attack follows."""

    explained: Tensor
    """(N,) int64."""
    view: View
    gap: np.ndarray
    """(N,) float64, of completeness; NaN where there is none."""
    diagnostics: dict[str, np.ndarray]
    """(N,) each: those of `DIAGNOSTIC_COLUMNS` that speak of clean images."""
    values: dict[str, Tensor]
    """(N,) of each metric that looks at nothing else."""


def look(bench: Bench, samples: Samples) -> Clean:
    """Judge N clean images."""
    return bench.within_memory(partial(_look, bench, samples))


def _look(bench: Bench, samples: Samples) -> Clean:
    images, labels = samples.images.to(bench.device), samples.labels.to(bench.device)
    logits = predict(bench.model, images)
    explained, rng = bench.explained(logits, samples.labels), bench.attribution_rng(samples.ids)
    view = _view(bench, images, explained, rng)
    repeated = same_maps(logits.unsqueeze(1), view.logits.unsqueeze(1))
    alone = Pair(view, view, labels, None, _probe(bench, samples, explained))
    values = {name: measured(metric, alone) for name, metric in bench.metrics.items() if metric.looks_at_clean_alone}
    diagnostics = _diagnostics(bench, view, explained, repeated, rng)
    return Clean(explained, view, _gap(bench, view, explained), diagnostics, values)


def measure_shard(
    bench: Bench, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean | None = None
) -> pd.DataFrame:
    """Judge a shard.

    Args:
        bench: networks, metrics and rules.
        samples: the N clean images.
        attacked: what the attack made of them.
        showcase: ids of samples whose tiles are kept for the pages.
        clean: what `look` found of these samples, if somebody remembers.
    Returns:
        N rows: `bench.core.schemas.records.ROW_COLUMNS` and `DIAGNOSTIC_COLUMNS`, a column per metric and per level of
        a series, `winner` where the attack is a suite, and `tiles`, a PNG or None.
    """
    found = look(bench, samples) if clean is None else clean
    return bench.within_memory(partial(_measure, bench, samples, attacked, showcase, found))


def _measure(
    bench: Bench, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean
) -> pd.DataFrame:
    attack, before, explained = bench.attack, clean.view, clean.explained
    verdict = _verdict(bench, samples, attacked, clean)
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
        "seed": [f"{seed:016x}" for seed in bench.attack_rng(samples.ids).seeds()],
        "completeness_gap_before": clean.gap,
        "completeness_gap_after": _gap(bench, after, explained),
        "projected": _numpy(attacked.projected),
        "gradient_vanished": _numpy(attacked.vanished),
    }
    columns |= clean.diagnostics
    assert tuple(columns) == ROW_COLUMNS + DIAGNOSTIC_COLUMNS
    columns |= {name: _numpy(values).astype(np.float64) for name, values in verdict.values.items()}
    if len(attack.members) > 1 and not attack.series:
        columns["winner"] = [attack.members[index] for index in verdict.winner.tolist()]
    columns["tiles"] = None
    if bench.reads_maps:
        shown = tiles(before, after, bench.top_k)
        columns["tiles"] = [encode(t) if i in showcase else None for i, t in zip(samples.ids, shown, strict=True)]
    return pd.DataFrame(columns)


def _verdict(bench: Bench, samples: Samples, attacked: Attacked, clean: Clean) -> Verdict:
    """Compare the images of each member of the attack with the clean ones."""
    rng, labels = bench.attribution_rng(samples.ids), samples.labels.to(bench.device)
    probe = _probe(bench, samples, clean.explained)
    members = zip(attacked.images.to(bench.device).unbind(1), attacked.feasible.to(bench.device).unbind(1), strict=True)
    pairs = [
        Pair(clean.view, _view(bench, images, clean.explained, rng), labels, feasible, probe)
        for images, feasible in members
    ]
    if bench.attack.series:
        return mean(pairs, bench.metrics, bench.attack.members, clean.values)
    return worst(pairs, bench.metrics, bench.primary, clean.values)


def _view(bench: Bench, images: Tensor, explained: Tensor, rng: SampleRng) -> View:
    """Return what the real network says and shows of (N, C, H, W) images; maps without pixels if nobody reads maps."""
    if bench.reads_maps:
        return bench.judge.view(bench.model, images, explained, rng)
    return View(images, predict(bench.model, images), images[:, :0], images[:, 0, :0])


def _probe(bench: Bench, samples: Samples, explained: Tensor) -> JudgeProbe:
    # Without the attack's name: what a metric finds out about the clean image is the same under every attack.
    metric_rng = SampleRng(Rng(bench.rng.seed).fork("metrics"), samples.ids)
    return JudgeProbe(bench.model, bench.judge.method, explained, bench.attribution_rng(samples.ids), metric_rng)


def _diagnostics(
    bench: Bench, view: View, explained: Tensor, repeated: Tensor, rng: SampleRng
) -> dict[str, np.ndarray]:
    """Measure on the clean images what the soundness checks need; what nobody reads raises no flag."""
    fine, unknown = torch.ones(len(explained), dtype=torch.bool), torch.full((len(explained),), torch.nan)
    found = {
        "surrogate_agrees": fine,
        "surrogate_correlation": unknown,
        "map_contrast": unknown,
        "map_repeatable": repeated,
        "probabilities": are_probabilities(view.logits),
        "map_tied": unknown,
    }
    if bench.reads_maps:
        found["surrogate_agrees"] = predict(bench.smooth, view.images).argmax(1) == view.logits.argmax(1)
        found["map_contrast"], found["map_tied"] = contrast(view.heatmap), tied(view.heatmap)
        found["map_repeatable"] = repeated & _repeats(bench, view, explained, rng)
    if bench.reads_maps and bench.search.method.differentiable:
        real, smooth = (bench.search.view(net, view.images, explained, rng) for net in (bench.model, bench.smooth))
        found["surrogate_correlation"] = correlation(real.heatmap, smooth.heatmap)
    return {name: _numpy(values) for name, values in found.items()}


def _repeats(bench: Bench, view: View, explained: Tensor, rng: SampleRng) -> Tensor:
    """(N,) bool: whether the network shows the same twice, of a map of many nodes at the first of them."""
    whole = bench.judge.method
    one = replace(bench.judge, method=whole.turn(0, whole.nodes_per_image))
    first = view if one.method is whole else one.view(bench.model, view.images, explained, rng)
    return same_maps(first.heatmap, one.view(bench.model, view.images, explained, rng).heatmap)


def _gap(bench: Bench, view: View, labels: Tensor) -> np.ndarray:
    if not bench.reads_maps:
        return np.full(len(view.images), np.nan)
    method = bench.judge.method
    with blamed_on(method):
        gap = method.completeness_gap(bench.model, view.images, labels, view.attribution)
    return np.full(len(view.images), np.nan) if gap is None else _numpy(gap).astype(np.float64)


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy()
    return array
