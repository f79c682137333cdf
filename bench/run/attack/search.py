"""Attacks one shard of samples: propose, project, predict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self, TypeVar

import torch
from torch import Tensor

from bench.core.compute import norms
from bench.core.compute.machine import shortened
from bench.core.contracts import Attack
from bench.core.errors import PluginFault, blamed_on, described
from bench.core.schemas.protocol import OUTSIDE
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import predict
from bench.run.samples import Samples
from bench.run.setup import Setup

Result = TypeVar("Result")
Tick = Callable[[int], None]
"""Called with the number of images that have just been finished."""


@dataclass(frozen=True)
class Attacked:
    """The result of an attack on N images.

    The judge has projected the images and checked their predictions.
    """

    images: Tensor
    """(N, M, C, H, W) float32 on the CPU, one image per member; the clean image where the member failed."""
    feasible: Tensor
    """(N, M) bool: whether the proposal keeps the class; True if the class may change."""
    forward: Tensor
    """(N,) int64: the forward passes."""
    gradient: Tensor
    """(N,) int64: the gradient evaluations."""
    projected: Tensor
    """(N,) bool: whether a proposal lay outside the ball or the pixel range."""
    vanished: Tensor
    """(N,) float32: share of the attack's gradients that could not guide it; NaN if it asked for none."""

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return several results as one, in their order."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def part(self, which: slice) -> Self:
        """Return the result for some of the images."""
        return type(self)(*(getattr(self, name)[which] for name in self.__dataclass_fields__))


def attack_shard(setup: Setup, samples: Samples, batch_size: int, tick: Tick) -> Attacked:
    """Run the attack over a shard, batch by batch.

    Args:
        setup: networks, attack and rules.
        samples: the N images of the shard.
        batch_size: images that the attack sees at once; on a CPU it does not change a result.
        tick: called with the number of finished images.
    Returns:
        N images that the threat model allows.
    Raises:
        ModelOutputError: if the model returns NaN or infinity.
        PluginFault: if the attack fails, or returns anything but finite images.
    """
    parts = []
    for batch in samples.split(1 if setup.attack.one_by_one else batch_size):
        parts.append(setup.within_memory(partial(_attack_batch, setup, batch)))
        tick(len(batch.ids))
    return Attacked.joined(parts)


def _attack_batch(setup: Setup, samples: Samples) -> Attacked:
    images = samples.images.to(setup.device)
    clean = predict(setup.model, images)
    explained = setup.explained(clean, samples.labels)
    victim = WhiteBoxVictim(
        model=setup.model,
        smooth=setup.smooth,
        explainer=setup.search,
        primary=setup.metrics[setup.primary],
        threat=setup.threat,
        knowledge=setup.attack.knowledge,
        rng=setup.attribution_rng(samples.ids),
        library=setup.library,
        other=setup.other,
        precision=setup.precision,
    )
    rng = setup.attack_rng(samples.ids)
    with shortened(setup.precision != "float32"), blamed_on(setup.attack):
        proposals = setup.attack.propose(victim, images, explained, threat=setup.threat, rng=rng).detach()
    _check_proposals(setup.attack, proposals, images)
    judged = [_allow(setup, images, clean, proposal.to(images.dtype)) for proposal in proposals]
    spent = victim.spent
    return Attacked(
        images=torch.stack([images for images, _, _ in judged], 1).cpu(),
        feasible=torch.stack([feasible for _, feasible, _ in judged], 1).cpu(),
        forward=spent.forward,
        gradient=spent.gradient,
        projected=torch.stack([projected for _, _, projected in judged], 1).any(1).cpu(),
        vanished=spent.vanished / spent.asked,
    )


def _check_proposals(attack: Attack, proposals: Tensor, images: Tensor) -> None:
    """Raise unless the proposals are finite images of the right shape.

    Every member must return one image per clean image, (N, C, H, W).
    """
    alone = attack.members == ("",)
    expected, came = (len(attack.members), *images.shape), tuple(proposals.shape)
    if came != expected:
        raise PluginFault(
            f"{described(attack)}: expected proposals of the shape {expected[alone:]}, got {came[alone:]}; return one "
            "image of the same size for each that was given"
        )
    if bad := int((~torch.isfinite(proposals)).flatten(2).any(2).any(0).sum()):
        raise PluginFault(
            f"{described(attack)}: expected finite images, got NaN or infinity in {bad} of {len(images)}; mend it"
        )


def _allow(setup: Setup, images: Tensor, clean: Tensor, proposal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the allowed images, and whether they are feasible and were projected.

    (N, C, H, W), (N,) bool and (N,) bool. An infeasible image is replaced by the clean one.
    """
    allowed = norms.project(images, proposal, setup.threat)
    feasible = torch.ones(len(images), dtype=torch.bool, device=images.device)
    if setup.threat.keep_prediction:
        feasible = predict(setup.model, allowed).argmax(1) == clean.argmax(1)
    projected = norms.linf(allowed, proposal) > OUTSIDE
    return torch.where(feasible.view(-1, 1, 1, 1), allowed, images), feasible, projected
