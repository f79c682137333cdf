"""What attacks on the prediction share: their losses, the direction of steepest ascent, and how a batch goes alone."""

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
    """(N,) z_y - max_{j != y} z_j: negative exactly where the class is another one."""
    index = labels.unsqueeze(1)
    others = logits.scatter(1, index, -torch.inf)
    return logits.gather(1, index).squeeze(1) - others.amax(1)


def lack_of_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) minus the margin, a loss to increase."""
    return -margin(logits, labels)


LOSSES = {"cross-entropy": cross_entropy, "margin": lack_of_margin}


def try_on(victim: Victim, best: BestIterate, images: Tensor, labels: Tensor) -> None:
    """Ask the real network about the images, and keep those whose margin is lower than the best so far."""
    best.update(images, margin(victim.logits(images), labels).double())


def steepest(gradient: Tensor, threat: ThreatModel) -> Tensor:
    """(N, C, H, W) to the same shape: the step of length 1, in the threat's norm, that climbs most; zeros stay."""
    if threat.norm == "linf":
        return gradient.sign()
    length = l2(torch.zeros_like(gradient), gradient).view(-1, 1, 1, 1)
    return gradient / torch.where(length == 0, torch.ones_like(length), length)
