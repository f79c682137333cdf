"""Every flag is raised by a suitably broken model only.

Four flags are about a run, not about a model: `partial`, `off-protocol`, `projection-needed`, `steps-matter`. For these
flags the test runs the sound network in an unsound way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from attacks.nes import Nes
from attacks.transfer import Transfer
from bench import registry
from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng
from bench.core.schemas.flags import MATERIAL, AuditFlag, Evidence, RunFlag
from bench.core.schemas.records import RunRecord
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store, rows_to_parquet
from bench.core.storage.stored_run import StoredRun
from bench.flags.constant_map import contrast
from bench.flags.doubtful_accuracy import DoubtfulAccuracy, doubt
from bench.flags.not_repeatable import same_maps
from bench.flags.probabilities import are_probabilities
from bench.flags.surrogate_differs import correlation
from bench.flags.tied_map import TiedMap, tied
from bench.run.judge.clean import look
from bench.run.record import soundness
from leaderboard.boards.audit_curves import curves, findings
from leaderboard.records.pairing import gain
from metrics.accuracy import Accuracy
from model_zoo.build import freeze
from tests.support import broken
from tests.support.factories import model_entry, run_spec, store_run, summaries_of
from tests.support.trials import COUNT, NOISE, SEARCH, STEPS, Trial, images_of

SOUND = Trial(broken.sound())
MASKED = Trial(broken.masked(), method=Gradient())

BROKEN: dict[str, Callable[[], Trial]] = {
    "partial": lambda: replace(SOUND, of=COUNT + 1),
    "off-protocol": lambda: replace(SOUND, on_protocol=False),
    "random-beats-attack": lambda: MASKED,
    "infeasible-share": lambda: Trial(broken.Watchful("another class")),
    "undefined-metric": lambda: Trial(broken.with_constant_map(), method=Gradient()),
    "nothing-moved": lambda: Trial(broken.with_linear_map(), method=Gradient()),
    "vanishing-gradient": lambda: MASKED,
    "hidden-curvature": lambda: MASKED,
    "surrogate-differs": lambda: Trial(broken.scaled(1e-3)),
    "constant-map": lambda: Trial(broken.with_constant_map(), method=Gradient()),
    "tied-map": lambda: Trial(broken.with_tied_map(), method=Gradient()),
    "not-repeatable": lambda: Trial(broken.Dropping()),
    "confidence-collapse": lambda: Trial(broken.Watchful("less sure")),
    "probabilities": lambda: Trial(broken.Squashed("softmax")),
    "doubtful-accuracy": lambda: replace(SOUND, shift=1),
    "projection-needed": lambda: replace(SOUND, attack=broken.Careless()),
}


@pytest.mark.parametrize("flag", soundness.run_flags())
def test_a_broken_run_raises_its_flag(flag: str) -> None:
    assert flag in BROKEN[flag]().flags()


SQUASHES = ["sigmoid", "log_softmax", "tanh", "scaled tanh", "hardsigmoid", "clamp", "normalize"]


@pytest.mark.parametrize("squash", SQUASHES)
def test_squashed_answers_are_no_logits(squash: str) -> None:
    assert "probabilities" in Trial(broken.Squashed(squash), attack=NOISE).flags()


@pytest.mark.parametrize("size", [1e-4, 1, 1e4])
@pytest.mark.parametrize("head", ["linear", "after layer norm", "rectified"])
def test_logits_of_any_size_and_from_bounded_features_are_logits(head: str, size: float) -> None:
    network = broken.Headed(head, size)
    images = images_of(network)
    assert look(Trial(network).setup, images).flags["answers"].tolist() == [0] * COUNT


def test_the_far_images_of_a_row_are_its_own() -> None:
    """Check that an image's answers do not depend on other images."""
    images, bench = images_of(SOUND.network), Trial(broken.Squashed("tanh")).setup
    alone = [int(look(bench, images.part(slice(i, i + 1))).flags["answers"][0]) for i in range(COUNT)]
    assert look(bench, images).flags["answers"].tolist() == alone


