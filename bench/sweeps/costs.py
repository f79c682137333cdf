"""Estimates of a run's time from the records of earlier runs.

The time is queries per image times seconds per query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from bench.core.schemas.spec import ModelSpec, RunSpec
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun


class Costs:
    """Estimator of the seconds that one worker needs.

    A query is a gradient or a forward pass at one node. An attack needs about the same number of queries on every
    model, and a network needs about the same time per query. So a new pair of attack and model is estimated from
    earlier pairs.
    """

    def __init__(self, runs: Iterable[StoredRun]) -> None:
        queries, seconds = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
        measured = defaultdict[str, list[float]](list)
        for run in runs:
            record = run.record
            table = run.table(["gradient_evaluations", "forward_evaluations"])
            per_image = sum(sum(column.to_pylist()) for column in table.columns) / record.samples
            took = record.environment.seconds / record.samples
            measured[record.spec.attack_id].append(took)
            queries[_attack(record.spec)].append(per_image)
            if per_image > 0:
                for key in _networks(record.spec.model):
                    seconds[key].append(took / per_image)
        self._queries, self._seconds, self._measured = (
            {key: median(values) for key, values in found.items()} for found in (queries, seconds, measured)
        )

    def estimate(self, spec: RunSpec, images: int) -> float | None:
        """Return the seconds for some images, or None without a record."""
        if (measured := self._measured.get(spec.attack_id)) is not None:
            return images * measured
        queries = self._queries.get(_attack(spec))
        known = [self._seconds[key] for key in _networks(spec.model) if key in self._seconds]
        return None if queries is None or not known else images * queries * known[0]


def _attack(spec: RunSpec) -> str:
    """Return the settings that decide the number of queries per image."""
    return canonical_json([spec.attack.model_dump(mode="json"), spec.search_attribution.model_dump(mode="json")])


def _networks(model: ModelSpec) -> tuple[str, str]:
    """Return the names of the network and of its architecture.

    The first name with a record gives the speed.
    """
    return model.weights_sha256, canonical_json(model.architecture.model_dump(mode="json"))
