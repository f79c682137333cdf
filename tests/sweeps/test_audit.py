"""`bench audit` on a tiny network, from start to end.

Tests its runs, its output and the boards that show it.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch
from torch import nn

from bench import cli, registry
from bench.core.compute.rng import Rng
from bench.core.errors import UsageError
from bench.core.schemas.flags import Knob
from bench.core.schemas.protocol import Component
from bench.core.storage.store import Store
from bench.run.attack.views import predict
from bench.run.execution import Execution
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.samples import checksum
from bench.sweeps.audit import CONTROL, TRANSFER, Audit, audit
from leaderboard.boards.audit_curves import curves, findings
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.records.command import command
from model_zoo.architectures import conv_small
from model_zoo.build import build as build_model
from model_zoo.build import classifier
from model_zoo.hub import resolve
from model_zoo.tensors import export_weights
from model_zoo.training.initial_weights import initialize
from tests.support.factories import model_entry, store_run
from tests.support.tiny import tiny_content, write_entry
from tests.support.watcher import Watcher

COUNT = 2
KNOBS: dict[Knob, list[float]] = {
    "epsilon": [2, 4, 8, 16],
    "steps": [1, 2, 4],
    "restarts": [1, 3],
    "beta": [5, 20, 50, 100],
}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny model and a protocol of two images, for commands."""
    folder = tmp_path_factory.mktemp("words")
    network = conv_small.build(10)
    initialize(network, Rng(0))
    model = classifier(network, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).eval()
    content = tiny_content(folder) | {"architecture": {"name": "conv-small"}}
    content["weights"] = export_weights(network, folder / "tiny.safetensors").model_dump(exclude_none=True)
    entry = write_entry(folder, content)
    return {"model": f"file:{entry}", "protocol": str(brief_protocol(folder, model))}


def brief_protocol(folder: Path, model: nn.Module) -> Path:
    """Write a protocol of two steps on images classified correctly.

    Others fill the rest where the model gets too few right.
    """
    stored = registry.instantiate("datasets", Component(name="foolbox-cifar10")).load("test")
    right = (predict(model, stored.images.float() / 255).argmax(1) == stored.labels).nonzero().flatten().tolist()
    chosen = [*right, *(set(range(20)) - set(right))][: COUNT + 1]
    content: dict[str, Any] = registry.load("protocols", "cifar10-smoke-v1").model_dump(mode="json", exclude_none=True)
    content |= {"name": "brief", "attribution": {"name": "gradient"}, "search_attribution": {"name": "gradient"}}
    content["samples"] |= {"indices": chosen, "showcase": chosen[:1], "sha256": checksum(stored.images[chosen])}
    content["attacks"][0]["params"] |= {"steps": 2}
    content["attacks"][1]["params"] |= {"draws": 2}
    path = folder / "brief-v1.toml"
    path.write_text(tomli_w.dumps(content))
    return path


