"""The contract of every attack.

Its proposals are images and depend only on their own sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from attacks.trigger import Trigger
from attacks.unchanged import Unchanged
from bench import registry
from bench.core.compute.norms import l2, linf, project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, View
from bench.core.schemas.protocol import Component, ThreatModel
from bench.run.attack.victim import StandIn, WhiteBoxVictim
from bench.run.attack.views import Explainer
from bench.run.samples import Library
from model_zoo.build import freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.contracts.conftest import SIDE, tiny_classifier
from tests.contracts.parameters import example, parameters
from tests.support.pictures import picture_origin

BUDGETS = ("steps", "draws", "donors", "nodes")
"""Parameters that only say how long an attack searches: tests are short."""

EXTRAS = {"autoattack": "pyautoattack"}
"""Attacks that need a package of an extra."""

SHORT: dict[str, dict[str, Any]] = {
    "spatial": {"rotations": 2, "shifts": 1},
    "foolbox-pgd": {"steps": 1},
    "autoattack": {"parts": ["apgd-ce", "apgd-t"]},
    "patch-shuffle": {"levels": [2, 4]},
    "corruption": {"kinds": ["gaussian-noise", "glass-blur", "jpeg-compression", "snow"], "severities": [5]},
    "pgd-lengths": {"lengths": [2, 4]},
    "auto": {"budget": 20},
    "auto-long": {"budget": 20},
    "trigger": {"pattern": picture_origin(SIDE)},
}
"""Parameters for tests where the budgets do not suffice: Square needs larger images in L2."""


@pytest.fixture(params=registry.names("attacks"))
def attack(request: pytest.FixtureRequest) -> Attack:
    if request.param in EXTRAS:
        pytest.importorskip(EXTRAS[request.param])
    plugin = registry.load("attacks", request.param)
    params = example(plugin) | {name: 3 for name in BUDGETS if name in parameters(plugin)}
    params |= SHORT.get(request.param, {})
    made: Attack = registry.instantiate("attacks", Component(name=request.param, params=params))
    return made


@pytest.fixture(autouse=True)
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Tensor) -> None:
    """A data folder with one image per sample.

    Some attacks read their proposals from it.
    """
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    (tmp_path / "stylized").mkdir()
    for name, image in zip("abc", images, strict=True):
        pixels = (255 - image * 255).to(torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(tmp_path / "stylized" / f"{name}.png")


@pytest.fixture(params=["linf", "l2"])
def threat(request: pytest.FixtureRequest, attack: Attack) -> ThreatModel:
    epsilon = {"linf": "8/255", "l2": "1/2"}[request.param]
    return ThreatModel(
        norm=request.param, epsilon=epsilon, knowledge="white-box", keep_prediction=attack.aim == "explanation"
    )


def victim_of(network: nn.Module, attack: Attack, threat: ThreatModel, rng: SampleRng) -> WhiteBoxVictim:
    protocol = registry.load("protocols", registry.names("protocols")[0])
    return WhiteBoxVictim(
        model=network,
        smooth=smooth_copy(network, beta=20.0),
        explainer=explainer(attack),
        primary=registry.instantiate("metrics", protocol.primary),
        threat=threat,
        knowledge=attack.knowledge,
        rng=rng.fork("attribution"),
        library=library(rng),
        other=None if attack.crafted_on is None else stand_in(attack.crafted_on.attack),
    )


def library(rng: SampleRng) -> Library:
    """Return other images than the attacked ones, under their ids."""
    images = SampleRng(rng.base, ("x", "y", "z")).uniform((3, SIDE, SIDE), 0, 1)
    return Library(("a", "b", "c"), images, rng.base)


def explainer(attack: Attack) -> Explainer:
    component = attack.search_attribution or Component(name="gradient")
    return Explainer(registry.instantiate("attributions", component), "sum-of-abs")


def stand_in(component: Component) -> StandIn:
    plugin, model = registry.load("attacks", component.name), freeze(tiny_classifier("another"))
    attack = plugin(**{name: 3 for name in BUDGETS if name in parameters(plugin)})
    return StandIn(model, smooth_copy(model, beta=20.0), explainer(attack), attack)


def explained(network: nn.Module, images: Tensor) -> Tensor:
    labels: Tensor = network(images).argmax(1)
    return labels


def allowed(attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng) -> Tensor:
    """What the judge lets pass of an attack's proposals."""
    victim = victim_of(network, attack, threat, rng)
    proposal = attack.perturb(victim, images, explained(network, images), threat=threat, rng=rng)
    assert proposal.shape == images.shape
    assert proposal.dtype == images.dtype
    assert torch.isfinite(proposal).all()
    return project(images, proposal.detach(), threat)


