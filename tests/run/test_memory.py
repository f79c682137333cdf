"""The memory limit bounds the nodes in flight and changes no number.

If the limit is too high, a run continues with half of the nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

import pytest
import torch
from torch import Tensor, nn

from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.compute.chunks import CPU_BATCH, CPU_NODES_IN_FLIGHT, SMALL, at_most, forward, nodes_in_flight
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.errors import EnvironmentFault, UsageError
from bench.run.attack.memory import PASSES, SHARE, Room, available, bytes_per_node, nodes_within, parse, share
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

CPU = torch.device("cpu")
RNG = SampleRng(Rng(0), ("a", "b", "c"))
LABELS = torch.tensor([1, 7, 2])


@pytest.fixture(scope="module")
def smooth() -> nn.Module:
    return smooth_copy(freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))), 10.0)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 16, 16), 0.1, 0.9)


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(nodes=19), Smoothgrad(nodes=19)])
@pytest.mark.parametrize("nodes", [5, 8, 16])
def test_fewer_nodes_in_flight_give_the_same_bits(
    method: AttributionMethod, nodes: int, smooth: nn.Module, images: Tensor
) -> None:
    cotangent = RNG.fork("cotangent").normal((3, 16, 16))
    usual = method.linearize(smooth, images, LABELS, rng=RNG)
    with at_most(nodes):
        bounded = method.linearize(smooth, images, LABELS, rng=RNG)
        pulled = bounded.pullback(cotangent)
        attribution = method.attribute(smooth, images, LABELS, rng=RNG)
    assert torch.equal(bounded.attribution, usual.attribution)
    assert torch.equal(attribution, usual.attribution)
    assert torch.equal(pulled, usual.pullback(cotangent))


class Saved:
    """What a graph keeps of a tensor while the graph lives."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_never_more_nodes_have_a_graph_than_are_allowed(smooth: nn.Module, images: Tensor) -> None:
    method = IntegratedGradients(nodes=50)

    def peak() -> int:
        alive: WeakSet[Saved] = WeakSet()
        sizes = [0]

        def keep(tensor: Tensor) -> Saved:
            one = Saved(tensor)
            alive.add(one)
            storages = [each.tensor.untyped_storage() for each in alive]
            sizes.append(sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values()))
            return one

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda one: one.tensor):
            method.linearize(smooth, images[:1], LABELS[:1], rng=RNG.select(slice(1)))
        return max(sizes)

    with at_most(50):
        everything = peak()
    with at_most(8):
        bounded = peak()
    assert 0 < bounded < everything / 2


def test_a_budget_holds_as_many_nodes_as_were_measured(smooth: nn.Module, images: Tensor) -> None:
    per_node = bytes_per_node(smooth, images)
    activations = 3 * 16 * 16 * 4
    assert per_node > PASSES * activations
    assert nodes_within(int(per_node * 17), smooth, images) == 2 * CPU_BATCH
    assert nodes_within(1, smooth, images) == 0
    assert bytes_per_node(smooth, torch.rand(1, 3, 32, 32)) > 3 * per_node


def test_a_large_image_passes_alone_and_keeps_its_bits(smooth: nn.Module) -> None:
    side = math.isqrt(SMALL) + 4
    large = torch.rand(3, 3, side, side, generator=Rng(3).generator())
    sizes: list[int] = []
    handle = smooth.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    with torch.no_grad():
        together, alone = forward(smooth, large), torch.cat([forward(smooth, image) for image in large.split(1)])
    handle.remove()
    assert set(sizes) == {1}
    assert torch.equal(together, alone)
    assert nodes_within(int(bytes_per_node(smooth, large) * 2.5), smooth, large) == 2


def test_the_usual_number_is_a_bound_too() -> None:
    with at_most(10**6):
        assert nodes_in_flight(CPU) == CPU_NODES_IN_FLIGHT
    assert CPU_NODES_IN_FLIGHT % CPU_BATCH == 0


def memory_of(nodes: int) -> Callable[[], int]:
    tried: list[int] = []

    def work() -> int:
        assert not tried or nodes_in_flight(CPU) < tried[-1] or tried[-1] <= nodes, "the same was tried again"
        tried.append(nodes_in_flight(CPU))
        if tried[-1] > nodes:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return tried[-1]

    return work


