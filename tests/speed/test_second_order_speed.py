"""The time of a Hessian-vector product of a WRN-28-1.

The layers with cheap second derivatives are compared with PyTorch's own. python -m pytest
tests/speed/test_second_order_speed.py --benchmark-enable --benchmark-group-by=param:images
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor, nn

from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng
from model_zoo.architectures.wide_resnet import build
from model_zoo.build import classifier, freeze
from model_zoo.derivatives import second_order
from model_zoo.derivatives.fused import fused
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.initial_weights import initialize
from tests.oracles.plain import plain_smooth

BETA = 50.0


def product(network: nn.Module, images: Tensor) -> Tensor:
    leaf = images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf)[:, 0].sum(), leaf, create_graph=True)
    (curved,) = torch.autograd.grad(gradient, leaf, torch.ones_like(gradient))
    return curved


@pytest.mark.parametrize("images", [1, 8, 64])
@pytest.mark.parametrize(
    "copied",
    [plain_smooth, smooth_copy, lambda model, beta: fused(smooth_copy(model, beta))],
    ids=["torch", "ours", "fused"],
)
def test_hessian_vector_products(
    copied: Callable[[nn.Module, float], nn.Module], images: int, benchmark: BenchmarkFixture
) -> None:
    network = build(10, depth=28, width=1)
    initialize(network, Rng(0).fork("speed"))
    model = freeze(classifier(network, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)))
    smooth = freeze(copied(model.to(memory_format=torch.channels_last), BETA))  # type: ignore[call-overload]
    batch = torch.rand((images, 3, 32, 32), generator=Rng(1).generator())
    batch = batch.contiguous(memory_format=torch.channels_last)
    found = benchmark(product, smooth, batch)
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("function", [F.softplus, second_order._Softplus.apply], ids=["torch", "by-hand"])
def test_the_second_derivative_of_softplus(function: Callable[..., Tensor], benchmark: BenchmarkFixture) -> None:
    """Time softplus by hand, as GPUs run it, and by torch.

    CPUs use torch's: the gain is not worth other bits than those of the records.
    """
    u, g, v = torch.randn((3, 40, 16, 32, 32), generator=Rng(2).generator()).to(pick_device())

    def twice() -> Tensor:
        leaf = u.clone().requires_grad_()
        (slope,) = torch.autograd.grad(function(leaf, BETA), leaf, g.requires_grad_(), create_graph=True)
        (curved,) = torch.autograd.grad(slope, leaf, v)
        return curved

    assert torch.isfinite(benchmark(twice)).all()
