"""A description of a training: the schema of one recipe TOML."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bench.core.schemas.entry import Line, Text
from bench.core.schemas.protocol import Component, ModelName, Name, PixelFraction
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of


class Schedule(Strict):
    """The learning rate over a training.

    It rises linearly; then it falls to zero linearly or by a cosine, or in steps by a factor of 0.1.
    """

    kind: Literal["linear", "cosine", "steps"] = "linear"
    peak: float = Field(gt=0)
    warmup: float = Field(default=0.0, ge=0, lt=1, description="share of all steps")
    milestones: tuple[float, ...] = Field(default=(), description="shares of all steps at which `steps` falls")


class Augmentation(Strict):
    """Random changes of the training images, different in each step."""

    crop_padding: int = Field(default=4, ge=0, le=256)
    flip: bool = True


class Validation(Strict):
    """Held-out training images that measure and select epochs."""

    images: int = Field(default=1000, ge=10)
    epsilon: PixelFraction = Field(default="8/255", validate_default=True)
    step_size: PixelFraction = Field(default="2/255", validate_default=True)
    pgd_images: int = Field(default=0, ge=0, description="number of these images that 10 steps of PGD attack; 0: none")
    select: Literal["last", "accuracy", "pgd_accuracy"] = "last"
    stop_at_accuracy: float | None = Field(
        default=None, gt=0, lt=1, description="held-out accuracy at which the training ends, so that it underfits"
    )
    stop_at_collapse: bool = Field(
        default=False, description="end where the PGD accuracy falls below half of its best: catastrophic overfitting"
    )

    @model_validator(mode="after")
    def _watched(self) -> Self:
        if (self.stop_at_collapse or self.select == "pgd_accuracy") and not self.pgd_images:
            raise ValueError("expected pgd_images above 0, as the PGD accuracy decides, got 0")
        return self


class Target(Strict):
    """Test accuracies that a full training should reach."""

    clean: float = Field(gt=0, le=1)
    pgd40: float | None = Field(default=None, ge=0, le=1, description="under PGD of 40 steps in the entry's radius")


class Recipe(Strict):
    """All settings that decide the weights of a training."""

    name: Name
    model: Name = Field(description="name of the model that the recipe makes")
    title: Annotated[Line, Field(max_length=200)]
    description: Text
    differs: Text = Field(default="", description="deviations from the paper's training, for the entry")
    citation: Text = ""
    dataset: Name
    architecture: Component
    objective: Component
    parent: ModelName | None = Field(
        default=None, description="model whose weights are the start; its last layer only where the classes are as many"
    )
    control: bool = Field(default=False, description="whether the model is a control, which has no rank")
    epochs: float = Field(ge=0, description="passes over the training images; a fraction ends inside a pass")
    batch_size: int = Field(ge=2)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Schedule
    augmentation: Augmentation = Augmentation()
    validation: Validation = Validation()
    target: Target | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    batch_norm: Literal["train", "frozen"] = "train"
    seed: int = Field(default=0, ge=0)

    @property
    def identity(self) -> str:
        """Return the hash of the values that decide the weights.

        Names and texts do not change it.
        """
        texts = {"name", "model", "title", "description", "differs", "citation", "control", "target"}
        content = self.model_dump(mode="json", exclude_defaults=True, exclude=texts)
        return sha256_of(canonical_json(content).encode())
