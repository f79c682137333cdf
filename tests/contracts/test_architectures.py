"""The contract of every architecture.

Logits are finite, and activations can be swapped and hooked one by one.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.errors import EnvironmentFault
from bench.core.schemas.protocol import Component
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.initial_weights import initialize

CLASSES = 7
KINKED = {"relu", "relu_", "threshold", "clamp_min", "clamp_min_", "clamp", "leaky_relu", "hardtanh", "maximum", "abs"}


@cache
def uses_of_all() -> tuple[Component, ...]:
    """Return the architectures of all registered recipes and models."""
    return tuple(
        registry.load(kind, user).architecture for kind in ("recipes", "models") for user in registry.names(kind)
    )


@cache
def smallest_use(name: str) -> Component:
    """Return the smallest registered component of an architecture.

    Recipes and models are searched; the number of parameters is compared.
    """
    build, uses = registry.load("architectures", name), [use for use in uses_of_all() if use.name == name]

    def size(use: Component) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in build(CLASSES, **use.params).parameters())

    return min(uses, key=size) if uses else Component(name=name)


@pytest.fixture(params=registry.names("architectures"))
def model(request: pytest.FixtureRequest) -> nn.Module:
    use = smallest_use(request.param)
    try:
        network: nn.Module = registry.load("architectures", use.name)(CLASSES, **use.params)
    except EnvironmentFault as absent:
        pytest.skip(str(absent))
    initialize(network, Rng(0))
    return network.eval().requires_grad_(False)


@pytest.fixture
def normalized(request: pytest.FixtureRequest) -> Tensor:
    return torch.randn((2, *image_shape(request.node.callspec.params["model"])), generator=Rng(1).generator())


def image_shape(name: str) -> tuple[int, int, int]:
    """Return the (C, H, W) of images for an architecture.

    They are its parameters `channels` and `side`, if it has them.
    """
    defaults = {p.name: p.default for p in inspect.signature(registry.load("architectures", name)).parameters.values()}
    given = {"channels": 3, "side": 32} | defaults | smallest_use(name).params
    return given["channels"], given["side"], given["side"]


class Operators(TorchDispatchMode):
    """Names of the operators that a block calls."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_logits_are_finite_and_per_image(model: nn.Module, normalized: Tensor) -> None:
    logits = model(normalized)
    assert logits.shape == (2, CLASSES)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    torch.testing.assert_close(model(normalized[1:]), logits[1:])


def test_every_activation_is_a_module_used_once(model: nn.Module, normalized: Tensor) -> None:
    uses = {name: 0 for name, module in model.named_modules() if isinstance(module, nn.ReLU)}

    def count(name: str) -> Any:
        def hook(*_: object) -> None:
            uses[name] += 1

        return hook

    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(count(name))
    model(normalized)
    assert set(uses.values()) <= {1}, uses


def test_no_activation_hides_outside_the_modules(model: nn.Module, normalized: Tensor) -> None:
    with Operators() as called:
        model(normalized)
    modules = sum(isinstance(module, nn.ReLU | nn.ReLU6) for module in model.modules())
    assert sum(name in KINKED for name in called.names) == modules
    with Operators() as called:
        smooth_copy(model, beta=10.0)(normalized)
    plateau = {"abs", "clamp", "clamp_min"} if any(isinstance(m, nn.ReLU6) for m in model.modules()) else set()
    assert not (KINKED - plateau) & set(called.names), "a plateau's smooth form is written with |x|"


def test_the_smooth_copy_tends_to_the_network_and_shares_its_weights(model: nn.Module, normalized: Tensor) -> None:
    logits = model(normalized)
    scale = float(logits.abs().max())
    near, far = ((smooth_copy(model, beta)(normalized) - logits).abs().max() / scale for beta in (1e5, 1.0))
    assert near < 1e-2
    if any(isinstance(module, nn.ReLU | nn.ReLU6) for module in model.modules()):
        assert far > 10 * near
    else:
        assert near == far == 0, "a network without ReLU is smooth already"
    own, smooth = ({id(parameter) for parameter in m.parameters()} for m in (model, smooth_copy(model, 1.0)))
    assert smooth == own
    assert smooth_copy(model.train(), 1.0).training


def test_building_twice_gives_the_same_names_and_shapes(model: nn.Module, request: pytest.FixtureRequest) -> None:
    use = smallest_use(request.node.callspec.params["model"])
    again = registry.load("architectures", use.name)(CLASSES, **use.params)
    assert [(n, t.shape) for n, t in again.state_dict().items()] == [
        (n, t.shape) for n, t in model.state_dict().items()
    ]
