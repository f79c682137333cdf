"""Durations: read as people write them, and refused where they are none."""

from __future__ import annotations

import pytest

from bench.core.schemas.duration import in_words, read_duration


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("9m", 540), ("2.5h", 9000), ("0.001s", 0.001)])
def test_a_duration_is_its_number_times_its_unit(text: str, seconds: float) -> None:
    assert read_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "9", "m", "9 m", "-9m", "0m", "9d", "9m30s", "1e3s", "nans", "infs", "٩m", 9, None]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"expected a duration such as 90s, 9m or 2\.5h, got"):
        read_duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.25, "0.25s"), (59, "59s"), (540, "9m"), (9000, "2.5h"), (1e6, "278h")]
)
def test_words_are_short_and_read_back_as_nearly_the_same(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
    assert read_duration(words) == pytest.approx(seconds, rel=0.05)
