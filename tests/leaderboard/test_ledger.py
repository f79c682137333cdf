"""The ledger holds the lowest value per image over all attacks.

Checked against a plain loop over the rows.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli import bench
from bench.core.schemas.spec import MetricSpec, RunSpec
from bench.core.storage.store import Store
from leaderboard.records.ledger import LINE_COLUMNS, Account, accounts
from tests.support.factories import model_entry, store_run

SAME = {"name": "cifar10-linf8", "version": 2, "sha256": "2" * 64, "rankable": True, "floor": "random-noise"}
NUMBERS = np.arange(40)


def any_metric(spec: RunSpec, metric: MetricSpec) -> bool:
    return True


def only(found: list[Account], **wanted: str) -> Account:
    (account,) = [
        each for each in found if (each.model, each.metric.name) == (wanted["model"], wanted.get("metric", "kendall"))
    ]
    return account


@pytest.fixture
def results(tmp_path: Path) -> Path:
    root = tmp_path / "results"
    for name in ("one", "two"):
        store_run(root, model_entry(name), "auto", robustness=0.4)
        store_run(root, model_entry(name), "ifia-topk", robustness=0.45)
        store_run(root, model_entry(name), "random-noise", robustness=0.5)
    return root


def test_every_value_is_the_lowest_feasible_one_of_a_plain_loop(results: Path) -> None:
    """For every network, image and metric, whatever the metric's direction."""
    runs = list(Store(results).runs())
    found = accounts(runs, wanted=any_metric)
    assert {account.metric.name for account in found} == {
        "kendall",
        "topk-intersection",
        "mass-center-shift",
        "accuracy",
    }
    for account in found:
        expected: dict[str, float] = {}
        for run in runs:
            if run.record.entry.name == account.model:
                for row in run.rows().to_dict("records"):
                    value, best = row[account.metric.name], expected.get(row["sample_id"])
                    if row["feasible"] and not np.isnan(value):
                        worse = max if account.metric.higher_is == "less-robust" else min
                        expected[row["sample_id"]] = value if best is None else worse(value, best)
        assert dict(zip(account.ids, account.values.tolist(), strict=True)) == expected
        for reached in account.reached:
            rows = reached.run.rows().set_index("sample_id")
            assert rows.loc[reached.sample_id, account.metric.name] == reached.value
        assert sum(account.found_by.values()) == len(account.ids)
        assert account.mean == pytest.approx(np.mean(list(expected.values())))


def test_an_image_that_lost_its_class_does_not_count(results: Path) -> None:
    columns = {"kendall": np.full(40, -0.9), "feasible": NUMBERS % 2 == 0}
    store_run(results, model_entry("one"), "wild", columns=columns)
    found = only(accounts(Store(results).runs()), model="one")
    for reached in found.reached:
        number = int(reached.sample_id.rsplit("/", 1)[1])
        assert (reached.run.record.spec.attack.name == "wild") == (number % 2 == 0)
        assert (reached.value == -0.9) == (number % 2 == 0)


CHANGES: dict[str, dict[str, Any]] = {
    "threat": {"threat": {"norm": "linf", "epsilon": "4/255"}},
    "samples": {"samples": {"sha256": "3" * 64, "count": 40, "of": 40}},
    "attribution": {"attribution": {"name": "gradient", "version": 1, "params": {}}},
    "heatmap": {"heatmap": "abs-of-sum"},
    "metric": {"metrics": [{"name": "kendall", "version": 2, "params": {}, "higher_is": "more-robust"}]},
    "explained class": {"explain": "true-class"},
    "engine": {"engine": 2},
    "precision": {"precision": "float64"},
}


@pytest.mark.parametrize("what", CHANGES)
def test_versions_that_judge_otherwise_do_not_count_together(results: Path, what: str) -> None:
    lower = {"kendall": np.full(40, -0.9), "feasible": True}
    store_run(results, model_entry("one"), "auto", columns=lower, spec_changes={"protocol_spec": SAME} | CHANGES[what])
    by_protocols = {a.protocols: a for a in accounts(Store(results).runs()) if a.model == "one"}
    assert set(by_protocols) == {("cifar10-linf8-v1",), ("cifar10-linf8-v2",)}
    assert by_protocols["cifar10-linf8-v1",].values.min() > -0.9


