"""LayerCAM, RISE and IDGI against captum, brute force and closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerActivation, LayerAttribution, LayerGradientXActivation
from torch import Tensor, nn

from bench.attributions.grad_cam import GradCam
from bench.attributions.gradient import Gradient
from bench.attributions.idgi import Idgi
from bench.attributions.layer_cam import LayerCam
from bench.attributions.rise import TOGETHER, Rise
from bench.core.compute.chunks import at_most
from bench.core.compute.rng import Rng, SampleRng
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b"))
LABELS = torch.tensor([1, 7])
SIDE = 8


@pytest.fixture(scope="module")
def model() -> Any:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def linear() -> Any:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 10))
    for seed, parameter in enumerate(network.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=Rng(seed).generator())
    return freeze(network).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, SIDE, SIDE), 0, 1).double()


def test_layer_cam_is_captums_gradient_times_activation_where_positive(model: Any, images: Tensor) -> None:
    layer = model[1].act
    leaf = images.clone().requires_grad_()
    product = LayerGradientXActivation(model, layer).attribute(leaf, target=LABELS)
    activation = LayerActivation(model, layer).attribute(leaf)
    assert activation.ge(0).all(), "so that the product is positive where the gradient is"
    coarse = product.relu().sum(1, keepdim=True)
    expected = LayerAttribution.interpolate(coarse, (SIDE, SIDE), "bilinear").detach()
    found = LayerCam().attribute(model, images, LABELS, rng=RNG)
    torch.testing.assert_close(found.sum(1, keepdim=True), expected)
    assert not torch.allclose(found, GradCam().attribute(model, images, LABELS, rng=RNG))


def masks_of(method: Rise, images: Tensor, row: int) -> Tensor:
    """(T, H, W) masks by a loop over pixels."""
    made = []
    cell, cells = -(-SIDE // method.cells), method.cells
    for first in range(0, method.masks, TOGETHER):
        count, stream = min(TOGETHER, method.masks - first), RNG.select([row]).fork("rise", first)
        grids = stream.fork("cells").uniform((count, cells, cells), 0, 1)[0] < method.probability
        shifts = (stream.fork("shifts").uniform((count, 2), 0, 1)[0] * cell).long()
        for grid, shift in zip(grids.double(), shifts, strict=True):
            scale, mask = cells / ((cells + 1) * cell), torch.zeros(SIDE, SIDE).double()
            for y in range(SIDE):
                for x in range(SIDE):
                    v, u = (max(0.0, (p + int(s) + 0.5) * scale - 0.5) for p, s in zip((y, x), shift, strict=True))
                    for i in (int(v), int(v) + 1):
                        for j in (int(u), int(u) + 1):
                            share = max(0.0, 1 - abs(v - i)) * max(0.0, 1 - abs(u - j))
                            mask[y, x] += share * grid[min(i, cells - 1), min(j, cells - 1)]
            made.append(mask)
    return torch.stack(made)


def test_rise_is_brute_force_over_its_masks(model: Any, images: Tensor) -> None:
    method = Rise(masks=70, cells=3, probability=0.4)
    found = method.attribute(model, images, LABELS, rng=RNG)
    for row, label in enumerate(LABELS):
        slow = torch.zeros(SIDE, SIDE).double()
        for mask in masks_of(method, images, row):
            slow += model((images[row] * mask)[None]).softmax(1)[0, label] * mask
        torch.testing.assert_close(found[row].sum(0), slow / (0.4 * 70))


def test_rise_of_a_linear_logit_is_its_closed_form(linear: Any, images: Tensor) -> None:
    method = Rise(masks=40, cells=2, answer="logit")
    for row, label in enumerate(LABELS):
        masks = masks_of(method, images, row).flatten(1)
        parts = (images[row] * linear[1].weight[label].view(3, SIDE, SIDE)).sum(0).flatten()
        expected = (masks.T @ (masks @ parts + linear[1].bias[label])) / (0.5 * 40)
        found = method.attribute(linear, images, LABELS, rng=RNG)[row].sum(0).flatten()
        torch.testing.assert_close(found, expected)


def test_rise_with_all_cells_seen_is_the_answer_everywhere(model: Any, images: Tensor) -> None:
    found = Rise(masks=3, probability=1.0).attribute(model, images, LABELS, rng=RNG)
    answer = model(images).softmax(1).gather(1, LABELS.unsqueeze(1)).view(2, 1, 1)
    torch.testing.assert_close(found.sum(1), answer.expand(-1, SIDE, SIDE))


def test_a_memory_limit_changes_no_bit_of_rise(model: Any, images: Tensor) -> None:
    method, cotangent = Rise(masks=70), RNG.fork("cotangent").normal((3, SIDE, SIDE)).double()
    whole = method.linearize(smooth_copy(model, 5.0), images, LABELS, rng=RNG)
    with at_most(8):
        limited = method.linearize(smooth_copy(model, 5.0), images, LABELS, rng=RNG)
        assert torch.equal(limited.attribution, whole.attribution)
        pulled = limited.pullback(cotangent)
    assert torch.equal(pulled, whole.pullback(cotangent))


def test_idgi_is_the_loop_of_its_paper(model: Any, images: Tensor) -> None:
    steps, slow = 6, torch.zeros_like(images)
    for j in range(steps):
        here, there = images * j / steps, images * (j + 1) / steps
        slope = Gradient().attribute(model, here, LABELS, rng=RNG)
        rise = (model(there) - model(here)).gather(1, LABELS.unsqueeze(1)).view(2, 1, 1, 1)
        slow += rise * slope**2 / slope.square().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(Idgi(nodes=steps).attribute(model, images, LABELS, rng=RNG), slow)


@pytest.mark.parametrize("nodes", [1, 7])
def test_idgi_is_complete_for_any_number_of_nodes(model: Any, images: Tensor, nodes: int) -> None:
    method = Idgi(nodes=nodes)
    found = method.attribute(model, images, LABELS, rng=RNG)
    rise = (model(images) - model(torch.zeros_like(images))).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(found.sum((1, 2, 3)), rise)
    gap = method.completeness_gap(model, images, LABELS, found)
    assert gap is not None
    assert gap.max() < 1e-9


def test_idgi_of_a_linear_model_shares_the_rise_by_squared_weights(linear: Any, images: Tensor) -> None:
    weight = linear[1].weight[LABELS].view_as(images)
    rise = (weight * images).sum((1, 2, 3), keepdim=True)
    expected = rise * weight**2 / weight.square().sum((1, 2, 3), keepdim=True)
    torch.testing.assert_close(Idgi(nodes=4).attribute(linear, images, LABELS, rng=RNG), expected)


def test_idgi_computes_its_pullback_again_within_a_memory_limit(model: Any, images: Tensor) -> None:
    method, cotangent = Idgi(nodes=12), RNG.fork("cotangent").normal((3, SIDE, SIDE)).double()
    smooth = smooth_copy(model, 5.0)
    whole = method.pullback(smooth, images, LABELS, cotangent, rng=RNG)
    with at_most(8):
        limited = method.pullback(smooth, images, LABELS, cotangent, rng=RNG)
    torch.testing.assert_close(limited, whole)
    assert whole.abs().max() > 0


def test_masks_are_those_of_torchs_interpolation(images: Tensor) -> None:
    method = Rise(masks=2, cells=2)
    ours = torch.cat(list(method._masks(images[0], RNG.select([0]))))
    assert ours.shape == (2, 1, SIDE, SIDE)
    torch.testing.assert_close(ours[:, 0], masks_of(method, images, 0))
    assert F.mse_loss(ours[0], ours[1]) > 0
