"""Attacks and judges a run shard by shard, and keeps finished shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

from bench.core.compute.machine import hardware
from bench.run.attack.search import Attacked, attack_shard
from bench.run.cache import Cache
from bench.run.execution import Execution, Observer
from bench.run.judge.measure import measure_shard
from bench.run.plan import Plan
from bench.run.samples import Samples
from bench.run.setup import Setup
from bench.run.shards import Effort, Shards


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
        self._plan, self._cache, self._observer = plan, cache, observer
        self._device = f"{setup.device.type}, compiled" if execution.compiled else setup.device.type
        self._batch_size = execution.images_at_once(setup.device)
        self._showcase = _showcase(plan) if execution.showcase else frozenset()
        self._found = {index for index in range(len(self.parts)) if self.shards.is_attacked(index)}

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
