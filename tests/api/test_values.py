"""Values of the caller are taken or refused in one sentence."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.core.errors import ModelOutputError, UnknownNameError, UsageError
from tests.support.callers import Foreign


class Pair(Foreign):
    """Two answers."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return super().forward(x), x


def locked() -> nn.Module:
    network = Foreign()
    network.lock = threading.Lock()  # type: ignore[assignment]
    return network


@pytest.mark.parametrize(
    ("network", "changes", "error", "message"),
    [
        (
            Foreign(),
            {"mean": None},
            UsageError,
            r"expected mean and std of the normalisation.*mean=0, std=1 if .*0\.4914",
        ),
        (
            Foreign(),
            {"mean": (0.5, 0.5)},
            UsageError,
            r"expected mean and std > 0 of 3 channels, got mean=\(0\.5, 0\.5\)",
        ),
        (Foreign(), {"std": 0}, UsageError, r"expected mean and std > 0 of 3 channels"),
        ("natural-linear", {}, UsageError, r"expected no mean and std of natural-linear"),
        ("naturel-linear", {"mean": None, "std": None}, UnknownNameError, r"did you mean 'natural-linear'"),
        (3, {}, UsageError, r"expected an nn\.Module or the name of a model, got int"),
        (Foreign(), {"attack": "ifia-topp"}, UnknownNameError, r"did you mean 'ifia-topk'"),
        (Foreign(5), {}, ModelOutputError, r"expected logits of shape \(2, 10\), got \(2, 5\)"),
        (Pair(), {}, ModelOutputError, r"expected one tensor of logits, got tuple of 2"),
        (locked(), {}, UsageError, r"expected a module that can be copied, got: cannot pickle"),
    ],
)
def test_mistakes_are_one_sentence(
    network: Any, changes: dict[str, Any], error: type[Exception], message: str, short: str
) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu"} | changes
    with pytest.raises(error, match=message):
        bench.benchmark(network, **options)


@pytest.mark.parametrize(
    "given",
    [
        {"mean": torch.tensor(0.5), "std": torch.tensor(0.25)},
        {"mean": np.float32(0.5), "std": np.float64(0.25)},
        {"mean": torch.full((1, 3, 1, 1), 0.5), "std": np.full((3, 1, 1), 0.25)},
        {"mean": [0.5] * 3, "std": (0.25,) * 3, "device": torch.device("cpu"), "limit": np.int64(2)},
    ],
)
def test_usual_types_of_torch_and_numpy_are_taken(given: dict[str, Any], short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "attack": "random-noise", "device": "cpu", "limit": 2}
    network = Foreign()
    found, plain = (bench.benchmark(network, **options | each) for each in (given, {"mean": 0.5, "std": 0.25}))
    assert found.rows.equals(plain.rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"std": float("inf")}, "expected finite numbers as mean and std, got inf"),
        ({"mean": "none"}, "expected numbers as mean and std, got 'none'"),
        ({"mean": 127.5, "std": 127.5}, "in pixel units, where 1 is the full range, .* divide them by 255"),
        ({"limit": "2"}, "expected a whole number as limit, got '2'"),
        ({"limit": 1.5}, "expected a whole number as limit, got 1.5"),
    ],
)
def test_odd_values_are_refused_in_one_sentence(given: dict[str, Any], message: str, short: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.benchmark(Foreign(), protocol=short, **{"mean": 0, "std": 1, "device": "cpu", **given})


def test_mean_and_std_in_grey_levels_are_taken_when_they_are_divided_by_255(short: str) -> None:
    options: dict[str, Any] = {"protocol": short, "attack": "random-noise", "device": "cpu", "limit": 2}
    with pytest.raises(UsageError, match="divide them by 255"):
        bench.benchmark(Foreign(), mean=127.5, std=63.75, **options)
    found, plain = (
        bench.benchmark(Foreign(), mean=mean, std=std, **options)
        for mean, std in ((127.5 / 255, 63.75 / 255), (0.5, 0.25))
    )
    assert found.rows.equals(plain.rows)
