"""Angle between gradient and data of networks trained on two Gaussians."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.schemas.study import Card, Figure, Key, Point
from model_zoo.training.adversary import l2_ascent, prediction_gain

MEAN = (0.25, 0.25 / 12)
"""Half the difference of the two classes' means; the centre of the plane is (0.5, 0.5)."""
COVARIANCE = ((0.1 / 4.8**2, -0.01 / 4.8**2), (-0.01 / 4.8**2, 0.002 / 4.8**2))
"""Of each class: the paper's values in a plane that is 4.8 wide, scaled to the unit square."""
STEP_SIZE = 1.0
"""Longer than any radius, as in the reference code: each step of the search ends on the ball."""
GRID = 41
"""Lines of the grid on which the decision boundary is looked for, in each direction."""
ANGLES = 6
"""One point in this many gives its angle to the figure; the mean is over all."""

SHOWN = 60
"""Points of a class in a picture of the plane."""


@dataclass(frozen=True, kw_only=True)
class BoundaryTilting(Study):
    """Measure how far adversarial training turns the gradient towards the data.

    Two classes are flat Gaussians in the plane; their long axis is the manifold. A network of one hidden layer is
    trained on the points themselves, or on adversarial points within a radius; the measure is the angle between the
    gradient of the logits' difference, which has the direction of the loss's gradient, and the long axis. The best
    linear classifier against an adversary of the same radius is known in closed form (`robust_direction`).

    Source:
        Kim, Seo, Jeon 2019, section 2.2. Reference code: 1202kbs/Robustness-and-Interpretability, notebook 4.1.
        Differs: the plane is the unit square, so that lengths are half of the paper's, and its scale is fixed instead
        of taken from the drawn extremes; the points are shuffled in every epoch; angles are measured on new points.
    """

    version: ClassVar[int] = 1
    selects: ClassVar[frozenset[str]] = frozenset({"seeds"})

    radii: tuple[float, ...] = (0.0, 0.125, 0.25)
    """Radii of the adversaries in training, in widths of the unit square; 0 is natural training."""
    seeds: int = Field(default=5, ge=1)
    """Number of networks per radius; networks of one seed see the same points."""
    points: int = Field(default=3000, ge=2)
    """Training points per class."""
    epochs: int = Field(default=10, ge=1)
    """Passes over the training points."""
    steps: int = Field(default=5, ge=1)
    """Steps of the adversary's search; each ends on the ball, so that a few reach what 40 of the paper do."""
    attack_radius: float = Field(default=0.5, gt=0)
    """Radius of the adversarial points that are drawn, in widths of the unit square."""

    @property
    def card(self) -> Card:
        """Return the question and its figures."""
        plane = Figure(
            name="plane",
            kind="scatter",
            title="The plane",
            words="Points of both classes, the decision boundary, and where an adversary moves the points of the first "
            "class. A boundary along the classes is tilted: adversarial points leave the data.",
            x="first coordinate",
            y="second coordinate",
        )
        angles = Figure(
            name="angle",
            kind="boxes",
            title="Angle between gradient and manifold",
            words="Over new points of all seeds, beside the best linear classifier against the same adversary. Zero "
            "degrees is a gradient along the data.",
            x="training",
            y="angle in degrees",
        )
        accuracy = Figure(
            name="accuracy",
            kind="curve",
            title="Accuracy under attack",
            words="Share of new points that keep their class, against the adversary's radius.",
            x="radius, in widths of the unit square",
            y="accuracy",
            higher_is="more-robust",
        )
        return Card(
            study="boundary-tilting",
            version=self.version,
            title="Boundary tilting",
            asks="Does adversarial training turn the gradient towards the data, the more the larger its radius?",
            source="Kim, Seo, Jeon 2019, section 2.2",
            differs="The plane is scaled to the unit square, so that lengths are half of the paper's.",
            figures=(plane, angles, accuracy),
        )

    def pieces(self) -> list[Key]:
        """Return one key per radius and seed."""
        return [{"radius": radius, "seed": seed} for seed in range(self.seeds) for radius in self.radii]

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Train one network and measure its angles."""
        radius, seed = float(piece["radius"]), int(piece["seed"])
        draws = Rng(seed, ("boundary-tilting",))
        train, labels = draw(self.points, draws.fork("train"))
        network = self._trained(train, labels, radius, workplace)
        new, new_labels = draw(self.points // 10, draws.fork("new"))
        tilt = angles(gradients(network, new))
        best = float(angles(robust_direction(radius)[None]))
        kept = {r: accuracy(network, new, new_labels, r, self.steps) for r in sorted({*self.radii, self.attack_radius})}
        name = network_of(radius)
        points = [Point(figure="angle", series="network", x=name, y=y) for y in tilt[::ANGLES].tolist()]
        points.append(Point(figure="angle", series="best linear classifier", x=name, y=best))
        points += [Point(figure="accuracy", series=name, x=r, y=share) for r, share in kept.items()]
        if seed == 0:
            points += self._plane(network, radius, new, new_labels)
        numbers = {"angle": float(tilt.mean()), "best_angle": best, "accuracy": kept[min(kept)]}
        return Finding(points, numbers)

    def _trained(self, points: Tensor, labels: Tensor, radius: float, workplace: Workplace) -> nn.Module:
        """Return a network trained on adversarial points within a radius."""
        with workplace.rng.fork("weights").ambient():
            network = nn.Sequential(nn.Flatten(), _Centred(), nn.Linear(2, 128), nn.ReLU(), nn.Linear(128, 2))
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        for epoch in range(self.epochs):
            order = torch.randperm(len(points), generator=workplace.rng.fork("order", epoch).generator())
            for batch in torch.split(order, 100):
                seen = attacked(network, points[batch], labels[batch], radius, self.steps)
                optimizer.zero_grad()
                F.cross_entropy(network(seen), labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            workplace.beat()
        return network.requires_grad_(False)

    def _plane(self, network: nn.Module, radius: float, new: Tensor, labels: Tensor) -> list[Point]:
        """Return data, boundary and adversarial points of a picture of the plane."""
        moved = attacked(network, new, labels, self.attack_radius, self.steps)
        shown = {
            "first class": new[labels == 0][:SHOWN],
            "second class": new[labels == 1][:SHOWN],
            "first class, attacked": moved[labels == 0][:SHOWN],
            "decision boundary": boundary(network),
        }
        return [
            Point(figure="plane", series=series, x=x, y=y, panel=network_of(radius))
            for series, places in shown.items()
            for x, y in places.flatten(1).tolist()
        ]


class _Centred(nn.Module):
    """Moves the unit square to [-1, 1]."""

    def forward(self, points: Tensor) -> Tensor:
        """Return points around zero."""
        return 2 * points - 1


def network_of(radius: float) -> str:
    """Return the name of the networks of a radius."""
    return f"adversarial, radius {radius:g}" if radius else "natural"


def draw(count: int, rng: Rng) -> tuple[Tensor, Tensor]:
    """Return (2 count, 2, 1, 1) points and their labels."""
    normal = torch.randn((2 * count, 2), generator=rng.generator())
    labels = torch.arange(2 * count) % 2
    sides = (2 * labels - 1).unsqueeze(1)
    points = 0.5 + sides * torch.tensor(MEAN) + normal @ torch.linalg.cholesky(torch.tensor(COVARIANCE)).T
    return points.clamp(0, 1).view(-1, 2, 1, 1), labels


def attacked(network: nn.Module, points: Tensor, labels: Tensor, radius: float, steps: int) -> Tensor:
    """Return (N, 2, 1, 1) adversarial points within a radius."""
    if not radius:
        return points
    start, gain = torch.zeros_like(points), prediction_gain(network, labels)
    return l2_ascent(gain, points, start=start, epsilon=radius, step_size=STEP_SIZE, steps=steps).detach()


def accuracy(network: nn.Module, points: Tensor, labels: Tensor, radius: float, steps: int) -> float:
    """Return the share of points that keep their class under attack."""
    return float((network(attacked(network, points, labels, radius, steps)).argmax(1) == labels).float().mean())


def gradients(network: nn.Module, points: Tensor) -> Tensor:
    """Return (N, 2) gradients of the logits' difference."""
    leaf = points.detach().requires_grad_()
    logits = network(leaf)
    (gradient,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), leaf)
    return gradient.flatten(1)


