"""Outlines in place of images that pages may not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.filters import sobel
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import View
from bench.run.record.showcase import INK, PAPER, outlines, tiles

SIDE = 224


def view(images: Tensor, heatmap: Tensor) -> View:
    return View(images, images.new_zeros(len(images), 2), images, heatmap)


def drawn(seed: int, shape: tuple[int, ...]) -> Tensor:
    return torch.rand(shape, generator=Rng(seed).generator())


def test_edges_are_those_of_scikit_image() -> None:
    images = drawn(0, (2, 3, 40, 30))
    for outline, image in zip(outlines(images), images, strict=True):
        edges = sobel(image.double().mean(0).numpy())[2:-2, 2:-2]
        strength = ((PAPER / 255 - outline.double()) * 255 / INK)[0].numpy()[2:-2, 2:-2] ** 2
        assert np.corrcoef(strength.ravel(), edges.ravel())[0, 1] > 0.9999
        assert torch.equal(outline[0], outline[1])


def test_an_image_without_edges_has_none() -> None:
    flat = torch.full((1, 3, 8, 8), 0.7)
    assert torch.allclose(outlines(flat), torch.tensor(PAPER / 255))


def test_a_tile_holds_the_outline_and_the_perturbation_but_no_photograph() -> None:
    images = drawn(1, (2, 3, SIDE, SIDE)) * 0.9 + 0.05
    change = (
        (drawn(2, (2, 3, SIDE // 2, SIDE // 2)) - 0.5).sign().repeat_interleave(2, 2).repeat_interleave(2, 3) * 4 / 255
    )
    maps = [drawn(seed, (2, SIDE, SIDE)) for seed in (3, 4)]
    made = tiles(view(images, maps[0]), view(images + change, maps[1]), 400, outlined=True)
    half = SIDE // 2
    assert made.shape == (2, half, 5 * half, 3)
    before, after, codes = made[:, :, :half], made[:, :, half : 2 * half], made[:, :, 4 * half :, 0]
    assert np.array_equal(before[..., 0], before[..., 2])
    moved = (after.astype(int) - before.astype(int)) / 255
    small = torch.nn.functional.avg_pool2d(change, 2).permute(0, 2, 3, 1).numpy()
    assert np.abs(moved - small).max() <= 1.01 / 255
    assert ((codes == 85) | (codes == 170)).sum(axis=(1, 2)).tolist() == [100, 100]


def test_an_image_that_may_be_shown_is_shown_at_full_size() -> None:
    images, maps = drawn(1, (1, 3, SIDE, SIDE)), drawn(3, (1, SIDE, SIDE))
    made = tiles(view(images, maps), view(images, maps), 400)
    assert made.shape == (1, SIDE, 5 * SIDE, 3)
    assert np.array_equal(made[0, :, :SIDE], (images[0] * 255).round().permute(1, 2, 0).numpy().astype(np.uint8))


@pytest.mark.parametrize("side", [32, 112])
def test_small_outlines_are_not_reduced(side: int) -> None:
    images, maps = drawn(1, (1, 3, side, side)), drawn(3, (1, side, side))
    assert tiles(view(images, maps), view(images, maps), 50, outlined=True).shape == (1, side, 5 * side, 3)
