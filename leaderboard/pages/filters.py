"""Writes values as the text that templates print."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

from bench.core.schemas.spec import PluginSpec
from leaderboard.boards.board import Standing

DASH = "\N{EN DASH}"


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with fixed decimals, or a dash if undefined.

    A negative number has a minus sign rather than a hyphen.
    """
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:.{digits}f}"
    text = text.lstrip("-") if float(text) == 0 else text.replace("-", "\N{MINUS SIGN}")
    return text.replace("inf", "\N{INFINITY}")


def spread(quantiles: Sequence[float]) -> list[str]:
    """Return the x coordinates of values, in percent, from -1 to 1."""
    return [f"{2 + 48 * (1 + max(-1.0, min(1.0, value))):.4g}" for value in quantiles]


def rank(standing: Standing) -> str:
    """Return the interval of a rank as text, such as 1–2."""
    low, high = standing.rank_interval or (standing.rank, standing.rank)
    if low is None:
        return DASH
    return str(low) if low == high else f"{low}{DASH}{high}"


def p_value(value: float) -> str:
    """Return a p-value as text, with a bound for tiny ones."""
    return "< 0.001" if value < 0.001 else number(value)


def percent(value: float | None) -> str:
    """Return a share in percent, or a dash if undefined."""
    return DASH if value is None else f"{100 * value:.1f} %"


def plugin(spec: PluginSpec) -> str:
    """Return the name of a plug-in with its parameters."""
    params = ", ".join(f"{name} {value}" for name, value in sorted(spec.params.items()) if value != "")
    return f"{spec.name} ({params})" if params else spec.name


def shortened(text: str, length: int) -> str:
    """Return a text of at most `length` letters without its middle.

    Both ends of a name stay, as names of one family differ at the end.
    """
    if len(text) <= length:
        return text
    start = (length - 1) // 2
    return f"{text[:start]}…{text[start + 1 - length :]}"


def capitalize_first(text: str) -> str:
    """Return a text whose first letter is a capital."""
    return text[:1].upper() + text[1:]


def unwrapped(text: str) -> str:
    """Return a docstring with one line per paragraph.

    The browser then breaks the lines to fit the page. Sections such as `Args:` and lists keep their lines.
    """
    lines: list[str] = []
    for line in text.split("\n"):
        before, words = lines[-1] if lines else "", line.lstrip()
        indented = len(line) - len(words), len(before) - len(before.lstrip())
        if before and words and indented[0] == indented[1] and not re.match(r"\w+:|[-*] ", words):
            hyphenated = before.endswith("-") and not before.endswith(" -")
            lines[-1] = f"{before}{'' if hyphenated else ' '}{words}"
        else:
            lines.append(line)
    return "\n".join(lines)


def is_web_link(value: str) -> bool:
    """Return whether a text is an address that browsers open."""
    return value.startswith(("https://", "http://"))


FILTERS: dict[str, Callable[..., object]] = {
    each.__name__: each
    for each in (number, p_value, percent, rank, spread, plugin, capitalize_first, shortened, unwrapped)
}
"""The filters of the templates, by name."""