@pytest.fixture(scope="module")
def folder(words: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where an audit was completed."""
    root = tmp_path_factory.mktemp("audit")
    audit(Audit(**words, limit=COUNT), execution(root), Watcher())
    return root


def execution(root: Path) -> Execution:
    return Execution(Store(root / "results"), root / "work", "cpu", 1, showcase=False)


def test_an_audit_varies_one_value_at_a_time_and_tries_without_the_model_s_gradients(folder: Path) -> None:
    runs = list(Store(folder / "results").runs())
    assert {curve.knob: [point.value for point in curve.points] for curve in curves(runs)} == KNOBS
    controls = [run.record for run in runs if run.record.knowledge == "black-box"]
    assert [record.spec.attack.name for record in controls] == [CONTROL]
    on_protocol = [run.record.spec.attack.name for run in runs if run.record.spec.on_protocol]
    assert sorted(on_protocol) == ["ifia-topk", "random-noise"]
    (crafted,) = [run.record.spec for run in runs if run.record.spec.crafted_on is not None]
    assert crafted.crafted_on is not None
    assert (crafted.attack.name, crafted.crafted_on.attack.name) == (TRANSFER, "ifia-topk")
    source = registry.load("models", crafted.crafted_on.model.name)
    assert (source.dataset, source.control) == ("cifar10", False)
    assert source.weights.sha256 != crafted.model.weights_sha256
    assert len(runs) == 2 + sum(len(values) - 1 for values in KNOBS.values()) + 2
    assert all(run.record.samples == COUNT and not run.record.showcase for run in runs)


def test_an_audit_that_is_complete_computes_nothing(folder: Path, words: dict[str, str]) -> None:
    before = {path: path.read_bytes() for path in (folder / "results").rglob("*.json")}
    watcher = Watcher()
    audit(Audit(**words, limit=COUNT), execution(folder), watcher)
    assert watcher.total == 0
    assert {path: path.read_bytes() for path in (folder / "results").rglob("*.json")} == before


@pytest.mark.parametrize("attack", ["random-noise", "nes", "nothing"])
def test_only_an_attack_of_the_protocol_with_gradients_is_audited(
    words: dict[str, Any], tmp_path: Path, attack: str
) -> None:
    with pytest.raises(UsageError, match=r"with gradients \(ifia-topk\), got " + attack):
        audit(Audit(**words, attack=attack), execution(tmp_path), Watcher())


def test_the_command_prints_verdicts_and_draws_the_curves(
    folder: Path, words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["audit", words["model"], "--protocol", words["protocol"], "--limit", str(COUNT)]
    arguments += ["--results", str(folder / "results"), "--curves", str(tmp_path / "curves.svg"), "--device", "cpu"]
    for form in ([], ["--json"]):
        with pytest.raises(SystemExit) as stop:
            cli.main([*arguments, *form])
        assert not stop.value.code
    captured = capsys.readouterr().out
    document = json.loads(captured[captured.index('{"runs"') :])
    assert {name.split("/")[1]: [p["value"] for p in points] for name, points in document["curves"].items()} == KNOBS
    assert "(protocol)" in captured
    assert "nes (knowledge: black-box)" in captured
    assert "transfer (crafted on " in captured
    assert "what a trigger would set off in a network it cannot see" in captured
    drawing = ET.parse(tmp_path / "curves.svg").getroot()
    assert len(drawing.findall(".//{http://www.w3.org/2000/svg}circle")) == sum(map(len, KNOBS.values()))


def test_a_map_that_cannot_move_is_found_from_end_to_end(tmp_path: Path) -> None:
    reference = "hub:natural-linear"
    entry, _, weights = resolve(reference)
    model = build_model(entry, registry.load("architectures", "linear"), weights, device=torch.device("cpu"))
    wanted = Audit(reference, str(brief_protocol(tmp_path, model)), limit=COUNT)
    runs = audit(wanted, execution(tmp_path), Watcher())
    assert {finding.flag.name for finding in findings(runs)} == {"not-falling-with-epsilon", "not-falling-with-steps"}
    (own,) = (run.record for run in runs if run.record.spec.on_protocol and run.record.knowledge == "white-box")
    assert {flag.name for flag in own.flags} == {"partial", "nothing-moved", "vanishing-gradient"}


def test_boards_show_what_an_audit_says_and_none_of_its_runs(tmp_path: Path) -> None:
    results, entry = tmp_path / "results", model_entry("audited")
    own = store_run(results, entry, robustness=0.5)
    store_run(results, entry, "random-noise", robustness=0.9)
    for changes in ({"surrogate": {"beta": 20}}, {"threat": {"norm": "linf", "epsilon": "16/255"}}):
        store_run(results, entry, robustness=0.1, spec_changes=changes | {"on_protocol": False})
    store_run(
        results,
        entry,
        "nes",
        robustness=0.2,
        spec_changes={"on_protocol": False},
        record_changes={"knowledge": "black-box"},
    )
    (board,) = boards(Store(results).runs())
    (standing,) = board.standings
    assert (standing.rank, standing.remarks) == (1, ())
    assert board.attacks == ("ifia-topk", "random-noise")
    assert standing.runs["ifia-topk"] == own
    assert standing.flags == {"other-surrogate-stronger": ["ifia-topk"]}, "no run says of which knowledge its attack is"
    build(results, tmp_path / "site")
    page = (tmp_path / "site/models/audited.html").read_text()
    assert page.count('class="sweep"') == 2
    assert "other-surrogate-stronger" in (tmp_path / "site/index.html").read_text()


def test_a_black_box_run_is_compared_with_runs_that_say_they_used_gradients(tmp_path: Path) -> None:
    store_run(tmp_path, robustness=0.5, record_changes={"knowledge": "white-box"})
    for attack, changes in (("nes", {}), ("random-walk", {"samples": {"sha256": "0" * 64, "count": 20, "of": 40}})):
        off, known = {"on_protocol": False} | changes, {"knowledge": "black-box"}
        store_run(tmp_path, None, attack, robustness=0.2, spec_changes=off, record_changes=known)
    (board,) = boards(Store(tmp_path).runs())
    (finding,) = board.standings[0].audit
    assert (finding.attack, finding.flag.name) == ("ifia-topk", "black-box-beats-white-box")
    assert "nes" in finding.flag.detail


@pytest.mark.parametrize("changes", [{"epsilon": "4/255"}, {"beta": 7.0}, {"precision": "tf32"}])
def test_an_override_is_part_of_the_identity_and_off_the_protocol(
    words: dict[str, Any], changes: dict[str, Any]
) -> None:
    base, other = (plan(Request(attack="ifia-topk", **words, **given)).spec for given in ({}, changes))
    assert (base.on_protocol, other.on_protocol) == (True, False)
    assert base.run_id != other.run_id
    assert base.attack_id != other.attack_id
    assert plan(Request(attack="ifia-topk", **words, epsilon="8/255", beta=50.0, precision="float32")).spec == base


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epsilon": "0.x"}, "--epsilon"),
        ({"beta": 0.0}, "--beta"),
        ({"precision": "tf16"}, "--precision"),
        ({"nodes": 2**63}, "nodes"),
    ],
)
def test_a_bad_override_gives_one_sentence(words: dict[str, Any], changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(Request(attack="ifia-topk", **words, **changes))


def test_the_command_of_a_run_off_the_protocol_names_all_that_differs(tmp_path: Path) -> None:
    changes = {"surrogate": {"beta": 20}, "threat": {"norm": "linf", "epsilon": "4/255"}, "on_protocol": False}
    said = "--epsilon 4/255 --beta 20 --precision float32 --nodes 10 --set steps=50"
    assert said in command(store_run(tmp_path, spec_changes=changes).record)
    changes["surrogate"] = {"beta": 20, "precision": "tf32"}
    said = "--epsilon 4/255 --beta 20 --precision tf32 --nodes 10 --set steps=50"
    assert said in command(store_run(tmp_path, spec_changes=changes).record)