@pytest.mark.parametrize(
    ("correct", "images", "claimed", "raised"),
    [
        (2, 20, None, True),  # chance
        (0, 20, None, True),  # labels in another order
        (12, 20, None, False),
        (60, 200, None, False),  # weak, but surely better than chance
        (1, 2, None, False),  # too few to tell
        (20, 200, 0.1, False),  # an untrained control, and its entry says so
        (120, 200, 0.89, True),
        (170, 200, 0.89, False),
        (2, 20, 0.89, True),
    ],
)
def test_an_accuracy_is_doubted_where_it_is_improbable(
    correct: int, images: int, claimed: float | None, raised: bool
) -> None:
    found = doubt(correct, images, 10, claimed)
    assert (found is not None) == raised
    assert found is None or ("normalisation" in found and f"{correct} of {images}" in found)


def test_no_accuracy_is_promised_on_other_images() -> None:
    """Check that an MNIST network may be wrong on USPS."""
    rows = replace(SOUND, shift=1).rows()
    evidence = Evidence(SOUND.spec, rows, None, "white-box", model_entry(dataset="mnist"))
    assert DoubtfulAccuracy().find(evidence) is None
    own = evidence._replace(rows=rows.assign(sample_id="mnist/" + rows["sample_id"]))
    assert DoubtfulAccuracy().find(own) is not None


def test_an_attack_without_a_ball_masks_no_gradient() -> None:
    at_rest = replace(MASKED, epsilon="0", on_protocol=False)
    assert "random-beats-attack" not in at_rest.flags()


def test_a_sound_run_raises_none() -> None:
    assert SOUND.flags() == set()
    assert replace(SOUND, attack=NOISE).flags() == set(), "an attack without gradients never met the surrogate"


def test_no_random_image_can_win_where_none_is_drawn() -> None:
    floor, rows = replace(MASKED, attack=NOISE).rows(), MASKED.rows()
    ball, no_ball = (replace(MASKED, epsilon=epsilon).spec for epsilon in ("8/255", "1"))
    assert "random-beats-attack" in {flag.name for flag in soundness.flags(Evidence(ball, rows, floor, "white-box"))}
    assert "random-beats-attack" not in {
        flag.name for flag in soundness.flags(Evidence(no_ball, rows, floor, "white-box"))
    }


def test_a_tie_at_rest_has_one_flag() -> None:
    """Check that unmoved maps are called so, not masked."""
    still = Trial(broken.with_linear_map(), method=Gradient()).flags()
    assert "nothing-moved" in still
    assert "random-beats-attack" not in still


@pytest.mark.parametrize(("network", "repeatable"), [(broken.sound(), True), (broken.Dropping(), False)])
def test_answers_at_random_are_found_where_no_map_is_read(network: nn.Module, repeatable: bool) -> None:
    setup = replace(Trial(network).setup, metrics={"accuracy": Accuracy()}, primary="accuracy")
    assert look(setup, images_of(network)).flags["map_repeatable"].all() == repeatable


def test_a_map_that_changes_while_the_answers_stay_is_found() -> None:
    trial = Trial(broken.Wavering())
    images = images_of(trial.network)
    with torch.no_grad():
        assert torch.equal(trial.network(images.images), trial.network(images.images))
    assert not look(trial.setup, images).flags["map_repeatable"].any()
    assert look(SOUND.setup, images_of(SOUND.network)).flags["map_repeatable"].all()


def test_every_flag_has_a_broken_model() -> None:
    flags = {name: registry.load("flags", name) for name in registry.names("flags")}
    assert set(BROKEN) == {name for name, flag in flags.items() if issubclass(flag, RunFlag)}
    assert set(AUDITS) == {name for name, flag in flags.items() if issubclass(flag, AuditFlag)}


def test_a_flag_says_nothing_where_rows_lack_its_columns() -> None:
    rows = BROKEN["tied-map"]().rows()
    spec = SOUND.spec
    assert "tied-map" in {flag.name for flag in soundness.flags(Evidence(spec, rows, None, "white-box"))}
    assert "tied-map" not in {
        flag.name for flag in soundness.flags(Evidence(spec, rows.drop(columns="map_tied"), None, "white-box"))
    }


File = Callable[..., StoredRun]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    return store_run(tmp_path_factory.mktemp("template")).record