def test_proposals_are_images_in_the_ball(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    before = images.clone()
    perturbed = allowed(attack, network, images, threat, rng)
    assert perturbed.ge(0).all()
    assert perturbed.le(1).all()
    size = linf(images, perturbed) if threat.norm == "linf" else l2(images, perturbed)
    assert size.le(float(threat.epsilon) + 1e-6).all()
    assert size.gt(0).all() or isinstance(attack, Unchanged), "an attack that moves nothing measures nothing"
    assert torch.equal(images, before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_there_is_one_proposal_for_each_member(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    victim = victim_of(network, attack, threat, rng)
    proposals = attack.propose(victim, images, explained(network, images), threat=threat, rng=rng)
    assert len(set(attack.members)) == len(attack.members) == len(proposals)
    assert proposals.shape[1:] == images.shape


def test_epsilon_zero_changes_nothing(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    nothing = threat.model_copy(update={"epsilon": threat.epsilon * 0})
    assert torch.equal(allowed(attack, network, images, nothing, rng), images)


def test_equal_streams_give_equal_proposals_and_other_streams_others(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    first, again = (allowed(attack, network, images, threat, rng) for _ in range(2))
    assert torch.equal(first, again)
    if attack.knowledge == "none" and attack.aim != "nothing" and not isinstance(attack, Trigger):
        assert not torch.equal(first, allowed(attack, network, images, threat, rng.fork("other")))


def test_no_sample_depends_on_its_neighbours(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    together = allowed(attack, network, images, threat, rng)
    for i in range(len(images)):
        alone = allowed(attack, network, images[i : i + 1], threat, rng.select([i]))
        assert torch.equal(alone[0], together[i])
    backwards = [2, 1, 0]
    assert torch.equal(allowed(attack, network, images[backwards], threat, rng.select(backwards)), together[backwards])


def test_the_search_never_ends_above_the_clean_image(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    labels = explained(network, images)
    victim = victim_of(network, attack, threat, rng)
    before = victim.observe(images, labels)
    after = victim.observe(allowed(attack, network, images, threat, rng), labels)
    counted = victim.similarity(before, after)
    kept = (after.logits.argmax(1) == before.logits.argmax(1)) | (not threat.keep_prediction)
    assert kept.any()
    assert torch.equal(torch.isfinite(counted), kept)
    assert counted[kept].le(victim.similarity(before, before)[kept] + 1e-6).all()


def test_looks_are_counted_and_gradients_are_for_those_who_declare_them(
    attack: Attack, network: nn.Module, images: Tensor, threat: ThreatModel, rng: SampleRng
) -> None:
    looks: list[Tensor] = []

    class Watched(WhiteBoxVictim):
        def observe(self, images: Tensor, labels: Tensor) -> View:
            looks.append(images)
            return super().observe(images, labels)

    victim = Watched(
        **{k: v for k, v in vars(victim_of(network, attack, threat, rng)).items() if not k.startswith("_")}
    )
    attack.perturb(victim, images, explained(network, images), threat=threat, rng=rng)
    assert victim.cost.forward >= len(looks)
    assert sum(victim.cost) > 0 or attack.knowledge == "none"
    blind = threat.model_copy(update={"max_queries": 1})
    if victim.cost.forward + victim.cost.gradient > 1:
        with pytest.raises(Exception, match="expected at most 1 queries per image"):
            allowed(attack, network, images, blind, rng)
