"""From attributions to heatmaps, and what is read off them."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from bench.core.compute import heatmap
from bench.core.errors import UsageError
from bench.core.schemas.protocol import HeatmapRule


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_reduce_follows_each_rule() -> None:
    attribution = torch.tensor([[[[1.0, -2.0]], [[-3.0, -1.0]], [[0.5, 0.0]]]])
    assert heatmap.reduce(attribution, "sum-of-abs").tolist() == [[[4.5, 3.0]]]
    assert heatmap.reduce(attribution, "abs-of-sum").tolist() == [[[1.5, 3.0]]]
    assert heatmap.reduce(attribution, "sum").tolist() == [[[-1.5, -3.0]]]


@pytest.mark.parametrize("rule", get_args(HeatmapRule))
def test_reduce_of_one_channel_is_that_channel_up_to_sign(rule: HeatmapRule) -> None:
    attribution = draw(2, 1, 5, 5) - 0.5
    expected = attribution[:, 0] if rule == "sum" else attribution[:, 0].abs()
    assert torch.equal(heatmap.reduce(attribution, rule), expected)


def test_normalize_gives_mean_one_and_keeps_the_shape_of_the_map() -> None:
    maps = draw(4, 6, 7) * torch.tensor([1e-6, 1.0, 50.0, 1e6]).view(4, 1, 1)
    normal = heatmap.normalize(maps)
    torch.testing.assert_close(normal.mean((1, 2)), torch.ones(4))
    torch.testing.assert_close(normal, maps / maps.double().mean((1, 2), keepdim=True).float())


def test_normalize_leaves_a_zero_map_as_it_is_and_its_neighbours_alone() -> None:
    maps = torch.stack([torch.zeros(3, 3), draw(3, 3)])
    normal = heatmap.normalize(maps)
    assert torch.equal(normal[0], maps[0])
    assert torch.equal(normal[1:], heatmap.normalize(maps[1:]))


def test_normalize_does_not_see_the_scale_to_first_order() -> None:
    maps = draw(1, 4, 4, dtype=torch.float64).requires_grad_()
    weights = draw(1, 4, 4, seed=1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((heatmap.normalize(maps) * weights).sum(), maps)
    assert gradient.abs().max() > 0.01
    assert (gradient * maps).sum().abs() < 1e-12


@pytest.mark.parametrize("k", [1, 2, 7, 20])
@pytest.mark.parametrize("levels", [1, 2, 4, 1000])
def test_top_k_mask_agrees_with_sorting_by_value_then_index(k: int, levels: int) -> None:
    maps = (draw(25, 4, 5, seed=levels) * levels).floor() - levels / 2
    mask = heatmap.top_k_mask(maps, k)
    for values, chosen in zip(maps.flatten(1).tolist(), mask.flatten(1).tolist(), strict=True):
        expected = sorted(range(20), key=lambda pixel: (-values[pixel], pixel))[:k]
        assert [pixel for pixel in range(20) if chosen[pixel]] == sorted(expected)


def test_top_k_mask_of_a_constant_map_takes_the_first_pixels() -> None:
    # Long enough that an unstable sort would show.
    mask = heatmap.top_k_mask(torch.zeros(2, 64, 64), 100)
    assert torch.equal(mask.flatten(1), (torch.arange(4096) < 100).expand(2, -1))


@pytest.mark.parametrize("k", [-1, 0, 10])
def test_top_k_mask_refuses_a_k_that_no_map_has(k: int) -> None:
    with pytest.raises(UsageError, match=f"between 1 and 9 pixels, got {k}"):
        heatmap.top_k_mask(torch.zeros(1, 3, 3), k)


def test_mass_center_agrees_with_brute_force() -> None:
    maps = draw(3, 4, 7, dtype=torch.float64)
    rows, columns = torch.meshgrid(torch.arange(4), torch.arange(7), indexing="ij")
    expected = [[((m * axis).sum() / m.sum()).item() for axis in (rows, columns)] for m in maps]
    torch.testing.assert_close(heatmap.mass_center(maps), torch.tensor(expected, dtype=torch.float64))


def test_mass_center_of_one_pixel_is_its_place_and_moves_with_it() -> None:
    single = torch.zeros(1, 5, 9)
    single[0, 3, 7] = 0.2
    assert heatmap.mass_center(single).tolist() == [[3, 7]]
    blob = torch.zeros(1, 12, 12, dtype=torch.float64)
    blob[0, 2:5, 3:6] = draw(3, 3, dtype=torch.float64)
    moved = heatmap.mass_center(blob.roll((4, 5), (1, 2))) - heatmap.mass_center(blob)
    torch.testing.assert_close(moved, torch.tensor([[4.0, 5.0]], dtype=torch.float64))


def test_mass_center_is_undefined_for_maps_that_sum_to_zero_alone() -> None:
    maps = torch.stack([torch.zeros(2, 2), torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.ones(2, 2)])
    assert heatmap.mass_center(maps).isnan().tolist() == [[True, True], [True, True], [False, False]]


def test_mass_center_has_the_gradient_of_its_formula() -> None:
    assert torch.autograd.gradcheck(heatmap.mass_center, draw(2, 3, 4, dtype=torch.float64).requires_grad_())


@pytest.mark.parametrize("size", [5, 28, 32, 224])
def test_a_map_is_treated_the_same_in_any_batch(size: int) -> None:
    attribution = draw(7, 3, size, size) - 0.5
    maps = heatmap.reduce(attribution, "sum-of-abs")
    cases = (
        (lambda a: heatmap.reduce(a, "sum-of-abs"), attribution),
        (lambda a: heatmap.reduce(a, "sum"), attribution),
        (heatmap.normalize, maps),
        (heatmap.mass_center, maps),
        (lambda m: heatmap.top_k_mask(m, 20), maps),
    )
    for function, batch in cases:
        assert torch.equal(function(batch), torch.cat([function(batch[i : i + 1]) for i in range(7)]))
        assert torch.equal(function(batch)[2:5], function(batch[2:5]))
