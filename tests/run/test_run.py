"""A whole run on real images with a tiny network.

Tests the filed results, and that interruptions do not change them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from bench.core.compute.chunks import CPU_BATCH, nodes_in_flight
from bench.core.schemas.records import ATTACK_COLUMNS, ROW_COLUMNS, SHOWCASE_TILES
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.attack import search
from bench.run.execution import Execution
from bench.run.record import soundness
from bench.run.session import Cache, Session
from bench.run.setup import set_up
from bench.run.steps import run
from model_zoo.derivatives import compiled
from tests.support.short_runs import COUNT, asked, completed, planned
from tests.support.watcher import Watcher


def test_a_run_files_a_record_rows_and_a_showcase(undisturbed: StoredRun) -> None:
    record, rows = undisturbed.record, undisturbed.rows()
    assert record.samples == COUNT == len(rows)
    expected = [*ROW_COLUMNS, *ATTACK_COLUMNS, *soundness.columns(), *(m.name for m in record.spec.metrics)]
    assert list(rows.columns) == expected
    assert (rows["linf"] <= 8 / 255 + 1e-6).all()
    assert (rows["linf"][rows["feasible"]] > 0).all()
    assert (rows["predicted_before"] == rows["predicted_after"]).all(), (
        "an attack that changed the class must not count"
    )
    assert record.summaries["all"]["kendall"].mean == pytest.approx(rows["kendall"].mean())
    assert record.showcase == ("cifar10/test/0", "cifar10/test/3")
    picture = undisturbed.showcase()
    assert picture is not None
    assert picture.shape == (2 * 32, len(SHOWCASE_TILES) * 32, 3)


def test_a_finished_run_is_found_again_without_computing(words: dict[str, str], undisturbed: StoredRun) -> None:
    folder = undisturbed.path.parents[4]
    watcher = Watcher()
    again = run([asked(words)], Execution(Store(folder / "results"), folder / "work"), watcher)[0]
    assert again.path == undisturbed.path
    assert watcher.total == 0, "nothing should have been started"


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neither_batch_size_nor_shard_size_changes_a_bit_on_a_cpu(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, batch_size: int
) -> None:
    in_one_shard = words | {"protocol": words["protocol"].replace("short", "one-shard")}
    other = completed(in_one_shard, tmp_path, batch_size=batch_size)
    pd.testing.assert_frame_equal(other.rows(), undisturbed.rows(), check_exact=True)
    assert other.record.rows_sha256 == undisturbed.record.rows_sha256


def test_shards_that_are_worked_at_together_give_the_rows_of_each_alone(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path
) -> None:
    ready = planned(words)
    execution, watcher = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", COUNT), Watcher()
    cache = Cache()
    samples = cache.samples(ready)
    setup = set_up(ready, samples, execution, cache.networks, watcher)
    made = Session(ready, setup, samples, execution, observer=watcher, cache=cache)
    assert list(execution.together(3, 2)) == [range(1), range(1, 2), range(2, 3)]
    made.complete([1], None)
    made.complete([0, 1, 2], None)  # the middle one is there, and is neither attacked nor measured again
    assert watcher.done == COUNT
    assert made.shards.efforts([1])[0].seconds != made.shards.efforts([0])[0].seconds
    (again,) = run([asked(words)], execution, watcher)
    assert again.record.rows_sha256 == undisturbed.record.rows_sha256


def test_a_gpu_takes_as_many_shards_at_once_as_fill_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.run.execution.pick_device", torch.device)
    for batch_size, ends in ((5, [2, 3]), (1, [1, 2, 3]), (None, [3])):
        execution = Execution(Store(tmp_path), tmp_path, "cuda", batch_size)
        assert [group.stop for group in execution.together(3, 2)] == ends


def test_a_run_without_enough_memory_goes_on_by_halves_says_so_and_files_the_same_bytes(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = search._attack_batch

    def short_of_memory(*given: Any) -> Any:
        if nodes_in_flight(torch.device("cpu")) > 10:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return usual(*given)

    monkeypatch.setattr(search, "_attack_batch", short_of_memory)
    watcher, execution = Watcher(), Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", 2)
    (made,) = run([asked(words)], execution, watcher)
    assert watcher.said[-1] == "out of memory on cpu: on with at most 10 nodes at once"
    assert made.record.rows_sha256 == undisturbed.record.rows_sha256


def test_a_budget_of_memory_is_kept_and_changes_no_bit(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher, execution = Watcher(), Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", 2, memory=1)
    most: list[int] = []
    usual = search._attack_batch

    def noted(*given: Any) -> Any:
        most.append(nodes_in_flight(torch.device("cpu")))
        return usual(*given)

    monkeypatch.setattr(search, "_attack_batch", noted)
    (made,) = run([asked(words)], execution, watcher)
    assert watcher.said == [f"a memory of 1 bytes holds no {CPU_BATCH} nodes, the fewest: on with {CPU_BATCH} at once"]
    assert set(most) == {CPU_BATCH}, "the budget is what the attack works within"
    assert made.record.rows_sha256 == undisturbed.record.rows_sha256


def test_a_compiled_search_is_said_beside_the_run_and_ends_where_the_plain_one_does(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[bool] = []

    def quick(graph: torch.nn.Module, vary: bool) -> Any:
        calls.append(vary)
        return torch.compile(graph, dynamic=vary, backend="aot_eager")

    monkeypatch.setattr(compiled, "_compile", quick)
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", compiled=True)
    (other,) = run([asked(words)], execution, Watcher())
    assert calls == [False]
    assert other.record.run_id == undisturbed.record.run_id
    assert other.record.environment.device == "cpu, compiled"
    assert undisturbed.record.environment.device == "cpu"
    mine, plain = (each.record.summaries["all"]["kendall"].mean for each in (other, undisturbed))
    assert mine == pytest.approx(plain, abs=0.05)


@pytest.mark.parametrize("images", [1, 3])
def test_an_interrupted_run_continues_to_the_same_bytes(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path, images: int
) -> None:
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", 1)
    with pytest.raises(KeyboardInterrupt):
        run([asked(words)], execution, Watcher(stop_after=images))
    assert not [p for p in (tmp_path / "results").rglob("*") if p.is_file()], "an unfinished run must leave no record"
    second = Watcher()
    assert run([asked(words)], execution, second)[0].record.rows_sha256 == undisturbed.record.rows_sha256
    assert second.done == COUNT


def test_a_longer_run_reuses_the_shards_of_a_shorter_one(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path
) -> None:
    short = completed(words, tmp_path, limit=3)
    assert {flag.name for flag in short.record.flags} >= {"partial"}
    watcher = Watcher()
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", 1)
    (full,) = run([asked(words)], execution, watcher)
    assert full.record.rows_sha256 == undisturbed.record.rows_sha256
    pd.testing.assert_frame_equal(full.rows().head(3), short.rows())


def test_the_attack_is_compared_with_the_floor(words: dict[str, str], tmp_path: Path) -> None:
    execution = Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu", 1)
    weak = asked(words, params={"steps": 1, "step_size": "1/25500"})
    _, flagged = run([asked(words), weak], execution, Watcher())
    assert {"random-beats-attack", "off-protocol"} <= {flag.name for flag in flagged.record.flags}
