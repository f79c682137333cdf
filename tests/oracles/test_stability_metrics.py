"""Stability metrics against oracles.

The oracles are captum, loops over the papers' formulas, and closed forms of linear models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from captum.metrics import sensitivity_max
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.input_x_gradient import InputXGradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod, Metric
from bench.run.attack.views import JudgeProbe
from metrics._neighbours import drawn
from metrics.local_lipschitz import LocalLipschitz
from metrics.max_sensitivity import MaxSensitivity
from metrics.relative_input_stability import RelativeInputStability
from metrics.relative_output_stability import RelativeOutputStability
from tests.oracles.judged import RNG, asked, images_of, judged, linear_network, network, per_draw

STABILITY: tuple[Callable[..., Metric], ...] = (
    MaxSensitivity,
    LocalLipschitz,
    RelativeInputStability,
    RelativeOutputStability,
)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


@pytest.fixture
def linear() -> nn.Module:
    return linear_network()


class Undecided(nn.Module):
    """A network whose classes all lose somewhere near some images."""

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model, self.shift = model, model(images).mean(0)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(images) - self.shift
        return logits


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


@pytest.mark.parametrize("kind", STABILITY, ids=lambda k: k.__name__)
def test_the_gradient_of_a_linear_model_is_perfectly_stable(linear: nn.Module, kind: Any) -> None:
    assert kind()(judged(linear, Gradient(), images_of("before"))).tolist() == [0, 0, 0]


def test_stability_of_image_times_weight_has_closed_forms(linear: nn.Module) -> None:
    weight = linear.get_parameter("1.weight")
    weight.data = weight.sign() * 0.3
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
