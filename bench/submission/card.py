"""A model's page on the Hub, made from records.

The page has a card with a `model-index`, and a file `.eval_results`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from bench import registry
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import RunRecord, Summary
from bench.core.text import printable

HUB_DATASETS = {"cifar10": "uoft-cs/cifar10", "mnist": "ylecun/mnist", "svhn": "ufldl-stanford/svhn"}
"""Names of our image sets on the Hub; other sets have the same name there."""

EVAL_RESULTS = ".eval_results/attribution-bench.yaml"
LICENSES = frozenset({"mit", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "unlicense"})  # fmt: skip
"""Licence names that the Hub knows; any other licence is `other`, with its name beside it."""


def eval_results(entry: ModelEntry, records: Sequence[RunRecord]) -> list[EvalResult]:
    """Return the measured means as `model-index` needs them.

    Undefined means are left out. The interval stands in the metric's args.
    """
    found = []
    if entry.accuracy is not None:
        args: dict[str, Any] = {"images": entry.accuracy.images}
        found.append(_result(entry, ("accuracy", "clean accuracy, measured"), entry.accuracy.clean, args))
        if entry.accuracy.pgd40 is not None:
            args |= {"epsilon": str(entry.accuracy.epsilon)}
            found.append(_result(entry, ("accuracy", "PGD-40 accuracy, measured"), entry.accuracy.pgd40, args))
    for record in records:
        for metric, summary in record.headline.items():
            if summary.mean is None:
                continue
            name = f"{metric} under {record.spec.attack.name}, {record.spec.protocol.key}"
            args = _args(record, summary)
            found.append(_result(entry, (metric, name), summary.mean, args, config=record.spec.protocol.key))
    return found


def front_matter(entry: ModelEntry, records: Sequence[RunRecord]) -> str:
    """Return the YAML at the top of the card."""
    known = entry.license.lower() in LICENSES
    data = ModelCardData(
        license=entry.license.lower() if known else "other",
        license_name=None if known else re.sub(r"[^a-z0-9.-]+", "-", entry.license.lower()).strip("-"),
        library_name="attribution-bench",
        pipeline_tag="image-classification",
        tags=["attribution-robustness", "safetensors", entry.architecture.name],
        datasets=[HUB_DATASETS.get(entry.dataset, entry.dataset)],
        model_name=entry.name,
        eval_results=eval_results(entry, records) or None,
    )
    return str(data.to_yaml())


def card(entry: ModelEntry, records: Sequence[RunRecord], repo: str) -> str:
    """Return the README.md of the model's repository."""
    lines = [
        f"---\n{front_matter(entry, records)}\n---",
        f"# {entry.name}",
        escaped(entry.title),
        f"{entry.architecture.name} for {entry.dataset}, training: {escaped(entry.training.method)}, "
        f"licence: {escaped(entry.license)}. Weights are safetensors; `entry.toml` says the rest. Normalisation is "
        "inside the model: it takes pixels in [0, 1].",
        f"```bash\nbench run --model hub:{repo} --attack ifia-topk\n```",
    ]
    lines += accuracy_lines(entry)
    if isinstance(package := registry.origin("architectures", entry.architecture.name), str):
        lines.append(f"The package {escaped(package)} offers the architecture: install it too.")
    if records:
        lines += ["## Robustness of its explanations", measured(records)]
    if entry.citation.strip():
        lines += ["## Citation", fenced(printable(entry.citation.strip()), "bibtex")]
    if entry.source:
        lines += [f"Source: <{entry.source}>"] if re.fullmatch(r"[!-;=?-~]+", entry.source) else []
    return "\n\n".join(lines) + "\n"


def accuracy_lines(entry: ModelEntry) -> list[str]:
    """Return sentences on the measured and the claimed clean accuracy."""
    lines = []
    if entry.accuracy is not None:
        lines.append(f"Clean accuracy, measured: {entry.accuracy.clean:.2%} of {entry.accuracy.images} test images.")
    if entry.claimed is not None:
        number = "" if entry.claimed.clean is None else f"{entry.claimed.clean:.2%}"
        said = " ".join(filter(None, (number, escaped(entry.claimed.statement))))
        lines.append(f"Clean accuracy, claimed by its authors: {said}.")
    return lines


def eval_results_file(entry: ModelEntry, records: Sequence[RunRecord]) -> str | None:
    """Return the YAML of `.eval_results`, or None if it would be empty.

    It holds the primary metric of every run that defines it.
    """
    dataset = HUB_DATASETS.get(entry.dataset, entry.dataset)
    rows = []
    for record in records:
        summary = record.summaries["correct"][record.spec.primary_metric]
        if summary.mean is None:
            continue
        notes = ", ".join(f"{key} {value}" for key, value in _args(record, summary).items())
        rows.append(
            EvalResultEntry(
                dataset_id=dataset,
                task_id=f"{record.spec.protocol.key}.{record.spec.attack.name}.{record.spec.primary_metric}",
                value=summary.mean,
                date=record.environment.started,
                notes=notes,
            )
        )
    return str(yaml.safe_dump(eval_result_entries_to_yaml(rows), sort_keys=False)) if rows else None


def measured(records: Sequence[RunRecord]) -> str:
    """Return a Markdown table of the primary metric of every run."""
    lines = [
        "| protocol | attack | metric | mean [95 % interval] | n | samples | run |",
        "|---|---|---|---|---|---|---|",
    ]
    for record in records:
        spec, summary = record.spec, record.summaries["correct"][record.spec.primary_metric]
        value = "undefined" if summary.mean is None else f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"
        lines.append(
            f"| {spec.protocol.key} | {spec.attack.name} | {spec.primary_metric} | {value} | {summary.n} | "
            f"{record.samples} of {spec.samples.of} | `{record.run_id[:12]}` |"
        )
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Return foreign text as Markdown that only displays it."""
    return re.sub(r"([\\`*_{}\[\]<>()#+!|~@&$-])", r"\\\1", " ".join(printable(text).split()))


def fenced(text: str, language: str = "") -> str:
    """Return text as a code block that the text cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _args(record: RunRecord, summary: Summary) -> dict[str, Any]:
    return {
        "attack": record.spec.attack.name,
        "low": summary.low,
        "high": summary.high,
        "n": summary.n,
        "samples": record.samples,
        "of": record.spec.samples.of,
        "run_id": record.run_id,
    }


def _result(
    entry: ModelEntry, metric: tuple[str, str], value: float | None, args: dict[str, Any], config: str | None = None
) -> EvalResult:
    return EvalResult(
        task_type="image-classification",
        task_name="attribution robustness" if config else "image classification",
        dataset_type=HUB_DATASETS.get(entry.dataset, entry.dataset),
        dataset_name=entry.dataset,
        dataset_config=config,
        dataset_split="test",
        metric_type=metric[0],
        metric_name=metric[1],
        metric_value=value,
        metric_args=args,
    )
