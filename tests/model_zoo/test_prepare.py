"""The preparation of networks for attacks.

Every spelling of a kink gets the surrogate of nn.ReLU or is refused.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench.core.errors import UsageError
from model_zoo.derivatives.curvature import gradient, unexplained
from model_zoo.derivatives.prepare import is_same, surrogate
from model_zoo.derivatives.surrogate import Followed, sharpened, smooth_copy
from tests.support.networks import (
    BETA,
    OTHERS,
    PAGE,
    RELUS,
    Act,
    Attention,
    Hand,
    Tokens,
    derivatives,
    images,
    network,
    outcome_of,
    relu_gap,
)


@pytest.mark.parametrize("name", RELUS)
def test_a_relu_by_hand_has_the_surrogate_of_the_module_or_is_refused(name: str) -> None:
    function, outcome = RELUS[name]
    if outcome == "followed":
        assert relu_gap(function) < 1e-5
    else:
        with pytest.raises(UsageError, match="expected"):
            surrogate(network(Act(function)), BETA, images())
    assert f"| {name} | {outcome} |" in PAGE.read_text().splitlines(), "python -m tests.support.networks"


@pytest.mark.parametrize("name", OTHERS)
def test_other_parts_are_as_the_page_says(name: str) -> None:
    make, outcome = OTHERS[name]
    assert outcome_of(make()) == outcome
    assert f"| {name} | {outcome} |" in PAGE.read_text().splitlines(), "python -m tests.support.networks"


def test_the_page_has_no_line_that_nobody_tries() -> None:
    tables = PAGE.read_text().partition("## Families")[0].splitlines()
    lines = [line for line in tables if line.startswith("| ") and "---" not in line]
    assert len(lines) == len(RELUS) + len(OTHERS) + 2


FOLLOWED = [name for name, (_, outcome) in OTHERS.items() if outcome == "followed"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_second_derivatives_are_those_of_finite_differences(name: str) -> None:
    made: nn.Module = OTHERS[name][0]()
    whole, at = network(made).double(), images().double()
    smooth = surrogate(whole, 5.0, at)
    step, labels = 1e-5 * at, torch.zeros(len(at), dtype=torch.int64)
    measured = (gradient(smooth, at + step, labels) - gradient(smooth, at - step, labels)) / 2e-5
    torch.testing.assert_close(derivatives(smooth, at).curvature, measured, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FOLLOWED)
def test_nearly_sharp_a_surrogate_is_the_network(name: str) -> None:
    whole = network(OTHERS[name][0]()).double()
    smooth = surrogate(whole, BETA, images().double())
    with sharpened(smooth, 1e8):
        torch.testing.assert_close(smooth(images().double()), whole(images().double()), rtol=1e-6, atol=1e-6)


def test_networks_of_relu_modules_are_prepared_as_ever() -> None:
    whole = network(nn.ReLU())
    smooth, plain = surrogate(whole, BETA, images()), smooth_copy(whole, BETA)
    assert type(smooth) is type(plain)
    assert derivatives(smooth, images()).gap(derivatives(plain, images())) == 0


def test_a_hook_is_run_and_a_stale_weight_is_not_attacked() -> None:
    layer = torch.nn.utils.spectral_norm(nn.Conv2d(16, 16, 3, padding=1))
    whole = network(layer)
    whole(images())
    layer.weight = torch.zeros_like(layer.weight)  # what a state dict leaves until the next pass
    torch.testing.assert_close(surrogate(whole, BETA, images())(images()), whole(images()), rtol=1e-4, atol=1e-5)


def test_without_gradients_a_followed_network_answers_the_same_and_keeps_no_graph() -> None:
    smooth = surrogate(network(Act(lambda u: u * (u > 0))), BETA, images())
    assert isinstance(smooth, Followed)
    with torch.no_grad():
        silent = smooth(images())
    assert not silent.requires_grad
    assert torch.equal(silent, smooth(images()).detach())


def test_attention_is_plain_while_a_surrogate_computes_and_as_before_afterwards() -> None:
    smooth = surrogate(network(Tokens(Attention())), BETA, images())
    before = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
    assert derivatives(smooth, images()).curvature.abs().max() > 0
    assert (torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()) == before


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda u: u.masked_scatter(u < 0, (0 * u)[u < 0]), "masked_scatter with a comparison"),
        (Hand.apply, "Hand, which has a backward of its own"),
        (lambda u: u.detach(), "cut off from them"),
    ],
)
def test_a_refusal_names_what_was_met(function: Callable[[Tensor], Tensor], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        surrogate(network(Act(function)), BETA, images())


def test_hidden_kinks_leave_changes_of_a_gradient_unexplained() -> None:
    directions = torch.full_like(images(), 0.002)
    hidden, known = network(Act(torch.relu)), smooth_copy(network(nn.ReLU()), BETA)
    assert unexplained(hidden, images(), directions) > 0.5
    assert unexplained(known, images(), directions, 4) < 0.01


def test_a_network_without_gradients_is_another_one() -> None:
    whole = network(nn.ReLU())
    assert is_same(whole, network(nn.ReLU()), images())
    assert not is_same(whole, network(Act(lambda u: u.relu().detach())), images())
    assert not is_same(whole, network(nn.LeakyReLU(0.3)), images())


def test_preparing_leaves_modes_and_statistics_of_a_network_in_training() -> None:
    whole = network(nn.Sequential(nn.BatchNorm2d(16), nn.ReLU())).train()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    assert surrogate(whole, BETA, images()).training
    assert all(module.training for module in whole.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in whole.state_dict().items())
