"""Text of strangers: titles, licences, citations of models that somebody submits."""

from __future__ import annotations

import unicodedata

BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that reorder what stands around them."""


def counted(count: int, noun: str) -> str:
    """Return so many things in words: 1 image, 2 images."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_control(character: str) -> bool:
    """Whether a character steers a terminal, or is half of one."""
    return unicodedata.category(character) in {"Cc", "Cs"}


def printable(text: str, keep: str = "\n") -> str:
    """Return `text` as it may reach a terminal: what steers or reorders becomes U+FFFD, except what is in `keep`."""
    return "".join(
        "\ufffd" if c not in keep and (is_control(c) or c in BIDIRECTIONAL) else c for c in text.replace("\t", " ")
    )
