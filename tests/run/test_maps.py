"""Runs of a small transformer under protocols that differ in the attribution."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import tomli_w
from torch import nn

import bench
from bench import registry
from bench.core.errors import UsageError
from tests.support.maps import PAGE, page
from tests.support.tiny import tiny_network, write_protocol
from tests.support.transformers import tiny_transformer

MAPS = {
    "attention-rollout": {},
    "gradient-attention": {},
    "token-grad-cam": {},
    "layer-cam": {},
    "rise": {"masks": 8},
    "idgi": {"nodes": 3},
}


def protocol(folder: Path, name: str) -> str:
    """Write a protocol of one image and two steps with this attribution."""
    path = write_protocol(folder, "variant", 1, 1)
    content = tomllib.loads(path.read_text())
    content["attribution"] = content["search_attribution"] = {"name": name, "params": MAPS[name]}
    content["samples"]["showcase"] = [0]
    path.write_text(tomli_w.dumps(content))
    return str(path)


@pytest.fixture(scope="module")
def transformer() -> nn.Module:
    return tiny_transformer(32, 4, 10)


@pytest.mark.parametrize("name", MAPS)
def test_a_protocol_with_this_attribution_attacks_a_transformer(
    name: str, transformer: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    result = bench.benchmark(transformer, protocol=protocol(tmp_path, name), mean=0, std=1, device="cpu")
    row = result.rows.iloc[0]
    assert result.record.spec.attribution.name == name
    assert row["gradient_vanished"] == 0
    assert row["linf"] <= 8 / 255 + 1e-6
    assert -1 <= row["kendall"] < 1 or not row["feasible"]


def test_a_network_without_attention_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(UsageError, match="expected a transformer whose layers attend to all tokens"):
        bench.benchmark(tiny_network(), protocol=protocol(tmp_path, "gradient-attention"), mean=0, std=1)


def test_the_page_lists_every_method_as_it_is() -> None:
    assert page(PAGE.read_text()) == PAGE.read_text(), "python -m tests.support.maps"
    assert set(MAPS) <= set(registry.names("attributions"))
