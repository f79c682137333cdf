"""Sharing work among forked processes.

A fork sees everything that was read before it starts, so nothing has to be copied to it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from bench.core.errors import EnvironmentFault

T = TypeVar("T")

WORTH = 20
"""Pieces of work per process, at least: with fewer a process does not pay off."""

MOST = 8
"""Number of processes at most, as each one copies the memory that it uses."""


def processes_for(pieces: int) -> int:
    """Return the number of processes for some pieces of work.

    It is 1 on systems that cannot fork safely.
    """
    if sys.platform != "linux":
        return 1
    return max(1, min(len(os.sched_getaffinity(0)), pieces // WORTH, MOST))


def in_shards(count: int, work: Callable[[int], T]) -> list[T]:
    """Return `work(0)`, …, `work(count - 1)`, computed in parallel.

    This process computes the first, and one fork each computes the others.

    Args:
        count: the number of shards.
        work: computes one shard; its result is pickled.
    Raises:
        EnvironmentFault: if a process ends before it is done, for example when memory runs out.
        Exception: the exception that the work raises. If several shards raise, the first shard's exception.
    """
    context = multiprocessing.get_context("fork") if count > 1 else None
    children = []
    for shard in range(1, count):
        assert context is not None
        receiver, sender = context.Pipe(duplex=False)
        child = context.Process(target=_answer, args=(sender, work, shard), daemon=True)
        with warnings.catch_warnings():
            # Python 3.12 warns if other threads exist. The only ones are threads of BLAS, which handles forks itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            child.start()
        sender.close()
        children.append((child, receiver))
    try:
        return [work(0), *(_answer_of(receiver) for _, receiver in children)]
    finally:
        for child, receiver in children:
            receiver.close()
            child.terminate()
            child.join()


def _answer(sender: Connection, work: Callable[[int], T], shard: int) -> None:
    try:
        answer: tuple[bool, object] = (True, work(shard))
    except Exception as error:
        answer = (False, error)
    sender.send(answer)


def _answer_of(receiver: Connection) -> Any:
    try:
        done, answer = receiver.recv()
    except EOFError:
        raise EnvironmentFault(
            "expected a process of the build to end with its pages, got none; free memory, or build fewer records"
        ) from None
    if not done:
        raise answer
    return answer
