"""Faithfulness and alignment metrics against oracles.

The oracles are captum, loops over pixels, and closed forms of linear models.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from captum.metrics import infidelity
from torch import Tensor, nn

from bench.attributions.deeplift import Deeplift
from bench.attributions.gradient import Gradient
from bench.attributions.input_x_gradient import InputXGradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod, Metric, Pair, View
from bench.run.attack.views import Explainer, JudgeProbe
from metrics._sides import Side
from metrics.completeness_gap import CompletenessGap
from metrics.deletion import Deletion
from metrics.infidelity import Infidelity, _squares
from metrics.input_gradient_alignment import InputGradientAlignment
from metrics.input_gradient_alignment_abs import InputGradientAlignmentAbs
from metrics.insertion import Insertion
from metrics.local_lipschitz import LocalLipschitz
from metrics.max_sensitivity import MaxSensitivity
from metrics.relative_input_stability import RelativeInputStability
from tests.oracles.judged import RNG, SIDE, asked, images_of, judged, linear_network, logit, network, per_draw


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


@pytest.fixture
def linear() -> nn.Module:
    return linear_network()


def sides(pair: Pair) -> tuple[tuple[Side, View], tuple[Side, View]]:
    return ("before", pair.before), ("after", pair.after)


class Louder(nn.Module):
    """A network with other units for its logits."""

    def __init__(self, model: nn.Module, factor: float) -> None:
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.factor * self.model(images)
        return logits


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("perturbation", ["gaussian", "square"])
def test_infidelity_is_captums(model: nn.Module, perturbation: Any, rescale: bool) -> None:
    pair, draws = judged(model, IntegratedGradients(nodes=5), images_of("before")), 6
    metric = Infidelity(perturbation=perturbation, draws=draws, rescale=rescale)
    looks = [metric._perturb(pair.before.images, asked(pair).rng.fork("infidelity", draw)) for draw in range(draws)]

    def perturb(_: Tensor) -> tuple[Tensor, Tensor]:
        return per_draw(lambda d: looks[d].weights, draws), per_draw(lambda d: looks[d].images, draws)

    expected = infidelity(
        model,
        perturb,
        pair.before.images,
        pair.before.attribution.contiguous(),
        target=asked(pair).labels,
        n_perturb_samples=draws,
        normalize=rescale,
    )
    torch.testing.assert_close(metric(pair), expected, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("of", ["before", "after"])
@pytest.mark.parametrize(
    ("method", "perturbation"),
    [(Gradient(), "gaussian"), (InputXGradient(), "square"), (IntegratedGradients(nodes=3), "square")],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
@pytest.mark.parametrize("rescale", [True, False])
def test_a_linear_model_is_explained_without_infidelity(
    linear: nn.Module, method: AttributionMethod, perturbation: Any, rescale: bool, of: Any
) -> None:
    pair = judged(linear, method, images_of("before", 0, 1), images_of("after", 0, 1))
    metric = Infidelity(perturbation=perturbation, rescale=rescale, draws=10, of=of)
    assert metric(pair).max() < 1e-20
    wrong = replace(
        pair,
        before=replace(pair.before, attribution=pair.before.attribution.flip(3)),
        after=replace(pair.after, attribution=pair.after.attribution.flip(3)),
    )
    assert metric(wrong).min() > 1e-3


def test_rescaling_takes_the_unit_of_the_attribution_away(model: nn.Module) -> None:
    pair = judged(model, Gradient(), images_of("before"))
    tripled = replace(pair, before=replace(pair.before, attribution=-3 * pair.before.attribution))
    free, fixed = Infidelity(draws=5), Infidelity(draws=5, rescale=False)
    torch.testing.assert_close(free(tripled), free(pair))
    assert (fixed(tripled) != fixed(pair)).all()
    assert (free(pair) <= fixed(pair)).all()


def test_relative_measures_do_not_hang_on_the_scale_of_the_logits(model: nn.Module) -> None:
    pairs = [judged(Louder(model, factor), Gradient(), images_of("before")) for factor in (1, 30)]
    relative: list[Metric] = [Infidelity(draws=5, relative=True), Infidelity(draws=5, relative=True, rescale=False)]
    relative += [MaxSensitivity(), LocalLipschitz(), RelativeInputStability(), InputGradientAlignment()]
    for metric in relative:
        torch.testing.assert_close(metric(pairs[0]), metric(pairs[1]))
    torch.testing.assert_close(900 * Infidelity(draws=5)(pairs[0]), Infidelity(draws=5)(pairs[1]))
    assert relative[0](pairs[0]).le(1).all(), "the best factor is no worse than none"


def test_squares_lie_inside_and_take_every_size_and_place() -> None:
    streams = SampleRng(Rng(5), tuple(map(str, range(3000))))
    masks = _squares(torch.zeros(3000, 3, 9, 12), streams).squeeze(1)
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert torch.equal(heights, widths)
    assert torch.equal(masks.sum((1, 2)), heights * widths)
    assert heights.unique().tolist() == [1, 2, 3]
    assert masks.any(0).all()


@pytest.mark.parametrize("method", [IntegratedGradients(nodes=4), Deeplift()], ids=lambda m: type(m).__name__)
def test_the_completeness_gap_is_the_methods_own(model: nn.Module, method: AttributionMethod) -> None:
    pair = judged(model, method, images_of("before"), images_of("after"))
    for of, view in sides(pair):
        own = method.completeness_gap(model, view.images, asked(pair).labels, view.attribution)
        torch.testing.assert_close(CompletenessGap(of=of)(pair), own)
    fine = judged(model, IntegratedGradients(nodes=300), images_of("before"))
    assert CompletenessGap()(fine).max() < 1e-2 * logit(fine, fine.before.images).abs().max()


def test_the_completeness_gap_of_linear_models_is_zero_for_contributions_only(linear: nn.Module) -> None:
    for method in (IntegratedGradients(nodes=1), InputXGradient()):
        assert CompletenessGap()(judged(linear, method, images_of("before"))).max() < 1e-12
    assert CompletenessGap()(judged(linear, Gradient(), images_of("before"))).min() > 1e-3


@pytest.mark.parametrize("origin", ["image-mean", "black"])
def test_alignment_agrees_with_cosines_of_torch(model: nn.Module, origin: Any) -> None:
    pair = judged(model, IntegratedGradients(nodes=2), images_of("before"), images_of("after"))
    for of, view in sides(pair):
        gradient = Gradient().attribute(model, view.images, asked(pair).labels, rng=RNG)
        x = view.images if origin == "black" else view.images - view.images.mean((2, 3), keepdim=True)
        signed = torch.cosine_similarity(x.flatten(1), gradient.flatten(1))
        sizes = torch.cosine_similarity(x.abs().mean(1).flatten(1), gradient.abs().mean(1).flatten(1))
        torch.testing.assert_close(InputGradientAlignment(of=of, origin=origin)(pair), signed)
        torch.testing.assert_close(InputGradientAlignmentAbs(of=of, origin=origin)(pair), sizes)


def test_weights_that_are_the_image_are_aligned_with_it(linear: nn.Module) -> None:
    image = images_of("before")[:1]
    weight = linear.get_parameter("1.weight").data
    weight[0] = (image - image.mean((2, 3), keepdim=True)).flatten()
    weight[1] = -weight[0]
    labels, streams = torch.tensor([0, 1]), RNG.select([0, 1])
    view = Explainer(Gradient(), "sum-of-abs").view(linear, image.expand(2, -1, -1, -1), labels, streams)
    pair = Pair(view, view, labels, None, JudgeProbe(linear, Gradient(), labels, streams, streams))
    assert InputGradientAlignment()(pair).tolist() == pytest.approx([1, -1])
    assert InputGradientAlignmentAbs()(pair).tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("steps", [1, 5, 20, 100])
@pytest.mark.parametrize("fill", ["image-mean", "black"])
@pytest.mark.parametrize("kind", [Insertion, Deletion], ids=lambda k: k.__name__)
def test_ablation_curves_agree_with_a_loop_over_pixels(model: nn.Module, kind: Any, fill: Any, steps: int) -> None:
    pair = judged(model, Gradient(), images_of("before"))
    images, areas, pixels = pair.before.images, [], SIDE * SIDE
    for i, image in enumerate(images):
        blank = torch.zeros_like(image) if fill == "black" else image.mean((1, 2), keepdim=True).expand_as(image)
        start, goal = (blank, image) if kind is Insertion else (image, blank)
        values = pair.before.heatmap[i].flatten().tolist()
        order = [pixel for _, pixel in sorted((-value, pixel) for pixel, value in enumerate(values))]
        shares, heights = [], []
        for step in range(steps + 1):
            canvas, count = start.clone(), math.floor(pixels * step / steps + 0.5)
            for pixel in order[:count]:
                row, column = divmod(pixel, SIDE)
                canvas[:, row, column] = goal[:, row, column]
            heights.append(model(canvas.unsqueeze(0)).softmax(1)[0, asked(pair).labels[i]])
            shares.append(count / pixels)
        areas.append(torch.trapezoid(torch.stack(heights), torch.tensor(shares, dtype=torch.float64)).item())
    assert kind(fill=fill, steps=steps)(pair).tolist() == pytest.approx(areas, rel=1e-9)


def test_deleting_in_one_order_is_inserting_in_the_other(model: nn.Module) -> None:
    pair = judged(model, Gradient(), images_of("before"))
    reversed_ = replace(pair, before=replace(pair.before, heatmap=-pair.before.heatmap))
    torch.testing.assert_close(Deletion(steps=16)(pair), Insertion(steps=16)(reversed_))


def test_the_true_contributions_of_a_linear_model_make_the_steepest_curves(linear: nn.Module) -> None:
    linear.get_parameter("1.weight").data[1:] = 0
    linear.get_parameter("1.bias").data.zero_()
    labels, before = torch.zeros(3, dtype=torch.int64), images_of("before", 0, 1)
    view = Explainer(InputXGradient(), "sum").view(linear, before, labels, RNG)
    pair = Pair(view, view, labels, None, JudgeProbe(linear, InputXGradient(), labels, RNG, RNG))
    faithful = Deletion(fill="black")(pair), Insertion(fill="black")(pair)
    for draw in range(5):
        noise = RNG.fork("order", draw).uniform((SIDE, SIDE), 0, 1)
        random_order = replace(pair, before=replace(view, heatmap=noise))
        assert (Deletion(fill="black")(random_order) > faithful[0]).all()
        assert (Insertion(fill="black")(random_order) < faithful[1]).all()


def test_adversarial_insertion_shows_the_clean_image_in_the_attacked_order(model: nn.Module) -> None:
    pair = judged(model, Gradient(), images_of("before"), images_of("after"))
    mixed = replace(pair, before=replace(pair.before, heatmap=pair.after.heatmap))
    for kind in (Insertion, Deletion):
        assert torch.equal(kind(of="after", image="before")(pair), kind()(mixed))
        assert not torch.equal(kind(of="after")(pair), kind()(mixed))
