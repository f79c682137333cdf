"""The shipped protocols are what their comments say."""

from __future__ import annotations

import inspect
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest
import torch

import bench
from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.schemas.protocol import Component, Protocol
from bench.core.storage.stored_run import read_run
from bench.data.cifar10 import Cifar10
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.plan import _metric_spec
from bench.run.samples import checksum, draw_stratified, load_samples
from model_zoo.training.data import hold_out
from tests.plugins.protocols_lock import locked


@pytest.fixture
def linf8() -> Protocol:
    protocol: Protocol = registry.load("protocols", "cifar10-linf8-v1")
    return protocol


@pytest.fixture
def smoke() -> Protocol:
    protocol: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    return protocol


@pytest.fixture
def cifar10() -> Split:
    dataset = Cifar10()
    if not dataset.is_stored():
        pytest.skip("CIFAR-10 is not in the data folder")
    return dataset.load("test")


@pytest.mark.parametrize("key", locked())
def test_a_published_protocol_never_changes(key: str) -> None:
    assert registry.load("protocols", key).sha256 == locked()[key], "another value is another version: a new file"


def test_every_protocol_with_records_is_locked() -> None:
    results = Path(bench.__file__).parent.parent / "results"
    measured = {path.name for path in results.iterdir()} if results.is_dir() else set()
    missing = measured & set(registry.names("protocols")) - set(locked())
    assert not missing, f"python -m tests.plugins.protocols_lock freezes {', '.join(sorted(missing))}"


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_every_component_exists_and_takes_its_parameters(key: str) -> None:
    protocol: Protocol = registry.load("protocols", key)
    for attack in protocol.attacks:
        registry.instantiate("attacks", attack)
    for metric in protocol.metrics:
        registry.instantiate("metrics", metric)
    for attribution in (protocol.attribution, protocol.search_attribution):
        registry.instantiate("attributions", attribution)
    for dataset in (protocol.samples.source, protocol.samples.dataset):
        registry.instantiate("datasets", Component(name=dataset))


@pytest.mark.parametrize("name", ["insertion", "deletion", "infidelity"])
def test_former_names_of_metrics_mean_what_they_meant(name: str) -> None:
    made = registry.instantiate("metrics", Component(name=f"{name}-after"))
    assert made == registry.instantiate("metrics", Component(name=name, params={"of": "after"}))
    assert f"{name}-after" not in registry.names("metrics")


def test_metrics_under_former_names_keep_their_specs() -> None:
    protocol: Protocol = registry.load("protocols", "cifar10-faithfulness-v1")
    results = Path(bench.__file__).parent.parent / "results" / protocol.key
    record = next(results.glob("*/*/*.json"), None)
    if record is None:
        pytest.skip("no results here")
    published = read_run(record).record.spec
    assert tuple(_metric_spec(metric) for metric in protocol.metrics) == published.metrics
    assert published.run_id == read_run(record).record.run_id


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_a_new_version_of_an_attack_leaves_published_protocols_alone(key: str) -> None:
    for attack in registry.load("protocols", key).attacks:
        versions = [made := registry.load("attacks", attack.name), *made.older]
        fits = [each for each in versions if set(attack.params) <= set(inspect.signature(each).parameters)]
        assert attack.version is not None or len(fits) == 1, f"{attack.name}: name the version, or a parameter of it"


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_floor_and_attacks_have_equally_many_looks(key: str) -> None:
    protocol: Protocol = registry.load("protocols", key)
    params = {attack.name: attack.params for attack in protocol.attacks}
    if "ifia-topk" not in params:
        pytest.skip("no search for maps")
    search, floor = params["ifia-topk"], params[protocol.floor]
    assert floor["draws"] == search["steps"] * search["restarts"]
    assert search["steps"] * Fraction(search["step_size"]) >= 2 * protocol.threat.epsilon, "a start can be left behind"


def test_smoke_is_no_ranking_and_needs_no_download(smoke: Protocol) -> None:
    assert not smoke.rankable
    assert smoke.samples.indices == tuple(range(20))
    samples = load_samples(smoke.samples, FoolboxCifar10())
    assert samples.ids[19] == "cifar10/test/19"
    assert samples.images.shape == (20, 3, 32, 32)


def test_linf8_has_1000_distinct_indices_with_the_showcase_first(linf8: Protocol) -> None:
    indices = linf8.samples.indices
    assert linf8.rankable
    assert len(set(indices)) == len(indices) == 1000
    assert min(indices) >= 0
    assert max(indices) < 10_000
    assert indices[:20] == tuple(range(20)) == linf8.samples.showcase


def test_linf8_is_drawn_by_the_rule_that_its_comment_names(linf8: Protocol, cifar10: Split) -> None:
    drawn = draw_stratified(cifar10.labels.tolist(), leading=20, per_class=100, seed=linf8.key)
    assert linf8.samples.indices == tuple(drawn)


def test_linf8_has_its_pixels_and_balanced_prefixes(linf8: Protocol, cifar10: Split) -> None:
    samples = load_samples(linf8.samples, Cifar10())
    for length in range(40, 1001, 10):
        assert set(Counter(samples.labels[:length].tolist()).values()) == {length // 10}


def test_the_images_of_the_wheel_are_the_first_twenty_of_the_test_split(smoke: Protocol, cifar10: Split) -> None:
    wheel = FoolboxCifar10().load("test")
    assert torch.equal(wheel.images, cifar10.images[:20])
    assert torch.equal(wheel.labels, cifar10.labels[:20])
    assert checksum(cifar10.images[:20]) == smoke.samples.sha256


@pytest.mark.parametrize("key", [name for name in registry.names("protocols") if "-search-" in name])
def test_searches_are_compared_on_images_with_which_no_recipe_trains(key: str) -> None:
    dataset = Cifar10()
    if not dataset.is_stored():
        pytest.skip("CIFAR-10 is not in the data folder")
    protocol: Protocol = registry.load("protocols", key)
    train = dataset.load("train")
    numbered = Split(torch.arange(len(train.labels)), train.labels)
    held_out = hold_out(numbered, 1000, Rng(0).fork("held-out", "cifar10")).held_out
    assert protocol.samples.split == "train"
    assert set(protocol.samples.indices) <= set(held_out.images.tolist())


@pytest.mark.parametrize(
    ("newer", "older"), [("cifar10-gradient-v2", "cifar10-gradient-v1"), ("cifar10-ig-v3", "cifar10-ig-v2")]
)
def test_a_newer_board_differs_in_its_worst_case_alone(newer: str, older: str) -> None:
    one, other = (registry.load("protocols", key).model_dump() for key in (newer, older))
    changed = {key for key in one if one[key] != other[key]}
    assert changed == {"version", "description", "attacks", "shard_size"} - (
        {"shard_size"} if newer.endswith("v3") else set()
    )
    assert [a for a in one["attacks"] if a["name"] != "auto"] == [a for a in other["attacks"] if a["name"] != "auto"]
    versions = [registry.instantiate("attacks", Component(**side["attacks"][0])).version for side in (one, other)]
    assert versions == [3, 2]
