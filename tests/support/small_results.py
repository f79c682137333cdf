"""Files a small folder of made records, always the same."""

from __future__ import annotations

from pathlib import Path

from bench.core.schemas.records import Flag
from tests.support.factories import model_entry, store_run
from tests.support.pages import IMAGES


def write_results(root: Path) -> None:
    """File six runs of three models under two protocols."""
    for name, robustness in (("natural-wrn28", 0.2), ("art-wrn28", 0.7)):
        for attack, gain in (("ifia-topk", 0.0), ("random-noise", 0.15)):
            store_run(root, model_entry(name), attack, robustness=robustness + gain, showcase=IMAGES)
    store_run(root, model_entry("natural-wrn28"), showcase=IMAGES, spec_changes={"protocol": "cifar10-smoke"})
    store_run(
        root, model_entry("pgd-wrn28", accuracy=None), flags=(Flag(name="weaker-than-random", detail="so it is"),)
    )
