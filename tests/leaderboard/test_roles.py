"""Metrics that boards show beside the primary one declare it themselves."""

from __future__ import annotations

import pytest

from bench import registry
from leaderboard.boards.roles import metrics_of


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_the_source_says_the_role_that_the_class_has(name: str) -> None:
    metric, said = registry.load("metrics", name), registry.constants("metrics", name)
    assert (said.get("role"), said.get("place", 0)) == (metric.role, metric.place)


def test_boards_show_metrics_in_the_order_of_their_places() -> None:
    assert metrics_of("companion") == ("topk-intersection", "kendall")
    assert metrics_of("faithfulness") == ("infidelity", "insertion", "deletion", "road")
    assert metrics_of("sparsity") == ("gini", "entropy")
