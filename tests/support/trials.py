"""Attacks broken and sound networks as a run does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

import pandas as pd
import torch
from torch import nn

from attacks.ifia_topk import IfiaTopk
from attacks.nes import Nes
from attacks.random_noise import RandomNoise
from attacks.transfer import Transfer
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.rng import Rng
from bench.core.contracts import Attack
from bench.core.schemas.flags import Evidence
from bench.core.schemas.protocol import ThreatModel
from bench.core.schemas.spec import CraftSpec, RunSpec
from bench.run.attack.search import attack_shard
from bench.run.attack.victim import StandIn
from bench.run.attack.views import Explainer
from bench.run.judge.measure import measure_shard
from bench.run.plan import _plugin_spec
from bench.run.record import soundness
from bench.run.samples import Samples
from bench.run.setup import Setup
from metrics.kendall import Kendall
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support import broken
from tests.support.factories import model_entry, run_spec

COUNT = 6


STEPS = 8


SEARCH = IfiaTopk(steps=STEPS, step_size=Fraction(2, 255), k=20)


NOISE = RandomNoise(draws=STEPS)


PATHS = IntegratedGradients(nodes=4)


NAMES: dict[type[Attack], str] = {
    IfiaTopk: "ifia-topk", Nes: "nes", RandomNoise: "random-noise", Transfer: "transfer",
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A model under an attack, and what of the protocol is changed."""

    network: nn.Module
    attack: Attack = SEARCH
    method: Any = PATHS
    epsilon: str = "8/255"
    beta: float = 200.0
    on_protocol: bool = True
    of: int = COUNT
    source: nn.Module | None = None
    """The other network, where the attack is a transferred one."""
    shift: int = 0
    """Distance in classes between the labels and those of the training."""

    @property
    def spec(self) -> RunSpec:
        name = NAMES.get(type(self.attack), "careless")
        careless = {"name": name, "version": 1, "params": {}}
        spec = run_spec(
            model_entry(),
            attack=careless if name == "careless" else _plugin_spec(name, self.attack).model_dump(),
            threat=ThreatModel(norm="linf", epsilon=self.epsilon),
            surrogate={"beta": self.beta},
            metrics=[{"name": "kendall", "version": 1, "params": {}, "higher_is": "more-robust"}],
            samples={"sha256": "0" * 64, "count": COUNT, "of": self.of},
            on_protocol=self.on_protocol,
        )
        if self.source is None:
            return spec
        crafted = CraftSpec(model=spec.model, attack=spec.attack, search_attribution=spec.search_attribution)
        return spec.model_copy(update={"crafted_on": crafted})

    @property
    def setup(self) -> Setup:
        spec, explainer, source = self.spec, Explainer(self.method, "sum-of-abs"), self.source
        return Setup(
            model=self.network,
            smooth=smooth_copy(self.network, self.beta),
            attack=self.attack,
            threat=spec.threat,
            search=explainer,
            judge=explainer,
            metrics={"kendall": Kendall()},
            primary="kendall",
            explain_predicted=True,
            rng=Rng(0).fork(spec.attack.name),
            device=torch.device("cpu"),
            top_k=20,
            other=None if source is None else StandIn(source, smooth_copy(source, self.beta), explainer, SEARCH),
        )

    def __hash__(self) -> int:
        return hash((self.network, self.epsilon, self.beta))  # attacks may have parameters without a hash

    def rows(self) -> pd.DataFrame:
        """Attack and judge, as a run does."""
        return _rows(self).copy()

    def flags(self) -> set[str]:
        """The flags that the run raises, compared with its floor."""
        rows, floor = self.rows(), None if self.attack is NOISE else replace(self, attack=NOISE).rows()
        for table in (rows, *([] if floor is None else [floor])):
            table["sample_id"] = "cifar10/" + table["sample_id"]
        entry = model_entry(accuracy={"images": 10000, "clean": 0.9})
        return {flag.name for flag in soundness.flags(Evidence(self.spec, rows, floor, self.attack.knowledge, entry))}


@cache
def _rows(trial: Trial) -> pd.DataFrame:
    setup, samples = trial.setup, images_of(trial.network)
    samples = samples._replace(labels=(samples.labels + trial.shift) % broken.CLASSES)
    return measure_shard(setup, samples, attack_shard(setup, samples, COUNT, lambda _: None), frozenset())


def images_of(network: nn.Module) -> Samples:
    """Return 8-bit images with structure that count as correct.

    The network's own classes are their labels.
    """
    shape = (COUNT, 3, broken.SIDE, broken.SIDE)
    coarse = torch.rand((COUNT, 3, 4, 4), generator=Rng(1).generator())
    fine = torch.rand(shape, generator=Rng(2).generator())
    smooth = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
    images = (255 * (0.1 + 0.6 * smooth + 0.2 * fine)).round() / 255
    with torch.no_grad():
        return Samples(tuple(f"random/{i}" for i in range(COUNT)), images, network(images).argmax(1))
