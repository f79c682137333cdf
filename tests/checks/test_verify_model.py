"""`bench verify MODEL`: accuracy, counts and damaged weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from bench import registry
from bench.checks.models import agrees, verify_model
from bench.core.errors import UnknownNameError
from bench.core.schemas.entry import ModelEntry
from bench.data.foolbox_cifar10 import FoolboxCifar10
from tests.support.factories import model_entry
from tests.support.tiny import residual_content, tiny_count, write_entry

CPU = torch.device("cpu")


def recorded(clean: float, images: int = 10_000) -> ModelEntry:
    return model_entry(accuracy={"images": images, "clean": clean})


def claimed(clean: float, images: int | None = None) -> ModelEntry:
    return model_entry(accuracy=None, claimed={"clean": clean, "images": images})


@pytest.mark.parametrize(("count", "ok"), [(8230, True), (8240, True), (8220, True), (8241, False), (8219, False)])
def test_on_the_recorded_images_accuracy_agrees_up_to_a_tenth_of_a_point(count: int, ok: bool) -> None:
    assert agrees(count, 10_000, recorded(0.823))[0] is ok


@pytest.mark.parametrize("clean", [0.1, 0.5, 0.823, 0.95, 1.0])
def test_on_few_images_the_count_must_be_likely(clean: float) -> None:
    accepted = [count for count in range(21) if agrees(count, 20, recorded(clean))[0]]
    assert accepted == list(range(accepted[0], accepted[-1] + 1))
    outside = 1 - sum(stats.binom.pmf(count, 20, clean) for count in accepted)
    assert outside <= 0.001 + 1e-4, "10,000 images say nearly as much as the probability itself"
    assert accepted == [count for count in range(21) if agrees(count, 20, claimed(clean))[0]]


def test_the_range_knows_that_a_claim_is_a_sample_too() -> None:
    generator = np.random.default_rng(0)
    share, of, images = 0.8, 100, 400
    first, second = (generator.binomial(count, share, 2000) for count in (of, images))
    accepted = [agrees(int(b), images, claimed(a / of, of))[0] for a, b in zip(first, second, strict=True)]
    assert np.mean(accepted) > 0.996, "two honest counts of one network disagree in one case of a thousand"
    taken_for_truth = [stats.binom.interval(0.999, images, a / of) for a in first]
    alone = np.mean([low <= b <= high for (low, high), b in zip(taken_for_truth, second, strict=True)])
    assert alone < 0.9, "as they would not, were the claim the truth"
    assert not agrees(200, images, claimed(0.8, of))[0]


def test_an_entry_without_accuracy_is_measured_only() -> None:
    ok, detail = agrees(3, 20, model_entry(accuracy=None))
    assert ok
    assert "3 of 20" in detail
    assert "`bench submit run` writes into it" in detail


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no-data").mkdir()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "no-data"))


@pytest.mark.usefixtures("no_data")
def test_an_honest_model_passes_on_the_images_of_the_wheel(tmp_path: Path) -> None:
    content = residual_content(tmp_path)
    count = tiny_count(tmp_path, content)
    content["accuracy"] = {"images": 10_000, "clean": max(count, 1) / 20}
    checks = verify_model(f"file:{write_entry(tmp_path, content)}", device=CPU)
    assert [(check.question, check.ok, check.exit_code) for check in checks] == [
        ("weights", True, 0),
        ("clean accuracy", True, 0),
    ]
    assert f"{count} of 20 test images correct" in checks[1].detail


@pytest.mark.usefixtures("no_data")
def test_a_model_with_another_accuracy_fails(tmp_path: Path) -> None:
    content = residual_content(tmp_path) | {"accuracy": {"images": 10_000, "clean": 0.95}}
    weights, accuracy = verify_model(f"file:{write_entry(tmp_path, content)}", device=CPU)
    assert weights.ok
    assert not accuracy.ok
    assert accuracy.exit_code == 3
    assert "from the 95.00% of 10000 measured before" in accuracy.detail


def test_with_the_data_the_full_test_set_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stored(FoolboxCifar10):
        def is_stored(self) -> bool:
            return True

    made = registry.instantiate
    monkeypatch.setattr(registry, "instantiate", lambda kind, c: Stored() if c.name == "cifar10" else made(kind, c))
    content = residual_content(tmp_path)
    content["accuracy"] = {"images": 20, "clean": tiny_count(tmp_path, content) / 20}
    assert all(check.ok for check in verify_model(f"file:{write_entry(tmp_path, content)}", device=CPU))
    content["accuracy"]["clean"] += 0.05
    assert not verify_model(f"file:{write_entry(tmp_path, content)}", device=CPU)[1].ok, "one image more is too many"


@pytest.mark.usefixtures("no_data")
def test_damaged_weights_fail_with_the_code_of_integrity(tmp_path: Path) -> None:
    path = write_entry(tmp_path, residual_content(tmp_path))
    path.with_suffix(".safetensors").write_bytes(b"<html>")
    (check,) = verify_model(f"file:{path}", device=CPU)
    assert (check.ok, check.exit_code) == (False, 3)
    assert "HTML" in check.detail


def test_an_unknown_model_is_a_usage_error() -> None:
    with pytest.raises(UnknownNameError):
        verify_model("hub:no-such-model", device=CPU)