def test_work_goes_on_by_halves_and_says_so() -> None:
    said: list[str] = []
    room = Room(CPU, 40, said.append)
    assert room.give(memory_of(10)) == 10
    assert said == [f"out of memory on cpu: on with at most {nodes} nodes at once" for nodes in (20, 10)]
    assert room.give(memory_of(10)) == 10
    assert len(said) == 2, "it remembers"


def test_a_bound_beyond_the_usual_number_is_halved_from_there() -> None:
    said: list[str] = []
    assert Room(CPU, 10**6, said.append).give(memory_of(CPU_NODES_IN_FLIGHT // 2)) == CPU_NODES_IN_FLIGHT // 2
    assert len(said) == 1


def test_where_nothing_fits_it_ends() -> None:
    with pytest.raises(EnvironmentFault, match="for a single node"):
        Room(CPU, 40, lambda _: None).give(memory_of(0))


def test_other_errors_are_no_lack_of_memory() -> None:
    def work() -> None:
        raise RuntimeError("a shape is off")

    with pytest.raises(RuntimeError, match="a shape is off"):
        Room(CPU, 40, lambda _: None).give(work)


@pytest.mark.parametrize(
    ("text", "size"), [("2GB", 2 * 10**9), ("512 MiB", 2**29), ("1.5gib", 3 * 2**29), ("1000", 1000), ("1B", 1)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse(text) == size


@pytest.mark.parametrize("text", ["", "GB", "0GB", "2 parsecs", "-1GB", "1e3", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match=r"--memory"):
        parse(text)


GB = 10**9
V2, V1 = "0::/jobs/7\n", "5:cpu:/x\n4:memory,hugetlb:/jobs/7\n0::/\n"


def v2(limit: object, used: int, files: int = 0) -> dict[str, object]:
    return {"memory.max": limit, "memory.current": used, "memory.stat": f"anon 1\ninactive_file {files}\nslab 2"}


def v1(limit: int, used: int, files: int = 0) -> dict[str, object]:
    stat = f"inactive_file 1\ntotal_inactive_file {files}"
    return {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used, "memory.stat": stat}


@pytest.mark.parametrize(
    ("groups", "files", "left"),
    [
        (V2, {"": v2(3 * GB, GB)}, 2 * GB),  # what a container sees of itself
        (V2, {"": {}, "jobs": v2(5 * GB, GB), "jobs/7": v2("max", GB)}, 4 * GB),
        (V2, {"jobs": v2(9 * GB, GB), "jobs/7": v2(3 * GB, 2 * GB, GB)}, 2 * GB),
        (V2, {"jobs/7": v2(3 * GB, 4 * GB)}, 0),
        (V2, {"jobs/8": v2(3 * GB, GB)}, 10 * GB),
        (V2, {"jobs/7": v2(90 * GB, GB)}, 10 * GB),
        ("0::/../../elsewhere\n", {"": v2(3 * GB, GB)}, 2 * GB),
        (V1, {"memory/jobs/7": v1(3 * GB, 2 * GB, GB), "memory": v1(2**63 - 4096, GB)}, 2 * GB),
        (V1, {"memory": v1(3 * GB, GB)}, 2 * GB),
        (None, {}, 10 * GB),
    ],
)
def test_the_limit_of_a_container_or_a_job_is_kept(
    groups: str | None, files: dict[str, dict[str, object]], left: int, tmp_path: Path
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {10 * GB // 1024} kB\n")
    if groups is not None:
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for folder, contents in files.items():
        (tmp_path / "sys/fs/cgroup" / folder).mkdir(parents=True, exist_ok=True)
        for name, value in contents.items():
            (tmp_path / "sys/fs/cgroup" / folder / name).write_text(f"{value}\n")
    assert available(CPU, tmp_path) == pytest.approx(left * SHARE, abs=1024)


def test_workers_share_a_machine() -> None:
    assert share("2GB", 4, CPU) == 5 * 10**8
    assert share(None, 1, CPU) is None
    assert share(None, 2, torch.device("cuda")) is None
    found = share(None, 4, CPU)
    assert found is not None
    assert found == pytest.approx(available(CPU) / 4, rel=0.5)
