"""Step rules, losses and targets of searches against their formulas."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from attacks import _losses, _search
from attacks._losses import mass_outside
from attacks.ifia_target import emptiest_corner
from attacks.target_map import closeness, frame
from bench.core.compute.heatmap import mass_center, normalize, top_k_mask
from bench.core.compute.rng import Rng
from bench.core.contracts import Pair, View
from metrics.pearson import Pearson


def test_momentum_without_memory_and_with_equal_sizes_is_signed_steps() -> None:
    draw = Rng(3).generator()
    current, first, second = (torch.randn(2, 3, 4, 4, generator=draw) for _ in range(3))
    plain, forgetful = _search.signed_steps(0.1), _search.momentum_steps([0.1, 0.1], 0.0)
    for number, gradient in enumerate((first, second)):
        assert torch.equal(forgetful(number, current, gradient), plain(number, current, gradient))


def test_momentum_remembers_directions_not_sizes() -> None:
    draw = Rng(3).generator()
    current, first, second = (torch.randn(2, 3, 4, 4, generator=draw) for _ in range(3))
    step = _search.momentum_steps([0.3, 0.1], 0.5)
    moved = step(0, current, 1e6 * first)
    torch.testing.assert_close(moved, current + 0.3 * first.sign())
    size = [g.abs().mean((1, 2, 3), keepdim=True) for g in (first, second)]
    expected = current + 0.1 * (0.5 * first / size[0] + second / size[1]).sign()
    torch.testing.assert_close(step(1, current, 1e-6 * second), expected)


def test_adam_is_torchs() -> None:
    draw = Rng(4).generator()
    current = torch.randn(1, 3, 4, 4, generator=draw)
    leaf = current.clone().requires_grad_()
    torchs, step = torch.optim.Adam([leaf], lr=0.05, maximize=True), _search.adam_steps(0.05)
    for number in range(4):
        gradient = torch.randn(1, 3, 4, 4, generator=draw)
        leaf.grad = gradient / gradient.abs().mean()
        torchs.step()
        current = step(number, current, gradient)
    torch.testing.assert_close(current, leaf.detach())


def test_sizes_fall_from_first_to_last() -> None:
    assert _search.falling_sizes(4, 1, 4) == [4, 3, 2, 1]
    assert _search.falling_sizes(4, 1, 1) == [4]


def maps(seed: int) -> Tensor:
    return torch.rand((4, 10, 14), generator=Rng(seed).generator()) ** 2


def test_losses_on_maps_are_their_formulas() -> None:
    first, second = maps(0), maps(1)
    cosine = F.cosine_similarity(first.flatten(1), second.flatten(1))
    torch.testing.assert_close(_losses.cosine_distance(first, second), 1 - cosine)
    sides = [View(m, m, m, m) for m in (first, second)]
    pearson = Pearson()(Pair(sides[0], sides[1], torch.zeros(4))).float()
    torch.testing.assert_close(_losses.correlation_distance(first, second), 1 - pearson)
    torch.testing.assert_close(_losses.center_of(first), mass_center(first))
    distance = (mass_center(first) - mass_center(second)).square().sum(1)
    torch.testing.assert_close(_losses.center_distance(first, mass_center(second)), distance)
    mask = top_k_mask(second, 9)
    assert torch.equal(_losses.mass_inside(first, mask), -mass_outside(first, mask))


@pytest.mark.parametrize(
    "loss", [_losses.cosine_distance, _losses.correlation_distance, _losses.mass_inside, closeness, mass_outside]
)
def test_losses_and_their_gradients_are_finite_on_maps_of_zeros(loss: Any) -> None:
    for heatmap, reference in (
        (torch.zeros(1, 5, 5), torch.ones(1, 5, 5)),
        (torch.ones(1, 5, 5), torch.zeros(1, 5, 5)),
    ):
        leaf = heatmap.clone().requires_grad_()
        value = loss(leaf, reference)
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
        assert torch.isfinite(value).all()
        assert torch.isfinite(gradient).all()


def test_the_target_region_is_the_emptiest_corner() -> None:
    heatmap = torch.ones(2, 6, 8)
    heatmap[0, 4, 1] = heatmap[1, 0, 7] = 0.0
    region = emptiest_corner(heatmap)
    expected = torch.zeros(2, 6, 8, dtype=torch.bool)
    expected[0, 3:, :4] = expected[1, :3, 4:] = True
    assert torch.equal(region, expected)


def test_the_target_map_is_a_frame_of_mean_one() -> None:
    target = frame(torch.rand(2, 32, 32))
    assert (target[:, 5:27, 5:27] == 0).all()
    assert (target[:, 4] == target[0, 0, 0]).all()
    assert (target[:, :, 27] == target[0, 0, 0]).all()
    torch.testing.assert_close(target, normalize(target))
    torch.testing.assert_close(target.mean((1, 2)), torch.ones(2))
