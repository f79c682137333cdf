"""Compiled derivatives against plain ones, in float64.

Also tests machines on which nothing can be compiled.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.compute.chunks import CPU_BATCH
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from model_zoo.derivatives import compiled as module
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.surrogate import sharpened, smooth_copy
from model_zoo.training.initial_weights import initialize
from tests.oracles.small_networks import Fickle, drawn, trained

METHODS = (Gradient(), IntegratedGradients(nodes=5), IntegratedGradients(nodes=10).turn(1, 2), Smoothgrad(nodes=3))
SIDE = 16


@pytest.fixture(autouse=True)
def strict() -> Iterator[None]:
    """Fail at a network that is not compiled, or compiled twice."""
    with warnings.catch_warnings(), torch._dynamo.config.patch(error_on_recompile=True):
        warnings.filterwarnings("error", message="this network is not compiled")
        yield


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compile without making code: run the graph operator by operator."""
    monkeypatch.setattr(module, "_compile", lambda graph, vary: torch.compile(graph, dynamic=vary, backend="aot_eager"))


@pytest.fixture(scope="module")
def smooth() -> nn.Module:
    return small()


def small() -> nn.Module:
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU())
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))
    initialize(network, Rng(0))
    return smooth_copy(trained(network, SIDE), 20.0)


def pulled(method: AttributionMethod, network: nn.Module, count: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Attribution and pullback of some images."""
    images, labels = drawn(count, channels, SIDE, SIDE, seed=5).sigmoid(), torch.arange(count) % 10
    rng = SampleRng(Rng(1), tuple(map(str, range(count))))
    linear = method.linearize(network, images, labels, rng=rng)
    return linear.attribution, linear.pullback(drawn(*images.shape, seed=6))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
@pytest.mark.usefixtures("quick")
def test_attribution_and_pullback_are_those_of_the_smooth_network(method: AttributionMethod, smooth: nn.Module) -> None:
    ours = Compiled(smooth)
    for count, factor in ((3, 0.3), (9, 1.0)):
        with sharpened(smooth, factor):
            plain = pulled(method, smooth, count)
            assert plain[1].abs().max() > 0
            torch.testing.assert_close(pulled(method, ours, count), plain, rtol=1e-8, atol=1e-10)
    assert len(ours._forms) == 1, "one graph for all batches of a CPU, and all sharpnesses"


@pytest.mark.usefixtures("quick")
def test_grey_images_are_compiled_once_too() -> None:
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3, 2), nn.ReLU())
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)).double()
    initialize(network, Rng(0))
    smooth = smooth_copy(network.eval().requires_grad_(False), 20.0)
    ours = Compiled(smooth)
    for method in METHODS:
        found, plain = (pulled(method, each, 5, channels=1) for each in (ours, smooth))
        torch.testing.assert_close(found, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.usefixtures("quick")
def test_on_a_gpu_one_graph_serves_batches_of_every_size() -> None:
    smooth = small()
    images, labels = drawn(13, 3, SIDE, SIDE, seed=5).sigmoid(), torch.arange(13) % 10
    ours = Compiled(smooth)
    form = ours._made(images[:6], labels[:6], False, sizes_vary=True)
    assert form is not None
    for count in (6, 13, 2):
        found = module._twice(lambda leaf: form(leaf, labels[: len(leaf)], ours._factor(images)), images[:count])
        plain = module._twice(lambda leaf: module._gradients(smooth, leaf, labels[: len(leaf)]), images[:count])
        torch.testing.assert_close(found, plain, rtol=1e-8, atol=1e-10)


@pytest.mark.skipif(shutil.which("c++") is None, reason="needs a C++ compiler")
def test_compiled_code_is_the_smooth_network_wherever_an_image_stands() -> None:
    smooth = small().float()
    ours, batch = Compiled(smooth), drawn(CPU_BATCH, 3, SIDE, SIDE, seed=5).sigmoid().float()
    labels = torch.arange(CPU_BATCH)
    found = module._twice(lambda leaf: ours.logit_gradients(leaf, labels), batch)
    torch.testing.assert_close(found, module._twice(lambda leaf: module._gradients(smooth, leaf, labels), batch))
    turned = module._twice(lambda leaf: ours.logit_gradients(leaf, labels.flip(0)), batch.flip(0))
    assert all(torch.equal(one, other.flip(0)) for one, other in zip(found, turned, strict=True))


def fail(*_: object) -> Any:
    raise RuntimeError("no C++ compiler\nthe rest of a long story")


@pytest.mark.parametrize(
    ("compile_graph", "network", "why"),
    [
        (fail, nn.ReLU(), "no C\\+\\+ compiler$"),
        (lambda graph, _: lambda *given: graph(*given) * 1.05, nn.ReLU(), "differ from the network's$"),
        (lambda graph, _: graph, nn.Sequential(Fickle(), nn.ReLU()), ""),
    ],
    ids=["no-compiler", "wrong-code", "ways-that-depend-on-values"],
)
def test_plain_derivatives_serve_where_compiled_ones_cannot(
    compile_graph: Callable[..., Any], network: nn.Module, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_compile", compile_graph)
    head = (nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))
    smooth = smooth_copy(nn.Sequential(network, *head).double().eval().requires_grad_(False), 5.0)
    ours = Compiled(smooth)
    with pytest.warns(UserWarning, match=f"this network is not compiled, so that searches take longer: .*{why}"):
        found = pulled(Gradient(), ours, 3)
    assert all(map(torch.equal, found, pulled(Gradient(), smooth, 3)))
    assert all(map(torch.equal, found, pulled(Gradient(), ours, 3))), "and nobody tries again"
