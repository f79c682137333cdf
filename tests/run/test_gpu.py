"""Tests on a GPU, if there is one.

float32 stays float32, a repeated run gives the same numbers, and lack of memory is handled.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.compute.machine import pick_device, shortened
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.schemas.protocol import SearchPrecision
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.request import Request
from bench.run.steps import run
from metrics._ranks import kendall_tau_b
from model_zoo.build import build
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.fused import PLAIN, SoftplusOfAffine, fused, kernels
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.hub import resolve
from tests.support.watcher import Watcher

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

COUNT = 20
RNG = SampleRng(Rng(0), tuple(map(str, range(COUNT))))
METHODS = (Gradient(), IntegratedGradients(nodes=10), Smoothgrad(nodes=5))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A trained one, on the CPU, in float64."""
    found = resolve("hub:art-wrn28")
    architecture = registry.load("architectures", found.entry.architecture.name)
    return build(found.entry, architecture, found.path, device=torch.device("cpu")).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    pixels, _ = registry.load("datasets", "foolbox-cifar10")().load("test")
    return pixels.double() / 255


@pytest.fixture
def gpu() -> Iterator[torch.device]:
    yield pick_device("cuda")
    torch.cuda.set_per_process_memory_fraction(1.0)


def error(found: Tensor, true: Tensor) -> float:
    return float((found.cpu().double() - true).norm() / true.norm())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_attributions_and_their_pullback_are_those_of_float64(
    method: AttributionMethod, network: nn.Module, images: Tensor, gpu: torch.device
) -> None:
    labels = network(images).argmax(1)
    cotangent = RNG.fork("cotangent").normal((3, 32, 32)).double()
    smooth = smooth_copy(network, 50.0)
    true = method.linearize(smooth, images, labels, rng=RNG)
    here = (images.float().to(gpu), labels.to(gpu))
    plain = smooth_copy(copy.deepcopy(network), 50.0).float().to(gpu)
    for copied in (plain, fused(plain), Compiled(plain)):
        found = method.linearize(copied, *here, rng=RNG)
        assert error(found.attribution, true.attribution) < 1e-4
        assert error(found.pullback(cotangent.float().to(gpu)), true.pullback(cotangent)) < 1e-4


def test_fused_kernels_compile_and_are_trusted(network: nn.Module, gpu: torch.device) -> None:
    assert kernels(torch.zeros(1, device=gpu)) is not PLAIN
    copied = fused(smooth_copy(copy.deepcopy(network), 50.0).float().to(gpu))
    assert sum(isinstance(module, SoftplusOfAffine) for module in copied.modules()) == 25


def test_float32_is_shortened_where_that_is_wanted_and_nowhere_else(
    network: nn.Module, images: Tensor, gpu: torch.device
) -> None:
    true = smooth_copy(network, 50.0)(images)
    here, pixels = smooth_copy(copy.deepcopy(network), 50.0).float().to(gpu), images.float().to(gpu)
    full = error(here(pixels), true)
    with shortened(True):
        short = error(here(pixels), true)
    assert full < 1e-5 < 1e-4 < short < 1e-1
    assert error(here(pixels), true) == full


def test_rank_correlations_are_the_same_to_the_bit(gpu: torch.device) -> None:
    first, second = (RNG.fork(side).normal((1024,)).mul(50).round() for side in ("first", "second"))
    assert torch.equal(kendall_tau_b(first.to(gpu), second.to(gpu)).cpu(), kendall_tau_b(first, second))


def made(folder: Path, *, precision: SearchPrecision = "float32", device: str = "cuda") -> tuple[StoredRun, Watcher]:
    request = Request(
        model="hub:art-wrn28", attack="ifia-topk", protocol="cifar10-smoke-v1", precision=precision, limit=COUNT
    )
    watcher = Watcher()
    return run([request], Execution(Store(folder / "results"), folder / "work", device), watcher)[0], watcher


def kendall(stored: StoredRun) -> float:
    mean = stored.record.summaries["all"]["kendall"].mean
    assert mean is not None
    return mean


def test_a_run_repeats_to_the_bit_and_agrees_with_the_cpu(tmp_path: Path, gpu: torch.device) -> None:
    first, second = (made(tmp_path / name)[0] for name in ("first", "second"))
    pd.testing.assert_frame_equal(first.rows(), second.rows(), check_exact=True)
    slow, _ = made(tmp_path / "cpu", device="cpu")
    assert kendall(first) == pytest.approx(kendall(slow), abs=0.03)


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_shorter_search_is_another_run_with_about_the_same_end(
    precision: SearchPrecision, tmp_path: Path, gpu: torch.device
) -> None:
    full, _ = made(tmp_path / "full")
    short, _ = made(tmp_path / "short", precision=precision)
    assert short.record.run_id != full.record.run_id
    assert short.record.summaries["all"] != full.record.summaries["all"]
    assert kendall(short) == pytest.approx(kendall(full), abs=0.1)
    clean = short.rows()["completeness_gap_before"]
    pd.testing.assert_series_equal(clean, full.rows()["completeness_gap_before"], check_exact=True)
    assert gpu.type == "cuda"


def test_little_memory_is_enough_and_it_is_said(tmp_path: Path, gpu: torch.device) -> None:
    whole = torch.cuda.get_device_properties(gpu).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 4e8) / whole)
    stored, watcher = made(tmp_path)
    assert any("out of memory on cuda" in text for text in watcher.said), watcher.said
    assert stored.record.samples == COUNT
