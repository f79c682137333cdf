"""Computes the learning rate at a point of a training."""

from __future__ import annotations

import math

from bench.core.schemas.recipe import Schedule


def learning_rate(schedule: Schedule, done: float) -> float:
    """Return the learning rate after the share `done` of all steps."""
    if done < schedule.warmup:
        return schedule.peak * done / schedule.warmup
    if schedule.kind == "steps":
        return float(schedule.peak * 0.1 ** sum(done >= m for m in schedule.milestones))
    left = (1 - done) / (1 - schedule.warmup)
    return schedule.peak * (left if schedule.kind == "linear" else 0.5 * (1 - math.cos(math.pi * left)))
