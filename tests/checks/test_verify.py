"""`bench verify RESULTS`: records, rows, pictures and flags."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import registry
from bench.checks.derived_flags import derive_anew, derived_flags
from bench.checks.records import verify_results
from bench.cli import main
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Protocol, ThreatModel
from bench.core.schemas.records import ROW_COLUMNS, Environment, Flag, RunRecord, Summary
from bench.core.schemas.spec import MetricSpec, ProtocolSpec, SamplesSpec
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store, rows_to_parquet
from bench.core.storage.stored_run import StoredRun
from bench.run.record.summary import summarise
from tests.support.factories import model_entry, run_spec, showcase_of, store_run
from tests.support.tiny import write_protocol

PICTURE = showcase_of([np.zeros((32, 32, 3), np.uint8)], robustness=0.5, seed=0)


@dataclass
class Filed:
    """An honest run of three samples in a results folder."""

    root: Path
    run: StoredRun
    table: pd.DataFrame

    def rewrite(self, *, rows: pd.DataFrame | None = None, **changes: Any) -> None:
        """File the run again with other rows or another record.

        The checksum is that of the rows.
        """
        content = rows_to_parquet(self.table if rows is None else rows)
        record = self.run.record.model_copy(update={"rows_sha256": sha256_of(content)} | changes)
        self.run = Store(self.root).write(record, content, PICTURE)


@pytest.fixture
def filed(tmp_path: Path) -> Filed:
    protocol: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    recorded = protocol.model_dump(include={"name", "version", "rankable", "floor"}) | {"sha256": protocol.sha256}
    spec = run_spec(
        model_entry(),
        metrics=(metric("kendall"), metric("accuracy")),
        samples=SamplesSpec(sha256=protocol.samples.sha256, count=3, of=20),
    ).model_copy(update={"protocol": ProtocolSpec.model_validate(recorded)})
    table = pd.DataFrame({name: np.zeros(3) for name in ROW_COLUMNS})
    table["sample_id"], table["seed"] = protocol.samples.ids()[:3], "0" * 16
    table["correct"], table["feasible"] = [True, False, True], [True, True, False]
    table["kendall"], table["accuracy"] = [0.25, float("nan"), 0.5], [1.0, 0.0, 1.0]
    content = rows_to_parquet(table)
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        entry=model_entry(),
        summaries=summarise(table, ["kendall", "accuracy"]),
        samples=3,
        correct=2,
        infeasible=1,
        flags=(),
        environment=Environment(
            python="3", packages={}, platform="", device="cpu", hardware="", commit=None, dirty=None,
            batch_size=1, started="2026-01-01T00:00:00Z", seconds=1.0,
        ),
        rows_sha256=sha256_of(content),
        showcase=("cifar10/test/0",),
        showcase_sha256=sha256_of(PICTURE),
    )  # fmt: skip
    root = tmp_path / "results"
    return Filed(root, Store(root).write(record, content, PICTURE), table)


def metric(name: str) -> MetricSpec:
    return MetricSpec(name=name, version=1, params={}, higher_is="more-robust")


def failures(root: Path) -> dict[str, str]:
    checks = verify_results(root)
    assert all(check.exit_code == (0 if check.ok else check.exit_code or -1) for check in checks)
    return {check.question: check.detail for check in checks if not check.ok}


def test_an_honest_record_passes_every_question(filed: Filed) -> None:
    checks = verify_results(filed.root)
    asked = ["record", "protocol", "showcase", "rows", "threat", "summaries", "flags", "second run"]
    assert [check.question for check in checks] == asked
    assert all(check.ok for check in checks), checks
    assert {check.subject for check in checks} == {str(filed.run.path.relative_to(filed.root))}


def test_a_changed_record_is_found(filed: Filed) -> None:
    text = filed.run.path.read_text()
    filed.run.path.write_text(text.replace('"engine":1', '"engine":2'))
    assert failures(filed.root).keys() == {"record"}
    filed.run.path.write_text(text[:-20])
    assert failures(filed.root).keys() == {"record"}


def test_a_record_in_another_models_folder_is_found(filed: Filed) -> None:
    model_folder = filed.run.path.parents[1]
    model_folder.rename(model_folder.with_name("other"))
    assert failures(filed.root).keys() == {"record"}


def test_changed_rows_and_images_are_found(filed: Filed) -> None:
    filed.run.rows_path.write_bytes(rows_to_parquet(filed.table.assign(kendall=0.9)))
    filed.run.showcase_path.unlink()
    assert failures(filed.root).keys() == {"protocol", "rows", "threat", "summaries", "flags", "showcase"}


def another_mean(filed: Filed) -> None:
    summaries = filed.run.record.summaries
    better = summaries["correct"]["kendall"].model_copy(update={"mean": 0.9})
    filed.rewrite(summaries=summaries | {"correct": summaries["correct"] | {"kendall": better}})


def no_interval(filed: Filed) -> None:
    summaries = filed.run.record.summaries
    empty = Summary(mean=None, low=None, high=None, n=3, n_undefined=0)
    filed.rewrite(summaries=summaries | {"all": summaries["all"] | {"accuracy": empty}})


@pytest.mark.parametrize("absent", ["mean", "low", "high"])
def test_a_mean_with_half_an_interval_is_no_record(absent: str, filed: Filed) -> None:
    record = json.loads(filed.run.path.read_bytes())
    record["summaries"]["all"]["kendall"][absent] = None
    filed.run.path.write_text(json.dumps(record))
    assert "both ends of its interval" in failures(filed.root)["record"]


def one_metric_less(filed: Filed) -> None:
    summaries = filed.run.record.summaries
    filed.rewrite(summaries=summaries | {"all": {"kendall": summaries["all"]["kendall"]}})


@pytest.mark.parametrize(
    ("tamper", "question"),
    [
        (another_mean, "summaries"),
        (no_interval, "summaries"),
        (one_metric_less, "summaries"),
        (lambda filed: filed.rewrite(correct=3), "rows"),
        (lambda filed: filed.rewrite(infeasible=0), "rows"),
        (lambda filed: filed.rewrite(rows=filed.table.drop(columns="linf")), "rows"),
        (lambda filed: filed.rewrite(rows=filed.table.drop(columns="linf")), "threat"),
        (lambda filed: filed.rewrite(rows=filed.table.drop(columns="sample_id")), "protocol"),
        (lambda filed: filed.rewrite(rows=filed.table.drop(columns="sample_id").assign(linf=1.0)), "threat"),
        (lambda filed: filed.rewrite(rows=filed.table.assign(sample_id="cifar10/test/0")), "protocol"),
        (lambda filed: filed.rewrite(rows=filed.table.assign(sample_id=0.5)), "rows"),
        (lambda filed: filed.rewrite(rows=filed.table.assign(correct="yes")), "rows"),
        (lambda filed: filed.rewrite(rows=filed.table.assign(linf=[[0.1]] * 3)), "rows"),
        (lambda filed: filed.rewrite(rows=filed.table.iloc[::-1]), "protocol"),
        (lambda filed: filed.rewrite(rows=filed.table.assign(kendall=[0.25, 0.1, 0.5])), "summaries"),
    ],
)
def test_records_that_disagree_with_their_rows_are_found(
    tamper: Callable[[Filed], None], question: str, filed: Filed
) -> None:
    tamper(filed)
    assert question in failures(filed.root)


@pytest.mark.parametrize(
    ("threat", "lengths", "fits"),
    [
        ({"norm": "linf", "epsilon": "8/255"}, {"linf": np.float32(8 / 255) + 1e-7, "l2": 9.0}, True),
        ({"norm": "linf", "epsilon": "8/255"}, {"linf": [0.0, 0.0, 1.0]}, False),
        ({"norm": "linf", "epsilon": "8/255"}, {"linf": [0.0, 0.0, 8 / 255 + 3e-6]}, False),
        ({"norm": "linf", "epsilon": "8/255"}, {"linf": np.nan}, False),
        ({"norm": "l2", "epsilon": "1/2"}, {"l2": 0.5, "linf": 0.4}, True),
        ({"norm": "l2", "epsilon": "1/2"}, {"l2": [0.0, 0.6, 0.5], "linf": 0.01}, False),
        ({"norm": "linf", "epsilon": "1"}, {"linf": 1.0, "l2": 40.0}, True),
    ],
)
def test_images_outside_of_the_threat_models_ball_are_found(
    threat: dict[str, str], lengths: dict[str, Any], fits: bool, filed: Filed
) -> None:
    spec = filed.run.record.spec.model_copy(update={"threat": ThreatModel.model_validate(threat)})
    filed.run.path.unlink()
    filed.rewrite(rows=filed.table.assign(**lengths), spec=spec, run_id=spec.run_id)
    assert ("threat" not in failures(filed.root)) == fits


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"rankable": True}, {"version": 99}])
def test_a_record_of_another_protocol_is_found(change: dict[str, Any], filed: Filed) -> None:
    old = filed.run.record.spec
    forged = old.model_copy(update={"protocol": old.protocol.model_copy(update=change)})
    for path in (filed.run.path, filed.run.rows_path, filed.run.showcase_path):
        path.unlink()
    filed.rewrite(spec=forged, run_id=forged.run_id)
    found = failures(filed.root)
    assert found.keys() == {"protocol"}
    assert "cifar10-smoke" in found["protocol"]


def test_summation_order_is_no_difference(filed: Filed) -> None:
    summaries = filed.run.record.summaries
    nearly = summaries["all"]["kendall"].model_copy(update={"mean": np.nextafter(0.375, 1)})
    filed.rewrite(summaries=summaries | {"all": summaries["all"] | {"kendall": nearly}})
    assert failures(filed.root) == {}


def test_one_bad_record_does_not_hide_the_others(filed: Filed) -> None:
    bad = filed.run.path.with_name("0123456789ab.json")
    bad.write_text("{}")
    questions = {(check.subject.endswith(bad.name), check.question): check.ok for check in verify_results(filed.root)}
    assert questions[(True, "record")] is False
    assert questions[(False, "summaries")] is True


def test_a_folder_without_records_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="name a results folder"):
        verify_results(tmp_path / "nothing")


def test_flags_are_what_the_rows_give_and_are_derived_anew_by_name_alone(tmp_path: Path) -> None:
    run = store_run(tmp_path, record_changes={"knowledge": "white-box"})
    found = failures(tmp_path)
    assert found.keys() >= {"flags"}
    assert "['undefined-metric']" in found["flags"], "the factory's first sample has no value, and no flag says so"
    before = json.loads(run.path.read_bytes()), run.rows_path.read_bytes()
    assert [changed.path for changed in derive_anew(tmp_path)] == [run.path]
    after = json.loads(run.path.read_bytes())
    assert [flag["name"] for flag in after.pop("flags")] == ["undefined-metric"]
    before[0].pop("flags")
    assert (after, run.rows_path.read_bytes()) == before
    assert "flags" not in failures(tmp_path)
    assert list(derive_anew(tmp_path)) == []


def test_a_forged_flag_is_found_and_one_that_is_worded_otherwise_is_not(tmp_path: Path) -> None:
    said = Flag(name="undefined-metric", detail="in other words")
    store_run(tmp_path, flags=(said,), record_changes={"knowledge": "white-box"})
    assert "flags" not in failures(tmp_path)
    store_run(tmp_path, flags=(said, Flag(name="partial", detail="")), record_changes={"knowledge": "white-box"})
    assert "'partial'" in failures(tmp_path)["flags"]


@pytest.mark.parametrize(("knowledge", "raised"), [("white-box", True), ("black-box", False), ("none", False)])
def test_the_floor_that_is_filed_beside_is_compared_with(tmp_path: Path, knowledge: str, raised: bool) -> None:
    """Check that only attacks with gradients can have masked ones."""
    run = store_run(tmp_path, robustness=0.6, record_changes={"knowledge": knowledge})
    store_run(tmp_path, attack="random-noise", robustness=0.3, record_changes={"knowledge": "none"})
    flags = derived_flags(run)
    assert flags is not None
    assert ("random-beats-attack" in {flag.name for flag in flags}) == raised


def test_a_protocol_given_as_a_file_is_filed_beside_its_records_and_they_are_whole(tmp_path: Path) -> None:
    path = write_protocol(tmp_path, "mine", 4, 4)
    words = ["run", "--model", "hub:natural-linear", "--attack", "random-noise", "--protocol", str(path)]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--device", "cpu", "--results", str(tmp_path / "results")])
    assert not ended.value.code
    assert all(check.ok for check in verify_results(tmp_path / "results"))
    (beside,) = (tmp_path / "results/mine-v1").glob("protocol-*.json")
    beside.write_text(beside.read_text().replace('"seed":0', '"seed":1'))
    assert {check.question for check in verify_results(tmp_path / "results") if not check.ok} == {"protocol"}
    beside.write_text("{}")
    assert {check.question for check in verify_results(tmp_path / "results") if not check.ok} == {"protocol"}
    beside.unlink()
    assert {check.question for check in verify_results(tmp_path / "results") if not check.ok} == {"protocol"}
