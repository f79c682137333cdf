"""Pieces of studies become records once.

They are independent of each other, and damage is found.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic.dataclasses import dataclass

from bench import registry
from bench.checks.studies import verify_studies
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.errors import EnvironmentFault, UsageError
from bench.core.schemas.study import Card, Figure, Key, Point
from bench.core.storage.studies import StudyStore
from bench.sweeps.study import Outcome, complete, plan
from tests.support.sweeps import Backwards
from tests.support.watcher import Watcher

WORK = list[Key]()
"""The pieces that were measured in this process."""

FIGURE = Figure(name="draws", kind="curve", title="Draws", words="Random numbers.", x="seed", y="number")


@dataclass(frozen=True, kw_only=True)
class Draws(Study):
    """Draws random numbers."""

    version: ClassVar[int] = 2
    selects: ClassVar[frozenset[str]] = frozenset({"seeds"})

    seeds: int = 3
    scale: float = 1.0
    broken: int = -1

    @property
    def card(self) -> Card:
        return Card(study="draws", version=2, title="Draws", asks="Which?", source="none", figures=(FIGURE,))

    def pieces(self) -> list[Key]:
        return [{"seed": seed} for seed in range(self.seeds)]

    def models(self, piece: Key) -> tuple[str, ...]:
        return ("natural-linear",) if piece["seed"] == 0 else ()

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        WORK.append(piece)
        if piece["seed"] == self.broken:
            raise EnvironmentFault("expected images, got none; fetch them")
        workplace.beat()
        shared = workplace.once("noise", self.scale, lambda: {"noise": torch.full((2, 2), self.scale)})
        number = float(torch.rand((), generator=workplace.rng.generator())) * float(shared["noise"].mean())
        out = io.BytesIO()
        Image.fromarray(np.full((4, 4, 3), int(piece["seed"]), np.uint8)).save(out, "PNG")
        name = "other" if self.broken == -2 else "draws"
        return Finding(
            [Point(figure=name, series="all", x=1, y=number)], {"twice": 2 * number}, {"grey": out.getvalue()}
        )


@pytest.fixture(autouse=True)
def offered() -> Iterator[None]:
    WORK.clear()
    with registry.offering("studies", "draws", Draws):
        yield


def done(folder: Path, limit: int | None = None, watcher: Watcher | None = None, **params: Any) -> Outcome:
    store = StudyStore(folder / "results")
    return complete(plan("draws", params, limit), store, folder / "work", Backwards(), watcher or Watcher())


def test_a_finished_piece_is_not_measured_again_and_more_pieces_join_it(tmp_path: Path) -> None:
    first = done(tmp_path, limit=1)
    before = first.finished[0].path.read_bytes()
    watcher = Watcher()
    both = done(tmp_path, seeds=4, watcher=watcher)
    assert WORK == [{"seed": 0}, {"seed": 3}, {"seed": 2}, {"seed": 1}]
    assert (watcher.done, watcher.total) == (4, 4)
    assert [piece.record.spec.piece["seed"] for piece in both.finished] == [0, 1, 2, 3]
    assert both.finished[0].path.read_bytes() == before
    assert list(StudyStore(tmp_path / "results").cards()) == [Draws().card]


def test_the_order_of_pieces_does_not_change_their_numbers(tmp_path: Path) -> None:
    together = [piece.record.points for piece in done(tmp_path / "a").finished]
    assert len(set(together)) == 3
    alone = [done(tmp_path / "b", limit=count).finished[-1].record.points for count in (1, 2, 3)]
    assert alone == together


def test_values_that_change_a_number_change_the_id() -> None:
    ids = {plan("draws", params).pieces[0].id for params in ({}, {"scale": 2.0}, {"seeds": 7})}
    assert len(ids) == 2
    first, second, *_ = plan("draws", {}).pieces
    assert first.spec.models["natural-linear"] == registry.load("models", "natural-linear").weights.sha256
    assert second.spec.models == {}
    assert first.name == "seed 0"


def test_a_failed_piece_is_told_and_does_not_stop_the_others(tmp_path: Path) -> None:
    outcome = done(tmp_path, broken=1)
    assert [failure.what for failure in outcome.failures] == ["seed 1"]
    assert "expected images, got none" in outcome.failures[0].why
    assert [piece.record.spec.piece["seed"] for piece in outcome.finished] == [0, 2]
    assert "expected points of the figures draws" in done(tmp_path, broken=-2).failures[0].why


def test_a_wrong_limit_or_parameter_is_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 piece"):
        plan("draws", {}, 0)
    with pytest.raises(UsageError, match="did you mean 'seeds'"):
        plan("draws", {"seed": 2})


def test_verification_finds_damage(tmp_path: Path) -> None:
    pieces = done(tmp_path).finished
    assert all(check.ok for check in verify_studies(tmp_path / "results"))
    assert len(verify_studies(tmp_path / "results")) == 4
    first, second, third = pieces
    first.path.write_text(first.path.read_text().replace('"scale":1.0', '"scale":2.0'))
    second.path.with_name(f"{second.path.stem}-grey.webp").write_bytes(b"")
    third.path.rename(third.path.with_name("000000000000.json"))
    details = [check.detail for check in verify_studies(tmp_path / "results") if not check.ok]
    assert len(details) == 3
    for words in ("expected the id", "sha256", "expected the record at"):
        assert any(words in detail for detail in details)
