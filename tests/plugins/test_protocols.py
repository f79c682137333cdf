"""The shipped protocols are what their comments say."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import pytest
import torch

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.schemas.protocol import Component, Protocol
from bench.data.cifar10 import Cifar10
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.samples import checksum, draw_stratified, load_samples
from model_zoo.training.data import hold_out

# Protocols never change. A new value is a new file with the next version, and a new line here.
HASHES = {
    "cifar10-alignment-v1": "80d3dcd9f16dc08a815143ba22b67eca96dd15b0439059e0e1c4cbe0ca3a944d",
    "cifar10-art-legacy-v1": "6771ff8258ce7a8d7901eecba85b9f8a0f91e47f9af3a575b54225daf70a4fd4",
    "cifar10-autoattack-v1": "b734c521a7f8c382c308f87138b111377edd1856f733719f3388644ce5ff995c",
    "cifar10-corruptions-v1": "c45c83e37a85524785d4458990eebb2f1d95db28f5d42ec266902840ac4bce16",
    "cifar10-faithfulness-v1": "e1f7269bd2b6ce2c9ce40f277d2bc9e5cbc72866fdff3112db1049872bb73c2a",
    "cifar10-generation-v2": "9a8d95bfeeab6a011fa2b023511fbb40d3dc1cfea754720ffacb27fb54ef1ac8",
    "cifar10-gradient-v1": "193af1b0d6ed292818d3e537b2f38fe75d06059b612ffc48689a23811cd9859f",
    "cifar10-guided-backprop-v1": "4edb612d2da57d12828d0c8873f8cdd1adca55b178d0dd666e59a265cb10f7ec",
    "cifar10-ig-v1": "9374178f49ad1a11eb3bf95ceec855c81154cab7cb5ac211b3bd0871e25fe0cc",
    "cifar10-ig-v2": "333cb542709541f05aa6cf507039560d47545a3c897aca855df3cdeb7346b11c",
    "cifar10-large-epsilon-v1": "25ddf9917787d5f502d509383631a113c8325bc34964cb86524efcbd73dc0984",
    "cifar10-linf8-v1": "41cf89bf60698c411363ca30c678623fbeeb4e7c777b380b4d5ca00afc9a9456",
    "cifar10-linf8-v2": "4f7be2e7d51d5aa905aae783bb0ce5fe9e71b66e528b0d5a6fcdcf5e7f7aceae",
    "cifar10-predictions-l2-v1": "54f9a38ca2fc127b81cbf44577e01fe033470da64f2225c79a273d117a243a63",
    "cifar10-predictions-v1": "f6450c4edc641aec26f4288df1ee64de36fa9fbc2cc60f44a370e49c7648670d",
    "cifar10-search-gradient-v1": "e1951d87b08fe71325613030f9a3c02d51ebc2625630db1c3af614d3db626fa8",
    "cifar10-search-ig-v1": "54e7913b836f300ffa8297679e3b7906976c579753adf411235d77d3f3c59718",
    "cifar10-shape-texture-smoothgrad-v1": "3639ea01589a7c39007d74256c36394e5d5eca7a11e24269670febce5354d488",
    "cifar10-shape-texture-v1": "1582b4b957be1586e9d3ba3836c700e15cd860913e06e50f716ec44a769b2b8b",
    "cifar10-smoke-v1": "32cc64920b9cc194d55651d62a344303a2d351cc1b25cb311cfa1098f4527b13",
    "cifar10-spatial-v1": "ed1dca159265b8c7b448966676845cf7ed0c1c1cbcf807230d83a550eaec9b44",
    "fashion-mnist-linf0.1-v1": "d67749182625c06cee48c46a5074d6f7bdc3fd0c22085180c9252d8bac581f78",
    "gtsrb-alignment-v1": "7ea787a9d928da0f13cb469350788e1c8e1c57b62d5b13b597fe02c59206a953",
    "gtsrb-linf8-v1": "bec8ab491728dfa54949d60c12a986a709835089c35d1c5771fd8a4a7be8a602",
    "mnist-alignment-v1": "a0d7d2364f97819c282748f8189e438afca6f361eae8f4b4fd3816735fc9a8bd",
    "mnist-linf0.3-v1": "474f08aaf0d68fc8d853b76610a7681a419b68d1f15a553cf232e7187636708d",
    "mnist-to-usps-v1": "42bf82bf3094707c394eaf77bb4af00aa7cc81c33e1b46cde2afed5d8cc2d2bd",
    "svhn-to-mnist-v1": "51f5a40340af9646bcfea02987b403ac38c2b070b9e2951e622f50f9e81b4c8c",
}


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


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_a_shipped_protocol_never_changes(key: str) -> None:
    assert registry.load("protocols", key).sha256 == HASHES[key]


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


@pytest.mark.parametrize("key", ["cifar10-search-gradient-v1", "cifar10-search-ig-v1"])
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
