"""Makes text from submitted models safe to print: titles, licences, citations."""

from __future__ import annotations

import unicodedata

BIDIRECTIONAL = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that reorder the text around them."""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as "2 images"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_control(character: str) -> bool:
    """Return whether a character is a control character or a surrogate."""
    return unicodedata.category(character) in {"Cc", "Cs"}


def printable(text: str, keep: str = "\n") -> str:
    """Return `text` without characters that are dangerous in a terminal.

    Control characters and marks that reorder text become U+FFFD, except the characters in `keep`.
    """
    return "".join(
        "\ufffd" if c not in keep and (is_control(c) or c in BIDIRECTIONAL) else c for c in text.replace("\t", " ")
    )
