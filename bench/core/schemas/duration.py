"""Durations as people write them: 90s, 9m, 2.5h."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_UNITS = {"s": 1, "m": 60, "h": 3600}


def read_duration(text: object) -> float:
    """Return the seconds of a duration.

    Raises:
        ValueError: if the text is not a duration.
    """
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)([smh])", text, re.ASCII) if isinstance(text, str) else None
    if match is None or not float(match[1]):
        raise ValueError(f"expected a duration such as 90s, 9m or 2.5h, got {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def in_words(seconds: float) -> str:
    """Return a duration as text, such as 9m, rounded to two digits."""
    unit = next((u for u in "hm" if seconds >= _UNITS[u]), "s")
    return (
        f"{seconds / _UNITS[unit]:.2g}{unit}" if seconds < 100 * _UNITS[unit] else f"{seconds / _UNITS[unit]:.0f}{unit}"
    )


Duration = Annotated[float, BeforeValidator(read_duration)]
