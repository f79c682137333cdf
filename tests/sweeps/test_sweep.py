"""Sweeps give equal bytes for all numbers and orders of workers.

One failure does not stop other runs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench.cli import bench as command
from bench.core.contracts import Executor
from bench.core.schemas.units import Unit
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.executors.local import Local
from bench.run.execution import Execution
from bench.run.shards import Shards
from bench.sweeps.rounds import ATTEMPTS
from bench.sweeps.status import SweepStatus, statuses
from bench.sweeps.sweep import Outcome, SweepRun, sweep, units
from model_zoo.tensors import export_weights
from tests.support.commands import invoke
from tests.support.stored import content
from tests.support.sweeps import COUNT, SHARD, Inline, execution
from tests.support.tiny import residual_content, tiny_network, write_entry
from tests.support.watcher import Watcher


def swept(runs: list[SweepRun], folder: Path, executor: Executor) -> tuple[Outcome, Watcher]:
    watcher = Watcher()
    return sweep(runs, execution(folder), executor, watcher), watcher


@pytest.mark.parametrize("workers", [2])
def test_processes_make_the_bytes_of_bench_run(
    runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path, workers: int
) -> None:
    outcome, watcher = swept(runs, tmp_path, Local(workers=workers, device="cpu"))
    assert not outcome.failures
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total == 2 * COUNT


@pytest.mark.parametrize("arrange", [list, lambda units: units[::-1], lambda units: sorted(units, key=lambda u: u.id)])
def test_the_order_of_units_changes_no_byte(
    runs: list[SweepRun],
    singly: list[StoredRun],
    tmp_path: Path,
    arrange: Callable[[Sequence[Unit]], Sequence[Unit]],
) -> None:
    outcome, watcher = swept(runs, tmp_path, Inline(arrange))
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total == 2 * COUNT


def test_units_of_several_shards_as_on_a_gpu_change_no_byte_and_do_only_what_is_left(
    runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = execution(tmp_path)
    swept(runs, tmp_path, Inline(fate=lambda unit: None if unit.shard == 1 else "failed"))
    monkeypatch.setattr(Execution, "together", lambda self, shards, size: [range(shards)])
    (first, second) = [units(each, where)[0] for each in runs]
    assert (first.shard, first.shards, first.images) == (0, COUNT // SHARD, COUNT - SHARD)
    assert first.name.endswith(f"shards 0 to {COUNT // SHARD - 1}")
    outcome, watcher = swept(runs, tmp_path, Inline())
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total
    assert first.id not in {second.id, first.model_copy(update={"shards": 1}).id}


def test_a_unit_is_named_by_all_that_may_change_a_number_of_it(runs: list[SweepRun], tmp_path: Path) -> None:
    todo = [unit for each in runs for unit in units(each, execution(tmp_path))]
    assert len({unit.id for unit in todo}) == len(todo) == 2 * COUNT // SHARD
    first = todo[0]
    assert first.model_copy(update={"run_id": todo[-1].run_id}).id != first.id
    assert first.model_copy(update={"request": first.request | {"model": "elsewhere.toml"}}).id == first.id


def test_what_is_there_is_not_done_again(runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path) -> None:
    where = execution(tmp_path)
    swept(runs, tmp_path, Inline(fate=lambda unit: None if unit.shard else "failed"))
    assert [unit.shard for each in runs for unit in units(each, where)] == [0, 0]
    outcome, watcher = swept(runs, tmp_path, Inline())
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total
    assert not [unit for each in runs for unit in units(each, where)]
    again = swept(runs, tmp_path, Inline(fate=pytest.fail))[0]
    assert [each.path for each in again.finished] == [each.path for each in outcome.finished]


def test_a_unit_that_always_fails_is_reported_and_the_rest_goes_on(
    runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path
) -> None:
    bad = runs[1].run_id
    outcome, watcher = swept(
        runs, tmp_path, Inline(fate=lambda unit: "failed" if (unit.run_id, unit.shard) == (bad, 1) else None)
    )
    assert [content(each) for each in outcome.finished] == [content(singly[0])]
    assert [failure.why for failure in outcome.failures] == ["so it goes"]
    assert watcher.done == watcher.total - SHARD
    left = units(runs[1], execution(tmp_path))
    assert [unit.shard for unit in left] == [1], "the other shards of the run are kept"


def test_a_run_whose_floor_failed_waits_for_it(runs: list[SweepRun], tmp_path: Path) -> None:
    floor = runs[0].run_id
    outcome, _ = swept(runs, tmp_path, Inline(fate=lambda unit: "failed" if unit.run_id == floor else None))
    assert not outcome.finished
    assert "floor" in outcome.failures[-1].why
    assert len(swept(runs, tmp_path, Inline())[0].finished) == 2


def test_a_lost_unit_is_begun_again_and_one_that_is_always_lost_ends(
    runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path
) -> None:
    begun = list[str]()

    def once(unit: Unit) -> str | None:
        begun.append(unit.id)
        return "lost" if begun.count(unit.id) == 1 else None

    outcome, watcher = swept(runs, tmp_path / "once", Inline(fate=once))
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total
    assert any("begun again" in note for note in watcher.said)
    executor = Inline(fate=lambda unit: "lost" if unit.shard == 0 else None)
    outcome, _ = swept(runs, tmp_path / "always", executor)
    assert len(executor.patience) == ATTEMPTS
    assert [failure.why for failure in outcome.failures] == [f"so it goes, {ATTEMPTS} times"] * 2


def test_a_unit_that_another_process_is_at_waits_until_the_others_are_done(
    runs: list[SweepRun], singly: list[StoredRun], tmp_path: Path
) -> None:
    shards = Shards(runs[0].plan.spec, tmp_path / "work")
    holder = shards.lease(0, None)
    holder.__enter__()
    first = list[int]()

    def order(todo: Sequence[Unit]) -> Sequence[Unit]:
        if first:  # the second round: its holder is done, or dead
            holder.__exit__(None, None, None)
        first.append(len(todo))
        return todo

    executor = Inline(order)
    outcome, watcher = swept(runs, tmp_path, executor)
    assert (first, executor.patience) == ([2 * COUNT // SHARD, 1], [False, True])
    assert [content(each) for each in outcome.finished] == [content(each) for each in singly]
    assert watcher.done == watcher.total


def overflowing(folder: Path) -> Path:
    """A model of finite weights whose logits are infinite."""
    network = tiny_network()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.fill_(6e4)
                module.get_buffer("running_var").fill_(0)
    weights = export_weights(network, folder / "overflow.safetensors").model_dump(exclude_none=True)
    return write_entry(folder, residual_content(folder) | {"name": "overflow", "weights": weights})


def test_the_command_reports_what_fails_and_status_says_how_it_stands(
    folder: Path, protocol: str, singly: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    damaged = residual_content(tmp_path, "damaged")
    missing = write_entry(tmp_path, damaged | {"weights": damaged["weights"] | {"sha256": "0" * 64}})
    models = f"file:{folder}/tiny.toml,file:{overflowing(tmp_path)},file:{missing}"
    words = ["sweep", "--models", models, "--protocol", protocol, "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(command, [*words, "--device", "cpu", "--json"])
    assert done.exit_code == 1, done.output
    answer = json.loads(done.stdout)
    assert [content(each) for each in Store(tmp_path / "results").runs()] == [content(each) for each in singly[::-1]]
    assert len(answer["runs"]) == 2
    whys = [failure["why"] for failure in answer["failures"]]
    assert "sha256" in whys[0]
    assert all("NaN or infinity" in why for why in whys[1:])
    assert len(whys) == 1 + 2 * COUNT // SHARD
    stands = json.loads(CliRunner().invoke(command, ["status", "--json"]).stdout)[0]
    assert [(each["done"], each["filed"]) for each in stands["runs"]] == [(COUNT, True)] * 2 + [(0, False)] * 2
    assert len(stands["failures"]) == 2 * COUNT // SHARD
    shown = CliRunner().invoke(command, ["status"]).output
    assert f"{2 * COUNT} of {4 * COUNT} images; nobody is at work: the same command continues" in shown
    plan = CliRunner().invoke(command, [*words[:-1], str(tmp_path / "results"), "--dry-run", "--json"])
    assert json.loads(plan.stdout)["unknown"] == 0, "another network of the same architecture is as fast"


def test_a_dry_run_says_which_models_cannot_be_had(
    folder: Path, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    damaged = residual_content(tmp_path, "damaged")
    missing = write_entry(tmp_path, damaged | {"weights": damaged["weights"] | {"sha256": "0" * 64}})
    words = ["sweep", "--models", f"file:{folder}/tiny.toml,file:{missing}", "--protocol", protocol, "--dry-run"]
    words += ["--results", str(tmp_path / "results")]
    code, out, _ = invoke(capsys, *words, "--json")
    answer = json.loads(out)
    assert (code, len(answer["units"])) == (1, 2 * COUNT // SHARD)
    (failure,) = answer["failures"]
    assert failure["what"] == f"file:{missing}"
    assert "sha256" in failure["why"]
    code, out, said = invoke(capsys, *words)
    assert (code, "2 of 2 runs to do" in out) == (1, True)
    assert f"error: file:{missing}: {failure['why']}" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--models", ","], "expected names for --models, got ','"),
        (["--models", "file:x.toml", "--attacks", ","], "expected names for --attacks, got ','"),
        (["--models", "file:x.toml", "--with", "x"], "expected --with KEY=VALUE, got 'x'"),
        (["--models", "file:x.toml", "--with", "workers=true"], "workers: expected no truth value, got true"),
        (["--models", "file:x.toml", "--executor", "ray", "--with", "cpus=inf"], "cpus: "),
        (["--models", "file:x.toml", "--executor", "slurm", "--with", "hours=inf"], "hours: "),
    ],
)
def test_a_sweep_of_nothing_or_by_nonsense_is_a_usage_error(
    words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, said = invoke(capsys, "sweep", *words)
    assert code == 2
    assert sentence in said


@pytest.mark.parametrize(
    ("executor", "words", "each"),
    [
        ("local", [], 8 * 10**9),
        ("local", ["--workers", "2"], 4 * 10**9),
        ("local", ["--with", "workers=2"], 4 * 10**9),
        ("ray", [], 10**9),
        ("slurm", ["--workers", "2"], 8 * 10**9),
    ],
)
def test_workers_of_one_machine_share_the_memory(
    folder: Path, protocol: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    executor: str, words: list[str], each: int,
) -> None:  # fmt: skip
    given: list[Execution] = []

    def noted(_: object, where: Execution, *__: object) -> Outcome:
        given.append(where)
        return Outcome([], [])

    monkeypatch.setattr("bench.sweeps.sweep.sweep", noted)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    words = [*words, "--executor", executor, "--memory", "8GB", "--device", "cpu", "--results", str(tmp_path)]
    code, _, said = invoke(capsys, "sweep", "--models", f"file:{folder}/tiny.toml", "--protocol", protocol, *words)
    assert code == 0, said
    assert [where.memory for where in given] == [each]


def test_what_a_killed_sweep_left_of_its_plan_goes_with_the_next(runs: list[SweepRun], tmp_path: Path) -> None:
    swept(runs, tmp_path, Inline(fate=lambda _: "failed"))
    (path,) = (tmp_path / "work" / "sweeps").iterdir()
    path.with_name(f".{path.name}.x1.tmp").touch()
    swept(runs, tmp_path, Inline(fate=lambda _: "failed"))
    assert list(path.parent.iterdir()) == [path]


def test_a_sweep_that_cannot_be_read_hides_no_other(
    runs: list[SweepRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(runs, tmp_path, Inline(fate=lambda _: "failed"))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    for name, damage in {"000000000000": b"{", "ffffffffffff": b"\xff"}.items():
        (tmp_path / "work" / "sweeps" / f"{name}.json").write_bytes(damage)
    code, out, said = invoke(capsys, "status", "--json")
    assert code == 3
    assert len(json.loads(out)) == 1
    assert said.count("error: expected a sweep in ") == 2
    assert "of 8 images; nobody is at work" in invoke(capsys, "status")[1]


def standing(folder: Path) -> SweepStatus:
    (found,) = statuses(folder / "work", lambda error: pytest.fail(str(error)))
    return found


def test_status_tells_who_is_at_work_and_what_is_left(runs: list[SweepRun], tmp_path: Path) -> None:
    swept(runs, tmp_path, Inline(fate=lambda unit: None if unit.shard else "failed"))
    now = standing(tmp_path)
    assert now.images == (2 * (COUNT - SHARD), 2 * COUNT)
    assert (now.working, now.seconds_left) == (0, None)
    with Shards(runs[1].plan.spec, tmp_path / "work").lease(0, None):
        now = standing(tmp_path)
        assert [each.working for each in now.runs] == [0, 1]
        pace = sum(each.seconds for each in now.runs) / (2 * (COUNT - SHARD))
        assert now.seconds_left == pytest.approx(pace * 2 * SHARD)
    swept(runs, tmp_path, Inline())
    now = standing(tmp_path)
    assert all(each.filed for each in now.runs)
    assert not now.failures


def test_a_dry_run_does_nothing_and_estimates_by_queries_and_speed(
    folder: Path, protocol: str, singly: list[StoredRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.sweeps.costs import Costs

    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    store = Store(singly[0].path.parents[3])
    other = write_entry(tmp_path, residual_content(tmp_path) | {"name": "other", "mean": [0.4, 0.4, 0.4]})
    words = ["sweep", "--models", f"file:{other}", "--protocol", protocol, "--results", str(store.root), "--dry-run"]
    answer = json.loads(CliRunner().invoke(command, [*words, "--json"]).stdout)
    assert [unit["images"] for unit in answer["units"]] == [SHARD] * (2 * COUNT // SHARD)
    took = sum(each.record.environment.seconds for each in singly)
    assert answer["seconds"] == pytest.approx(took, rel=1), "the same attacks on the same architecture"
    assert not (tmp_path / "work").exists()
    assert f"{2 * COUNT // SHARD} units, 0:00:" in CliRunner().invoke(command, words).output
    nothing = [str(tmp_path / "nothing") if word == str(store.root) else word for word in words]
    said = CliRunner().invoke(command, nothing).output
    assert f"{2 * COUNT // SHARD} units, no record tells what {2 * COUNT // SHARD} of them cost" in said
    spec = singly[1].record.spec
    assert Costs(store.runs()).estimate(spec, 2) == pytest.approx(singly[1].record.environment.seconds / COUNT * 2)
    assert Costs([]).estimate(spec, 2) is None
    unlike = spec.model.model_copy(update={"weights_sha256": "1" * 64, "architecture": replace_name(spec)})
    assert Costs(store.runs()).estimate(spec.model_copy(update={"model": unlike}), 2) is None


def replace_name(spec: Any) -> Any:
    return spec.model.architecture.model_copy(update={"name": "another"})