def angles(directions: Tensor) -> Tensor:
    """Return (N,) angles in degrees between (N, 2) directions and the manifold."""
    axis = torch.linalg.eigh(torch.tensor(COVARIANCE, dtype=torch.float64)).eigenvectors[:, -1]
    along = (F.normalize(directions.double(), dim=1) @ axis).abs().clamp(max=1)
    return torch.rad2deg(along.arccos())


def robust_direction(radius: float) -> Tensor:
    """Return the (2,) normal of the best linear classifier within a radius.

    Its worst-case margin is (w mu - radius |w|) / sqrt(w S w), with the mean mu and covariance S of a class. It is
    largest at w = (I + t S)^-1 mu, where t is such that |w| is the radius (Bhagoji, Cullina, Mittal 2019); without an
    adversary it is S^-1 mu.

    Raises:
        ValueError: if the radius reaches the mean, where no classifier is better than chance.
    """
    mean, covariance = (torch.tensor(value, dtype=torch.float64) for value in (MEAN, COVARIANCE))
    if radius >= float(mean.norm()):
        raise ValueError(f"expected a radius below {mean.norm():.4f}, got {radius}; choose a smaller one")

    def normal(log: float) -> Tensor:
        solved: Tensor = torch.linalg.solve(torch.eye(2).double() + math.exp(log) * covariance, mean)
        return solved

    low, high = -20.0, 40.0  # of the logarithm of t; at its upper end the matrix is a multiple of S
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if float(normal(middle).norm()) > radius else (low, middle)
    return normal(low)


def boundary(network: nn.Module) -> Tensor:
    """Return (M, 2) points of a grid's lines where logits are equal."""
    ticks = torch.linspace(0, 1, GRID)
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="ij"), dim=2)
    logits = network(grid.view(-1, 2, 1, 1))
    value = (logits[:, 1] - logits[:, 0]).view(GRID, GRID)
    found = []
    for axis in (0, 1):
        ends = [(grid.narrow(axis, k, GRID - 1), value.narrow(axis, k, GRID - 1)) for k in (0, 1)]
        (start, first), (stop, second) = ends
        crossed = first.sign() != second.sign()
        share = (first / (first - second))[crossed].unsqueeze(1)
        found.append(start[crossed] + share * (stop - start)[crossed])
    return torch.cat(found)
