"""The schema of a run's spec.

The spec is everything that a run was asked, and its identity. Needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from bench.core.schemas.protocol import (
    ATTRIBUTION,
    AttackName,
    Direction,
    HeatmapRule,
    Name,
    Sha256,
    Surrogate,
    ThreatModel,
)
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of

Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A number that every reader of JSON and CSV represents exactly."""


class PluginSpec(Strict):
    """A plug-in with its version and the values of all parameters."""

    name: Name
    version: int
    params: dict[str, Any]


EXTERNAL = "external:"
"""Begins the name of an attack whose images somebody submitted: only the images are known, no code and no cost."""


class AttackSpec(PluginSpec):
    """An attack with its version and the values of all parameters.

    For submitted images the parameters are their number and their checksum.
    """

    name: AttackName

    @property
    def is_external(self) -> bool:
        """Return whether somebody submitted the images."""
        return self.name.startswith(EXTERNAL)

    @property
    def folder(self) -> str:
        """Return the name as a folder, without a colon."""
        return self.name.replace(":", "-")


class MetricSpec(PluginSpec):
    """A metric with its name in rows and its direction."""

    higher_is: Direction
    plugin: Name | None = Field(default=None, description="the metric's own name, where that is another")

    @model_serializer(mode="wrap")
    def _without_needless_name(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out `plugin` if it is None: earlier runs keep their ids."""
        return {key: value for key, value in dump(self).items() if key != "plugin" or value is not None}


class ModelSpec(Strict):
    """A network, pinned to the bytes of its weights."""

    name: str
    reference: str = Field(description="the resolvable, pinned reference, such as hub:natural-wrn28")
    architecture: PluginSpec
    weights_sha256: Sha256
    mean: tuple[float, ...]
    std: tuple[float, ...]


class CraftSpec(Strict):
    """The source network and the attack of transferred images."""

    model: ModelSpec
    attack: PluginSpec
    search_attribution: PluginSpec


class ProtocolSpec(Strict):
    """A protocol, pinned by its hash."""

    name: Name
    version: int
    sha256: Sha256
    rankable: bool
    floor: Name = Field(description="the attack without knowledge that every other attack must beat")
    reference: tuple[Name, ...] = Field(
        default=(),
        description="models on whose common correct images models rank; does not change numbers of a run or the run_id",
    )
    track: Name = Field(
        default=ATTRIBUTION, description="the question that it answers; does not change numbers of a run or the run_id"
    )

    @property
    def key(self) -> str:
        """Return the name of the results folder, `<name>-v<version>`."""
        return f"{self.name}-v{self.version}"


class SamplesSpec(Strict):
    """The evaluated images, which are the protocol's first `count`.

    An external attack may bring any `count` of them.
    """

    sha256: Sha256
    count: Count
    of: Count


class RunSpec(Strict):
    """All values that may change a number of a run."""

    engine: Count
    protocol: ProtocolSpec
    model: ModelSpec
    attack: AttackSpec
    threat: ThreatModel
    attribution: PluginSpec
    search_attribution: PluginSpec
    surrogate: Surrogate
    explain: Literal["predicted-class", "true-class"]
    heatmap: HeatmapRule
    metrics: tuple[MetricSpec, ...]
    primary_metric: Name
    samples: SamplesSpec
    seed: int
    precision: Literal["float32", "float64"]
    on_protocol: bool = Field(description="whether attack, threat, surrogate and search are the protocol's own")
    crafted_on: CraftSpec | None = Field(
        default=None, description="of a transferred attack: the network and the attack that made the images"
    )

    @property
    def run_id(self) -> str:
        """Return the hash of the whole spec."""
        return self._hash(frozenset())

    @property
    def primary(self) -> MetricSpec:
        """Return the metric by which attacks select and models rank."""
        return next(metric for metric in self.metrics if metric.name == self.primary_metric)

    @property
    def attack_id(self) -> str:
        """Return the hash of all values that decide the perturbed images.

        These are the spec without the number of images, and without the metrics by which the attack does not select.
        """
        return self._hash(frozenset({"metrics", "samples"}))

    @property
    def clean_id(self) -> str:
        """Return the hash of all values that decide the judge's clean results.

        These are the spec without the attack.
        """
        return self._hash(frozenset({"attack", "threat", "crafted_on", "on_protocol"}))

    @property
    def conditions(self) -> str:
        """Return the values that comparable attacks share, as canonical JSON.

        These are the spec without the attack and its search settings.
        """
        own = {"attack", "surrogate", "search_attribution", "crafted_on", "on_protocol"}
        return canonical_json(self.model_dump(mode="json", exclude=own))

    def _hash(self, without: frozenset[str]) -> str:
        # A later field counts only if it is used, so that earlier runs keep their ids. The reference set and the track
        # never count: they change no number of a run.
        unused = {"crafted_on"} if self.crafted_on is None else set()
        exclude: dict[str, Any] = dict.fromkeys((*without, *unused), True) | {"protocol": {"reference", "track"}}
        if self.surrogate.precision == "float32" and "surrogate" not in without:
            exclude["surrogate"] = {"precision"}
        content = self.model_dump(mode="json", exclude=exclude)
        if without:
            content["selected_by"] = [m.model_dump(mode="json") for m in self.metrics if m.name == self.primary_metric]
            content["samples"] = self.samples.sha256
        return sha256_of(canonical_json(content).encode())
