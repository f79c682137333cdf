"""Damages files."""

from __future__ import annotations


def flip_last_byte(good: bytes) -> bytes:
    return good[:-1] + bytes([good[-1] ^ 1])
