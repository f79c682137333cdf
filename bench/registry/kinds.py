"""The kinds of plug-in, and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component, Protocol
from bench.core.schemas.recipe import Recipe
from bench.core.schemas.track import Track

Kind = Literal[
    "attacks",
    "metrics",
    "attributions",
    "datasets",
    "architectures",
    "objectives",
    "models",
    "protocols",
    "recipes",
    "tracks",
    "zoos",
    "executors",
    "flags",
    "studies",
]


@dataclass(frozen=True)
class Python:
    """A kind whose plug-ins are Python files.

    Each file has one class of `contract`, or a function `build` if `contract` is None.
    """

    package: str
    contract: str | None
    vocabulary: str = "bench.core.contracts"
    """The module that defines the contract."""
    parameters: bool = False
    """Whether the fields of the class are parameters, checked by pydantic's dataclass."""


@dataclass(frozen=True)
class Toml:
    """A kind whose plug-ins are TOML files of one schema."""

    package: str
    folder: str
    schema: type[BaseModel]


_TOP = "" if (Path(__file__).parents[2] / "attacks").is_dir() else "attribution_bench."
"""A wheel installs the top-level folders of plug-ins below one package; see pyproject.toml."""

KINDS: dict[Kind, Python | Toml] = {
    "attacks": Python(f"{_TOP}attacks", "Attack", parameters=True),
    "metrics": Python(f"{_TOP}metrics", "Metric", parameters=True),
    "attributions": Python("bench.attributions", "AttributionMethod", parameters=True),
    "datasets": Python("bench.data", "Dataset"),
    "architectures": Python("model_zoo.architectures", None),
    "objectives": Python("model_zoo.training.objectives", "Objective", parameters=True),
    "models": Toml("model_zoo", "entries", ModelEntry),
    "protocols": Toml("bench", "protocols", Protocol),
    "recipes": Toml("model_zoo", "training/recipes", Recipe),
    "tracks": Toml("leaderboard", "tracks/questions", Track),
    "zoos": Python("model_zoo.zoos", "Zoo"),
    "executors": Python("bench.executors", "Executor", parameters=True),
    "flags": Python("bench.flags", "SoundnessFlag", "bench.core.schemas.flags"),
    "studies": Python("bench.studies", "Study", "bench.core.contracts.study", parameters=True),
}


def singular(kind: Kind) -> str:
    """Return the word for one plug-in of a kind."""
    return "study" if kind == "studies" else kind[:-1]


FORMER: dict[tuple[Kind, str], Component] = {
    ("metrics", f"{name}-after"): Component(name=name, params={"of": "after"})
    for name in ("insertion", "deletion", "infidelity")
}
"""Names in published protocols and records whose files are gone; new protocols write `as = "…"` instead."""

SKELETONS = Path(__file__).parent / "skeletons"
"""Templates that `bench new` fills in."""

ENTRY_POINT_GROUP = "attribution_bench"
"""Other packages offer a plug-in of kind K as an entry point of the group `attribution_bench.K`."""
