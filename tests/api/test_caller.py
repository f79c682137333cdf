"""The caller's module, generators and defaults stay as they are."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import bench
from tests.support.callers import Foreign, strided


def test_the_callers_module_and_the_generators_stay_as_they_are(short: str) -> None:
    network = Foreign().double().train()
    network.conv.weight.grad = torch.ones_like(network.conv.weight)
    network.head.requires_grad_(False)
    before, modes = copy.deepcopy(network.state_dict()), [m.training for m in network.modules()]
    names, state = [type(m) for m in network.modules()], torch.get_rng_state()
    result = bench.benchmark(network, protocol=short, mean=0.5, std=(0.2, 0.3, 0.25), device="cpu")
    assert result.record.samples == 4
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert network.conv.weight.dtype == torch.float64
    assert [m.training for m in network.modules()] == modes
    assert [type(m) for m in network.modules()] == names
    assert network.relu.inplace
    assert [p.requires_grad for p in network.parameters()] == [True, True, False, False]
    assert torch.equal(network.conv.weight.grad, torch.ones_like(network.conv.weight))
    assert torch.equal(torch.get_rng_state(), state)


OPTIONS: dict[str, Any] = {"mean": 0, "std": 1, "device": "cpu", "limit": 2}


@pytest.fixture(scope="module")
def plain(short: str, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """The rows of a network in no context."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return bench.benchmark(Foreign(), protocol=short, **OPTIONS).rows


@pytest.mark.parametrize(
    "around",
    [
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", torch.float16),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
    ],
    ids=["no_grad", "inference_mode", "float16", "bfloat16", "device"],
)
def test_the_callers_context_changes_no_number(around: Any, short: str, plain: pd.DataFrame) -> None:
    network = Foreign()
    with around():
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")
        found = bench.benchmark(network, protocol=short, **OPTIONS)
        assert modes == (
            torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"),
        )  # fmt: skip
    pd.testing.assert_frame_equal(found.rows, plain, check_exact=True)


def test_the_callers_defaults_and_generators_are_left_as_they_are(short: str) -> None:
    import random  # noqa: TID251

    class Drawing(nn.Module):
        """Draws from all generators, to no effect on its answers."""

        def __init__(self) -> None:
            super().__init__()
            self.network = strided(10)

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x + 0 * (torch.rand(1) + random.random() + np.random.rand()))  # noqa: NPY002

    network = Drawing()
    numpys = np.random.get_state(legacy=False)["state"]["key"].copy()  # noqa: NPY002
    states = torch.get_rng_state(), random.getstate()
    torch.set_default_dtype(torch.float64)
    try:
        found = bench.benchmark(network, protocol=short, mean=0, std=1, device="cpu", limit=2, attack="random-noise")
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert len(found.rows) == 2
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state(legacy=False)["state"]["key"], numpys)  # noqa: NPY002
