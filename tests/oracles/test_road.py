"""ROAD against a dense system, harmonic images and a linear model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.input_x_gradient import InputXGradient
from bench.core.compute.rng import Rng
from bench.core.contracts import Pair
from bench.run.attack.views import Explainer, JudgeProbe
from metrics.road import NEIGHBOURS, Road, imputed
from tests.oracles.judged import RNG, SIDE, asked, images_of, judged, linear_network, network


def densely(image: Tensor, gone: Tensor) -> Tensor:
    """Solve for every pixel of a (C, H, W) image."""
    height, width = gone.shape
    system, right = torch.eye(height * width).double(), image.flatten(1).T.clone()
    for y in range(height):
        for x in range(width):
            if not gone[y, x]:
                continue
            near = {
                (y + down) * width + x + across: weight
                for (down, across), weight in NEIGHBOURS.items()
                if 0 <= y + down < height and 0 <= x + across < width
            }
            for place, weight in near.items():
                system[y * width + x, place] = -weight / sum(near.values())
            right[y * width + x] = 0
    return torch.linalg.solve(system, right).T.view(image.shape)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_imputation_is_the_solution_of_the_dense_system(share: float) -> None:
    images = images_of("before")
    gone = torch.rand(3, SIDE, SIDE, generator=Rng(3).generator()) < share
    gone[:, 0, 0] = False
    expected = torch.stack([densely(image, mask) for image, mask in zip(images, gone, strict=True)])
    torch.testing.assert_close(imputed(images, gone), expected)


def test_the_inside_of_a_plane_is_found_again() -> None:
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(7.0), indexing="ij")
    plane = (0.1 + 0.05 * y + 0.03 * x).expand(1, 3, 9, 7).double()
    gone = torch.zeros(1, 9, 7, dtype=torch.bool)
    gone[:, 1:-1, 1:-1] = True
    torch.testing.assert_close(imputed(plane, gone), plane)


@pytest.mark.parametrize("order", ["most-first", "least-first"])
def test_the_mean_agrees_with_a_loop(order: Any) -> None:
    model = network()
    pair = judged(model, Gradient(), images_of("before"))
    noise = 0.01 * asked(pair).rng.fork("road").normal((3, SIDE, SIDE)).double()
    means = []
    for i, image in enumerate(pair.before.images):
        falling = pair.before.heatmap[i].flatten().argsort(descending=order == "most-first")
        heights = []
        for step in range(1, 4):
            gone = torch.zeros(SIDE**2, dtype=torch.bool).index_fill(0, falling[: SIDE**2 * step // 4], True)
            mask = gone.view(SIDE, SIDE)
            changed = torch.where(mask, (densely(image, mask) + noise[i]).clamp(0, 1), image)
            heights.append(model(changed.unsqueeze(0)).softmax(1)[0, asked(pair).labels[i]])
        means.append(float(torch.stack(heights).mean()))
    assert Road(order=order, steps=4)(pair).tolist() == pytest.approx(means, rel=1e-6)


def test_removing_most_first_is_removing_least_first_in_the_reversed_order() -> None:
    pair = judged(network(), Gradient(), images_of("before"))
    reversed_ = replace(pair, before=replace(pair.before, heatmap=-pair.before.heatmap))
    torch.testing.assert_close(Road(steps=4)(pair), Road(order="least-first", steps=4)(reversed_))


def test_the_spot_that_decides_a_linear_model_is_told_from_random_orders() -> None:
    linear: nn.Module = linear_network()
    weight = torch.zeros(3, SIDE, SIDE).double()
    weight[:, 2:5, 2:5] = 1
    linear.get_parameter("1.weight").data.zero_()[0] = weight.flatten()
    linear.get_parameter("1.bias").data.zero_()
    images = 0.2 * images_of("before", 0, 1)
    images[:, :, 2:5, 2:5] = 1
    labels = torch.zeros(3, dtype=torch.int64)
    view = Explainer(InputXGradient(), "sum").view(linear, images, labels, RNG)
    pair = Pair(view, view, labels, None, JudgeProbe(linear, InputXGradient(), labels, RNG, RNG))
    most, least = Road()(pair), Road(order="least-first")(pair)
    for draw in range(3):
        mixed = replace(pair, before=replace(view, heatmap=RNG.fork("order", draw).uniform((SIDE, SIDE), 0, 1)))
        assert (Road()(mixed) > most).all()
        assert (Road(order="least-first")(mixed) < least).all()