@pytest.fixture
def stored(template: RunRecord, tmp_path: Path) -> File:
    """File a trial as a finished run, with changed columns."""

    def file(trial: Trial, **columns: Any) -> StoredRun:
        spec, rows = trial.spec, trial.rows().drop(columns="tiles").assign(**columns)
        content = rows_to_parquet(rows)
        changes = {
            "run_id": spec.run_id,
            "spec": spec,
            "summaries": summaries_of(spec, rows),
            "samples": COUNT,
            "correct": int(rows["correct"].sum()),
            "infeasible": int((~rows["feasible"]).sum()),
            "knowledge": trial.attack.knowledge,
            "rows_sha256": sha256_of(content),
        }
        return Store(tmp_path).write(template.model_copy(update=changes), content, None)

    return file


def varied(trial: Trial, **knobs: Iterable[Any]) -> list[Trial]:
    """Return the trial, and one trial per other value.

    The trial is on the protocol, all others are off it.
    """
    found = [trial]
    for knob, values in knobs.items():
        for value in values:
            if knob in {"epsilon", "beta"}:
                found.append(replace(trial, **{knob: value}, on_protocol=False))
            else:
                attack: Any = trial.attack
                found.append(replace(trial, attack=replace(attack, **{knob: value}), on_protocol=False))
    return found


CONTROL = Nes(steps=STEPS, draws=4, step_size=Fraction(2, 255))
LUCKY = Trial(broken.Lucky(), method=Gradient())
TOO_SHORT = replace(SOUND, attack=replace(SEARCH, steps=1, step_size=Fraction(1, 510)))
LOUD = 5e4
"""By how much pre-activations are too large: at the protocol's sharpness, softplus is a ReLU to them."""
SHARP = Trial(broken.scaled(LOUD), method=Gradient())
TRANSFER = Transfer(attack="ifia-topk")
CRAFTED = replace(MASKED, attack=TRANSFER, source=broken.sound(), on_protocol=False)

AUDITS: dict[str, Callable[[], list[Trial]]] = {
    "black-box-beats-white-box": lambda: [MASKED, replace(MASKED, attack=CONTROL, on_protocol=False)],
    "not-falling-with-steps": lambda: varied(MASKED, steps=[1, 2 * STEPS]),
    "not-falling-with-epsilon": lambda: varied(Trial(broken.with_linear_map(), method=Gradient()), epsilon=["2/255"]),
    "steps-matter": lambda: varied(TOO_SHORT, steps=[30]),
    "restarts-matter": lambda: varied(LUCKY, restarts=[20]),
    "other-surrogate-stronger": lambda: varied(SHARP, beta=[20 / LOUD]),
}


@pytest.mark.parametrize("flag", AUDITS)
def test_a_broken_audit_raises_its_flag(flag: str, stored: File) -> None:
    raised = findings([stored(trial) for trial in AUDITS[flag]()])
    assert flag in {finding.flag.name for finding in raised}
    assert {finding.attack for finding in raised} == {"ifia-topk"}


def test_images_of_another_network_show_masked_gradients_too(stored: File) -> None:
    (finding,) = findings([stored(MASKED), stored(CRAFTED)])
    assert (finding.attack, finding.flag.name) == ("ifia-topk", "black-box-beats-white-box")
    assert "under transfer from" in finding.flag.detail


