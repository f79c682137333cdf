"""The schema of protocols: samples, threat model, components and seeds."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from bench.core.schemas.folder import ImageFolder
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of

Knowledge = Literal["white-box", "black-box", "none"]
Aim = Literal["explanation", "prediction", "nothing"]
"""What an attack wants to change; "nothing" if no adversary chooses the change of the image."""

ATTRIBUTION = "attribution"
"""The track that has the boards; every other track is a file of `leaderboard/tracks/questions`."""

Direction = Literal["more-robust", "less-robust", "neutral"]
"""What a higher value of a metric means."""

SearchPrecision = Literal["float32", "tf32", "bfloat16"]
"""Precision of a search; "bfloat16" applies where it differentiates the surrogate, and TF32 elsewhere."""

HeatmapRule = Literal["sum-of-abs", "max-of-abs", "abs-of-sum", "sum"]

_NAME = r"^[a-z0-9]+([-.][a-z0-9]+)*$"
_ATTACK = r"^(external:)?[a-z0-9]+([-.][a-z0-9]+)*$"
_MODEL = r"^[a-z0-9]+([-.][a-z0-9]+)*(:[\w.:/-]+)?$"
_SHA256 = r"^[0-9a-f]{64}$"
_DIGEST = r"^([0-9a-f]{32})+$"
COMMIT = r"^[0-9a-f]{40}$"
REPO = r"[A-Za-z0-9_][A-Za-z0-9_.-]*/[A-Za-z0-9_][A-Za-z0-9_.-]*"
"""The name of a repository on the Hub."""
SPELLINGS = {
    _NAME: "lower-case letters and digits, with single dashes or dots between them",
    _ATTACK: "the name of an attack, or external:NAME",
    _MODEL: "the name of a registered model, or ZOO:NAME",
    _SHA256: "64 hexadecimal digits, a SHA-256",
    _DIGEST: "pairs of hexadecimal digits, 16 for each channel",
    COMMIT: "40 hexadecimal digits, a full commit",
    f"^{REPO}$": "a repository on the Hub as ORG/NAME",
}
"""The patterns in words, for error messages."""

Name = Annotated[str, Field(pattern=_NAME, max_length=80)]
AttackName = Annotated[str, Field(pattern=_ATTACK, max_length=90)]
"""An attack, or external:NAME for perturbed images that somebody submitted."""
ModelName = Annotated[str, Field(pattern=_MODEL, max_length=160)]
"""A registered model, or ZOO:NAME for a network of another library."""
Digest = Annotated[str, Field(pattern=_DIGEST)]
"""Grey levels of cells, channel by channel and row by row, two hexadecimal digits each."""
Sha256 = Annotated[str, Field(pattern=_SHA256)]


WRITTEN = re.compile(r"-?(\d{1,15}(/\d{1,15})?|\d{0,15}\.\d{1,15})", re.ASCII)
"""How a fraction may be written; without exponents, as a few characters could stand for a number that fills memory."""


def _fraction(value: object) -> Fraction:
    if isinstance(value, float):
        raise ValueError(f'expected a fraction of the pixel range in quotes, such as "8/255", got {value}')
    try:
        if WRITTEN.fullmatch(str(value)) is None:
            raise ValueError
        return Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f'expected a fraction such as "8/255", got {value!r}') from error


PixelFraction = Annotated[Fraction, BeforeValidator(_fraction), PlainSerializer(str, return_type=str)]
"""A length in pixel units, where 1 is the full range, kept exact and written as "8/255"."""


OUTSIDE = 1e-6
"""Distance from the ball, in pixel units, above which an image lies outside; smaller ones are rounding errors."""


class Component(Strict):
    """A plug-in's name, and its parameters that differ from the defaults."""

    name: Name
    params: dict[str, Any] = Field(default_factory=dict)
    version: int | None = Field(
        default=None, ge=1, description="version of the plug-in; default: the newest that has all these parameters"
    )


class Measure(Component):
    """A metric of a protocol, under its own name or under another."""

    model_config = ConfigDict(populate_by_name=True)

    as_: Name | None = Field(
        default=None, alias="as", description="its name in rows and on boards, where one metric is measured twice"
    )

    @model_validator(mode="after")
    def _named_after_the_metric(self) -> Self:
        if self.as_ is not None and not self.as_.startswith(f"{self.name}-"):
            raise ValueError(f"as: expected {self.name}-SOMETHING, got {self.as_!r}; begin it with the metric's name")
        return self

    @property
    def column(self) -> str:
        """Return the name of its column."""
        return self.as_ or self.name


class ThreatModel(Strict):
    """The allowed change of an image, and what the adversary may know.

    An L-infinity ball of radius 1 holds every image: with it a protocol allows changes without a limit.
    """

    norm: Literal["linf", "l2"]
    epsilon: PixelFraction = Field(ge=0)
    knowledge: Knowledge = "white-box"
    keep_prediction: bool = True
    max_queries: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _within_the_range(self) -> Self:
        if self.norm == "linf" and self.epsilon > 1:
            whole = self.epsilon.denominator == 1
            raise ValueError(
                f"epsilon: expected at most 1, the whole range of a pixel, got {self.epsilon}"
                + (f"; write {self.epsilon}/255 for grey levels" if whole else "; correct it")
            )
        return self

    @property
    def unbounded(self) -> bool:
        """Return whether the ball holds every image."""
        return self.norm == "linf" and self.epsilon >= 1


