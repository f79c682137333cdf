"""Metrics of runs: one clean look for all, second names."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tomli_w

from bench.core.errors import UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.spec import RunSpec
from bench.core.storage.store import Store
from bench.run.execution import Execution
from bench.run.judge.clean import Clean, look
from bench.run.samples import Samples
from bench.run.session import Cache
from bench.run.setup import Setup
from bench.run.steps import run
from tests.support.short_runs import COUNT, asked, completed, planned
from tests.support.tiny import tiny_content, write_entry, write_protocol
from tests.support.watcher import Watcher


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
