"""The contract of every plug-in.

It has a name, a summary, a source, a version, and parameters that all have an effect.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any, get_args

import pytest
from pydantic import RootModel, ValidationError

from bench import registry
from bench.core.schemas.protocol import Surrogate, ThreatModel
from bench.core.schemas.spec import AttackSpec, MetricSpec, ModelSpec, PluginSpec, ProtocolSpec, RunSpec, SamplesSpec
from bench.run import plan
from tests.contracts.parameters import example, others, parameters

KINDS: tuple[registry.Kind, ...] = get_args(registry.Kind)
SOURCED: tuple[registry.Kind, ...] = ("attacks", "metrics", "attributions", "architectures", "objectives")
CLASSES: tuple[registry.Kind, ...] = ("attacks", "metrics", "attributions", "objectives", "executors")
IDENTIFIED: tuple[registry.Kind, ...] = ("attacks", "metrics", "attributions", "architectures")
PYTHON = tuple(kind for kind in KINDS if isinstance(registry.KINDS[kind], registry.Python))
SHA = "0" * 64


def plugins(*kinds: registry.Kind) -> list[tuple[registry.Kind, str]]:
    return [(kind, name) for kind in kinds for name in registry.names(kind)]


def every_parameter() -> list[tuple[registry.Kind, str, str]]:
    found = [(kind, name, registry.load(kind, name)) for kind, name in plugins(*IDENTIFIED)]
    return [(kind, name, field) for kind, name, plugin in found for field in parameters(plugin)]


@pytest.mark.parametrize(("kind", "name"), plugins(*KINDS))
def test_a_name_is_kebab_case_and_a_summary_is_one_line(kind: registry.Kind, name: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+([-.][a-z0-9]+)*", name)
    summary = registry.summary(kind, name)
    assert summary.strip()
    assert len(summary) <= 160


@pytest.mark.parametrize(("kind", "name"), plugins(*SOURCED))
def test_the_docstring_names_the_source_and_every_deviation(kind: registry.Kind, name: str) -> None:
    text = registry.load(kind, name).__doc__ or ""
    assert re.search(r"^\s*Source:\s*\n\s*\S", text, re.MULTILINE), "expected a section 'Source:'"
    assert re.search(r"Differs: *\S", text[text.index("Source:") :]), "expected 'Differs: …' in it, or 'nothing'"


@pytest.mark.parametrize(("kind", "name"), plugins(*CLASSES))
def test_a_plugin_is_a_frozen_keyword_only_dataclass_with_a_version(kind: registry.Kind, name: str) -> None:
    plugin: Any = registry.load(kind, name)
    fields = dataclasses.fields(plugin)
    assert all(field.kw_only for field in fields)
    assert isinstance(plugin.version, int)
    assert plugin.version >= 1
    with pytest.raises((ValidationError, TypeError), match=r"(?i)unexpected keyword argument"):
        plugin(misspelt=1)
    assert "version" in vars(plugin), "a version is the class's own: it counts the changes of its numbers"
    with pytest.raises(dataclasses.FrozenInstanceError):
        plugin(**example(plugin)).version = 2


@pytest.mark.parametrize(("kind", "name"), plugins(*PYTHON))
def test_every_parameter_has_a_meaning_and_is_typed_without_aliases(kind: registry.Kind, name: str) -> None:
    told = registry.describe(kind, name)["parameters"]
    assert list(told) == list(inspect.signature(registry.load(kind, name)).parameters)
    for parameter, said in told.items():
        assert len(said["meaning"]) >= 10, f"expected a docstring under {parameter}, or a line of it in 'Args:'"
        assert re.match(r"(bool|int|float|str|Fraction|Origin|tuple\[|dict\[|Literal\[)", said["value"]), said["value"]
    if kind == "attacks":
        meanings = {parameter: said["meaning"] for parameter, said in told.items()}
        assert registry.definition(kind, name) == (inspect.getdoc(registry.load(kind, name)), meanings)


@pytest.mark.parametrize(("kind", "name", "field"), every_parameter())
def test_every_parameter_changes_the_identity(kind: registry.Kind, name: str, field: str) -> None:
    plugin = registry.load(kind, name)
    default = plugin_spec(kind, name, {})
    changed = [
        spec for value in others(plugin, field, default.params[field]) if (spec := varied(kind, name, field, value))
    ]
    assert changed, f"expected another allowed value of {field}; teach tests/contracts/parameters.py to find one"
    run, other = (run_spec(kind, part) for part in (default, changed[0]))
    assert run.run_id != other.run_id
    assert (run.attack_id != other.attack_id) or kind == "metrics"


def varied(kind: registry.Kind, name: str, field: str, value: Any) -> PluginSpec | None:
    try:
        return plugin_spec(kind, name, {field: value})
    except ValidationError:
        return None


def plugin_spec(kind: registry.Kind, name: str, params: dict[str, Any]) -> PluginSpec:
    """Return a plug-in's spec as a run writes it.

    Every parameter is resolved and written as JSON.
    """
    plugin = registry.load(kind, name)
    given = example(plugin) | params
    if kind == "architectures":
        defaults = {n: inspect.signature(plugin).parameters[n].default for n in parameters(plugin)}
        return PluginSpec(name=name, version=1, params=RootModel(defaults | given).model_dump(mode="json"))
    return plan._plugin_spec(name, plugin(**given))


def run_spec(kind: registry.Kind, part: PluginSpec) -> RunSpec:
    """A run's spec in which `part` takes its kind's place."""
    some = PluginSpec(name="some", version=1, params={})
    place = {kind: part}
    return RunSpec(
        engine=1,
        protocol=ProtocolSpec(name="p", version=1, sha256=SHA, rankable=False, floor="some"),
        model=ModelSpec(
            name="m",
            reference="hub:m",
            architecture=place.get("architectures", some),
            weights_sha256=SHA,
            mean=(0.5,),
            std=(0.5,),
        ),
        attack=AttackSpec(**place.get("attacks", some).model_dump()),
        threat=ThreatModel(norm="linf", epsilon="8/255"),
        attribution=place.get("attributions", some),
        search_attribution=some,
        surrogate=Surrogate(beta=50.0),
        explain="predicted-class",
        heatmap="sum-of-abs",
        metrics=(MetricSpec(**place.get("metrics", some).model_dump(), higher_is="neutral"),),
        primary_metric="some",
        samples=SamplesSpec(sha256=SHA, count=1, of=1),
        seed=0,
        precision="float32",
        on_protocol=True,
    )
