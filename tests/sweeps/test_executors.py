"""The executors of Ray and submitit, on this machine.

Real actors and jobs run in processes of this machine.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.core.contracts import Worker
from bench.core.errors import EnvironmentFault, UsageError
from bench.core.schemas.protocol import Component
from bench.core.schemas.units import FINAL, Report, RunUnit, Unit
from bench.executors.local import Local
from bench.executors.ray import Ray
from bench.executors.slurm import Slurm
from bench.sweeps.sweep import Wanted, choose, sweep
from tests.support.stored import content
from tests.support.sweeps import ATTACKS, execution
from tests.support.watcher import Watcher


class Odd(Worker):
    """Does what the unit's request says."""

    def __init__(self, device: str) -> None:
        self.device = device

    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        assert isinstance(unit, RunUnit)
        word, mark = unit.request["attack"], Path(unit.request["model"])
        tell(Report(unit, "alive", 1))
        if word == "meet":
            mark.with_name(str(os.getpid())).touch()
            wait(lambda: len(list(mark.parent.iterdir())) == 2)
            return Report(unit, "done", text=os.environ["CUDA_VISIBLE_DEVICES"])
        if word == "wait":
            wait(mark.exists)
        if word == "die":
            os._exit(3)
        if word == "preempted once" and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGUSR2)
        return Report(unit, "failed" if word == "fail" else "done", text=str(os.getpid()))


