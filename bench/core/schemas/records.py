"""The schemas of a run's spec, record and rows.

The spec is everything that a run was asked, and its identity. Record and rows hold what it measured. Needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import (
    ATTRIBUTION,
    AttackName,
    Direction,
    HeatmapRule,
    Knowledge,
    Name,
    Sha256,
    Surrogate,
    ThreatModel,
)
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of

SCHEMA = 1
ROW_COLUMNS = (
    "sample_id",
    "label",
    "predicted_before",
    "predicted_after",
    "confidence_before",
    "confidence_after",
    "correct",
    "feasible",
    "linf",
    "l2",
    "gradient_evaluations",
    "forward_evaluations",
    "seed",
    "completeness_gap_before",
    "completeness_gap_after",
)
"""First columns of every row file; ATTACK_COLUMNS, the flags' columns and one column per metric, by its name, follow.

A series has one more column per metric and level; its columns about the image after the attack are the last level's.
"""

ATTACK_COLUMNS = ("projected", "gradient_vanished")
"""Columns about the attack that soundness flags read."""

FIRST_FLAG_COLUMNS = (
    "map_contrast",
    "map_repeatable",
    "probabilities",
    "surrogate_agrees",
    "surrogate_correlation",
)
"""Columns that flags measure on clean images since engine 2. Older rows may lack the columns of later flags."""

OVER_ALL = frozenset({"accuracy", "top1-loc", "top1-seg"})
"""Metrics whose mean is over all samples, as a wrong class is part of what they count."""

SHOWCASE_TILES = ("before", "after", "heatmap-before", "heatmap-after", "top-k")
"""Columns of a showcase PNG, each as wide as an image; one row per showcase sample, in the order of the record."""

LEVEL_MARK = "@"
"""Separates metric and level of a series: `<metric>@<level>` is a column of the rows, and a mean of the record."""

TOP_K_CODES = {"none": 0, "kept": 85, "lost": 170, "gained": 255}
"""Grey values of the `top-k` tile."""


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


class Summary(Strict):
    """A mean over samples with its 95 % interval.

    The interval is a percentile bootstrap. All three are null if the metric is undefined for every sample.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: Count
    n_undefined: Count


class Flag(Strict):
    """A named reason to doubt a score, stored beside it."""

    name: Name
    detail: str


class Environment(Strict):
    """The machine and software of a run, not part of its identity."""

    python: str
    packages: dict[str, str]
    platform: str
    device: str
    hardware: str
    commit: str | None
    dirty: bool | None
    batch_size: int
    started: str = Field(description="UTC, ISO 8601")
    seconds: float = Field(description="computing time, all sittings together")


class RunRecord(Strict):
    """One finished run."""

    schema_version: Literal[1] = 1
    run_id: Sha256
    spec: RunSpec
    entry: ModelEntry = Field(description="the model's entry as it was when the run took place")
    summaries: dict[Literal["correct", "all"], dict[str, Summary]] = Field(
        description="per sample set, `correct` being those this model classifies correctly, and per metric; of a "
        "series also per metric and level"
    )
    samples: Count
    correct: Count
    infeasible: Count = Field(description="samples for which every iterate of the attack changed the class")
    flags: tuple[Flag, ...]
    environment: Environment
    rows_sha256: Sha256
    knowledge: Knowledge | None = Field(default=None, description="of the attack; records of engine 1 do not say it")
    classes: tuple[str, ...] = Field(
        default=(), description="names of the data set's classes, in the order of the labels"
    )
    showcase: tuple[str, ...] = Field(default=(), description="sample ids of the showcase PNG's rows")
    showcase_sha256: Sha256 | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        for name, found in ((name, each) for chosen in self.summaries.values() for name, each in chosen.items()):
            if len({value is None for value in (found.mean, found.low, found.high)}) > 1:
                raise ValueError(f"expected a mean of {name} with both ends of its interval, or none, got {found}")
        return self

    @property
    def headline(self) -> dict[str, Summary]:
        """Return the main summary for every metric.

        Metrics of `OVER_ALL` are over all samples, the others are over the correctly classified ones.
        """
        which = {m.name: "all" if (m.plugin or m.name) in OVER_ALL else "correct" for m in self.spec.metrics}
        return {name: self.summaries["all" if chosen == "all" else "correct"][name] for name, chosen in which.items()}


class Confirmation(Strict):
    """The differences between a run and a second run of its spec.

    The note is stored beside the record.
    """

    run_id: Sha256
    rows_sha256: Sha256 = Field(description="of the rows that are confirmed")
    again_sha256: Sha256 = Field(description="of the rows of the second run")
    images: int = Field(ge=1)
    mean_difference: float = Field(description="of the primary metric, second run minus first")
    largest_difference: float = Field(ge=0, description="of the primary metric, over the images")
    environment: Environment = Field(description="of the second run")
