"""The contract of every training objective.

The loss is finite, has a gradient for all weights and has no side effects.
"""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from model_zoo.derivatives.surrogate import second_order_copy, smooth_copy
from model_zoo.training.folded import folded
from tests.contracts.conftest import instance, residual_classifier


@pytest.fixture(params=registry.names("objectives"))
def objective(request: pytest.FixtureRequest) -> Objective:
    made = instance("objectives", request.param)
    assert isinstance(made, Objective)
    return made


def student(model: nn.Module) -> Student:
    copies: dict[float, nn.Module] = {}
    return Student(
        model,
        second_order_copy(model),
        lambda beta: copies.setdefault(beta, smooth_copy(model, beta)),
        folded(model),
        nullcontext,
    )


def gradients(objective: Objective, images: Tensor, labels: Tensor, seed: int = 0) -> list[Tensor | None]:
    model = residual_classifier("objective").train()
    objective.loss(student(model), images, labels, rng=Rng(seed)).backward()
    return [parameter.grad for parameter in model.parameters()]


def test_the_loss_is_a_finite_scalar(objective: Objective, images: Tensor, labels: Tensor) -> None:
    loss = objective.loss(student(residual_classifier("objective").train()), images, labels, rng=Rng(0))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert loss > 0


def test_its_gradient_reaches_every_parameter(objective: Objective, images: Tensor, labels: Tensor) -> None:
    for gradient in gradients(objective, images, labels):
        assert gradient is not None
        assert torch.isfinite(gradient).all()
        assert gradient.abs().max() > 0


def test_equal_streams_give_equal_gradients(objective: Objective, images: Tensor, labels: Tensor) -> None:
    first, second = (gradients(objective, images, labels) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None)


def test_it_leaves_weights_images_and_modes_alone(objective: Objective, images: Tensor, labels: Tensor) -> None:
    model = residual_classifier("objective").train()
    for module in list(model.modules())[::5]:
        module.training = False
    modes = [module.training for module in model.modules()]
    weights, before = [p.detach().clone() for p in model.parameters()], images.clone()
    objective.loss(student(model), images, labels, rng=Rng(0)).backward()
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(p, w) for p, w in zip(model.parameters(), weights, strict=True))
    assert torch.equal(images, before)


def test_batch_statistics_move_once_per_step(objective: Objective, images: Tensor, labels: Tensor) -> None:
    model = residual_classifier("objective").train()
    objective.loss(student(model), images, labels, rng=Rng(0)).backward()
    counts = {int(m.get_buffer("num_batches_tracked")) for m in model.modules() if isinstance(m, nn.BatchNorm2d)}
    assert counts == {1}
