"""A comparison of two attacks on the same images.

It is paired, uses only runs of equal settings and has an interval.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from bench.cli import bench
from bench.core.errors import UsageError
from bench.core.storage.store import Store
from leaderboard.comparisons.attacks import Variant, contest
from leaderboard.records.rows import read_rows
from tests.support.factories import model_entry, store_run

PROTOCOL = "cifar10-linf8-v1"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("contest") / "results"
    longer = {"attack": {"name": "ifia-topk", "version": 1, "params": {"steps": 150}}}
    wider, off = {"threat": {"norm": "linf", "epsilon": "16/255"}}, {"on_protocol": False}
    for name in ("art", "pgd"):
        store_run(root, model_entry(name), robustness=0.5)
        store_run(root, model_entry(name), robustness=0.45, spec_changes=longer | off)
        store_run(root, model_entry(name), "auto", robustness=0.3)
    store_run(root, model_entry("alone"), "auto")
    store_run(root, model_entry("wide"), "auto", spec_changes=wider | off)
    store_run(root, model_entry("wide"), robustness=0.5)
    return root


def test_a_round_is_the_paired_difference_over_the_correct_images(results: Path) -> None:
    runs = list(Store(results).runs())
    rounds = contest(runs, PROTOCOL, Variant("auto"), Variant("ifia-topk"), ["kendall", "mass-center-shift"])
    assert [(r.model, r.metric) for r in rounds] == [
        (model, metric) for model in ("art", "pgd") for metric in ("kendall", "mass-center-shift")
    ]
    by_attack = {
        run.record.spec.attack.name: read_rows(run).set_index("sample_id")
        for run in runs
        if run.record.entry.name == "art" and run.record.spec.on_protocol
    }
    auto, ifia = by_attack["auto"], by_attack["ifia-topk"]
    for metric, sign in (("kendall", 1), ("mass-center-shift", -1)):
        gains = sign * (ifia[metric] - auto[metric])[auto["correct"]].dropna()
        found = next(r for r in rounds if (r.model, r.metric) == ("art", metric))
        assert found.gain == pytest.approx(gains.mean())
        assert found.images == len(gains)
        drawn = stats.bootstrap((gains,), np.mean, n_resamples=4000, rng=np.random.default_rng(0), method="percentile")
        assert found.interval == pytest.approx(drawn.confidence_interval, abs=0.2 * gains.std() / len(gains) ** 0.5)
    assert {r.verdict for r in rounds if r.metric == "kendall"} == {"stronger"}


def test_parameters_choose_the_run(results: Path) -> None:
    runs = list(Store(results).runs())
    longer = Variant.parse("ifia-topk:steps=150")
    assert str(longer) == "ifia-topk steps=150"
    (found, _) = contest(runs, PROTOCOL, longer, Variant.parse("ifia-topk"), ["kendall"])
    assert found.gain == pytest.approx(0.05, abs=0.03)
    swapped = contest(runs, PROTOCOL, Variant("ifia-topk"), longer, ["kendall"])[0]
    assert (swapped.gain, swapped.verdict) == (-found.gain, "weaker")
    by_search = contest(runs, PROTOCOL, Variant.parse("ifia-topk:steps=150,beta=50,nodes=10"), longer, ["kendall"])[0]
    assert by_search.gain == 0, "the same runs"
    same = contest(runs, PROTOCOL, longer, longer, ["kendall"])[0]
    assert (same.gain, same.verdict) == (0, "tied")


def test_the_command_prints_what_the_rounds_say(results: Path) -> None:
    words = ["compare", "--attacks", "auto", "ifia-topk:steps=150", "--protocol", PROTOCOL, "--results", str(results)]
    shown = CliRunner().invoke(bench, words)
    assert shown.exit_code == 0, shown.output
    assert shown.output.count("stronger") == 4
    found = json.loads(CliRunner().invoke(bench, [*words, "--json"]).output)
    assert [(each["model"], each["metric"]) for each in found] == [
        (model, metric) for model in ("art", "pgd") for metric in ("kendall", "topk-intersection")
    ]


@pytest.mark.parametrize(
    ("first", "metric", "says"),
    [("nes", "kendall", "runs of nes"), ("auto", "beauty", "'beauty'"), ("auto:steps", "kendall", "NAME:KEY=VALUE")],
)
def test_what_cannot_be_compared_is_named(results: Path, first: str, metric: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        contest(list(Store(results).runs()), PROTOCOL, Variant.parse(first), Variant("ifia-topk"), [metric])


def test_the_gain_without_images_that_lost_their_class_stands_beside(tmp_path: Path) -> None:
    """Such an image counts as unmoved."""
    number = np.arange(40)
    shared = {"correct": np.full(40, True)}
    lost = {"kendall": np.where(number < 10, 1.0, 0.5), "feasible": number >= 10}
    store_run(tmp_path, model_entry("one"), "auto", columns=shared | {"kendall": np.full(40, 0.4), "feasible": True})
    store_run(tmp_path, model_entry("one"), "ifia-topk", columns=shared | lost)
    (found,) = contest(list(Store(tmp_path).runs()), PROTOCOL, Variant("auto"), Variant("ifia-topk"), ["kendall"])
    assert (found.images, found.kept_images) == (40, 30)
    assert found.gain == pytest.approx((10 * 0.6 + 30 * 0.1) / 40)
    assert found.kept_gain == pytest.approx(0.1)
    assert found.kept_interval == pytest.approx((0.1, 0.1))
    (swapped,) = contest(list(Store(tmp_path).runs()), PROTOCOL, Variant("ifia-topk"), Variant("auto"), ["kendall"])
    assert swapped.kept_gain == pytest.approx(-0.1)
    words = ["compare", "--attacks", "auto", "ifia-topk", "--protocol", PROTOCOL, "--results", str(tmp_path)]
    words += ["--metric", "kendall", "--markdown"]
    assert "| 40 | +0.100 [+0.100, +0.100] | 30 |" in CliRunner().invoke(bench, words).output


def test_without_an_image_that_kept_its_class_there_is_no_such_gain(tmp_path: Path) -> None:
    lost = {"correct": np.full(40, True), "kendall": np.full(40, 1.0), "feasible": np.full(40, False)}
    for attack in ("auto", "ifia-topk"):
        store_run(tmp_path, model_entry("one"), attack, columns=lost)
    (found,) = contest(list(Store(tmp_path).runs()), PROTOCOL, Variant("auto"), Variant("ifia-topk"), ["kendall"])
    assert (found.gain, found.kept_gain, found.kept_images) == (0, None, 0)