def wait(over: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not over():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def todo(folder: Path, *words: str) -> list[Unit]:
    request = {"model": str(folder / "mark")}
    return [
        RunUnit(request=request | {"attack": word}, run_id=f"{i:064x}", shard=0, images=1)
        for i, word in enumerate(words)
    ]


def last(reports: Iterator[Report]) -> dict[int, Report]:
    """Return the last report on each unit, by its place."""
    found = dict[int, Report]()
    for report in reports:
        if report.kind in FINAL:
            assert isinstance(report.unit, RunUnit)
            place = int(report.unit.run_id, 16)
            assert place not in found
            found[place] = report
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Start a real Ray of two nodes, one process each.

    The first says that it has a GPU.
    """
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    room: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 10**8, "include_dashboard": False}
    nodes = Cluster(initialize_head=True, head_node_args=room | {"num_gpus": 1})
    nodes.add_node(**room)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestRay:
    def test_actors_make_the_bytes_of_bench_run(self, cluster: Any, runs: Any, singly: Any, tmp_path: Path) -> None:
        watcher = Watcher()
        outcome = sweep(runs, execution(tmp_path), Ray(workers=2, device="cpu"), watcher)
        assert not outcome.failures
        assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
        assert watcher.done == watcher.total

    def test_an_actor_that_disappears_loses_its_unit_alone(self, cluster: Any, tmp_path: Path) -> None:
        found = last(Ray(workers=2, device="cpu").run(todo(tmp_path, "die", "good", "fail", "good"), Odd))
        assert [found[place].kind for place in range(4)] == ["lost", "done", "failed", "done"]
        assert "disappeared" in found[0].text
        assert len({report.text for report in found.values() if report.kind != "lost"}) <= 3

    def test_two_workers_share_a_gpu_by_halves(self, cluster: Any, tmp_path: Path) -> None:
        (tmp_path / "met").mkdir()
        halves = Ray(workers=2, device="cpu", gpus=0.5, cpus=0.5)
        found = last(halves.run(todo(tmp_path / "met", "meet", "meet"), Odd))
        assert [(report.kind, report.text) for report in found.values()] == [("done", "0")] * 2

    def test_a_node_that_disappears_loses_its_unit_alone(self, cluster: Any, tmp_path: Path) -> None:
        (away,) = cluster.worker_nodes
        told, found = set[str](), dict[int, str]()
        for report in Ray(workers=2, device="cpu").run(todo(tmp_path, "wait", "wait", "good", "good"), Odd):
            assert isinstance(report.unit, RunUnit)
            place = int(report.unit.run_id, 16)
            told |= {report.unit.id}
            if report.kind in FINAL:
                found[place] = report.kind
            if report.kind == "alive" and len(told) == 2 and not found and away in cluster.worker_nodes:
                cluster.remove_node(away)
            if report.kind == "lost":
                (tmp_path / "mark").touch()
        assert sorted(found.values()) == ["done", "done", "done", "lost"], found
        assert "lost" in {found[0], found[1]}
        assert (found[2], found[3]) == ("done", "done"), (
            "the node that is left goes on, though the other worker has no room"
        )

    def test_a_worker_for_which_there_is_no_room_is_not_waited_for_for_ever(self, cluster: Any, tmp_path: Path) -> None:
        (found,) = Ray(workers=1, device="cpu", cpus=99, timeout=1).run(todo(tmp_path, "good"), Odd)
        assert found.kind == "lost"
        assert "no room for a worker" in found.text


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("executor", "parameter", "came"),
    [
        ("slurm", "cluster=slurm", r"Slurm's jobs to start, got: Could not detect .srun.*choose another --executor"),
        ("ray", "address=127.0.0.1:1", r"Ray at 127\.0\.0\.1:1, got no answer in 3 s; correct --with address"),
        ("ray", "address=ray://nowhere:x", r"Ray at ray://nowhere:x, got: .*; correct --with address"),
    ],
)
def test_an_executor_that_cannot_start_is_a_fault_of_the_environment_soon(
    shared: Path, monkeypatch: pytest.MonkeyPatch, executor: str, parameter: str, came: str
) -> None:
    monkeypatch.setattr(pytest.importorskip("ray"), "is_initialized", lambda: False)
    key, _, value = parameter.partition("=")
    monkeypatch.setattr("bench.executors.ray.CONNECT", 3.0 if value.startswith("127") else 60.0)
    monkeypatch.setenv("PATH", str(shared))
    who = registry.instantiate("executors", Component(name=executor, params={key: value}))
    with pytest.raises(EnvironmentFault, match=came):
        list(who.run(todo(shared, "good"), Odd))


def test_a_ray_that_does_not_start_here_is_a_fault_of_the_environment(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")

    def fail(**_: object) -> None:
        raise RuntimeError("no room for\nan object store")

    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(EnvironmentFault, match="expected Ray to start, got: no room for; "):
        list(Ray().run(todo(shared, "good"), Odd))


@pytest.mark.parametrize(
    ("executor", "key", "values"),
    [
        ("slurm", "hours", (float("inf"), float("nan"), 0, 1e9, True)),
        ("slurm", "cpus", (0, 1e9, float("inf"), True)),
        ("slurm", "gpus", (-1, 10**9, True)),
        ("slurm", "memory", (0, 10**9, True)),
        ("ray", "cpus", (float("inf"), float("nan"), 0, 1e9, True)),
        ("ray", "gpus", (float("inf"), float("nan"), -1, 1e9, True)),
        *((name, "workers", (0, 10**9, True)) for name in registry.names("executors")),
        *((name, "timeout", (float("inf"), float("nan"), 0, 1e9, True)) for name in registry.names("executors")),
    ],
)
def test_parameters_of_executors_have_bounds(executor: str, key: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(UsageError, match=f"executor {executor}: {key}: "):
            registry.instantiate("executors", Component(name=executor, params={key: value}))


def test_an_executor_says_how_many_workers_share_the_memory_of_one_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert [Local().neighbours, Local(workers=3).neighbours] == [1, 3]
    assert [Ray().neighbours, Ray(cpus=2).neighbours, Ray(workers=3).neighbours] == [8, 4, 3]
    assert [Slurm(workers=9).neighbours, Slurm(workers=9, cluster="local").neighbours] == [1, 9]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [Local().neighbours, Local(device="cpu").neighbours, Ray(gpus=0.5).neighbours] == [4, 1, 8]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("submitit")
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_preempted_job_continues_and_a_dead_one_loses_the_unit_in_hand_alone(shared: Path) -> None:
    units = todo(shared, "good", "preempted once", "fail", "die", "good")
    found = last(Slurm(cluster="local").run(units, Odd))
    assert [found[place].kind for place in range(5)] == ["done", "done", "failed", "lost", "busy"]
    assert (shared / "mark").exists()
    assert found[0].text != found[1].text, "the job came up again as another process, and kept the first answer"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_jobs_make_the_bytes_of_bench_run(shared: Path, folder: Path, protocol: str, singly: Any) -> None:
    chosen, _ = choose(Wanted([f"file:{folder}/tiny.toml"], ATTACKS, protocol, "random-noise"))
    outcome = sweep(chosen, execution(shared), Slurm(cluster="local", workers=2, device="cpu"), Watcher())
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
