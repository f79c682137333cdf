"""What a run was asked (its spec, which is its identity) and what it found (its record and rows). Needs no torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import (
    ATTRIBUTION,
    Direction,
    HeatmapRule,
    Knowledge,
    Name,
    Sha256,
    Strict,
    Surrogate,
    ThreatModel,
)
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
"""Columns of every row file; then ATTACK_COLUMNS, those of the flags, and one per metric, by its name.

Of a series, one more per metric and level follows; what these columns say of the image after is the last level's.
"""

ATTACK_COLUMNS = ("projected", "gradient_vanished")
"""What soundness flags look at of the attack."""

FIRST_FLAG_COLUMNS = (
    "map_contrast",
    "map_repeatable",
    "probabilities",
    "surrogate_agrees",
    "surrogate_correlation",
)
"""What flags measured on clean images from engine 2 on. Columns of later flags may be missing in older rows."""

SHOWCASE_TILES = ("before", "after", "heatmap-before", "heatmap-after", "top-k")
"""Columns of a showcase PNG, of one image size each; one row per showcase sample, in the order of the record."""

LEVEL_MARK = "@"
"""Of a series, a metric at one level is `<metric>@<level>`: a column of the rows, and a mean of the record."""

TOP_K_CODES = {"none": 0, "kept": 85, "lost": 170, "gained": 255}
"""Grey values of the `top-k` tile."""


Count = Annotated[int, Field(ge=0, lt=2**53)]
"""How many: within what every reader of JSON and CSV holds exactly."""


class PluginSpec(Strict):
    """A plug-in with its version and every parameter resolved."""

    name: Name
    version: int
    params: dict[str, Any]


class MetricSpec(PluginSpec):
    """A metric, and how to read it."""

    higher_is: Direction


class ModelSpec(Strict):
    """Which network, to the byte."""

    name: str
    reference: str = Field(description="the resolvable, pinned reference, such as hub:natural-wrn28")
    architecture: PluginSpec
    weights_sha256: Sha256
    mean: tuple[float, ...]
    std: tuple[float, ...]


class CraftSpec(Strict):
    """On which other network, and how, transferred images were made."""

    model: ModelSpec
    attack: PluginSpec
    search_attribution: PluginSpec


class ProtocolSpec(Strict):
    """Which protocol, to the byte."""

    name: Name
    version: int
    sha256: Sha256
    rankable: bool
    floor: Name = Field(description="the attack without knowledge that every other attack must beat")
    reference: tuple[Name, ...] = Field(
        default=(), description="models whose common correct images rank; changes no number of a run, so no run_id"
    )
    track: Name = Field(
        default=ATTRIBUTION, description="the question that it asks; changes no number of a run, so no run_id"
    )

    @property
    def key(self) -> str:
        """The name under which results are filed."""
        return f"{self.name}-v{self.version}"


class SamplesSpec(Strict):
    """Which of the protocol's images: the first `count`."""

    sha256: Sha256
    count: Count
    of: Count


class RunSpec(Strict):
    """All that may change a number of a run."""

    engine: Count
    protocol: ProtocolSpec
    model: ModelSpec
    attack: PluginSpec
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
        """Hash of the whole spec."""
        return self._hash(frozenset())

    @property
    def primary(self) -> MetricSpec:
        """The metric that attacks minimise and that ranks."""
        return next(metric for metric in self.metrics if metric.name == self.primary_metric)

    @property
    def attack_id(self) -> str:
        """Hash of what decides the perturbed images: the spec less the metrics that do not steer, and the count."""
        return self._hash(frozenset({"metrics", "samples"}))

    @property
    def clean_id(self) -> str:
        """Hash of what decides what the judge finds of clean images: the spec less the attack."""
        return self._hash(frozenset({"attack", "threat", "crafted_on", "on_protocol"}))

    @property
    def conditions(self) -> str:
        """What attacks must share to be compared: the spec less the attack and how it searches, as canonical JSON."""
        own = {"attack", "surrogate", "search_attribution", "crafted_on", "on_protocol"}
        return canonical_json(self.model_dump(mode="json", exclude=own))

    def _hash(self, without: frozenset[str]) -> str:
        # A field that came later counts only where it is used, so that earlier runs keep their names; the reference set
        # and the track sort, and change no number.
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
    """A mean over samples with its 95 % percentile-bootstrap interval; null where no sample defines it."""

    mean: float | None
    low: float | None
    high: float | None
    n: Count
    n_undefined: Count


class Flag(Strict):
    """A caveat with a meaning, stored beside the score."""

    name: Name
    detail: str


class Environment(Strict):
    """Where a run took place: recorded, never part of its identity."""

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
        """What is told of each metric first: accuracy over all samples, the others over the correct ones."""
        names = [metric.name for metric in self.spec.metrics]
        return {name: self.summaries["all" if name == "accuracy" else "correct"][name] for name in names}


class Confirmation(Strict):
    """Somebody ran the same spec again, and this is how the two runs differ; filed beside the record."""

    run_id: Sha256
    rows_sha256: Sha256 = Field(description="of the rows that are confirmed")
    again_sha256: Sha256 = Field(description="of the rows of the second run")
    images: int = Field(ge=1)
    mean_difference: float = Field(description="of the primary metric, second run minus first")
    largest_difference: float = Field(ge=0, description="of the primary metric, over the images")
    environment: Environment = Field(description="of the second run")
