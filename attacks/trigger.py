"""A trigger on the image, for manipulated networks.

It sets off their false explanations.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.pictures import picture
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.entry import Origin
from bench.core.schemas.protocol import Knowledge, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Trigger(Attack):
    """Images on which the opaque pixels of a published picture lie.

    Nothing is searched: the damage was done when the network was trained. On a network that was not manipulated the
    trigger is a small object in the image.

    Source:
        Noppel, Peter, Wressnegger 2023, "Disguising attacks with explanation-aware backdoors". Reference code:
        intellisec/xai-backdoors.
        Differs: nothing; pixels that are opaque in part stay.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "Noppel, Peter, Wressnegger 2023"

    pattern: Origin
    """The published picture, of the images' size, with transparency where the image stays."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): the images with the trigger.

        Raises:
            UsageError: if the picture has another size than the images.
            NetworkError, IntegrityError: if the picture cannot be downloaded, or is not the pinned file.
        """
        laid = picture(self.pattern, images.shape[2:]).to(images)
        colours = laid[:3] if images.shape[1] == 3 else laid[:3].mean(0, keepdim=True)
        return torch.where(laid[3] == 1, colours, images)
