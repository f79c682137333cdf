"""Metrics that a board shows beside the one that ranks."""

from __future__ import annotations

from functools import cache

from bench import registry


@cache
def metrics_of(role: str) -> tuple[str, ...]:
    """Return the metrics of a role in the order of their places."""
    said = {name: registry.constants("metrics", name) for name in registry.names("metrics")}
    found = [name for name in said if said[name].get("role") == role]
    return tuple(sorted(found, key=lambda name: (said[name].get("place", 0), name)))