def test_a_sound_audit_raises_none(stored: File) -> None:
    """Check a search that has ended, which is sound.

    Twice its steps or one random start more find hardly more, also in pairs.
    """
    ended = replace(SOUND, attack=replace(SEARCH, steps=5 * STEPS, restarts=2))
    sweeps = varied(ended, epsilon=["2/255", "16/255"], steps=[1, 10 * STEPS], restarts=[3], beta=[20.0])
    controls = [
        replace(SOUND, attack=CONTROL, on_protocol=False),
        replace(SOUND, attack=TRANSFER, source=broken.with_linear_map(), on_protocol=False),
    ]
    runs = [stored(trial) for trial in [*sweeps, *controls]]
    assert [(curve.knob, len(curve.points)) for curve in curves(runs)] == [
        ("epsilon", 3), ("steps", 3), ("restarts", 2), ("beta", 2),
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


def test_infeasible_samples_are_no_sign_of_robustness(stored: File) -> None:
    """Check that a change of class is no rise.

    At a large radius every iterate changes the class, and counts as not moved.
    """
    small, own, large = varied(SOUND, epsilon=["2/255", "16/255"])
    runs = [stored(small), stored(own)]
    assert _names([*runs, stored(large, kendall=1.0)]) == {"not-falling-with-epsilon"}
    (curve,) = curves([*runs, stored(large, kendall=1.0)])
    assert curve.undecided is None
    assert _names([*runs, stored(large, kendall=1.0, feasible=[False, True] * (COUNT // 2))]) == set()
    blocked = [stored(trial, feasible=[False, True] * (COUNT // 2)) for trial in (own, large)]
    (curve,) = curves([runs[0], *blocked])
    assert curve.undecided is not None
    assert "1 of 3 runs" in curve.undecided


def test_a_difference_must_be_significant_in_pairs_and_material(stored: File) -> None:
    """Compare attacks image by image.

    Images differ by far more than the attacks do, so that no comparison of means could tell.
    """
    own, other = varied(SOUND, beta=[20.0])
    hard = np.linspace(-0.9, 0.9, COUNT)
    scatter = np.array([1.0, -1.0] * (COUNT // 2))
    names = {
        (step, spread): _names([stored(own, kendall=hard), stored(other, kendall=hard - step + spread * scatter)])
        for step in (MATERIAL / 2, 2 * MATERIAL)
        for spread in (0.001, 0.2)
    }
    assert {key for key, found in names.items() if found} == {(2 * MATERIAL, 0.001)}
    single = stored(other, kendall=hard - 0.5, correct=[True] + [False] * (COUNT - 1))
    assert not gain(stored(own, kendall=hard), single).holds, "one image has no interval"


def test_the_interval_is_students(stored: File) -> None:
    own, other = varied(SOUND, beta=[20.0])
    values = np.array([[0.1, 0.4, 0.3, 0.9, 0.2, 0.6], [0.0, 0.1, 0.35, 0.4, 0.1, 0.2]])
    found = gain(stored(own, kendall=values[0]), stored(other, kendall=values[1]))
    expected = stats.ttest_rel(*values).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.images == COUNT


def test_what_is_material_is_so_for_every_protocol() -> None:
    """Check that the constant fits the range of primary metrics.

    They reach 1 where nothing moved, and span 2 at most.
    """
    for name in registry.names("protocols"):
        low, high = registry.load("metrics", registry.load("protocols", name).primary_metric).bounds
        assert (high, high - low <= 2) == (1, True)


def _names(runs: list[StoredRun]) -> set[str]:
    return {finding.flag.name for finding in findings(runs)}


def test_exact_zeros_of_a_sound_network_are_no_ties() -> None:
    blind_border = nn.Sequential(nn.ZeroPad2d(-2), nn.ZeroPad2d(2), *broken.sound())
    rows = Trial(freeze(blind_border), method=Gradient()).rows()
    assert rows["map_tied"].eq(0).all()
    assert TiedMap().find(Evidence(run_spec(model_entry()), rows, None, "white-box")) is None


def test_the_measures_behind_the_flags() -> None:
    maps = torch.rand((3, 5, 5), generator=Rng(0).generator())
    torch.testing.assert_close(correlation(maps, 2 * maps + 1), torch.ones(3, dtype=torch.float64))
    expected = [torch.corrcoef(torch.stack([m.flatten(), m.T.flatten()]))[0, 1] for m in maps.double()]
    torch.testing.assert_close(correlation(maps, maps.transpose(1, 2)), torch.stack(expected))
    assert correlation(maps, torch.ones_like(maps)).isnan().all()
    torch.testing.assert_close(contrast(maps), (maps.double().std((1, 2), correction=0) / maps.double().mean((1, 2))))
    assert (contrast(torch.full((2, 5, 5), 0.1)) < 1e-9).all()
    assert contrast(torch.zeros(1, 5, 5)) == 0
    assert tied(maps).eq(0).all()
    steps = torch.tensor(
        [[[1.0, 2, 3, 4], [5, 2, 3, 3]], [[0.0, 0, 0, 0], [0, 0, 0, 0]], [[1.0, 2, 3, 4], [5, 6, 7, 8]]]
    )
    assert tied(steps).tolist() == [5 / 8, 0, 0]
    assert same_maps(maps, maps * (1 + 1e-6)).all()
    assert not same_maps(maps, maps.flip(1)).any()
    logits = torch.randn((4, 6), generator=Rng(1).generator())
    assert are_probabilities(logits.softmax(1)).all()
    assert not are_probabilities(logits).any()
    assert not are_probabilities(logits.sigmoid()).any()
