"""Each flag is raised by a model that is broken in its way, and none by a sound one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from attacks.ifia_topk import IfiaTopk
from attacks.nes import Nes
from attacks.random_noise import RandomNoise
from bench import checks
from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.contracts import Attack
from bench.core.flags import MEANINGS
from bench.core.protocol import ThreatModel
from bench.core.records import RunRecord, RunSpec
from bench.core.rng import Rng
from bench.core.store import StoredRun
from bench.diagnostics import are_probabilities, contrast, correlation, same_maps
from bench.evaluate import Bench, attack_shard
from bench.judge import look, measure_shard
from bench.plan import _plugin_spec
from bench.samples import Samples
from bench.views import Explainer
from leaderboard.sweeps import CURVE_CHECKS, curves, findings
from metrics.accuracy import Accuracy
from metrics.kendall import Kendall
from model_zoo.surrogate import smooth_copy
from tests import broken
from tests.factories import model_entry, run_spec, store_run, summaries_of

COUNT = 6
STEPS = 8
SEARCH = IfiaTopk(steps=STEPS, step_size=Fraction(2, 255), k=20)
NOISE = RandomNoise(draws=STEPS)
PATHS = IntegratedGradients(nodes=4)


@dataclass(frozen=True)
class Trial:
    """A model under an attack, and what of the protocol is changed."""

    network: nn.Module
    attack: Attack = SEARCH
    smooth: nn.Module | None = None
    method: Any = PATHS
    epsilon: str = "8/255"
    beta: float = 200.0
    on_protocol: bool = True
    of: int = COUNT

    @property
    def spec(self) -> RunSpec:
        name = {IfiaTopk: "ifia-topk", Nes: "nes", RandomNoise: "random-noise"}.get(type(self.attack), "careless")
        careless = {"name": name, "version": 1, "params": {}}
        return run_spec(
            model_entry(),
            attack=careless if name == "careless" else _plugin_spec(name, self.attack),
            threat=ThreatModel(norm="linf", epsilon=self.epsilon),
            surrogate={"beta": self.beta},
            metrics=[{"name": "kendall", "version": 1, "params": {}, "higher_is": "more-robust"}],
            samples={"sha256": "0" * 64, "count": COUNT, "of": self.of},
            on_protocol=self.on_protocol,
        )

    @property
    def bench(self) -> Bench:
        spec, explainer = self.spec, Explainer(self.method, "sum-of-abs")
        return Bench(
            model=self.network,
            smooth=self.smooth or smooth_copy(self.network, self.beta),
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
        )

    def rows(self) -> pd.DataFrame:
        """Attack and judge, as a run does."""
        bench, samples = self.bench, images_of(self.network)
        return measure_shard(bench, samples, attack_shard(bench, samples, COUNT, lambda _: None), frozenset())

    def flags(self) -> set[str]:
        """The flags that the run raises, compared with its floor."""
        floor = None if self.attack is NOISE else replace(self, attack=NOISE).rows()
        return {flag.name for flag in checks.flags(self.spec, self.rows(), floor, self.attack.knowledge)}


def images_of(network: nn.Module) -> Samples:
    """8-bit images with structure, labelled as the network sees them, so that all count as correct."""
    shape = (COUNT, 3, broken.SIDE, broken.SIDE)
    coarse = torch.rand((COUNT, 3, 4, 4), generator=Rng(1).generator())
    fine = torch.rand(shape, generator=Rng(2).generator())
    smooth = torch.nn.functional.interpolate(coarse, size=shape[2:], mode="bilinear")
    images = (255 * (0.1 + 0.6 * smooth + 0.2 * fine)).round() / 255
    with torch.no_grad():
        return Samples(tuple(f"random/{i}" for i in range(COUNT)), images, network(images).argmax(1))


SOUND = Trial(broken.sound())
MASKED = replace(SOUND, smooth=broken.sound(), method=Gradient())
"""The attack differentiates the ReLU network itself, whose gradient map is flat almost everywhere."""

BROKEN: dict[str, Callable[[], Trial]] = {
    "partial": lambda: replace(SOUND, of=COUNT + 1),
    "off-protocol": lambda: replace(SOUND, on_protocol=False),
    "random-beats-attack": lambda: MASKED,
    "infeasible-share": lambda: Trial(broken.Watchful("another class")),
    "undefined-metric": lambda: Trial(broken.with_constant_map(), method=Gradient()),
    "nothing-moved": lambda: Trial(broken.with_linear_map(), method=Gradient()),
    "vanishing-gradient": lambda: MASKED,
    "surrogate-differs": lambda: replace(SOUND, beta=0.5),
    "constant-map": lambda: Trial(broken.with_constant_map(), method=Gradient()),
    "not-repeatable": lambda: Trial(broken.Dropping()),
    "confidence-collapse": lambda: Trial(broken.Watchful("less sure")),
    "probabilities": lambda: Trial(broken.Softmaxed()),
    "projection-needed": lambda: replace(SOUND, attack=broken.Careless()),
}


@pytest.mark.parametrize("flag", checks.CHECKS)
def test_a_broken_run_raises_its_flag(flag: str) -> None:
    assert flag in BROKEN[flag]().flags()


def test_a_sound_run_raises_none() -> None:
    assert SOUND.flags() == set()
    assert replace(SOUND, attack=NOISE).flags() == set(), "an attack without gradients never met the surrogate"


def test_no_random_image_can_win_where_none_is_drawn() -> None:
    floor, rows = replace(MASKED, attack=NOISE).rows(), MASKED.rows()
    ball, no_ball = (replace(MASKED, epsilon=epsilon).spec for epsilon in ("8/255", "1"))
    assert "random-beats-attack" in {flag.name for flag in checks.flags(ball, rows, floor, "white-box")}
    assert "random-beats-attack" not in {flag.name for flag in checks.flags(no_ball, rows, floor, "white-box")}


def test_a_tie_at_rest_has_one_flag() -> None:
    """Where neither attack nor noise moves a map, `nothing-moved` says it, and no gradient is masked."""
    still = Trial(broken.with_linear_map(), method=Gradient()).flags()
    assert "nothing-moved" in still
    assert "random-beats-attack" not in still


@pytest.mark.parametrize(("network", "repeatable"), [(broken.sound(), True), (broken.Dropping(), False)])
def test_answers_at_random_are_found_where_no_map_is_read(network: nn.Module, repeatable: bool) -> None:
    bench = replace(Trial(network).bench, metrics={"accuracy": Accuracy()}, primary="accuracy")
    assert look(bench, images_of(network)).diagnostics["map_repeatable"].all() == repeatable


def test_every_flag_has_a_meaning_and_every_meaning_a_check() -> None:
    assert {*checks.CHECKS, *CURVE_CHECKS, "black-box-beats-white-box"} == set(MEANINGS)
    assert set(BROKEN) == set(checks.CHECKS)
    assert set(AUDITS) == set(MEANINGS) - set(BROKEN)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return store_run(tmp_path_factory.mktemp("template")).record


def stored(trial: Trial, template: RunRecord) -> StoredRun:
    """A trial as a finished run."""
    spec, rows = trial.spec, trial.rows()
    changes = {
        "run_id": spec.run_id,
        "spec": spec,
        "summaries": summaries_of(spec, rows),
        "samples": COUNT,
        "correct": int(rows["correct"].sum()),
        "infeasible": int((~rows["feasible"]).sum()),
        "knowledge": trial.attack.knowledge,
    }
    return StoredRun(template.model_copy(update=changes), Path("unwritten"))


def varied(trial: Trial, **knobs: Iterable[Any]) -> list[Trial]:
    """The trial on the protocol, and off it one trial per other value of a knob."""
    found = [trial]
    for knob, values in knobs.items():
        for value in values:
            if knob in {"epsilon", "beta"}:
                found.append(replace(trial, **{knob: value}, on_protocol=False))
            else:
                found.append(replace(trial, attack=replace(trial.attack, **{knob: value}), on_protocol=False))
    return found


CONTROL = Nes(steps=STEPS, draws=4, step_size=Fraction(2, 255))
LUCKY = Trial(broken.Lucky(), method=Gradient())
TOO_SHORT = replace(SOUND, attack=replace(SEARCH, steps=1, step_size=Fraction(1, 510)))
SHARP = replace(SOUND, beta=1e7, method=Gradient())

AUDITS: dict[str, Callable[[], list[Trial]]] = {
    "black-box-beats-white-box": lambda: [MASKED, replace(MASKED, attack=CONTROL, on_protocol=False)],
    "not-falling-with-steps": lambda: varied(MASKED, steps=[1, 2 * STEPS]),
    "not-falling-with-epsilon": lambda: varied(Trial(broken.with_linear_map(), method=Gradient()), epsilon=["2/255"]),
    "steps-matter": lambda: varied(TOO_SHORT, steps=[30]),
    "restarts-matter": lambda: varied(LUCKY, restarts=[6]),
    "other-surrogate-stronger": lambda: varied(SHARP, beta=[20.0]),
}


@pytest.mark.parametrize("flag", AUDITS)
def test_a_broken_audit_raises_its_flag(flag: str, template: RunRecord) -> None:
    raised = findings([stored(trial, template) for trial in AUDITS[flag]()])
    assert flag in {finding.flag.name for finding in raised}
    assert {finding.attack for finding in raised} == {"ifia-topk"}


def test_a_sound_audit_raises_none(template: RunRecord) -> None:
    sweeps = varied(SOUND, epsilon=["2/255", "16/255"], steps=[1, 2 * STEPS], restarts=[3], beta=[20.0, 100.0])
    runs = [stored(trial, template) for trial in [*sweeps, replace(SOUND, attack=CONTROL, on_protocol=False)]]
    assert [(curve.knob, len(curve.points)) for curve in curves(runs)] == [
        ("epsilon", 3), ("steps", 3), ("restarts", 2), ("beta", 3),
    ]  # fmt: skip
    assert findings(runs) == ()


def test_a_curve_goes_through_the_protocols_own_run_over_the_most_samples(tmp_path: Path) -> None:
    def run(epsilon: str, count: int, robustness: float) -> StoredRun:
        changes = {
            "threat": {"norm": "linf", "epsilon": epsilon},
            "samples": {"sha256": "0" * 64, "count": count, "of": 80},
            "on_protocol": epsilon == "8/255",
        }
        return store_run(tmp_path, robustness=robustness, spec_changes=changes)

    many = [run("4/255", 80, 0.8), run("8/255", 80, 0.6), run("16/255", 80, 0.3)]
    few = [run("4/255", 20, 0.8), run("8/255", 20, 0.6)]
    astray = [run("2/255", 40, 0.9), run("4/255", 40, 0.8)]
    (curve,) = curves([*few, *astray, *many])
    assert (curve.knob, curve.samples, curve.own.value) == ("epsilon", 80, 8)
    assert [point.run for point in curve.points] == many
    assert curves(astray) == ()
    assert curves([many[1]]) == ()


def test_infeasible_samples_are_no_sign_of_robustness(template: RunRecord) -> None:
    """At a large radius every iterate changes the class, and counts as not moved: that is no rise."""
    runs = [stored(trial, template) for trial in varied(SOUND, epsilon=["2/255", "16/255"])]
    large = runs[-1].record
    kendall = large.summaries["correct"]["kendall"].model_copy(update={"mean": 1.0, "low": 1.0, "high": 1.0})
    risen = large.model_copy(update={"summaries": {"correct": {"kendall": kendall}}})
    assert _names([*runs[:-1], StoredRun(risen, Path())]) == {"not-falling-with-epsilon"}
    infeasible = risen.model_copy(update={"infeasible": COUNT // 2})
    assert _names([*runs[:-1], StoredRun(infeasible, Path())]) == set()


def _names(runs: list[StoredRun]) -> set[str]:
    return {finding.flag.name for finding in findings(runs)}


def test_the_measures_behind_the_flags() -> None:
    maps = torch.rand((3, 5, 5), generator=Rng(0).generator())
    torch.testing.assert_close(correlation(maps, 2 * maps + 1), torch.ones(3, dtype=torch.float64))
    expected = [torch.corrcoef(torch.stack([m.flatten(), m.T.flatten()]))[0, 1] for m in maps.double()]
    torch.testing.assert_close(correlation(maps, maps.transpose(1, 2)), torch.stack(expected))
    assert correlation(maps, torch.ones_like(maps)).isnan().all()
    torch.testing.assert_close(contrast(maps), (maps.double().std((1, 2), correction=0) / maps.double().mean((1, 2))))
    assert (contrast(torch.full((2, 5, 5), 0.1)) < 1e-9).all()
    assert contrast(torch.zeros(1, 5, 5)) == 0
    assert same_maps(maps, maps * (1 + 1e-6)).all()
    assert not same_maps(maps, maps.flip(1)).any()
    logits = torch.randn((4, 6), generator=Rng(1).generator())
    assert are_probabilities(logits.softmax(1)).all()
    assert not are_probabilities(logits).any()
    assert not are_probabilities(logits.sigmoid()).any()
