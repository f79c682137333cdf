"""Labels below an axis: on one line, wrapped, or slanted."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

CHARACTER = 6.2
"""Mean width of a character of 12 pixels, in pixels."""
LINE = 13
"""Pixels from one line of a label to the next."""
LINES = 3
"""Most lines of a label; with more, the labels of an axis are slanted."""
LONGEST = 24
"""Most characters of a slanted label."""
ANGLE = 60
"""Angle of a slanted label, in degrees: steep, so that the first one stays within the drawing."""
AIR = 6
"""Pixels between the lines of two neighbours."""


@dataclass(frozen=True)
class Label:
    """The text at one mark of an axis."""

    column: float
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Labels:
    """The labels of an axis, all laid out in one way."""

    marks: tuple[Label, ...]
    slanted: bool
    extra: float
    """Pixels that they need below a single line."""


def below(places: Iterable[tuple[float, str]], width: float) -> Labels:
    """Lay out the labels of an axis, none of them cut off.

    Args:
        places: column and text of each mark, from left to right.
        width: width of the axis in pixels, the room of a single label.
    """
    found = list(places)
    room = min((right - left for (left, _), (right, _) in pairwise(found)), default=width) - AIR
    wrapped = [(column, _wrapped(text, int(room / CHARACTER))) for column, text in found]
    lines = max((len(text) for _, text in wrapped), default=1)
    if lines <= LINES and all(len(line) * CHARACTER <= room for _, text in wrapped for line in text):
        return Labels(tuple(Label(*each) for each in wrapped), slanted=False, extra=LINE * (lines - 1))
    short = [(column, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…") for column, text in found]
    longest = max(len(text) for _, text in short)
    deep = math.ceil(longest * CHARACTER * math.sin(math.radians(ANGLE)))
    return Labels(tuple(Label(column, (text,)) for column, text in short), slanted=True, extra=deep)


def _wrapped(text: str, most: int) -> tuple[str, ...]:
    """Return lines of at most `most` characters, broken at spaces and hyphens.

    A longer word has a line of its own.
    """
    lines = [""]
    for word in re.findall(r"[^\s-]+-?|-|\s+", text):
        if lines[-1].strip() and len((lines[-1] + word).strip()) > most:
            lines.append("")
        lines[-1] += word
    return tuple(line.strip() for line in lines)
