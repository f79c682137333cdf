"""Work shared between forked processes.

Each shard is done once, in order, and every failure is reported.
"""

from __future__ import annotations

import os
import sys

import pytest

from bench.core.errors import EnvironmentFault, IntegrityError
from leaderboard.records.forks import MOST, WORTH, in_shards, processes_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are used on Linux alone")


def test_each_shard_is_made_once_each_in_a_process_of_its_own() -> None:
    found = in_shards(3, lambda shard: (shard, os.getpid()))
    assert [shard for shard, _ in found] == [0, 1, 2]
    assert found[0][1] == os.getpid()
    assert len({process for _, process in found}) == 3


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_what_a_shard_raises_is_raised(failing: int) -> None:
    def work(shard: int) -> int:
        if shard == failing:
            raise IntegrityError(f"expected something else, got shard {shard}")
        return shard

    with pytest.raises(IntegrityError, match=f"got shard {failing}"):
        in_shards(3, work)


def test_a_process_that_dies_is_a_fault_of_the_environment() -> None:
    with pytest.raises(EnvironmentFault, match="got none"):
        in_shards(2, lambda shard: os._exit(9) if shard else 0)


def test_few_pieces_are_worth_no_process() -> None:
    assert processes_for(0) == processes_for(2 * WORTH - 1) == 1
    assert processes_for(10_000) == min(MOST, len(os.sched_getaffinity(0)))
