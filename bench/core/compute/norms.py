"""Measures perturbations, and moves them into the threat model's ball."""

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
    """(N, C, H, W): `after` moved into the ball and [0, 1].

    The ball is the threat model's around `before`. For L-infinity the result is the nearest allowed image. For L2,
    projection on the ball and then clipping end in the intersection, because clipping moves a pixel towards its clean
    value; the result is not always the nearest point of the intersection.
    """
    epsilon = float(threat.epsilon)
    if threat.norm == "linf":
        return after.clamp((before - epsilon).clamp(min=0), (before + epsilon).clamp(max=1))
    length = l2(before, after).view(-1, 1, 1, 1)
    factor = torch.where(length > epsilon, epsilon / length.clamp(min=1e-12), torch.ones_like(length))
    return (before + (after - before) * factor).clamp(0, 1)
