"""Valid records, rows and showcases without a network.

They are made with numpy only.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import TOP_K_CODES, Environment, Flag, RunRecord, Summary
from bench.core.schemas.spec import RunSpec
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store, rows_to_parquet
from bench.core.storage.stored_run import StoredRun

METRICS = ("topk-intersection", "kendall", "mass-center-shift", "accuracy")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
K = 100


def model_entry(name: str = "art-wrn28", **changes: Any) -> ModelEntry:
    """Return a registry entry.

    `changes` replace top-level fields.
    """
    fields: dict[str, Any] = {
        "name": name,
        "title": f"The network {name}",
        "architecture": {"name": "wide_resnet".replace("_", "-"), "params": {"depth": 28, "width": 1}},
        "dataset": "cifar10",
        "num_classes": 10,
        "weights": {"file": f"{name}.safetensors", "sha256": sha256_of(name.encode()), "size": 1234},
        "mean": (0.5, 0.5, 0.5),
        "std": (0.25, 0.25, 0.25),
        "training": {
            "method": name.split("-", maxsplit=1)[0],
            "epochs": 10,
            "seed": 0,
            "hardware": "two cores",
            "seconds": 5000,
        },
        "epsilon": "8/255",
        "accuracy": {"images": 10000, "clean": 0.8123, "pgd40": 0.4012},
        "source": "https://example.org/paper",
        "license": "MIT",
        "citation": "@article{somebody2020, title={On {Heatmaps}}}",
        "added": date(2026, 1, 2),
    }
    return ModelEntry.model_validate(fields | changes)


def run_spec(entry: ModelEntry, attack_name: str = "ifia-topk", **changes: Any) -> RunSpec:
    """Return a spec.

    `changes` replace top-level fields, and `protocol_spec` replaces the whole content of the protocol.
    """
    whole = changes.pop("protocol_spec", None)
    protocol, floor = changes.pop("protocol", "cifar10-linf8"), changes.pop("protocol_floor", "random-noise")
    reference = changes.pop("protocol_reference", ())
    track = changes.pop("protocol_track", "attribution")
    fields: dict[str, Any] = {
        "engine": 1,
        "protocol": whole
        or {
            "name": protocol,
            "version": 1,
            "sha256": sha256_of(protocol.encode()),
            "rankable": "smoke" not in protocol,
            "floor": floor,
            "reference": reference,
            "track": track,
        },
        "model": {
            "name": entry.name,
            "reference": f"hub:{entry.name}",
            "architecture": {"name": entry.architecture.name, "version": 1, "params": entry.architecture.params},
            "weights_sha256": entry.weights.sha256,
            "mean": entry.mean,
            "std": entry.std,
        },
        "attack": {"name": attack_name, "version": 1, "params": {"steps": 50}},
        "threat": {"norm": "linf", "epsilon": "8/255"},
        "attribution": {"name": "integrated-gradients", "version": 1, "params": {"nodes": 50}},
        "search_attribution": {"name": "integrated-gradients", "version": 1, "params": {"nodes": 10}},
        "surrogate": {"beta": 50},
        "explain": "predicted-class",
        "heatmap": "sum-of-abs",
        "metrics": [
            {
                "name": name,
                "version": 1,
                "params": {"k": K} if name.startswith("topk") else {},
                "higher_is": "less-robust" if name.endswith("shift") else "more-robust",
            }
            for name in METRICS
        ],
        "primary_metric": "kendall",
        "samples": {"sha256": sha256_of(b"samples"), "count": 40, "of": 40},
        "seed": 0,
        "precision": "float32",
        "on_protocol": True,
    }
    return RunSpec.model_validate(fields | changes)


def rows_of(spec: RunSpec, robustness: float, seed: int) -> pd.DataFrame:
    """Return rows with `robustness` as the mean of kendall.

    The first sample's kendall is undefined, and the second sample is infeasible. As with real networks, an image that
    is hard for one model is hard for the other models, in class and in heatmap.
    """
    rng, n = np.random.default_rng(seed), spec.samples.count
    difficulty = np.random.default_rng(0).random(n)
    kendall = np.clip(rng.normal(robustness, 0.06, n) + 0.25 * (0.5 - difficulty), -1, 1)
    kendall[0] = np.nan
    label = np.arange(n) % 10
    weakness = np.random.default_rng(int(sha256_of(spec.model.name.encode())[:8], 16)).normal(0, 0.03, n)
    correct = difficulty + weakness < 0.9
    correct[:4] = True
    predicted = np.where(correct, label, (label + 1) % 10)
    feasible = np.arange(n) != 1
    confidence = rng.uniform(0.4, 1, n)
    values = {
        "topk-intersection": np.clip(kendall + 0.1, 0, 1),
        "kendall": kendall,
        "mass-center-shift": rng.uniform(0, 4, n),
        "accuracy": correct.astype(float),
    }
    return pd.DataFrame(
        {
            "sample_id": [f"cifar10/test/{index}" for index in range(n)],
            "label": label,
            "predicted_before": predicted,
            "predicted_after": predicted,
            "confidence_before": confidence,
            "confidence_after": confidence * 0.9,
            "correct": correct,
            "feasible": feasible,
            "linf": np.where(feasible, 8 / 255, 0.0),
            "l2": np.where(feasible, 1.5, 0.0),
            "gradient_evaluations": 50,
            "forward_evaluations": 52,
            "seed": np.arange(n) + 7,
            "completeness_gap_before": 0.01,
            "completeness_gap_after": 0.02,
            "projected": False,
            "gradient_vanished": 0.0,
            "surrogate_agrees": True,
            "surrogate_correlation": 0.99,
            "map_contrast": 0.9,
            "map_repeatable": True,
            "probabilities": False,
            "map_tied": 0.0,
            **{metric.name: values.get(metric.name, confidence) for metric in spec.metrics},
        }
    )


def summaries_of(spec: RunSpec, rows: pd.DataFrame) -> dict[str, dict[str, Summary]]:
    """Return means of the rows, with a normal interval.

    The interval stands for the bootstrap interval.
    """

    def summary(values: pd.Series[float]) -> Summary:
        known = values.dropna()
        if known.empty:
            return Summary(mean=None, low=None, high=None, n=0, n_undefined=len(values))
        mean, half = float(known.mean()), 1.96 * float(known.std(ddof=0)) / len(known) ** 0.5
        return Summary(mean=mean, low=mean - half, high=mean + half, n=len(known), n_undefined=len(values) - len(known))

    sets = {"correct": rows[rows["correct"]], "all": rows}
    return {name: {m.name: summary(chosen[m.name]) for m in spec.metrics} for name, chosen in sets.items()}


def showcase_of(images: list[npt.NDArray[np.uint8]], robustness: float, seed: int) -> bytes:
    """Return a showcase PNG of (SIDE, SIDE, 3) images.

    The heatmaps are smooth. The attack moves them further if robustness is low.
    """
    rng, rows = np.random.default_rng(seed), []
    for image in images:
        noise = rng.integers(-8, 9, image.shape)
        after = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
        before_map = _blob(rng) * (0.4 + 0.6 * rng.random((SIDE, SIDE)))
        after_map = robustness * before_map + (1 - robustness) * _blob(rng) * (0.4 + 0.6 * rng.random((SIDE, SIDE)))
        scale = 255 / max(before_map.max(), after_map.max())
        greys = [np.repeat((heat * scale).astype(np.uint8)[..., None], 3, 2) for heat in (before_map, after_map)]
        top = [np.argsort(np.argsort(-heat, axis=None)).reshape(SIDE, SIDE) < K for heat in (before_map, after_map)]
        code = np.select(
            [top[0] & top[1], top[0], top[1]], [TOP_K_CODES["kept"], TOP_K_CODES["lost"], TOP_K_CODES["gained"]], 0
        ).astype(np.uint8)
        rows.append(np.concatenate([image, after, *greys, np.repeat(code[..., None], 3, 2)], axis=1))
    sink = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(sink, format="PNG")
    return sink.getvalue()


def _blob(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    row, column = np.indices((SIDE, SIDE))
    y, x = rng.uniform(8, 24, 2)
    return np.exp(-((row - y) ** 2 + (column - x) ** 2) / 60)


def store_run(
    results: Path,
    entry: ModelEntry | None = None,
    attack: str = "ifia-topk",
    *,
    robustness: float = 0.5,
    showcase: list[npt.NDArray[np.uint8]] | None = None,
    flags: tuple[Flag, ...] = (),
    spec_changes: Mapping[str, Any] | None = None,
    record_changes: Mapping[str, Any] | None = None,
    columns: Mapping[str, Any] | None = None,
) -> StoredRun:
    """File a run of `entry` under `attack`.

    Its showcase holds the given images as its first samples. `columns` replace or add columns of the rows.
    """
    entry = entry or model_entry()
    spec = run_spec(entry, attack, **(spec_changes or {}))
    seed = int(spec.run_id[:8], 16)
    rows = rows_of(spec, robustness, seed).assign(**(columns or {}))
    encoded, sheet = rows_to_parquet(rows), showcase_of(showcase, robustness, seed) if showcase else None
    fields: dict[str, Any] = {
        "run_id": spec.run_id,
        "spec": spec,
        "entry": entry,
        "summaries": summaries_of(spec, rows),
        "samples": len(rows),
        "correct": int(rows["correct"].sum()),
        "infeasible": int((~rows["feasible"]).sum()),
        "flags": flags,
        "environment": Environment(
            python="3.11", packages={"torch": "2.11"}, platform="Linux", device="cpu", hardware="two cores",
            commit="a" * 40, dirty=False, batch_size=64, started="2026-01-02T03:04:05+00:00", seconds=61.5,
        ),
        "rows_sha256": sha256_of(encoded),
        "classes": CLASSES,
        "showcase": tuple(rows["sample_id"][: len(showcase or [])]),
        "showcase_sha256": None if sheet is None else sha256_of(sheet),
    }  # fmt: skip
    record = RunRecord.model_validate(fields | dict(record_changes or {}))
    return Store(results).write(record, encoded, sheet)
