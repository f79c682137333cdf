"""ART's published evaluation.

Tests its masked correlation, truncated gradient, candidates and the map of its loss.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kendalltau
from torch import Tensor, nn

from attacks._losses import mass_outside
from attacks._search import uniform_start
from attacks.alignment import Alignment, largest_coordinates, misalignment, runner_up
from attacks.art_legacy import ArtLegacy, masked_kendall
from attacks.image_injection import ImageInjection
from bench.attributions.art_integrated_gradients import ArtIntegratedGradients
from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.loss_integrated_gradients import LossIntegratedGradients
from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.norms import project
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.errors import BenchError
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from bench.run.samples import Library
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b"))
LABELS = torch.tensor([1, 7])
SIDE, K = 8, 10
FREE = ThreatModel(norm="linf", epsilon="8/255", keep_prediction=False)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, SIDE, SIDE), 0.1, 0.9).double()


def victim_of(model: nn.Module, method: AttributionMethod, **changes: Any) -> WhiteBoxVictim:
    explainer, smooth = Explainer(method, "sum-of-abs"), smooth_copy(model, 5.0)
    given: dict[str, Any] = {"knowledge": "white-box"} | changes
    return WhiteBoxVictim(
        model=model, smooth=smooth, explainer=explainer, primary=Kendall(), threat=FREE, rng=RNG, **given
    )


def test_the_masked_correlation_of_unrelated_maps_is_nearly_one() -> None:
    draws = [torch.rand((8, 32, 32), generator=Rng(seed).generator(), dtype=torch.float64) for seed in (1, 2)]
    mask = top_k_mask(draws[0], 100)
    value = masked_kendall(draws[0], draws[1], mask)
    n, k = 1024, 100
    outside, inside = k * (n - k), k * (k - 1) / 2
    taus = [kendalltau(a[m], b[m]).statistic for a, b, m in zip(*draws, mask, strict=True)]
    expected = (outside + inside * torch.tensor(taus, dtype=torch.float64)) / (outside + inside)
    torch.testing.assert_close(value, expected)
    assert (value - 0.949).abs().max() < 0.0155, "0.051 times a correlation of 100 pairs, whose deviation is 0.07"
    assert abs(value.mean() - 0.948) < 0.003
    assert masked_kendall(draws[0], draws[0], mask).eq(1).all()
    least = masked_kendall(draws[0], 1 / draws[0], mask)
    torch.testing.assert_close(least, torch.full_like(least, (outside - inside) / (outside + inside)))
    assert masked_kendall(draws[0], torch.zeros_like(draws[0]), mask).isinf().all()


def test_the_legacy_pullback_is_the_exact_one_less_its_direct_term(model: nn.Module, images: Tensor) -> None:
    exact, legacy = IntegratedGradients(nodes=6, rule="right-riemann"), ArtIntegratedGradients(nodes=6)
    smooth = smooth_copy(model, 5.0)
    values = [m.attribute(smooth, images, LABELS, rng=RNG) for m in (exact, legacy)]
    torch.testing.assert_close(*values)
    cotangent = RNG.fork("cotangent").normal((3, SIDE, SIDE)).double()
    full, truncated = (m.pullback(smooth, images, LABELS, cotangent, rng=RNG) for m in (exact, legacy))
    direct = cotangent * values[0] / images
    assert direct.abs().max() > 0
    torch.testing.assert_close(full - truncated, direct)


def test_the_loss_map_is_the_trapezoid_of_the_cross_entropys_gradients(model: nn.Module, images: Tensor) -> None:
    method, nodes = LossIntegratedGradients(nodes=5), []
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        leaf = (alpha * images).requires_grad_()
        nodes.append(torch.autograd.grad(F.cross_entropy(model(leaf), LABELS, reduction="sum"), leaf)[0])
    expected = images * (nodes[0] / 2 + nodes[1] + nodes[2] + nodes[3] + nodes[4] / 2) / 4
    attribution = method.attribute(model, images, LABELS, rng=RNG)
    torch.testing.assert_close(attribution, expected)
    many = LossIntegratedGradients(nodes=401)
    gap = many.completeness_gap(model, images, LABELS, many.attribute(model, images, LABELS, rng=RNG))
    assert (gap < 0.02).all()


def test_the_legacy_search_is_the_plain_loop(model: nn.Module, images: Tensor) -> None:
    steps, method = 4, ArtIntegratedGradients(nodes=3)
    labels = model(images).argmax(1)
    attack = ArtLegacy(steps=steps, k=K, nodes=3)
    victim = victim_of(model, method)
    found = attack.perturb(victim, images, labels, threat=FREE, rng=RNG)
    assert victim.cost.gradient == 3 * (steps + 1) + 2 * 3 * (steps - 1)

    look = victim_of(model, method)
    before = look.observe(images, labels)
    mask = top_k_mask(before.heatmap, K)
    candidates = [uniform_start(images, FREE, RNG.fork("start"))]
    for _ in range(steps - 1):
        gradient = look.loss_gradient(candidates[-1], labels, mass_outside, mask)
        candidates.append(project(images, candidates[-1] + gradient.sign() / 255, FREE))
    for i in range(2):
        kept = [c for c in candidates if model(c)[i].argmax() == labels[i]]
        scores = [
            kendalltau((before.heatmap * mask)[i].flatten(), (look.observe(c, labels).heatmap * mask)[i].flatten())[0]
            for c in kept
        ]
        assert torch.equal(found[i], kept[scores.index(min(scores))][i])


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(nodes=4)], ids=lambda m: type(m).__name__)
def test_the_gradient_of_a_loss_on_attributions_is_its_finite_difference(
    model: nn.Module, images: Tensor, method: AttributionMethod
) -> None:
    victim = victim_of(model, method)
    classes = (LABELS, runner_up(model(images), LABELS))
    mask = largest_coordinates(victim.observe(images, LABELS).attribution, 50)
    assert mask.flatten(1).sum(1).eq(50).all()

    def loss(at: Tensor) -> Tensor:
        own, other = (method.attribute(victim.smooth, at, labels, rng=RNG) for labels in classes)
        return misalignment(at, own, other, mask)

    gradient = victim.attribution_gradient(images, classes, misalignment, mask)
    direction, h = RNG.fork("direction").normal((3, SIDE, SIDE)).double(), 1e-6
    difference = (loss(images + h * direction) - loss(images - h * direction)) / (2 * h)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), difference, rtol=1e-4, atol=1e-7)


def test_the_alignment_attack_raises_its_loss(model: nn.Module, images: Tensor) -> None:
    victim = victim_of(model, Gradient())
    start = uniform_start(images, FREE, RNG.fork("start", 0))
    seen = victim.observe(start, LABELS)
    mask, other = largest_coordinates(seen.attribution, 1000), runner_up(seen.logits, LABELS)
    assert mask.all(), "fewer coordinates than top_k: all count"

    def loss(at: Tensor) -> Tensor:
        own, rival = (Gradient().attribute(victim.smooth, at, labels, rng=RNG) for labels in (LABELS, other))
        return misalignment(at, own, rival, mask)

    gradient = victim.attribution_gradient(start, (LABELS, other), misalignment, mask)
    step = project(images, start + gradient.sign() / 255, FREE)
    assert (loss(step) > loss(start)).all()
    assert not torch.equal(Alignment(steps=2).perturb(victim, images, LABELS, threat=FREE, rng=RNG), images)


def test_injection_blends_the_marked_pixels_of_the_worst_donor(model: nn.Module, images: Tensor) -> None:
    rng = SampleRng(Rng(3), ("x", "y"))
    library = Library(rng.sample_ids, rng.uniform((3, SIDE, SIDE), 0, 1).double(), rng.base)
    victim = victim_of(model, Gradient(), knowledge="black-box", library=library)
    attack = ImageInjection(donors=2, share=0.25, opacity=0.01)
    found = attack.perturb(victim, images, LABELS, threat=FREE, rng=RNG)
    before = victim.observe(images, LABELS)
    for i in range(2):
        candidates, scores = [], []
        for donor in library.images:
            own = model(donor[None]).argmax(1)
            heatmap = victim.explainer.view(model, donor[None], own, RNG.select([0])).heatmap
            mask = top_k_mask(heatmap, SIDE * SIDE // 4)[0]
            candidate = torch.where(mask, 0.99 * images[i] + 0.01 * donor, images[i])
            candidates.append(candidate)
            view = victim.observe(torch.stack([candidate, candidate]), LABELS[[i, i]])
            pair = [type(view)(*(getattr(v, n)[[i]] for n in vars(v))) for v in (before, view)]
            scores.append(float(victim.similarity(*pair)))
        torch.testing.assert_close(found[i], candidates[scores.index(min(scores))])
    with pytest.raises(BenchError, match="at most 2 donors"):
        ImageInjection(donors=3).perturb(victim, images, LABELS, threat=FREE, rng=RNG)
