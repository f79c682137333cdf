"""A results folder with runs of the tracks, made with numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.core.storage.stored_run import StoredRun
from bench.run.record.summary import summarise
from tests.support.factories import model_entry, rows_of, run_spec, store_run

COUNT = 40
IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(3)]
KINDS = ("contrast", "snow")


def metric(name: str) -> dict[str, Any]:
    return {"name": name, "version": 1, "params": {}, "higher_is": "more-robust"}


def stored(
    root: Path,
    model: str,
    protocol: str,
    track: str,
    attack: str,
    columns: Mapping[str, float],
    *,
    dataset: str = "cifar10",
    params: Mapping[str, Any] | None = None,
    version: int = 1,
    showcase: bool = False,
    **changes: Any,
) -> StoredRun:
    """File a run whose metric columns have the given means.

    A mean is the share of ones in a column.
    """
    names = list(dict.fromkeys(name.partition("@")[0] for name in columns))
    spec_changes = {
        "protocol": protocol,
        "protocol_track": track,
        "protocol_floor": "unchanged",
        "metrics": [metric(name) for name in names],
        "primary_metric": names[0],
        "attack": {"name": attack, "version": version, "params": dict(params or {})},
        **changes,
    }
    entry = model_entry(model, dataset=dataset)
    values = {name: (np.arange(COUNT) < round(mean * COUNT)).astype(float) for name, mean in columns.items()}
    spec = run_spec(entry, attack, **dict(spec_changes))
    rows: pd.DataFrame = rows_of(spec, 0.5, int(spec.run_id[:8], 16)).assign(**values)
    return store_run(
        root,
        entry,
        attack,
        spec_changes=spec_changes,
        columns=values,
        showcase=IMAGES if showcase else None,
        record_changes={"summaries": summarise(rows, names)},
    )


def store_tracks(root: Path) -> None:
    """File runs of two networks under every track."""
    for name, accuracy in (("natural-small-cnn", 0.7), ("at-0.1-small-cnn", 0.8)):
        digits = {"robust-accuracy": accuracy}
        stored(root, name, "mnist-to-usps", "transfer", "unchanged", digits, dataset="mnist")
    for name, saturated, shuffled, weather in (("natural-wrn28", 0.3, 0.8, 0.4), ("pgd-wrn28", 0.6, 0.5, 0.7)):
        levels = {"accuracy-on-correct": 0.5, "accuracy-on-correct@0.25": 0.2, "accuracy-on-correct@1024": saturated}
        params = {"levels": [0.25, 1024.0]}
        stored(root, name, "cifar10-shape-texture", "shape-texture", "saturation", levels, params=params)
        shuffle = {"accuracy-on-correct": shuffled, "accuracy-on-correct@2": shuffled, "accuracy-on-correct@4": 0.1}
        stored(
            root, name, "cifar10-shape-texture", "shape-texture", "patch-shuffle", shuffle, params={"levels": [2, 4]}
        )
        snow = {f"robust-accuracy@snow-{s}": weather for s in range(1, 6)}
        contrast = {f"robust-accuracy@contrast-{s}": 0.1 * s for s in range(1, 6)}
        accuracies = {"robust-accuracy": 0.5} | contrast | snow
        corrupted = {"kinds": list(KINDS), "severities": [1, 2, 3, 4, 5]}
        stored(root, name, "cifar10-corruptions", "corruption", "corruption", accuracies, params=corrupted)
        aligned = {"input-gradient-alignment": 0.5, "input-gradient-alignment-abs": 0.6, "gini": 0.4}
        stored(root, name, "cifar10-alignment", "alignment", "unchanged", aligned, showcase=True)
        found = {"gt-known-loc": 0.6, "gt-known-loc-after": 0.4, "pointing-game": 0.7}
        stored(root, name, "cifar10-localisation", "localisation", "ifia-topk", found, showcase=True)
        faithful = {"insertion": 0.6, "deletion": 0.3, "infidelity": 0.1}
        stored(root, name, "cifar10-faithfulness", "faithfulness", "unchanged", faithful)
        stored(root, name, "cifar10-predictions", "prediction", "pgd-lengths", {"robust-accuracy": 0.2})
        shown = {"target-correlation": 0.3, "pearson": 0.4, "prediction-kept": 1.0}
        stored(root, name, "cifar10-trigger-gradient", "manipulation", "trigger", shown)
        other = "pgd-wrn28" if name == "natural-wrn28" else "natural-wrn28"
        source = run_spec(model_entry(other)).model
        craft = {
            "model": source,
            "attack": {"name": "pgd", "version": 1, "params": {}},
            "search_attribution": {"name": "gradient", "version": 1, "params": {}},
        }
        stored(
            root, name, "cifar10-predictions", "prediction", "transfer", {"robust-accuracy": saturated},
            crafted_on=craft, on_protocol=False,
        )  # fmt: skip
