"""What a request is planned to be, and which requests are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UsageError
from bench.core.storage.stored_run import StoredRun
from bench.run.plan import plan
from bench.run.request import Request
from tests.support.short_runs import completed, planned
from tests.support.tiny import tiny_content, write_entry


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
