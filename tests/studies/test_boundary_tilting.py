"""The toy of boundary tilting against closed forms and brute force."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from bench.core.compute.rng import Rng
from bench.core.contracts.study import Workplace
from bench.studies import boundary_tilting as toy
from bench.studies.boundary_tilting import BoundaryTilting

MEAN, COVARIANCE = np.array(toy.MEAN), np.array(toy.COVARIANCE)


def workplace(folder: Path) -> Workplace:
    return Workplace("cpu", folder, Rng(0, ("test",)), lambda: None)


def linear(weight: list[float], bias: float) -> nn.Module:
    """A classifier whose logits differ by `weight x + bias`."""
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.0, 0.0], weight]))
        layer.bias.copy_(torch.tensor([0.0, bias]))
    return nn.Sequential(nn.Flatten(), layer).requires_grad_(False)


@pytest.mark.parametrize("radius", [0.0, 0.02, 0.125, 0.2, 0.25])
def test_the_best_linear_classifier_is_the_best_of_all_directions(radius: float) -> None:
    angle = np.linspace(-math.pi / 2, math.pi / 2, 200_001)
    normals = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    margin = (normals @ MEAN - radius) / np.sqrt(np.einsum("ni,ij,nj->n", normals, COVARIANCE, normals))
    best = toy.robust_direction(radius).numpy()
    assert np.allclose(best / np.linalg.norm(best), normals[margin.argmax()], atol=1e-4)


def test_no_classifier_survives_a_radius_that_reaches_the_mean() -> None:
    with pytest.raises(ValueError, match=r"expected a radius below 0\.2509, got 0\.26"):
        toy.robust_direction(0.26)


def test_points_have_the_mean_and_covariance_of_their_class() -> None:
    points, labels = toy.draw(40_000, Rng(0))
    for label, side in ((0, -1), (1, 1)):
        own = points[labels == label].flatten(1).double().numpy()
        assert np.allclose(own.mean(0), 0.5 + side * MEAN, atol=2e-3)
        assert np.allclose(np.cov(own.T), COVARIANCE, atol=1e-4)


def test_the_angle_of_a_known_direction() -> None:
    _, axes = np.linalg.eigh(COVARIANCE)
    along, across = torch.tensor(axes[:, 1]), torch.tensor(axes[:, 0])
    turned = [along, -3 * along, across, along + across]
    assert torch.allclose(toy.angles(torch.stack(turned)), torch.tensor([0.0, 0.0, 90.0, 45.0]).double(), atol=1e-5)


def test_a_linear_network_has_its_weights_as_gradient_boundary_and_attack() -> None:
    weight = [3.0, 4.0]
    network = linear(weight, bias=-3.5)
    points = torch.tensor([[0.4, 0.4], [0.6, 0.6]]).view(-1, 2, 1, 1)
    unit = torch.tensor(weight) / 5
    assert torch.equal(toy.gradients(network, points), torch.tensor([weight, weight]))
    moved = toy.attacked(network, points, torch.tensor([0, 1]), 0.2, steps=5).flatten(1)
    assert torch.allclose(moved, points.flatten(1) + 0.2 * torch.stack([unit, -unit]), atol=1e-6)
    found = toy.boundary(network)
    assert len(found) > toy.GRID
    assert torch.allclose(found @ torch.tensor(weight), torch.tensor(3.5), atol=1e-4)


def test_accuracy_under_attack_is_that_of_the_distance_to_the_boundary() -> None:
    network = linear([1.0, 0.0], bias=-0.5)
    points, labels = toy.draw(500, Rng(1))
    distance = (points.flatten(1)[:, 0] - 0.5) * (2 * labels - 1)
    for radius in (0.0, 0.1, 0.25):
        assert toy.accuracy(network, points, labels, radius, steps=3) == pytest.approx(
            float((distance > radius).float().mean()), abs=2e-3
        )


def test_an_adversary_in_training_turns_the_gradient_towards_the_data(tmp_path: Path) -> None:
    study = BoundaryTilting(radii=(0.0, 0.125), seeds=1, points=600, epochs=12, steps=2)
    natural, robust = (study.measure(piece, workplace(tmp_path)) for piece in study.pieces())
    assert robust.numbers["angle"] < natural.numbers["angle"] - 10
    assert robust.numbers["best_angle"] < natural.numbers["best_angle"] - 10
    assert min(natural.numbers["accuracy"], robust.numbers["accuracy"]) > 0.95


def test_every_point_belongs_to_a_figure_and_only_the_first_seed_draws_planes(tmp_path: Path) -> None:
    study = BoundaryTilting(radii=(0.0,), seeds=2, points=20, epochs=1, steps=1)
    figures = {figure.name for figure in study.card.figures}
    first, second = (study.measure(piece, workplace(tmp_path)) for piece in study.pieces())
    assert {point.figure for point in first.points} == figures
    assert {point.figure for point in second.points} == figures - {"plane"}


def test_equal_pieces_measure_equal_numbers(tmp_path: Path) -> None:
    study = BoundaryTilting(points=20, epochs=1, steps=1)
    first, again = (study.measure(study.pieces()[1], workplace(tmp_path)) for _ in range(2))
    assert first == again
