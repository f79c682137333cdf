"""Finds and loads plug-ins by name.

A plug-in is a file in one of our folders, or an entry point of another package. No other package imports by name.
"""

from bench.registry.conformity import conforming
from bench.registry.descriptions import constants, definition, describe, summary
from bench.registry.kinds import ENTRY_POINT_GROUP, KINDS, SKELETONS, Kind, Python, Toml
from bench.registry.lookup import file_of, folder, instantiate, load, names, offering, origin, refresh

__all__ = [
    "ENTRY_POINT_GROUP",
    "KINDS",
    "SKELETONS",
    "Kind",
    "Python",
    "Toml",
    "conforming",
    "constants",
    "definition",
    "describe",
    "file_of",
    "folder",
    "instantiate",
    "load",
    "names",
    "offering",
    "origin",
    "refresh",
    "summary",
]
