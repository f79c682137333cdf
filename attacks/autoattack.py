"""On the prediction: AutoAttack, the judge of RobustBench.

It needs the package pyautoattack (extra `autoattack`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.errors import EnvironmentFault
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel

from ._libraries import CountedModel, each_alone

Part = Literal["apgd-ce", "apgd-t", "fab-t", "square"]


@dataclass(frozen=True, kw_only=True)
class Autoattack(Attack):
    """The standard version of AutoAttack.

    APGD on the cross-entropy, targeted APGD and FAB, and the black-box Square attack run in turn. The defaults are the
    standard's. A later part sees only images that the earlier parts did not fool.

    Source:
        Croce, Hein 2020. Reference code: fra31/auto-attack.
        Differs: one image at a time, seeded by its own stream; all target classes, if there are fewer than 10.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Croce, Hein 2020"
    aim: ClassVar[Aim] = "prediction"
    one_by_one: ClassVar[bool] = True

    parts: tuple[Part, ...] = Field(default=("apgd-ce", "apgd-t", "fab-t", "square"), min_length=1)
    """The attacks of the ensemble, in the order in which they run."""
    steps: int = Field(default=100, ge=1)
    """Steps of APGD and of FAB."""
    draws: int = Field(default=5000, ge=1)
    """Queries of Square."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): misclassified images in the ball.

        The clean image where none was found.

        Raises:
            EnvironmentFault: if pyautoattack is not installed.
        """
        try:
            from pyautoattack import AutoAttack
        except ImportError as error:
            raise EnvironmentFault(
                'expected the package pyautoattack, got none; pip install "attribution-bench[autoattack]"'
            ) from error
        model, norm = CountedModel(victim), {"linf": "Linf", "l2": "L2"}[threat.norm]

        def search(image: Tensor, index: int, stream: Rng) -> Tensor:
            judge = AutoAttack(
                model, norm=norm, eps=float(threat.epsilon), seed=stream.key, version="custom",
                attacks=list(self.parts), device=image.device,
            )  # fmt: skip
            judge.apgd.n_restarts = judge.apgd_targeted.n_restarts = judge.fab.n_restarts = 1
            judge.apgd.n_iter = judge.apgd_targeted.n_iter = judge.fab.n_iter = self.steps
            judge.square.n_queries = self.draws
            targets = min(9, victim.logits(image).shape[1] - 1)
            judge.apgd_targeted.n_target_classes = judge.fab.n_target_classes = targets
            found: Tensor = judge.run_standard_evaluation(image, labels[index : index + 1], batch_size=1)[0]
            return found

        return each_alone(images, rng, search)
