"""Metrics that ask the network: against captum, loops over the papers' formulas, and closed forms of linear models."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

from bench.attributions.deeplift import Deeplift
from bench.attributions.gradient import Gradient
from bench.attributions.input_x_gradient import InputXGradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.contracts import AttributionMethod, Metric, Pair
from bench.core.rng import Rng, SampleRng
from bench.victim import Explainer, JudgeProbe
from metrics._neighbours import drawn
from metrics.completeness_gap import CompletenessGap
from metrics.deletion import Deletion
from metrics.infidelity import Infidelity, _squares
from metrics.input_gradient_alignment import InputGradientAlignment
from metrics.input_gradient_alignment_abs import InputGradientAlignmentAbs
from metrics.insertion import Insertion
from metrics.local_lipschitz import LocalLipschitz
from metrics.max_sensitivity import MaxSensitivity
from metrics.relative_input_stability import RelativeInputStability
from metrics.relative_output_stability import RelativeOutputStability
from model_zoo.build import classifier, freeze
from tests.tiny import tiny_network

SIDE = 8
RNG = SampleRng(Rng(0), ("a", "b", "c"))
STABILITY: tuple[type[Metric], ...] = (MaxSensitivity, LocalLipschitz, RelativeInputStability, RelativeOutputStability)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture
def linear() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    for seed, parameter in enumerate(network.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=Rng(seed).generator())
    return freeze(network).double()


def images_of(purpose: str, low: float = 0.25, high: float = 0.75) -> Tensor:
    return RNG.fork(purpose).uniform((3, SIDE, SIDE), low, high).double()


def judged(model: nn.Module, method: AttributionMethod, before: Tensor, after: Tensor | None = None) -> Pair:
    """A pair as the judge makes it; the explained class is the one predicted before."""
    labels = model(before).argmax(1)
    explainer = Explainer(method, "sum-of-abs")
    sides = [explainer.view(model, images, labels, RNG) for images in (before, before if after is None else after)]
    return Pair(sides[0], sides[1], labels, None, JudgeProbe(model, method, labels, RNG, RNG.fork("metrics")))


def asked(pair: Pair) -> JudgeProbe:
    assert isinstance(pair.probe, JudgeProbe)
    return pair.probe


def logit(pair: Pair, images: Tensor) -> Tensor:
    probe = asked(pair)
    return probe.logits(images).gather(1, probe.labels.unsqueeze(1)).squeeze(1)


class Undecided(nn.Module):
    """A network whose logits are shifted so that none of its classes wins everywhere near some images."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model, self.shift = model, model(images).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images) - self.shift
        return logits


def per_draw(of_each: Callable[[int], Tensor], draws: int) -> Tensor:
    """(N * draws, ...), the draws of one sample side by side, as captum repeats its inputs."""
    return torch.stack([of_each(draw) for draw in range(draws)], 1).flatten(0, 1)


@pytest.mark.parametrize(
    "method", [Gradient(), IntegratedGradients(nodes=3), Smoothgrad(nodes=2)], ids=lambda m: type(m).__name__
)
def test_a_probe_answers_as_the_pair_was_judged(model: nn.Module, method: AttributionMethod) -> None:
    pair = judged(model, method, images_of("before"), images_of("after"))
    for view in (pair.before, pair.after):
        assert torch.equal(asked(pair).attribute(view.images), view.attribution)
        assert torch.equal(asked(pair).logits(view.images), view.logits)
        plain = Gradient().attribute(model, view.images, asked(pair).labels, rng=RNG)
        assert torch.equal(asked(pair).gradient(view.images), plain)


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(nodes=3)], ids=lambda m: type(m).__name__)
def test_max_sensitivity_is_captums(model: nn.Module, method: AttributionMethod) -> None:
    pair, draws = judged(model, method, images_of("before")), 4
    near = drawn(asked(pair), pair.before.images, 0.05, draws)

    def explain(images: tuple[Tensor, ...] | Tensor) -> tuple[Tensor]:
        (batch,) = images if isinstance(images, tuple) else (images,)
        labels = asked(pair).labels.repeat_interleave(len(batch) // 3)
        streams = SampleRng(Rng(0), tuple(str(i) for i in range(len(batch))))
        with torch.enable_grad():
            return (method.attribute(model, batch, labels, rng=streams),)

    expected = sensitivity_max(
        explain, pair.before.images, lambda _: per_draw(lambda draw: near[draw].images, draws), n_perturb_samples=draws
    )
    ours = MaxSensitivity(draws=draws, radius=Fraction(1, 20))(pair)
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=0)
    assert ours.min() > 0


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


