"""The usual families of networks: each is attacked, or refused by name."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from tests.support.families import CLASSES, FAMILIES, Family, curvature_gap, is_missing, line, outcome_of
from tests.support.networks import PAGE


def present(name: str) -> Family:
    family = FAMILIES[name]
    if is_missing(family):
        pytest.skip(f"{name}: {family.library} is not installed")
    return family


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_attacked_and_judged_as_the_page_says(name: str) -> None:
    outcome = outcome_of(present(name))
    assert outcome == "attacked" or outcome.startswith("refused: expected")
    assert line(name, outcome) in PAGE.read_text().splitlines(), "python -m tests.support.networks"


@pytest.mark.parametrize("name", FAMILIES)
def test_second_derivatives_of_a_family_are_those_of_finite_differences(name: str) -> None:
    assert curvature_gap(present(name)) < 1e-5


def test_the_page_lists_the_families_and_no_others() -> None:
    section = PAGE.read_text().partition("## Families of networks")[2].splitlines()
    listed = [text.split(" | ")[0].removeprefix("| ") for text in section if text.startswith("| ")]
    assert listed == ["family", "---", *FAMILIES]


def test_families_of_torchvision_need_no_extra() -> None:
    needed = {name for name, family in FAMILIES.items() if family.library == "torchvision"}
    assert not any(is_missing(FAMILIES[name]) for name in needed)
    assert {"ResNet", "DenseNet", "ConvNeXt", "ViT", "Swin", "MaxViT", "RegNet", "VGG", "Inception"} <= needed


class Rounded(nn.Module):
    """A network that computes with 16 grey levels, outside of torch's graph."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head((images.detach() * 15).round().flatten(1))
        return logits


def test_a_family_that_nothing_can_follow_is_refused_by_name() -> None:
    refused = outcome_of(Family(Rounded, "rounded"))
    assert refused.startswith("refused: expected logits with a gradient")
