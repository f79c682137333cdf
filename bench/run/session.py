"""Attacks and judges a run shard by shard.

Finished shards are kept on the disk; networks, images and clean results are kept for the next run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

from bench.core.compute.machine import hardware
from bench.core.storage.lease import patient
from bench.images.source import source_of
from bench.run.attack.search import Attacked, attack_shard
from bench.run.execution import Execution, Observer
from bench.run.judge.clean import Clean, look
from bench.run.judge.measure import measure_shard
from bench.run.plan import Plan
from bench.run.samples import Samples, load_samples
from bench.run.setup import Networks, Setup
from bench.run.shards import Effort, Shards


@dataclass
class Cache:
    """A cache of what a process can use in its next run.

    It holds the last two networks, the images of the last protocol, and the judge's results on these clean images.
    """

    networks: Networks = field(default_factory=Networks)
    _images: dict[tuple[object, ...], Samples] = field(default_factory=dict)
    _clean: dict[tuple[object, ...], dict[tuple[str, ...], Clean]] = field(default_factory=dict)

    def samples(self, plan: Plan) -> Samples:
        """Return all samples of the protocol."""
        wanted, key = plan.protocol.samples, (plan.protocol.samples.model_dump_json(), plan.spec.precision)
        if key not in self._images:
            self._images.clear()
            samples = load_samples(wanted, source_of(wanted))
            double = plan.spec.precision == "float64"
            self._images[key] = samples._replace(images=samples.images.double()) if double else samples
        return self._images[key]

    def clean(self, plan: Plan, setup: Setup, samples: Samples) -> Clean:
        """Return the judge's results on clean images."""
        key = (plan.spec.clean_id, plan.spec.attack.name if setup.judge.method.random else None, setup.device)
        if key not in self._clean:
            self._clean = {key: {}}
        known = self._clean[key]
        if samples.ids not in known:
            known[samples.ids] = look(setup, samples)
        return known[samples.ids]


class Session:
    """A loop that attacks and judges the shards of one run.

    Args:
        plan: the run.
        setup: its networks, attack and metrics.
        samples: all samples of the protocol.
        execution: where and how to compute.
        observer: shows the progress.
        cache: keeps the judge's results on clean images.
    """

    def __init__(
        self, plan: Plan, setup: Setup, samples: Samples, execution: Execution, *, observer: Observer, cache: Cache
    ) -> None:
        self.setup = setup
        self.parts = samples.part(slice(plan.spec.samples.count)).split(plan.protocol.shard_size)
        self.shards = Shards(plan.spec, execution.work)
        self._plan, self._execution, self._cache, self._observer = plan, execution, cache, observer
        self._device = f"{setup.device.type}, compiled" if execution.compiled else setup.device.type
        self._batch_size = execution.images_at_once(setup.device)
        self._showcase = _showcase(plan) if execution.showcase else frozenset()
        self._found = {index for index in range(len(self.parts)) if self.shards.is_attacked(index)}

    def complete_all(self) -> None:
        """Attack and measure every shard, and show the progress.

        Raises:
            BenchError: as `complete`.
        """
        spec = self._plan.spec
        self._observer.start(f"{spec.model.name} under {spec.attack.name}", spec.samples.count, self.done)
        for indices in self._execution.together(len(self.parts), self._plan.protocol.shard_size):
            self.complete(indices, patient)

    @property
    def done(self) -> int:
        """Return how many images are attacked, by earlier processes and this one."""
        return sum(len(self.parts[index].ids) for index in self._found)

    def complete(self, indices: Iterable[int], waiting: Callable[[], None] | None) -> None:
        """Attack and measure shards that are not finished.

        Args:
            indices: the shards, in ascending order; unfinished ones are computed together.
            waiting: called repeatedly while another process computes one of them; None means not to wait.
        Raises:
            Busy: if another process computes one of these shards and `waiting` is None.
            BenchError: if the model's answers are not valid, or the results cannot be written.
        """
        with ExitStack() as held:
            for index in indices:
                held.enter_context(self.shards.lease(index, waiting))
            attacked = self._attack(indices)
            self._measure({index: each for index, each in attacked.items() if not self.shards.is_measured(index)})

    def _attack(self, indices: Iterable[int]) -> dict[int, Attacked]:
        """Return the attack's results by shard."""
        kept = {index: self.shards.attacked(index, len(self.parts[index].ids)) for index in indices}
        done = {index: each for index, each in kept.items() if each is not None}
        for index in done.keys() - self._found:
            self._observer.advance(len(self.parts[index].ids))
        left = [index for index in kept if index not in done]
        if left:
            clock, batch = time.monotonic(), Samples.joined([self.parts[index] for index in left])
            found = attack_shard(self.setup, batch, self._batch_size, self._observer.advance)
            for index, rows in self._rows(left):
                done[index] = found.part(rows)
                self.shards.keep_attacked(index, done[index], self._effort(clock, len(left)))
        self._found |= done.keys()
        return done

    def _measure(self, attacked: dict[int, Attacked]) -> None:
        """Judge shards and keep their rows."""
        if not attacked:
            return
        clock, batch = time.monotonic(), Samples.joined([self.parts[index] for index in attacked])
        clean = self._cache.clean(self._plan, self.setup, batch)
        table = measure_shard(self.setup, batch, Attacked.joined(list(attacked.values())), self._showcase, clean)
        for index, rows in self._rows(attacked):
            own = table.iloc[rows].reset_index(drop=True)
            self.shards.keep_measured(index, own, self._effort(clock, len(attacked)))

    def _rows(self, indices: Iterable[int]) -> Iterator[tuple[int, slice]]:
        """Yield shards with the rows of their samples in the joined batch."""
        start = 0
        for index in indices:
            yield index, slice(start, start := start + len(self.parts[index].ids))

    def _effort(self, since: float, shards: int) -> Effort:
        """Return the effort for one of several shards computed together."""
        return Effort((time.monotonic() - since) / shards, self._device, hardware(), self._batch_size)


def _showcase(plan: Plan) -> frozenset[str]:
    samples = plan.protocol.samples
    return frozenset(f"{samples.dataset}/{samples.split}/{index}" for index in samples.showcase)
