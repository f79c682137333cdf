"""Attacks on explanations without derivatives, from start to end.

They go through another method, through another network, or without gradients.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import tomli_w
import torch
from captum.attr import GuidedBackprop
from torch import Tensor

from bench import registry
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution
from bench.run.plan import Plan, plan
from bench.run.request import Request
from bench.run.session import Cache
from bench.run.setup import Networks
from bench.run.shards import Shards
from bench.run.steps import run
from tests.support.tiny import residual_content, write_entry, write_protocol
from tests.support.watcher import Watcher

COUNT = 4
CPU = torch.device("cpu")
PARAMS: dict[str, dict[str, Any]] = {
    "transfer": {"params": {"steps": 3}},
    "nes": {"steps": 2, "draws": 2},
    "ifia-topk": {"steps": 3},
    "random-noise": {"draws": 2},
}
SEARCHED = {"transfer": "guided-backprop", "nes": "guided-backprop", "ifia-topk": "gradient"}


def write_opaque(folder: Path, **changes: Any) -> Path:
    """Write a protocol that judges by guided backpropagation, in one shard."""
    path = write_protocol(folder, "opaque", COUNT, COUNT)
    method = {"name": "guided-backprop", "params": {}}
    content = tomllib.loads(path.read_text()) | {"attribution": method, "search_attribution": method}
    path.write_text(tomli_w.dumps(content | changes))
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("opaque")
    return {"model": f"file:{write_entry(folder, residual_content(folder))}", "protocol": str(write_opaque(folder))}


def asked(words: Mapping[str, Any], attack: str) -> Request:
    params = dict(PARAMS[attack])
    if attack == "transfer":
        params["model"] = words["model"]
    return Request(attack=attack, params=params, **words)


@pytest.fixture(scope="module")
def runs(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[StoredRun, Path]]:
    made, cache = {}, Cache()
    for attack in PARAMS:
        folder = tmp_path_factory.mktemp(attack)
        execution = Execution(Store(folder / "results"), folder / "work", "cpu")
        made[attack] = run([asked(words, attack)], execution, Watcher(), cache=cache)[0], folder / "work"
    return made


def heatmaps(plan: Plan, images: Tensor, classes: Tensor) -> np.ndarray:
    """(N, pixels) of captum's guided backpropagation."""
    model, _ = Networks().of(plan, plan.model, images, compiled=False)
    attribution: Tensor = GuidedBackprop(model).attribute(images.clone().requires_grad_(), target=classes)
    return np.asarray(attribution.detach().abs().sum(1).flatten(1))


@pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks:UserWarning")
@pytest.mark.parametrize("attack", SEARCHED)
def test_it_is_attacked_and_the_number_is_that_of_the_judged_map(
    attack: str, words: dict[str, str], runs: dict[str, tuple[StoredRun, Path]]
) -> None:
    found, (stored, work) = plan(asked(words, attack)), runs[attack]
    rows, clean = stored.rows(), Cache().samples(found).images[:COUNT]
    attacked = Shards(stored.record.spec, work).attacked(0, COUNT)
    assert attacked is not None
    classes = torch.tensor(rows["predicted_before"].to_numpy())
    before, after = heatmaps(found, clean, classes), heatmaps(found, attacked.images[:, 0], classes)
    taus = [scipy.stats.kendalltau(*maps).statistic for maps in zip(before, after, strict=True)]
    np.testing.assert_allclose(rows["kendall"], taus, atol=1e-4)
    moved = rows[rows["feasible"]]
    assert len(moved) >= COUNT - 1
    assert (moved["linf"] > 0).all()
    assert (moved["kendall"] < 0.95).all()
    assert stored.record.spec.attribution.name == "guided-backprop"


def test_the_record_names_what_was_searched_through(runs: dict[str, tuple[StoredRun, Path]]) -> None:
    specs = {attack: stored.record.spec for attack, (stored, _) in runs.items()}
    assert {attack: specs[attack].search_attribution.name for attack in SEARCHED} == SEARCHED
    craft = specs["transfer"].crafted_on
    assert craft is not None
    assert craft.search_attribution.name == "gradient"


def test_a_search_without_gradients_sees_the_judged_map_itself(runs: dict[str, tuple[StoredRun, Path]]) -> None:
    nes, floor = (runs[attack][0].rows() for attack in ("nes", "random-noise"))
    looks = 1 + PARAMS["nes"]["steps"] * (1 + 2 * PARAMS["nes"]["draws"])
    assert (nes["gradient_evaluations"] == looks).all(), "a guided gradient for each look"
    assert (floor["gradient_evaluations"] == 1 + PARAMS["random-noise"]["draws"]).all()
    assert (runs["transfer"][0].rows()["gradient_evaluations"] == 0).all(), "the attacked network was not looked at"


def test_no_protocol_ranks_by_a_method_that_is_unfit_to(words: dict[str, str], tmp_path: Path) -> None:
    ranking = words | {"protocol": str(write_opaque(tmp_path, rankable=True))}
    with pytest.raises(UsageError, match=r"opaque-v1, got guided-backprop: it hardly depends .* set rankable = false"):
        plan(asked(ranking, "nes"))


@pytest.mark.parametrize("key", registry.names("protocols"))
def test_no_shipped_protocol_ranks_by_one(key: str) -> None:
    protocol: Protocol = registry.load("protocols", key)
    assert not (protocol.rankable and registry.load("attributions", protocol.attribution.name).unfit_to_rank)
