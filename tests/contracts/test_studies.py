"""The contract of studies: cards, and pieces that can be told apart."""

from __future__ import annotations

import dataclasses

import pytest

from bench import registry
from bench.core.contracts.study import Study
from bench.core.storage.files import canonical_json
from bench.sweeps.study import plan

STUDIES = registry.names("studies")


def made(name: str) -> Study:
    study: Study = registry.load("studies", name)()
    return study


@pytest.mark.parametrize("name", STUDIES)
def test_the_card_is_of_this_study_and_names_each_figure_once(name: str) -> None:
    study = made(name)
    assert (study.card.study, study.card.version) == (name, study.version)
    figures = [figure.name for figure in study.card.figures]
    assert len(figures) == len(set(figures))
    assert study.card.asks.endswith("?")


@pytest.mark.parametrize("name", STUDIES)
def test_pieces_have_the_same_keys_and_differ_in_their_values(name: str) -> None:
    pieces = made(name).pieces()
    assert pieces
    assert len({tuple(piece) for piece in pieces}) == 1
    assert len({canonical_json(piece) for piece in pieces}) == len(pieces)


@pytest.mark.parametrize("name", STUDIES)
def test_selecting_parameters_are_fields_and_no_part_of_a_piece(name: str) -> None:
    study = made(name)
    fields = {field.name for field in dataclasses.fields(study)}  # type: ignore[arg-type]
    assert study.selects <= fields
    first, *_ = plan(name, {}).pieces
    assert set(first.spec.params) == fields - study.selects
