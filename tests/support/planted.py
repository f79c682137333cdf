"""Folders of plug-ins that a test made itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench import registry


@contextmanager
def plugins_in(places: Mapping[registry.Kind, registry.Python | registry.Toml]) -> Iterator[None]:
    """Run a block in which plug-ins are found in other folders."""
    own = {kind: registry.KINDS[kind] for kind in places}
    registry.KINDS.update(places)
    registry.refresh()
    try:
        yield
    finally:
        registry.KINDS.update(own)
        registry.refresh()