def test_squares_lie_inside_and_take_every_size_and_place() -> None:
    streams = SampleRng(Rng(5), tuple(map(str, range(3000))))
    masks = _squares(torch.zeros(3000, 3, 9, 12), streams).squeeze(1)
    heights, widths = masks.any(2).sum(1), masks.any(1).sum(1)
    assert torch.equal(heights, widths)
    assert torch.equal(masks.sum((1, 2)), heights * widths)
    assert heights.unique().tolist() == [1, 2, 3]
    assert masks.any(0).all()


@pytest.mark.parametrize("kind", STABILITY, ids=lambda k: k.__name__)
def test_the_gradient_of_a_linear_model_is_perfectly_stable(linear: nn.Module, kind: Any) -> None:
    assert kind()(judged(linear, Gradient(), images_of("before"))).tolist() == [0, 0, 0]


def test_stability_of_image_times_weight_has_closed_forms(linear: nn.Module) -> None:
    linear[1].weight.data = linear[1].weight.sign() * 0.3
    before = images_of("before")
    pair = judged(linear, InputXGradient(), before)
    near = [point.images for point in drawn(asked(pair), before, 0.02, 10)]
    kept = torch.stack([linear(x).argmax(1) == pair.labels for x in near])
    assert kept.any(0).all()
    length = before.flatten(1).norm(dim=1)
    moved = torch.stack([(x - before).flatten(1).norm(dim=1) for x in near]).amax(0)
    torch.testing.assert_close(MaxSensitivity()(pair), moved / length)
    torch.testing.assert_close(LocalLipschitz()(pair), 1 / length)
    torch.testing.assert_close(RelativeInputStability()(pair), torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("radius", ["1/50", "1/2"])
def test_stability_agrees_with_loops_over_the_papers_formulas(model: nn.Module, radius: str) -> None:
    before, draws = images_of("before", -0.2, 0.8).clamp(0), 12
    pair = judged(Undecided(model, before), IntegratedGradients(nodes=2), before)
    found: dict[str, list[float]] = {kind.__name__: [] for kind in STABILITY}
    changed = 0
    for i in range(3):
        x, a, z = before[i], pair.before.attribution[i], pair.before.logits[i]
        best = dict.fromkeys(found, -math.inf)
        for point in drawn(asked(pair), before, float(Fraction(radius)), draws):
            there, explained, logits = point.images[i], point.attribution[i], point.logits[i]
            step, move = (there - x).norm().item(), (explained - a).norm().item()
            values = {"MaxSensitivity": move / a.norm().item(), "LocalLipschitz": move / step / a.norm().item()}
            if logits.argmax() == z.argmax():
                largest = a.abs().max()
                relative = ((a - explained) / largest / torch.where(a == 0, 1e-6, a / largest)).norm().item()
                moved = ((x - there) / torch.where(x == 0, 1e-6, x)).norm().item()
                values["RelativeInputStability"] = relative / max(moved, 1e-6)
                values["RelativeOutputStability"] = relative / max((z - logits).norm().item(), 1e-6)
            else:
                changed += 1
            best |= {name: max(best[name], value) for name, value in values.items()}
        for name, value in best.items():
            found[name].append(value if value > -math.inf else math.nan)
    assert 0 < changed < 3 * draws, "some neighbours, not all, must have another class"
    for kind in STABILITY:
        expected = pytest.approx(found[kind.__name__], rel=1e-9, nan_ok=True)
        assert kind(radius=radius, draws=draws)(pair).tolist() == expected


def test_relative_stability_is_undefined_where_every_neighbour_has_another_class(model: nn.Module) -> None:
    pair = judged(model, Gradient(), images_of("before"))
    other = -pair.before.logits
    flipped = torch.where(torch.tensor([[True], [False], [True]]), other, pair.before.logits)
    elsewhere = replace(pair, before=replace(pair.before, logits=flipped))
    for kind in STABILITY:
        undefined = kind in (RelativeInputStability, RelativeOutputStability)
        assert kind()(elsewhere).isnan().tolist() == [undefined, False, undefined]


def test_the_attacked_image_can_be_the_neighbour(model: nn.Module) -> None:
    before = images_of("before")
    after = (before + 0.01 * images_of("step", -1, 1).sign()).clamp(0, 1)
    pair = judged(model, Gradient(), before, after)
    change = (pair.after.attribution - pair.before.attribution).flatten(1).norm(dim=1)
    change = change / pair.before.attribution.flatten(1).norm(dim=1)
    torch.testing.assert_close(MaxSensitivity(neighbours="attacked")(pair), change)
    distance = (after - before).flatten(1).norm(dim=1)
    torch.testing.assert_close(LocalLipschitz(neighbours="attacked")(pair), change / distance)
    still = judged(model, Gradient(), before)
    for kind in (MaxSensitivity, RelativeInputStability, RelativeOutputStability):
        assert kind(neighbours="attacked")(pair).min() > 0
        assert kind(neighbours="attacked")(still).tolist() == [0, 0, 0]
    assert LocalLipschitz(neighbours="attacked")(still).isnan().all()


def test_more_draws_find_no_less_and_all_metrics_share_the_looks(model: nn.Module) -> None:
    looks: list[int] = []

    class Counting(JudgeProbe):
        def attribute(self, images: Tensor) -> Tensor:
            looks.append(len(images))
            return super().attribute(images)

    pair = judged(model, Gradient(), images_of("before"))
    pair = replace(pair, probe=Counting(**vars(asked(pair))))
    for kind in STABILITY:
        kind(draws=4)(pair)
    assert looks == [3] * 4
    for kind in STABILITY:
        assert (kind(draws=8)(pair) >= kind(draws=4)(pair)).all()


def test_a_broken_attribution_among_the_neighbours_is_no_value(model: nn.Module) -> None:
    class Broken(JudgeProbe):
        def attribute(self, images: Tensor) -> Tensor:
            return super().attribute(images).index_fill(0, torch.tensor([1]), torch.nan)

    pair = judged(model, Gradient(), images_of("before"))
    for kind in STABILITY:
        value = kind(draws=3)(replace(pair, probe=Broken(**vars(asked(pair)))))
        assert value.isnan().tolist() == [False, True, False]


@pytest.mark.parametrize("method", [IntegratedGradients(nodes=4), Deeplift()], ids=lambda m: type(m).__name__)
def test_the_completeness_gap_is_the_methods_own(model: nn.Module, method: AttributionMethod) -> None:
    pair = judged(model, method, images_of("before"), images_of("after"))
    for of, view in (("before", pair.before), ("after", pair.after)):
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
    for of, view in (("before", pair.before), ("after", pair.after)):
        gradient = Gradient().attribute(model, view.images, asked(pair).labels, rng=RNG)
        x = view.images if origin == "black" else view.images - view.images.mean((2, 3), keepdim=True)
        signed = torch.cosine_similarity(x.flatten(1), gradient.flatten(1))
        sizes = torch.cosine_similarity(x.abs().mean(1).flatten(1), gradient.abs().mean(1).flatten(1))
        torch.testing.assert_close(InputGradientAlignment(of=of, origin=origin)(pair), signed)
        torch.testing.assert_close(InputGradientAlignmentAbs(of=of, origin=origin)(pair), sizes)


def test_weights_that_are_the_image_are_aligned_with_it(linear: nn.Module) -> None:
    image = images_of("before")[:1]
    linear[1].weight.data[0] = (image - image.mean((2, 3), keepdim=True)).flatten()
    linear[1].weight.data[1] = -linear[1].weight.data[0]
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
        order = sorted(range(pixels), key=lambda p, v=values: (-v[p], p))
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
    linear[1].weight.data[1:] = 0
    linear[1].bias.data.zero_()
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