class SampleSet(Strict):
    """The evaluated images, as indices into a split with a checksum."""

    dataset: Name = Field(description="the image set that the sample ids speak of")
    source: Name = Field(description="the dataset plug-in that delivers the pixels")
    split: Literal["train", "test"] = "test"
    sha256: Sha256 = Field(description="SHA-256 of the images, uint8 (C, H, W), in the order of `indices`")
    indices: tuple[int, ...] = Field(min_length=1)
    digests: tuple[Digest, ...] = Field(
        default=(),
        description="mean grey levels of each image's cells, by which other decoders' pixels pass that miss the sha256",
    )
    showcase: tuple[int, ...] = Field(default=(), description="indices whose images are kept for the pages")
    folder: ImageFolder | None = Field(
        default=None, description="image files of one's own; index i is the file i, and `source` is not asked"
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.indices)) != len(self.indices):
            raise ValueError("indices: expected each once, got some twice")
        if not set(self.showcase) <= set(self.indices):
            raise ValueError("showcase: expected some of the indices, got others")
        if self.digests and len(self.digests) != len(self.indices):
            raise ValueError(f"digests: expected one per index, {len(self.indices)}, got {len(self.digests)}")
        if self.folder is not None and self.indices != (whole := tuple(range(len(self.folder.files)))):
            raise ValueError(f"indices: expected 0 to {whole[-1]}, one per file in their order, got others")
        return self

    def ids(self) -> list[str]:
        """Return the sample ids, `<dataset>/<split>/<index>`."""
        return [f"{self.dataset}/{self.split}/{index}" for index in self.indices]


SHARPEST = 1e6
"""Largest sharpness: here softplus equals ReLU up to the rounding of float32."""


class Surrogate(Strict):
    """The smooth copy through which attacks differentiate attributions."""

    activation: Literal["softplus"] = "softplus"
    beta: float = Field(gt=0, le=SHARPEST)
    precision: SearchPrecision = Field(
        default="float32",
        description="precision of a search on a GPU; the judge always uses the protocol's precision",
    )


class Protocol(Strict):
    """One way to measure, which never changes.

    Another value needs another version.
    """

    name: Name
    version: int = Field(ge=1)
    description: str
    rankable: bool
    samples: SampleSet
    threat: ThreatModel
    attribution: Component = Field(description="what is judged, on the real network")
    search_attribution: Component = Field(description="what attacks look at: the same method, fewer nodes")
    surrogate: Surrogate
    explain: Literal["predicted-class", "true-class"]
    heatmap: HeatmapRule
    attacks: tuple[Component, ...]
    floor: Name = Field(description="the attack without knowledge that every other attack must beat")
    metrics: tuple[Measure, ...]
    primary_metric: Name = Field(description="the metric by which attacks select their best iterate, and models rank")
    shard_size: int = Field(ge=1)
    seed: int = Field(ge=0)
    precision: Literal["float32", "float64"] = "float32"
    track: Name = Field(default=ATTRIBUTION, description="the question about a model that it answers")
    models_of: Name | None = Field(
        default=None, description="the data set of the models that it evaluates, if it is not the samples' own"
    )
    reference: tuple[Name, ...] = Field(
        default=(),
        description="registered models on whose common correct images models rank; no controls; never changes",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        measured = [metric.column for metric in self.metrics]
        for kind, names in (("attacks", [attack.name for attack in self.attacks]), ("metrics", measured)):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                remedy = '; give one of them a name with as = "…"' if kind == "metrics" else ""
                raise ValueError(f"{kind}: expected each once, got {twice!r} twice{remedy}")
        if self.primary_metric not in measured:
            named = ", ".join(measured)
            raise ValueError(f"primary_metric: expected one of the metrics ({named}), got {self.primary_metric!r}")
        if self.floor not in {a.name for a in self.attacks}:
            named = ", ".join(a.name for a in self.attacks)
            raise ValueError(f"floor: expected one of the attacks ({named}), got {self.floor!r}")
        return self

    @property
    def key(self) -> str:
        """Return the name of the results folder, `<name>-v<version>`."""
        return f"{self.name}-v{self.version}"

    @property
    def primary(self) -> Measure:
        """Return the primary metric: attacks select and boards rank by it."""
        return next(metric for metric in self.metrics if metric.column == self.primary_metric)

    @property
    def content(self) -> bytes:
        """Return all values as canonical JSON.

        It holds no comments, and no keys that later versions of the schema add with a default.
        """
        return canonical_json(self.model_dump(mode="json", exclude_defaults=True, by_alias=True)).encode()

    @property
    def sha256(self) -> str:
        """Return the hash of the content."""
        return sha256_of(self.content)
