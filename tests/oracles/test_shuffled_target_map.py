"""Maps of other images as targets, paired by the seed."""

from __future__ import annotations

import hashlib

import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor, nn

from attacks.random_noise import RandomNoise
from attacks.shuffled_target_map import ShuffledTargetMap, partner_maps
from attacks.target_map import closeness
from bench.attributions.gradient import Gradient
from bench.core.compute.heatmap import normalize, reduce
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Pair
from bench.core.errors import BenchError
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import JudgeProbe
from bench.run.samples import Library
from metrics.partner_correlation import PartnerCorrelation
from model_zoo.derivatives.surrogate import smooth_copy
from tests.oracles.searched import IDS, THREAT, clean_images, network, victim

MANY = tuple(f"cifar10/test/{index}" for index in range(50))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """The smooth network plays the real one.

    So search and judge see the same maps.
    """
    return smooth_copy(network(), 20.0)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return clean_images()


def victim_of(model: nn.Module, images: Tensor) -> WhiteBoxVictim:
    return victim(model, smooth=model, library=Library(IDS, images, Rng(3)))


def numbered(ids: tuple[str, ...], seed: int = 0) -> Library:
    """Return a library whose images hold the number in their ids."""
    numbers = torch.tensor([float(each.split("/")[-1]) for each in ids])
    return Library(ids, numbers.view(-1, 1, 1, 1), Rng(seed).fork("partners"))


def partners(library: Library, ids: tuple[str, ...]) -> list[int]:
    return [int(each) for each in library.partners(ids).flatten()]


@pytest.mark.parametrize("count", [2, 3, 50])
def test_the_partners_are_a_shuffle_that_leaves_no_image_in_its_place(count: int) -> None:
    found = partners(numbered(MANY[:count]), MANY[:count])
    assert sorted(found) == list(range(count))
    assert all(own != other for own, other in enumerate(found))


def test_a_partner_is_the_next_by_the_hash_of_seed_and_id() -> None:
    def key(sample: str) -> int:
        digest = hashlib.sha256(f"5\x1fpartners\x1f{sample}".encode()).digest()[:8]
        return int.from_bytes(digest, "big") >> 1

    circle = sorted(MANY, key=key)
    expected = {own: circle[(place + 1) % len(circle)] for place, own in enumerate(circle)}
    library = numbered(MANY, seed=5)
    assert partners(library, MANY) == [int(expected[each].split("/")[-1]) for each in MANY]


def test_neither_order_nor_batch_changes_a_partner_and_another_seed_does() -> None:
    first, backwards = numbered(MANY), numbered(MANY[::-1])
    assert partners(first, MANY[3:7]) == partners(backwards, MANY)[3:7]
    assert partners(first, MANY) != partners(numbered(MANY, seed=1), MANY)


def test_the_targets_are_the_maps_of_the_partners_for_their_own_classes(model: nn.Module, images: Tensor) -> None:
    attacked = victim_of(model, images)
    found, others = partner_maps(attacked), attacked.partners()
    for index in range(len(images)):
        leaf = others[index : index + 1].clone().requires_grad_()
        logits = model(leaf)
        (gradient,) = torch.autograd.grad(logits[0, logits.argmax()], leaf)
        torch.testing.assert_close(found[index : index + 1], normalize(reduce(gradient, "sum-of-abs")))


def test_the_map_comes_nearer_to_its_target_than_noise_brings_it(model: nn.Module, images: Tensor) -> None:
    labels, attacked = model(images).argmax(1), victim_of(model, images)
    target = partner_maps(attacked)

    def near(made: Tensor) -> Tensor:
        return closeness(attacked.observe(made, labels).heatmap, target)

    def reached(attack: Attack) -> Tensor:
        return near(attack.perturb(attacked, images, labels, threat=THREAT, rng=attacked.rng))

    goal = reached(ShuffledTargetMap(steps=10))
    assert (goal > near(images)).all()
    assert (goal > reached(RandomNoise(draws=10))).all()


def test_the_correlation_with_the_partner_is_that_of_the_two_maps_and_rises(model: nn.Module, images: Tensor) -> None:
    labels, attacked = model(images).argmax(1), victim_of(model, images)
    made = ShuffledTargetMap(steps=10).perturb(attacked, images, labels, threat=THREAT, rng=attacked.rng)
    before, after = (attacked.observe(each, labels) for each in (images, made))
    probe = JudgeProbe(model, Gradient(), labels, attacked.rng, attacked.rng, "sum-of-abs", attacked.library)
    pair, target = Pair(before, after, labels, None, probe), partner_maps(attacked)
    found = [PartnerCorrelation(of=side)(pair) for side in ("before", "after")]
    for side, view in zip(found, (before, after), strict=True):
        maps = [each.flatten(1).double().numpy() for each in (view.heatmap, target)]
        expected = [pearsonr(own, other).statistic for own, other in zip(*maps, strict=True)]
        torch.testing.assert_close(side, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)
    assert (found[1] > found[0]).all()


def test_it_moves_an_image_towards_the_target_of_its_id_alone(model: nn.Module, images: Tensor) -> None:
    attacked, labels = victim_of(model, images), model(images).argmax(1)
    attack, rng = ShuffledTargetMap(steps=2), SampleRng(Rng(2), IDS)
    together = attack.perturb(attacked, images, labels, threat=THREAT, rng=rng)
    for index in range(len(images)):
        one, row = torch.tensor([index]), slice(index, index + 1)
        alone = attack.perturb(attacked.only(one), images[row], labels[row], threat=THREAT, rng=rng.select([index]))
        assert torch.equal(alone, together[row])


def test_one_image_alone_has_no_target(model: nn.Module, images: Tensor) -> None:
    alone = victim(model, rng=SampleRng(Rng(1), IDS[:1]), library=Library(IDS[:1], images[:1], Rng(3)))
    with pytest.raises(BenchError, match="at least 2 images, so that each has another one as its target, got 1"):
        ShuffledTargetMap(steps=1).perturb(alone, images[:1], torch.tensor([0]), threat=THREAT, rng=alone.rng)
