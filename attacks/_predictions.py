"""Losses and steps that attacks on the prediction share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.compute.norms import l2
from bench.core.contracts import Victim
from bench.core.schemas.protocol import ThreatModel

from ._search import BestIterate


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) -log p_y."""
    return F.cross_entropy(logits, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) margins z_y - max_{j != y} z_j.

    A margin is negative exactly where the predicted class is another one.
    """
    index = labels.unsqueeze(1)
    others = logits.scatter(1, index, -torch.inf)
    return logits.gather(1, index).squeeze(1) - others.amax(1)


def lack_of_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) minus the margins, a loss to increase."""
    return -margin(logits, labels)


LOSSES = {"cross-entropy": cross_entropy, "margin": lack_of_margin}


def try_on(victim: Victim, best: BestIterate, images: Tensor, labels: Tensor) -> None:
    """Keep the images whose margin is lower than the best before.

    The real network gives the margin.
    """
    best.update(images, margin(victim.logits(images), labels).double())


def steepest(gradient: Tensor, threat: ThreatModel) -> Tensor:
    """(N, C, H, W) the direction of steepest ascent under a threat.

    Steps have length 1 in the threat's norm; a gradient of zeros stays zero.
    """
    if threat.norm == "linf":
        return gradient.sign()
    length = l2(torch.zeros_like(gradient), gradient).view(-1, 1, 1, 1)
    return gradient / torch.where(length == 0, torch.ones_like(length), length)
