"""What a run will cost, judged by the records of earlier ones: queries per image times seconds per query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import median

from bench.core.schemas.records import ModelSpec, RunSpec
from bench.core.storage.files import canonical_json
from bench.core.storage.store import StoredRun


class Costs:
    """Estimates seconds of one worker.

    A query is a gradient or a forward pass at one node. An attack asks about as many of every model, and a network
    takes about as long for each, so that a pair that never met is estimated from others that did.
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
        """Return seconds for so many images of a run; None where no record tells."""
        if (measured := self._measured.get(spec.attack_id)) is not None:
            return images * measured
        queries = self._queries.get(_attack(spec))
        known = [self._seconds[key] for key in _networks(spec.model) if key in self._seconds]
        return None if queries is None or not known else images * queries * known[0]


def _attack(spec: RunSpec) -> str:
    """Whatever decides how many queries an image takes."""
    return canonical_json([spec.attack.model_dump(mode="json"), spec.search_attribution.model_dump(mode="json")])


def _networks(model: ModelSpec) -> tuple[str, str]:
    """Name the network itself, then its architecture: the first that is known tells the speed."""
    return model.weights_sha256, canonical_json(model.architecture.model_dump(mode="json"))
