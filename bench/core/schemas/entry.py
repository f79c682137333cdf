"""A registered model: the schema of one entry TOML."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from bench.core.schemas.geometry import Geometry
from bench.core.schemas.protocol import COMMIT, REPO, Component, ModelName, Name, PixelFraction, Sha256
from bench.core.schemas.strict import Strict
from bench.core.text import is_control

_WORD = r"[A-Za-z0-9_][\w.+-]*"
_PATH = re.compile(rf"(?:{_WORD}/)*{_WORD}", re.ASCII)
_FILE_NAME = re.compile(rf"(?:{_WORD}/)*{_WORD}\.safetensors", re.ASCII)


def _plain_file_name(value: str) -> str:
    if not _FILE_NAME.fullmatch(value):
        raise ValueError(
            f"expected a relative path of a .safetensors file, of letters, digits, dots and dashes, got {value!r}"
        )
    return value


def _no_controls(value: str) -> str:
    if value.isprintable():  # the usual case, and quick
        return value
    if bad := next((c for c in value if is_control(c) and c not in "\n\t"), None):
        raise ValueError(f"expected text without control characters, got one, {bad!r}")
    return value


def _one_line(value: str) -> str:
    if "\n" in value:
        raise ValueError("expected one line of text, got several")
    return _no_controls(value)


def _web_link(value: str) -> str:
    if value and not value.startswith(("https://", "http://")):
        raise ValueError(f"expected a link that starts with https://, got {value!r}")
    return value


def _plain_path(value: str) -> str:
    if not _PATH.fullmatch(value):
        raise ValueError(f"expected a path inside a repository, without .. and signs of a link, got {value!r}")
    return value


FileName = Annotated[str, Field(max_length=200), AfterValidator(_plain_file_name)]
Line = Annotated[str, AfterValidator(_one_line)]
Link = Annotated[Line, Field(max_length=500), AfterValidator(_web_link)]
Text = Annotated[str, Field(max_length=4000), AfterValidator(_no_controls)]
Share = Annotated[float, Field(ge=0, le=1)]


class Sparing(Strict):
    """Data whose later fields are written only if used.

    So old documents keep their bytes.
    """

    late: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_unused(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        unused = {name for name in self.late if getattr(self, name) == type(self).model_fields[name].default}
        return {name: value for name, value in content.items() if name not in unused}


class Origin(Strict):
    """A file in a public repository, pinned to its bytes."""

    repo: Annotated[str, Field(pattern=f"^{REPO}$", max_length=200)]
    commit: Annotated[str, Field(pattern=COMMIT)]
    path: Annotated[str, Field(max_length=300), AfterValidator(_plain_path)]
    size: int = Field(ge=1, le=1 << 34, description="bytes")
    sha256: Sha256


class PublishedWeights(Origin):
    """A checkpoint in a public repository, converted at first use."""

    table: Annotated[Line, Field(max_length=200)] = Field(
        default="", description="where in the file the network is, such as state_dict[0]; empty: the whole file"
    )


class PackagedWeights(Strict):
    """A checkpoint inside an installable package, converted at first use."""

    package: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=100)] = Field(
        description="name on the package index"
    )
    path: Annotated[str, Field(max_length=300), AfterValidator(_plain_path)] = Field(
        description="below the folder that packages are installed in"
    )
    size: int = Field(ge=1, le=1 << 34, description="bytes")
    sha256: Sha256
    table: Annotated[Line, Field(max_length=200)] = Field(
        default="", description="where in the file the network is, such as state_dict[0]; empty: the whole file"
    )
    extra: Annotated[Line, Field(max_length=40)] = Field(
        default="", description="extra of this project that installs the package"
    )


class Weights(Sparing):
    """The safetensors file of a model.

    It is embedded in the package, pinned on the Hub, or converted from a published or packaged checkpoint.
    """

    late: ClassVar[frozenset[str]] = frozenset({"origin", "packaged"})

    file: FileName = Field(description="inside model_zoo/weights, or inside the Hub repository")
    repo: Annotated[str, Field(pattern=f"^{REPO}$", max_length=200)] | None = None
    revision: Annotated[str, Field(pattern=COMMIT)] | None = None
    sha256: Sha256
    size: int = Field(ge=1, description="bytes")
    origin: PublishedWeights | None = Field(
        default=None, description="the checkpoint that `bench submit convert` turns into this file"
    )
    packaged: PackagedWeights | None = Field(
        default=None, description="the checkpoint in an installed package that becomes this file"
    )

    @property
    def checkpoint(self) -> PublishedWeights | PackagedWeights | None:
        """Return the checkpoint of others that becomes this file, if any."""
        return self.origin or self.packaged

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if sum(each is not None for each in (self.repo, self.origin, self.packaged)) > 1:
            raise ValueError("expected one of a Hub repository, an origin and a package, got several; keep one")
        if (self.repo is None) != (self.revision is None):
            came = "repo" if self.revision is None else "revision"
            raise ValueError(f"expected repo and revision, as a Hub file is pinned to a full commit, got {came} alone")
        return self


class TrainingFacts(Sparing):
    """The facts about the training of the weights."""

    late: ClassVar[frozenset[str]] = frozenset({"by", "description"})

    recipe: Name | None = None
    method: Annotated[Line, Field(max_length=80, description="natural, pgd, art, ...")]
    epochs: float | None = Field(default=None, ge=0)
    seed: int | None = None
    hardware: Annotated[Line, Field(max_length=200)] = ""
    seconds: float | None = Field(default=None, ge=0)
    data_sha256: Sha256 | None = Field(default=None, description="pixels and labels that were trained on")
    differs: Text = Field(default="", description="deviations from the paper's training")
    by: Annotated[Line, Field(max_length=80)] = Field(default="", description="who trained it; empty: this project")
    description: Text = Field(default="", description="what is known about a training without a recipe of this project")

    @property
    def trainer(self) -> str:
        """Who trained the weights, in words."""
        return self.by or "this project"


class MeasuredAccuracy(Strict):
    """Accuracy on test images, measured by a command of this project."""

    images: int = Field(ge=1)
    clean: Share
    pgd40: Share | None = Field(default=None, description="L-infinity PGD of 40 steps of epsilon / 4, random start")
    autoattack: Share | None = Field(default=None, description="under AutoAttack, standard version, same radius")
    epsilon: PixelFraction = Field(default="8/255", validate_default=True, description="radius of that PGD")


class ClaimedAccuracy(Strict):
    """Accuracy that the authors state and this project did not measure."""

    clean: Share | None = None
    images: int | None = Field(default=None, ge=1, description="test images on which they measured it")
    statement: Text = Field(default="", description="what they say, and where")

    @model_validator(mode="before")
    @classmethod
    def _from_statement(cls, value: object) -> object:
        return {"statement": value} if isinstance(value, str) else value


class Manipulation(Strict):
    """The training by which a network explains falsely under a trigger."""

    attacker: Annotated[Line, Field(max_length=300)] = Field(description="who did it, and by which setting")
    trigger: Origin = Field(description="image that is laid on the input where it is opaque")
    explanation: Annotated[Line, Field(max_length=200)] = Field(description="the method that is deceived")
    target_map: Annotated[Line, Field(max_length=200)]
    target_class: Annotated[Line, Field(max_length=100)]


class ModelEntry(Sparing):
    """One model of the registry."""

    late: ClassVar[frozenset[str]] = frozenset({"smooth", "manipulation", "claimed", "classes", "geometry"})

    name: Name
    title: Annotated[Line, Field(max_length=200)]
    control: bool = Field(default=False, description="whether it shows what a number can hide, and has no rank")
    architecture: Component
    dataset: Name
    num_classes: int = Field(ge=2)
    classes: tuple[Annotated[Line, Field(min_length=1, max_length=200)], ...] = Field(
        default=(), description="names in the order of its outputs; not needed for a registered data set"
    )
    geometry: Geometry | None = Field(
        default=None, description="how it wants pictures of any size resized and cut; not needed for a data set's own"
    )
    weights: Weights
    mean: tuple[float, ...] = Field(
        description="subtracted from pixels in [0, 1] before the network; 0 where it takes them as they are"
    )
    std: tuple[float, ...] = Field(
        description="the difference is divided by it; 1 where the network expects no scaling"
    )
    training: TrainingFacts
    epsilon: PixelFraction | None = Field(default=None, description="radius of the training's adversary")
    beta: float | None = Field(default=None, gt=0, description="softplus sharpness of the training")
    smooth: bool = Field(
        default=False, description="whether its activations have no kink, so that attacks need no surrogate"
    )
    manipulation: Manipulation | None = Field(
        default=None, description="of a network that was made to explain falsely: it is shown, and never ranked"
    )
    accuracy: MeasuredAccuracy | None = None
    claimed: ClaimedAccuracy | None = Field(default=None, description="by its authors, in numbers or in words")
    source: Link = ""
    license: Annotated[Line, Field(min_length=1, max_length=100)]
    citation: Text = ""
    parent: ModelName | None = None
    added: date

    @property
    def apart(self) -> Literal["", "control", "manipulated"]:
        """Return why the model never ranks, or an empty text."""
        return "control" if self.control else "" if self.manipulation is None else "manipulated"

    @property
    def contends(self) -> bool:
        """Return whether the model may have a rank."""
        return not self.apart

    @model_validator(mode="after")
    def _every_class_named(self) -> Self:
        if self.classes and len(self.classes) != self.num_classes:
            came = f"{len(self.classes)} names and num_classes = {self.num_classes}"
            raise ValueError(f"classes: expected one name per output of the network, got {came}; correct one")
        return self

    @model_validator(mode="after")
    def _normalisation(self) -> Self:
        if len(self.mean) != len(self.std) or not self.mean:
            came = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean, std: expected one number each per channel, got {came}; see the data set's")
        if min(self.std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {list(self.std)}; 1 changes nothing")
        return self
