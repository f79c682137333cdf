"""The schema of tracks: further questions about a model, one TOML each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bench.core.schemas.protocol import Name
from bench.core.schemas.strict import Strict


class Show(Strict):
    """The showcase images under one attack, a column per network."""

    attack: Name
    picture: Literal["original", "heatmap-before", "perturbed", "perturbation", "heatmap-after", "marks"]
    title: str
    words: str
    alone: bool = Field(default=False, description="whether it is shown only where no other attack ran")


class SecondOpinion(Strict):
    """A count of attacked images whose class an independent network also sees."""

    attack: Name
    title: str


class Track(Strict):
    """A question with the tables and pictures that answer it.

    The track `attribution`, which has the boards, does not have a file.
    """

    name: Name
    title: str
    asks: str
    order: int = Field(description="place among the tracks")
    metrics: tuple[Name, ...] = Field(min_length=1, description="metrics with a table and charts, in this order")
    baseline: Name | None = Field(
        default=None, description="model whose errors the mean corruption error is relative to"
    )
    transfers: bool = Field(default=False, description="whether the matrix of transferred attacks is shown")
    spreads: tuple[Name, ...] = Field(default=(), description="metrics whose quantiles over the images are shown")
    second_opinions: tuple[SecondOpinion, ...] = ()
    shows: tuple[Show, ...] = ()
