"""The schemas of a study: its card, and one record per piece."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from bench.core.schemas.protocol import Direction, Name, Sha256
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of

Key = dict[str, str | int | float]
"""What tells a piece from the others of its study, such as model, attribution, share and seed."""


class Figure(Strict):
    """A figure that is drawn from the points of all records.

    A curve shows the mean over points with the same series and x, with an interval; boxes show their quantiles; a
    scatter shows each point. Each panel of the points is a small plot of its own.
    """

    name: Name
    kind: Literal["curve", "boxes", "scatter"]
    title: str
    words: str = Field(description="one or two sentences: what it shows, and how to read it")
    x: str = Field(description="label of the horizontal axis, with the unit")
    y: str = Field(description="label of the vertical axis, with the unit")
    higher_is: Direction | None = Field(default=None, description="what a larger y means, if it means one thing")


class Card(Strict):
    """The question of a study, as pages show it.

    It lies beside the study's records.
    """

    study: Name
    version: int = Field(ge=1)
    title: str
    asks: str = Field(description="the question, in one sentence")
    source: str = Field(description="the paper, with section or figure")
    differs: str = Field(default="", description="what differs from the source")
    figures: tuple[Figure, ...] = Field(min_length=1)
    pictures: str = Field(default="", description="what the pictures show, column by column; then pages show them open")

    @property
    def key(self) -> str:
        """Return the name of the study's folder, `<study>-v<version>`."""
        return f"{self.study}-v{self.version}"


def _shortened(value: float | str | None) -> float | str | None:
    """Return a number with the six digits that a figure needs."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


class Point(Strict):
    """One measured point of a figure."""

    figure: Name
    series: str = Field(description="the curve, box group or colour that it belongs to")
    x: Annotated[float | str, AfterValidator(_shortened)]
    y: Annotated[float, AfterValidator(_shortened)]
    low: Annotated[float | None, AfterValidator(_shortened)] = Field(
        default=None, description="lower end of y's 95 % interval, if y is a mean"
    )
    high: Annotated[float | None, AfterValidator(_shortened)] = Field(
        default=None, description="upper end of that interval"
    )
    over: int = Field(default=1, ge=1, description="number of values whose mean y is")
    panel: str = Field(default="", description="the small plot that it belongs to; empty: every one of them")
    label: str = Field(default="", description="what the point is, such as a network, where series and x do not tell")


class StudySpec(Strict):
    """Everything that may change a piece's numbers."""

    study: Name
    version: int = Field(ge=1)
    params: dict[str, Any] = Field(description="without the parameters that only select pieces")
    piece: Key
    models: dict[str, Sha256] = Field(default={}, description="weights of the registered networks that it measures")

    @property
    def key(self) -> str:
        """Return the name of the study's folder, `<study>-v<version>`."""
        return f"{self.study}-v{self.version}"

    @property
    def id(self) -> str:
        """Return the hash of the spec."""
        return sha256_of(canonical_json(self.model_dump(mode="json")).encode())


class StudyRecord(Strict):
    """What one piece of a study measured."""

    spec: StudySpec
    points: tuple[Point, ...] = Field(min_length=1)
    numbers: dict[str, float] = Field(default={}, description="further numbers by name, such as a test accuracy")
    pictures: dict[Name, Sha256] = Field(default={}, description="SHA-256 of the pictures beside the record, by name")
    rows: tuple[str, ...] = Field(default=(), description="what the rows of each picture show, from the top")
    environment: dict[str, Any]
    seconds: float = Field(ge=0)
    id: Sha256

    @model_validator(mode="after")
    def _has_its_own_id(self) -> StudyRecord:
        if self.id != self.spec.id:
            raise ValueError(f"expected the id {self.spec.id[:12]}… of its spec, got {self.id[:12]}…")
        return self
