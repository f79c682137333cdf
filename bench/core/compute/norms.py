"""Perturbations: how large they are, and the nearest one that is allowed."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.schemas.protocol import ThreatModel


def linf(before: Tensor, after: Tensor) -> Tensor:
    """(N,) largest change of a pixel value, in pixel units."""
    return (after - before).flatten(1).abs().amax(1)


def l2(before: Tensor, after: Tensor) -> Tensor:
    """(N,) Euclidean length of the change, in pixel units."""
    length: Tensor = torch.linalg.vector_norm((after - before).flatten(1), dim=1)
    return length


def project(before: Tensor, after: Tensor, threat: ThreatModel) -> Tensor:
    """(N, C, H, W): `after`, moved into the threat model's ball around `before` and into [0, 1].

    For L-infinity this is the nearest allowed image. For L2, projection on the ball and clipping (in this order) end in
    the intersection, as clipping moves a pixel towards its clean value, though not always at its nearest point.
    """
    epsilon = float(threat.epsilon)
    if threat.norm == "linf":
        return after.clamp((before - epsilon).clamp(min=0), (before + epsilon).clamp(max=1))
    length = l2(before, after).view(-1, 1, 1, 1)
    factor = torch.where(length > epsilon, epsilon / length.clamp(min=1e-12), torch.ones_like(length))
    return (before + (after - before) * factor).clamp(0, 1)
