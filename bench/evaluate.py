"""Attack one shard of samples and judge what comes back: project, predict, attribute, measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from bench.core import norms
from bench.core.contracts import Attack, Metric, Pair, View
from bench.core.errors import ModelOutputError
from bench.core.protocol import ThreatModel
from bench.core.records import DIAGNOSTIC_COLUMNS, ROW_COLUMNS
from bench.core.rng import Rng, SampleRng
from bench.diagnostics import are_probabilities, contrast, correlation, same_maps
from bench.memory import Room
from bench.samples import Samples
from bench.showcase import encode, tiles
from bench.verdict import mean, worst
from bench.victim import Explainer, JudgeProbe, StandIn, WhiteBoxVictim, predict

ENGINE = 3
"""Part of every run's identity: raised when a change of this module or of the victim can change a number or a flag."""

OUTSIDE = 1e-6
"""Pixel units beyond which an image lies outside the ball, and not on its border with a rounding error."""

Result = TypeVar("Result")
Tick = Callable[[int], None]
"""Called with the number of images that were finished."""


@dataclass(frozen=True)
class Bench:
    """Everything that a run put on the table: networks, attack, measures."""

    model: nn.Module
    smooth: nn.Module
    attack: Attack
    threat: ThreatModel
    search: Explainer
    judge: Explainer
    metrics: dict[str, Metric]
    primary: str
    explain_predicted: bool
    rng: Rng
    device: torch.device
    top_k: int
    library: Tensor | None = None
    """(M, C, H, W) clean images that any attack may look at."""
    other: StandIn | None = None
    """What a transferred attack is crafted on."""
    room: Room | None = None
    """The memory that there is; None where nobody watches it."""

    def within_memory(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work in the room that there is."""
        return work() if self.room is None else self.room.give(work)

    @property
    def reads_maps(self) -> bool:
        """Whether any metric looks at attributions or heatmaps; else none are made."""
        return any(metric.reads_maps for metric in self.metrics.values())


@dataclass(frozen=True)
class Attacked:
    """What an attack made of N images, after projection and the prediction check."""

    images: Tensor
    """(N, M, C, H, W) float32 on the CPU, of each member; the clean image where it failed."""
    feasible: Tensor
    """(N, M) bool: whether the proposal kept the class, where it had to."""
    forward: Tensor
    """(N,) int64 forward passes spent."""
    gradient: Tensor
    """(N,) int64 gradient evaluations spent."""
    projected: Tensor
    """(N,) bool: whether a proposal lay outside the ball or the pixel range."""
    vanished: Tensor
    """(N,) float32: share of the attack's gradients that could not guide it; NaN where it asked for none."""


def attack_shard(bench: Bench, samples: Samples, batch_size: int, tick: Tick) -> Attacked:
    """Run the attack over a shard, batch by batch.

    Args:
        bench: networks, attack and rules.
        samples: the N images of the shard.
        batch_size: images that the attack sees at once; it cannot change a result on a CPU.
        tick: told of finished images.
    Returns:
        N images that the threat model allows.
    Raises:
        ModelOutputError: if the model or the attack answers with NaN or infinity.
    """
    parts = []
    for batch in samples.split(1 if bench.attack.one_by_one else batch_size):
        parts.append(bench.within_memory(partial(_attack_batch, bench, batch)))
        tick(len(batch.ids))
    return Attacked(*(torch.cat([getattr(p, name) for p in parts]) for name in Attacked.__dataclass_fields__))


def _attack_batch(bench: Bench, samples: Samples) -> Attacked:
    images = samples.images.to(bench.device)
    clean = predict(bench.model, images)
    explained = _explained(bench, clean, samples.labels)
    victim = WhiteBoxVictim(
        model=bench.model,
        smooth=bench.smooth,
        explainer=bench.search,
        primary=bench.metrics[bench.primary],
        threat=bench.threat,
        knowledge=bench.attack.knowledge,
        rng=_attribution_rng(bench, samples.ids),
        library=bench.library,
        other=bench.other,
    )
    rng = _attack_rng(bench, samples.ids)
    proposals = bench.attack.propose(victim, images, explained, threat=bench.threat, rng=rng).detach()
    expected = (len(bench.attack.members), *images.shape)
    if proposals.shape != expected or not torch.isfinite(proposals).all():
        raise ModelOutputError(
            f"expected finite images of shape {expected} from the attack, got {tuple(proposals.shape)} or NaN; "
            "mend the attack"
        )
    judged = [_allow(bench, images, clean, proposal.to(images.dtype)) for proposal in proposals]
    count = torch.full((len(images),), 1)
    return Attacked(
        images=torch.stack([images for images, _, _ in judged], 1).cpu(),
        feasible=torch.stack([feasible for _, feasible, _ in judged], 1).cpu(),
        forward=count * victim.cost.forward,
        gradient=count * victim.cost.gradient,
        projected=torch.stack([projected for _, _, projected in judged], 1).any(1).cpu(),
        vanished=victim.vanished,
    )


def _allow(bench: Bench, images: Tensor, clean: Tensor, proposal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(N, C, H, W) what the threat model lets pass of a proposal, (N,) whether it was feasible and was projected."""
    allowed = norms.project(images, proposal, bench.threat)
    feasible = torch.ones(len(images), dtype=torch.bool, device=images.device)
    if bench.threat.keep_prediction:
        feasible = predict(bench.model, allowed).argmax(1) == clean.argmax(1)
    projected = norms.linf(allowed, proposal) > OUTSIDE
    return torch.where(feasible.view(-1, 1, 1, 1), allowed, images), feasible, projected


def measure_shard(bench: Bench, samples: Samples, attacked: Attacked, showcase: frozenset[str]) -> pd.DataFrame:
    """Judge a shard on the real network, with the protocol's attribution, in float32.

    Args:
        bench: networks, metrics and rules.
        samples: the N clean images.
        attacked: what the attack made of them.
        showcase: ids of samples whose tiles are kept for the pages.
    Returns:
        N rows: `bench.core.records.ROW_COLUMNS` and `DIAGNOSTIC_COLUMNS`, a column per metric and per level of a
        series, `winner` where the attack is a suite, and `tiles`, a PNG or None.
    """
    return bench.within_memory(partial(_measure, bench, samples, attacked, showcase))


def _measure(bench: Bench, samples: Samples, attacked: Attacked, showcase: frozenset[str]) -> pd.DataFrame:
    before_images, labels = samples.images.to(bench.device), samples.labels.to(bench.device)
    rng = _attribution_rng(bench, samples.ids)
    explained = _explained(bench, predict(bench.model, before_images), samples.labels)
    before = _view(bench, before_images, explained, rng)
    probe = JudgeProbe(bench.model, bench.judge.method, explained, rng, _metric_rng(bench, samples.ids))
    pairs = [
        Pair(before, _view(bench, after, explained, rng), labels, feasible, probe)
        for after, feasible in zip(
            attacked.images.to(bench.device).unbind(1), attacked.feasible.to(bench.device).unbind(1), strict=True
        )
    ]
    attack = bench.attack
    verdict = (
        mean(pairs, bench.metrics, attack.members) if attack.series else worst(pairs, bench.metrics, bench.primary)
    )
    after = verdict.pair.after
    confidence = [view.logits.softmax(1).gather(1, explained.unsqueeze(1)).squeeze(1) for view in (before, after)]
    predicted = [view.logits.argmax(1) for view in (before, after)]
    gaps = [_gap(bench, view, explained) for view in (before, after)]
    columns: dict[str, object] = {
        "sample_id": list(samples.ids),
        "label": _numpy(labels),
        "predicted_before": _numpy(predicted[0]),
        "predicted_after": _numpy(predicted[1]),
        "confidence_before": _numpy(confidence[0]),
        "confidence_after": _numpy(confidence[1]),
        "correct": _numpy(predicted[0] == labels),
        "feasible": _numpy(attacked.feasible.any(1)),
        "linf": _numpy(norms.linf(before_images, after.images)),
        "l2": _numpy(norms.l2(before_images, after.images)),
        "gradient_evaluations": _numpy(attacked.gradient),
        "forward_evaluations": _numpy(attacked.forward),
        "seed": [f"{seed:016x}" for seed in _attack_rng(bench, samples.ids).seeds()],
        "completeness_gap_before": gaps[0],
        "completeness_gap_after": gaps[1],
    }
    columns |= _diagnostics(bench, before, explained, attacked, rng)
    assert tuple(columns) == ROW_COLUMNS + DIAGNOSTIC_COLUMNS
    columns |= {name: _numpy(values).astype(np.float64) for name, values in verdict.values.items()}
    if len(pairs) > 1 and not attack.series:
        columns["winner"] = [attack.members[index] for index in verdict.winner.tolist()]
    columns["tiles"] = None
    if bench.reads_maps:
        shown = tiles(before, after, bench.top_k)
        columns["tiles"] = [encode(t) if i in showcase else None for i, t in zip(samples.ids, shown, strict=True)]
    return pd.DataFrame(columns)


def _view(bench: Bench, images: Tensor, explained: Tensor, rng: SampleRng) -> View:
    """Return what the real network says and shows of (N, C, H, W) images; maps without pixels if nobody reads maps."""
    if bench.reads_maps:
        return bench.judge.view(bench.model, images, explained, rng)
    return View(images, predict(bench.model, images), images[:, :0], images[:, 0, :0])


def _diagnostics(
    bench: Bench, before: View, explained: Tensor, attacked: Attacked, rng: SampleRng
) -> dict[str, np.ndarray]:
    """Measure on the clean images what the soundness checks need; what nobody reads raises no flag."""
    fine, unknown = torch.ones(len(explained), dtype=torch.bool), torch.full((len(explained),), torch.nan)
    found = {
        "projected": attacked.projected,
        "gradient_vanished": attacked.vanished,
        "surrogate_agrees": fine,
        "surrogate_correlation": unknown,
        "map_contrast": unknown,
        "map_repeatable": fine,
        "probabilities": are_probabilities(before.logits),
    }
    if bench.reads_maps:
        again = bench.judge.view(bench.model, before.images, explained, rng)
        found["surrogate_agrees"] = predict(bench.smooth, before.images).argmax(1) == before.logits.argmax(1)
        found["map_contrast"] = contrast(before.heatmap)
        found["map_repeatable"] = same_maps(before.heatmap, again.heatmap)
    if bench.reads_maps and bench.search.method.differentiable:
        real, smooth = (bench.search.view(net, before.images, explained, rng) for net in (bench.model, bench.smooth))
        found["surrogate_correlation"] = correlation(real.heatmap, smooth.heatmap)
    return {name: _numpy(values) for name, values in found.items()}


def _explained(bench: Bench, logits: Tensor, labels: Tensor) -> Tensor:
    return logits.argmax(1) if bench.explain_predicted else labels.to(logits.device)


def _attack_rng(bench: Bench, ids: tuple[str, ...]) -> SampleRng:
    return SampleRng(bench.rng.fork("attack"), ids)


def _attribution_rng(bench: Bench, ids: tuple[str, ...]) -> SampleRng:
    return SampleRng(bench.rng.fork("attribution"), ids)


def _metric_rng(bench: Bench, ids: tuple[str, ...]) -> SampleRng:
    # Without the attack's name: what a metric finds out about the clean image is the same under every attack.
    return SampleRng(Rng(bench.rng.seed).fork("metrics"), ids)


def _gap(bench: Bench, view: View, labels: Tensor) -> np.ndarray:
    if not bench.reads_maps:
        return np.full(len(view.images), np.nan)
    gap = bench.judge.method.completeness_gap(bench.model, view.images, labels, view.attribution)
    return np.full(len(view.images), np.nan) if gap is None else _numpy(gap).astype(np.float64)


def _numpy(values: Tensor) -> np.ndarray:
    array: np.ndarray = values.detach().cpu().numpy()
    return array
