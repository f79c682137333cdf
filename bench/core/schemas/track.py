"""What a track asks of a model beyond its attribution robustness, and what its page shows: one TOML each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.core.schemas.protocol import Name, Strict


class Show(Strict):
    """The showcase images under one attack, a column per network."""

    attack: Name
    picture: Literal["original", "heatmap-before", "perturbed", "perturbation", "heatmap-after", "marks"]
    title: str
    words: str
    alone: bool = Field(default=False, description="whether it is shown only where no other attack ran")


class SecondOpinion(Strict):
    """Whether an independent network sees the same class in images that an attack made."""

    attack: Name
    title: str


class Track(Strict):
    """A question, and the tables and pictures that answer it; `attribution`, which has the boards, is no file."""

    name: Name
    title: str
    asks: str
    order: int = Field(description="place among the tracks")
    metrics: tuple[Name, ...] = Field(min_length=1, description="a table and charts of each, in this order")
    baseline: Name | None = Field(
        default=None, description="model whose errors the mean corruption error is relative to"
    )
    transfers: bool = Field(default=False, description="whether the matrix of transferred attacks is shown")
    spreads: tuple[Name, ...] = Field(default=(), description="metrics whose quantiles over the images are shown")
    second_opinions: tuple[SecondOpinion, ...] = ()
    shows: tuple[Show, ...] = ()
