"""The schemas of a run's record and rows.

They hold what a run measured. Needs no torch.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import (
    Knowledge,
    Name,
    Sha256,
)
from bench.core.schemas.spec import Count, RunSpec
from bench.core.schemas.strict import Strict

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

OVER_ALL = frozenset({"accuracy", "top1-loc", "top1-seg", "shape-bias", "cue-answers"})
"""Metrics whose mean is over all samples, as a wrong class is part of what they count."""

SHOWCASE_TILES = ("before", "after", "heatmap-before", "heatmap-after", "top-k")
"""Columns of a showcase PNG, each as wide as an image; one row per showcase sample, in the order of the record."""

LEVEL_MARK = "@"
"""Separates metric and level of a series: `<metric>@<level>` is a column of the rows, and a mean of the record."""

TOP_K_CODES = {"none": 0, "kept": 85, "lost": 170, "gained": 255}
"""Grey values of the `top-k` tile."""


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
        return {
            metric.name: self.summaries["all" if metric.name in self.over_all else "correct"][metric.name]
            for metric in self.spec.metrics
        }

    @property
    def over_all(self) -> tuple[str, ...]:
        """Return the metrics whose main summary is over all samples."""
        return tuple(metric.name for metric in self.spec.metrics if (metric.plugin or metric.name) in OVER_ALL)


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
