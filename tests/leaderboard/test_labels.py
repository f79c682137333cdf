"""Labels of axes fit into the room between the marks."""

from __future__ import annotations

import math

from leaderboard.drawing.labels import ANGLE, CHARACTER, LONGEST, below


def places(texts: list[str], width: float = 390.0) -> list[tuple[float, str]]:
    step = width / len(texts)
    return [(step * (k + 0.5), text) for k, text in enumerate(texts)]


def test_short_labels_stay_on_one_line() -> None:
    found = below(places(["0", "0.25", "0.5", "1e-05"]), 390)
    assert (found.slanted, found.extra) == (False, 0)
    assert [mark.lines for mark in found.marks] == [("0",), ("0.25",), ("0.5",), ("1e-05",)]


def test_long_labels_are_broken_at_spaces_into_lines_that_fit() -> None:
    texts = ["natural", "adversarial, radius 0.125", "adversarial, radius 0.25"]
    found = below(places(texts), 390)
    assert not found.slanted
    assert [" ".join(mark.lines) for mark in found.marks] == texts
    assert found.extra > 0
    assert all(len(line) * CHARACTER <= 130 for mark in found.marks for line in mark.lines)


def test_labels_that_no_break_helps_are_slanted_and_stay_within_the_drawing() -> None:
    texts = [f"saturation {level}" for level in (1, 2, 4, 8, 16, 64, 256, 1024)] + [
        "a-word-of-more-than-any-room-there-is"
    ]
    found = below(places(texts), 390)
    assert found.slanted
    assert [mark.lines[0] for mark in found.marks][:2] == ["saturation 1", "saturation 2"]
    assert max(len(mark.lines[0]) for mark in found.marks) == LONGEST
    assert math.isclose(found.extra, LONGEST * CHARACTER * math.sin(math.radians(ANGLE)), abs_tol=1)


def test_a_single_label_has_the_whole_width() -> None:
    assert below([(195.0, "adversarial training with a large radius")], 390).extra == 0
    assert below([], 390).marks == ()
