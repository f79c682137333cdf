"""A whole run on real images with a tiny network.

Tests the filed results, and that interruptions do not change them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w
import torch

from bench.core.compute.chunks import CPU_BATCH, nodes_in_flight
from bench.core.errors import EnvironmentFault, ModelOutputError, PluginFault, UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import ATTACK_COLUMNS, ROW_COLUMNS, SHOWCASE_TILES
from bench.core.schemas.spec import RunSpec
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.attack import search
from bench.run.execution import Execution
from bench.run.judge.clean import Clean, look
from bench.run.plan import Plan, plan
from bench.run.record import soundness
from bench.run.request import Request
from bench.run.samples import Samples
from bench.run.session import Cache, Session
from bench.run.setup import Setup, set_up
from bench.run.steps import run
from model_zoo.derivatives import compiled
from tests.support.tiny import tiny_content, write_entry, write_protocol

COUNT = 5


class Watcher:
    """Remember messages, and stop the run after some images."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.total, self.done, self.stop_after = 0, 0, stop_after
        self.said: list[str] = []

    def start(self, title: str, total: int, done: int) -> None:
        self.total, self.done = total, done

    def say(self, text: str) -> None:
        self.said.append(text)

    def advance(self, images: int) -> None:
        self.done += images
        if self.stop_after is not None and self.done >= self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny model and a protocol of five images, for commands."""
    folder = tmp_path_factory.mktemp("words")
    entry = write_entry(folder, tiny_content(folder))
    for name, shard_size in (("short", 2), ("one-shard", COUNT)):
        write_protocol(folder, name, COUNT, shard_size)
    return {"model": f"file:{entry}", "protocol": str(folder / "short-v1.toml")}


def asked(words: dict[str, Any], attack: str = "ifia-topk", **changes: Any) -> Request:
    return Request(attack=attack, **words, **changes)


def planned(words: dict[str, Any], attack: str = "ifia-topk", **changes: Any) -> Plan:
    return plan(asked(words, attack, **changes))


def completed(words: dict[str, str], folder: Path, *, batch_size: int = 1, **changes: Any) -> StoredRun:
    execution = Execution(Store(folder / "results"), folder / "work", "cpu", batch_size)
    return run([asked(words, **changes)], execution, Watcher())[0]


@pytest.fixture(scope="module")
def undisturbed(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    return completed(words, tmp_path_factory.mktemp("undisturbed"))


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


@pytest.mark.parametrize(("attribution", "looks"), [("gradient", 1), ("smoothgrad", 2)])
def test_clean_images_are_judged_once_for_all_attacks_and_no_bit_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attribution: str, looks: int
) -> None:
    entry = write_entry(tmp_path, tiny_content(tmp_path))
    protocol = tomllib.loads(write_protocol(tmp_path, "asking", 4, 4).read_text())
    nodes = {"params": {"nodes": 2}} if attribution == "smoothgrad" else {}
    protocol |= {"attribution": {"name": attribution, **nodes}, "search_attribution": {"name": "gradient"}}
    few = {"deletion": {"steps": 2}, "infidelity": {"draws": 2}, "max-sensitivity": {"draws": 2}}
    protocol["metrics"] += [{"name": name, "params": params} for name, params in few.items()]
    path = tmp_path / "asking-v1.toml"
    path.write_text(tomli_w.dumps(protocol))
    words, seen = {"model": f"file:{entry}", "protocol": str(path)}, []

    def noted(setup: Setup, images: Samples) -> Clean:
        seen.append(images.ids)
        return look(setup, images)

    monkeypatch.setattr("bench.run.session.look", noted)

    def rows(folder: str, cache: Cache | None) -> list[str | None]:
        execution = Execution(Store(tmp_path / folder), tmp_path / folder / "work", "cpu")
        wanted = [asked(words, attack) for attack in ("random-noise", "ifia-topk")]
        return [run([each], execution, Watcher(), cache=cache)[0].record.rows_sha256 for each in wanted]

    together = rows("together", Cache())
    assert len(seen) == looks
    assert rows("apart", None) == together
    assert len(seen) == looks + 2


def test_another_model_is_looked_at_anew(words: dict[str, str], tmp_path: Path) -> None:
    cache, found = Cache(), []
    for name, mean in (("one", 0.5), ("two", 0.4)):
        folder = tmp_path / name
        folder.mkdir()
        entry = write_entry(folder, tiny_content(folder) | {"mean": [mean] * 3})
        execution = Execution(Store(folder / "results"), folder / "work", "cpu")
        (made,) = run([asked(words | {"model": f"file:{entry}"})], execution, Watcher(), cache=cache)
        alone = Execution(Store(folder / "alone"), folder / "alone" / "work", "cpu")
        assert run([asked(words | {"model": f"file:{entry}"})], alone, Watcher())[0].record.rows_sha256 == (
            made.record.rows_sha256
        )
        found.append(made.record.rows_sha256)
    assert found[0] != found[1]


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


def with_metrics(words: dict[str, str], folder: Path, metrics: dict[str, Any], **changes: Any) -> dict[str, str]:
    """The short protocol with other metrics than its own beside kendall."""
    content = tomllib.loads(Path(words["protocol"]).read_text())
    kept = [metric for metric in content["metrics"] if metric["name"] == "kendall"]
    content |= {"metrics": kept + [{"name": name, "params": params} for name, params in metrics.items()]} | changes
    (folder / "short-v1.toml").write_text(tomli_w.dumps(content))
    return words | {"protocol": str(folder / "short-v1.toml")}


def test_what_metrics_ask_the_network_hangs_on_the_sample_alone(words: dict[str, str], tmp_path: Path) -> None:
    few: dict[str, Any] = {"draws": 2}
    asking = {"max-sensitivity": few, "infidelity": few, "deletion": {"steps": 2}, "completeness-gap": {}}
    moved = {"local-lipschitz": {"neighbours": "attacked"}, "input-gradient-alignment": {"of": "after"}}
    tables = {}
    for shard_size, batch_size, attack in ((2, 1, "ifia-topk"), (COUNT, 7, "ifia-topk"), (2, 1, "random-noise")):
        folder = tmp_path / f"{shard_size}-{attack}"
        folder.mkdir()
        changed = with_metrics(words, folder, asking | moved, shard_size=shard_size)
        tables[shard_size, attack] = completed(changed, folder, batch_size=batch_size, attack=attack).rows()
    rows, other_shards, other_attack = tables.values()
    pd.testing.assert_frame_equal(rows, other_shards, check_exact=True)
    pd.testing.assert_frame_equal(rows[list(asking)], other_attack[list(asking)], check_exact=True)
    apart = rows["feasible"] & other_attack["feasible"]
    assert apart.any()
    assert (rows[list(moved)] != other_attack[list(moved)])[apart].all(axis=None)
    assert rows[[*asking, *moved]][apart].notna().all(axis=None)
    assert rows["local-lipschitz"][~rows["feasible"]].isna().all(), "an image that was put back has no distance"
    assert rows["completeness-gap"].to_numpy() == pytest.approx(rows["completeness_gap_before"], abs=1e-5)


def with_second(words: dict[str, str], folder: Path, *metrics: dict[str, Any]) -> dict[str, str]:
    """The short protocol with more metrics."""
    content = tomllib.loads(Path(words["protocol"]).read_text())
    content["metrics"] += metrics
    (folder / "short-v1.toml").write_text(tomli_w.dumps(content))
    return words | {"protocol": str(folder / "short-v1.toml")}


def test_one_metric_is_measured_twice_under_two_names(words: dict[str, str], tmp_path: Path) -> None:
    twice: tuple[dict[str, Any], ...] = (
        {"name": "gini"},
        {"name": "gini", "as": "gini-after", "params": {"of": "after"}},
    )
    done = completed(with_second(words, tmp_path, *twice), tmp_path)
    first, second = done.record.spec.metrics[-2:]
    assert (first.name, first.plugin, first.params["of"]) == ("gini", None, "before")
    assert (second.name, second.plugin, second.params["of"]) == ("gini-after", "gini", "after")
    rows = done.rows()
    assert (rows["gini"] != rows["gini-after"])[rows["feasible"]].all()
    assert done.record.summaries["all"]["gini-after"].mean == pytest.approx(rows["gini-after"].mean())
    (kept,) = done.path.parents[2].glob("protocol-*.json")
    assert Protocol.model_validate_json(kept.read_bytes()).sha256 == done.record.spec.protocol.sha256
    assert RunSpec.model_validate_json(done.record.spec.model_dump_json()).run_id == done.record.run_id


@pytest.mark.parametrize(
    ("name", "second", "sentence"),
    [
        ("gini", "correct", "as: expected gini-SOMETHING, got 'correct'"),
        ("cosine", "cosine-abs", "as: expected a name that no metric has, got cosine-abs"),
        ("kendall", "kendall", "as: expected kendall-SOMETHING, got 'kendall'"),
        ("kendall", None, "metrics: expected each once, got 'kendall' twice; give one of them a name with as = "),
    ],
)
def test_a_second_name_says_which_metric_it_is_and_belongs_to_no_other(
    words: dict[str, str], tmp_path: Path, name: str, second: str | None, sentence: str
) -> None:
    metric = {"name": name} | ({} if second is None else {"as": second})
    with pytest.raises(UsageError, match=sentence):
        planned(with_second(words, tmp_path, metric))


def test_attacks_cannot_select_by_a_metric_that_asks_the_network(words: dict[str, str], tmp_path: Path) -> None:
    changed = with_metrics(words, tmp_path, {"max-sensitivity": {}}, primary_metric="max-sensitivity")
    with pytest.raises(UsageError, match="got max-sensitivity, which asks the network again; choose another"):
        planned(changed)


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


def test_kill_minus_nine_leaves_nothing_that_the_same_command_cannot_finish(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "bench.cli", "run", "--model", words["model"], "--protocol", words["protocol"]]
    command += ["--attack", "ifia-topk", "--results", str(tmp_path / "results")]
    environment = os.environ | {"BENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    victim = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    shards = tmp_path / "cache" / "work" / "attacks"
    deadline = time.monotonic() + 120
    while not list(shards.rglob("*.safetensors")) and victim.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    assert victim.wait() == -signal.SIGKILL
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (stored,) = (r for r in Store(tmp_path / "results").runs() if r.record.spec.attack.name == "ifia-topk")
    assert stored.record.rows_sha256 == undisturbed.record.rows_sha256
    assert not list(tmp_path.rglob("*.tmp")) or all("work" in str(p) for p in tmp_path.rglob("*.tmp"))


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


def test_every_parameter_is_part_of_the_identity(words: dict[str, str]) -> None:
    base = planned(words).spec
    for change in ({"steps": 3}, {"step_size": "2/255"}, {"restarts": 2}, {"k": 50}):
        other = planned(words, params=change).spec
        assert other.run_id != base.run_id
        assert other.attack_id != base.attack_id
    limited = planned(words, limit=2).spec
    assert limited.run_id != base.run_id
    assert limited.attack_id == base.attack_id


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"attack": "ifia-topq"}, "did you mean 'ifia-topk'"),
        ({"protocol": "cifar10-smok-v1"}, "did you mean 'cifar10-smoke-v1'"),
        ({"model": "hub:natural-wrn82"}, "did you mean 'natural-wrn28'"),
        ({"params": {"stepz": 3}}, "'steps'"),
        ({"params": {"steps": 0}}, "steps"),
        ({"params": {"step_size": 0.5}}, "8/255"),
        ({"limit": 0}, "limit between 1 and"),
        ({"limit": 6}, "limit between 1 and"),
    ],
)
def test_bad_words_give_one_clear_sentence(words: dict[str, str], change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(Request(**({"attack": "ifia-topk"} | words | change)))


def test_the_name_of_a_registered_model_is_enough(words: dict[str, str]) -> None:
    one, other = (planned(words | {"model": name}) for name in ("natural-linear", "hub:natural-linear"))
    assert one.spec == other.spec
    assert one.spec.model.reference == "hub:natural-linear"


def test_an_entry_of_an_unknown_data_set_is_told_which_was_meant(words: dict[str, str], tmp_path: Path) -> None:
    entry = write_entry(tmp_path, tiny_content(tmp_path) | {"dataset": "cifar-10"})
    with pytest.raises(UsageError, match=r"got tiny of the unknown data set 'cifar-10'; did you mean 'cifar10'\?"):
        planned(words | {"model": f"file:{entry}"})


@pytest.mark.parametrize("seen_at_once", [True, False])
def test_nan_logits_stop_the_run_and_nothing_is_filed(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen_at_once: bool
) -> None:
    monkeypatch.setattr(
        "model_zoo.architectures.wide_resnet.WideResNet.forward", lambda _, x: x[:, 0, 0, :10] * torch.nan
    )
    if not seen_at_once:  # on the images of the first look, that is
        monkeypatch.setattr("bench.run.setup.check_logits", lambda *_: None)
    with pytest.raises(ModelOutputError, match="finite"):
        completed(words, tmp_path)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("attack", ["ifia-topk", "target-map"])  # which step by signs and by sizes
def test_gradients_that_are_nan_beside_finite_logits_end_in_flags_and_no_number(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    def forward(_: object, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0, 0, :10] + (0 * x[:, 1, :1, 0]).sqrt()  # its slope at zero is infinite, times zero

    monkeypatch.setattr("model_zoo.architectures.wide_resnet.WideResNet.forward", forward)
    made = completed(words, tmp_path, attack=attack, params={"steps": 2})
    assert {"vanishing-gradient", "undefined-metric"} <= {flag.name for flag in made.record.flags}
    assert (made.rows()["gradient_vanished"] == 1).all()
    assert made.record.summaries["all"]["kendall"].mean is None


def test_a_results_folder_that_cannot_be_written_says_so(words: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(EnvironmentFault, match="choose a writable folder"):
        completed(words, tmp_path)
    assert not (tmp_path / "work").exists(), "it must say so before anything is computed"


def test_a_transferred_run_names_the_other_network_to_the_byte(words: dict[str, str], tmp_path: Path) -> None:
    content = tiny_content(tmp_path, "other")
    params = {"model": f"file:{write_entry(tmp_path, content)}", "params": {"steps": 1}}
    made = completed(words, tmp_path, attack="transfer", params=params)
    craft = made.record.spec.crafted_on
    assert craft is not None
    assert craft.model.weights_sha256 == content["weights"]["sha256"]
    assert craft.attack.params["steps"] == 1
    assert craft.attack.params["k"] == 100, "defaults are part of the identity too"
    assert (made.rows()["gradient_evaluations"] == 0).all(), "the attacked network was not looked at"
    assert (made.rows()["linf"] > 0).any()
    spec = made.record.spec
    assert spec.model_copy(update={"crafted_on": None}).run_id != spec.run_id


def test_an_attack_that_is_transferred_twice_or_aims_at_a_kept_class_is_refused(words: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="transfer once"):
        planned(words, "transfer", params={"attack": "transfer"})
    for attack, params in (("pgd", {}), ("transfer", {"attack": "pgd"})):
        with pytest.raises(UsageError, match="keep_prediction = false"):
            planned(words, attack, params=params)


def test_an_attack_may_bring_its_own_attribution_to_search_with(words: dict[str, str]) -> None:
    spec = planned(words, "art-legacy", params={"nodes": 3}).spec
    assert (spec.search_attribution.name, spec.search_attribution.params) == ("art-integrated-gradients", {"nodes": 3})
    assert planned(words).spec.search_attribution.name == "integrated-gradients"


def test_other_nodes_of_the_search_change_the_attack_and_not_the_judge(
    words: dict[str, str], undisturbed: StoredRun, tmp_path: Path
) -> None:
    changed = completed(words, tmp_path, nodes=1)
    spec, usual = changed.record.spec, undisturbed.record.spec
    assert (spec.search_attribution.params["nodes"], usual.search_attribution.params["nodes"]) == (1, 2)
    assert (spec.on_protocol, usual.on_protocol) == (False, True)
    assert spec.attribution == usual.attribution
    ratio = undisturbed.rows()["gradient_evaluations"] / changed.rows()["gradient_evaluations"]
    assert ratio.eq(2).all(), "a gradient per node"
    assert planned(words, nodes=2).spec == usual, "the protocol's own number is no change"
    with pytest.raises(UsageError, match="nodes"):
        planned(words, nodes=0)


def crash(*_: object, **__: object) -> torch.Tensor:
    nothing: Any = None
    return nothing.shape


@pytest.mark.parametrize(
    ("place", "answer", "said"),
    [
        ("attacks.random_noise.RandomNoise.perturb", crash, r"attack random-noise .*py:\d+\): AttributeError: 'NoneT"),
        ("metrics.kendall.Kendall.__call__", crash, r"metric kendall .*py:\d+\): AttributeError: .*; mend it: BENCH_D"),
        ("bench.attributions._nodes.NodeMethod.attribute_with_logits", crash, r"attribution integrated-gradients \("),
        (
            "bench.attributions._nodes.NodeMethod.attribute_with_logits",
            lambda _, model, images, labels, rng: (images[:, :, 1:], model(images)),
            r"attribution integrated-gradients: expected .* shape \(1, 3, 32, 32\), got \(1, 3, 31, 32\); mend it",
        ),
        (
            "attacks.random_noise.RandomNoise.perturb",
            lambda _, victim, images, labels, threat, rng: images[:, :, 1:],
            r"attack random-noise: expected proposals of the shape \(1, 3, 32, 32\), got \(1, 3, 31, 32\); return one",
        ),
        (
            "attacks.random_noise.RandomNoise.perturb",
            lambda _, victim, images, labels, threat, rng: images * torch.nan,
            r"attack random-noise: expected finite images, got NaN or infinity in 1 of 1; mend it",
        ),
        ("attacks.random_noise.RandomNoise.perturb", lambda *_, **__: None, r"attack random-noise .*: TypeError: "),
        (
            "metrics.topk_intersection.TopkIntersection.__call__",
            lambda _, pair: torch.full((len(pair.labels),), 1.2),
            r"metric topk-intersection: expected values in its bounds \[0, 1\], got 1.2 and 2 such of 2 in all; mend",
        ),
        (
            "metrics.topk_intersection.TopkIntersection.__call__",
            lambda _, pair: torch.zeros(()),
            r"metric topk-intersection: expected one value per image, the shape \(2,\), got \(\); mend it",
        ),
    ],
)
def test_a_plugin_that_fails_or_breaks_its_contract_is_named_and_nothing_is_filed(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, answer: Any, said: str
) -> None:
    monkeypatch.setattr(place, answer)
    with pytest.raises(PluginFault, match=f"^{said}"):
        completed(words, tmp_path, attack="random-noise")
    assert not list(tmp_path.rglob("*.json"))


def test_a_value_that_is_undefined_or_rounds_beyond_its_bound_is_none_outside(
    words: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = torch.tensor([1 + 1e-5, torch.nan])
    monkeypatch.setattr("metrics.cosine.Cosine.__call__", lambda _, pair: values[: len(pair.labels)])
    assert completed(words, tmp_path, attack="random-noise").rows()["cosine"].isna().sum() == 2