def test_versions_that_judge_alike_count_together_whatever_they_attack_with(results: Path) -> None:
    """Check that neither attack, search, number of images nor name matters."""
    lower = {"kendall": np.full(20, -0.9), "feasible": True}
    samples = next(Store(results).runs()).record.spec.samples.sha256
    other = {
        "protocol_spec": SAME | {"name": "another-name"},
        "attack": {"name": "auto", "version": 3, "params": {"budget": 200}},
        "surrogate": {"beta": 10},
        "search_attribution": {"name": "gradient", "version": 1, "params": {}},
        "samples": {"sha256": samples, "count": 20, "of": 40},
        "on_protocol": False,
        "primary_metric": "topk-intersection",
    }
    store_run(results, model_entry("one"), columns=lower, spec_changes=other)
    found = only(accounts(Store(results).runs()), model="one")
    assert found.protocols == ("another-name-v2", "cifar10-linf8-v1")
    assert found.found_by["auto 3"] == 20
    assert [each.value == -0.9 for each in found.reached] == [n < 20 for n in range(40)]


def test_of_equal_values_the_cheaper_attack_counts(results: Path) -> None:
    for attack, gradients in (("a-dear", 900), ("b-cheap", 10), ("c-dear", 900)):
        columns = {"kendall": np.full(40, -0.9), "feasible": True, "gradient_evaluations": gradients}
        store_run(results, model_entry("one"), attack, columns=columns)
    assert only(accounts(Store(results).runs()), model="one").found_by == {"b-cheap 1": 40}


def test_a_series_and_older_weights_do_not_count(results: Path) -> None:
    lower = {"kendall": np.full(40, -0.9), "feasible": True}
    levels = {"kendall@1": np.full(40, -0.9)}
    whole = store_run(results, model_entry("two"), "blur", columns=lower | levels)
    summaries = {"all": {**whole.record.summaries["all"], "kendall@1": whole.record.summaries["all"]["kendall"]}}
    store_run(results, model_entry("two"), "blur", columns=lower | levels, record_changes={"summaries": summaries})
    before = model_entry("one", added="2020-01-01", weights={"file": "one.safetensors", "sha256": "9" * 64, "size": 1})
    store_run(results, before, "auto", columns=lower)
    assert all(account.values.min() > -0.9 for account in accounts(Store(results).runs()))


def run(*words: str) -> Any:
    return CliRunner().invoke(bench, ["ledger", *words])


def test_the_command_prints_a_table_a_csv_and_a_document(results: Path) -> None:
    (first, second) = accounts(Store(results).runs())
    table = run(str(results)).stdout
    assert "cifar10-linf8-v1" in table
    assert f"{first.mean:.3f}" in table
    lines = list(csv.DictReader(io.StringIO(run(str(results), "--csv").stdout)))
    assert list(lines[0]) == list(LINE_COLUMNS)
    assert [float(line["value"]) for line in lines] == [*first.values, *second.values]
    documents = json.loads(run(str(results), "--json", "--model", "hub:two", "--metric", "all").stdout)
    assert {d["metric"] for d in documents} == {"kendall", "topk-intersection", "mass-center-shift", "accuracy"}
    kendall = next(d for d in documents if d["metric"] == "kendall")
    assert kendall["found_by"] == second.found_by
    assert [each["value"] for each in kendall["lowest"]] == second.values.tolist()


def test_a_protocol_s_filter_keeps_the_versions_that_count_together(results: Path) -> None:
    lower = {"kendall": np.full(40, -0.9), "feasible": True}
    store_run(results, model_entry("one"), "auto", columns=lower, spec_changes={"protocol_spec": SAME})
    (found,) = json.loads(run(str(results), "--json", "--protocol", "cifar10-linf8-v1", "--model", "one").stdout)
    assert found["protocols"] == ["cifar10-linf8-v1", "cifar10-linf8-v2"]
    assert found["mean"] == pytest.approx(-0.9)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--protocol", "cifar10-linf8-v3"], "expected the name of one of the protocols with records"),
        (["--model", "onne"], "did you mean 'one'"),
        (["--metric", "kendal"], "did you mean 'kendall'"),
        (["--csv", "--json"], "give one"),
    ],
)
def test_an_unknown_name_is_one_sentence(results: Path, words: list[str], said: str) -> None:
    answer = run(str(results), *words)
    assert answer.exit_code != 0
    assert said in str(answer.exception)


def test_an_empty_folder_is_one_sentence(tmp_path: Path) -> None:
    answer = run(str(tmp_path))
    assert "make one with `bench run` first" in str(answer.exception)
    assert "not a folder" in str(run(str(tmp_path / "none")).exception)
