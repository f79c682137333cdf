"""Attacks in memory are run and filed nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic.dataclasses import dataclass
from torch import Tensor

import bench
from bench import registry
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Knowledge, Protocol, ThreatModel
from bench.core.schemas.spec import AttackSpec


@dataclass(frozen=True, kw_only=True)
class Brighten(Attack):
    """Brightens every pixel by a share of the radius."""

    version: ClassVar[int] = 2
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "this test"

    share: float = 0.5

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        return images + self.share * float(threat.epsilon)


def test_an_attack_in_memory_runs_and_is_filed_nowhere(short: str, tmp_path: Path) -> None:
    result = bench.benchmark("natural-linear", Brighten(share=0.25), short, device="cpu")
    assert result.record.spec.attack == AttackSpec(name="brighten", version=2, params={"share": 0.25})
    assert result.rows["linf"].max() == pytest.approx(0.25 * 8 / 255, rel=1e-5)
    assert result.floor is not None
    assert "attack in memory" in result.remark
    assert "brighten" not in registry.names("attacks")


def test_an_object_of_ours_gives_the_numbers_of_its_name(short: str) -> None:
    rules: Protocol = registry.load("protocols", short)
    own = next(each for each in rules.attacks if each.name == "random-noise")
    attack = registry.instantiate("attacks", own)
    named, held = (bench.benchmark("natural-linear", each, short, device="cpu") for each in ("random-noise", attack))
    assert named.record.run_id == held.record.run_id
    assert named.rows.equals(held.rows)


def test_a_class_of_ours_with_a_name_of_ours_is_another_attack(short: str) -> None:
    other = type("RandomNoise", (Brighten,), {"version": 1, "__module__": __name__})
    made: Any = dataclass(frozen=True, kw_only=True)(other)()
    assert bench.benchmark("natural-linear", made, short, device="cpu").record.spec.attack.name.endswith("-in-memory")


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (Brighten, "got a class; make one"),
        (3, "expected a name, or an object of a subclass of Attack, got an object of int"),
    ],
)
def test_what_is_no_attack_is_refused(attack: Any, message: str, short: str) -> None:
    with pytest.raises(UsageError, match=message):
        bench.benchmark("natural-linear", attack, short, device="cpu")
