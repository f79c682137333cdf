"""Compares the site with the one that was built before a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leaderboard.site_lock import digests, locked, steady


def test_the_site_is_the_one_that_was_built_before(site: Path) -> None:
    before, now = locked(), digests(site)
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    assert not changed, (
        f"{', '.join(changed)} changed; if meant, python -m tests.leaderboard.site_lock writes their digests again"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.12345678901234567", "0.123457"),
        ("0.1234567890999999", "0.123457"),
        ("0.877 [0.853, 0.898]", "0.877 [0.853, 0.898]"),
        (f"rows/{'0a' * 6}.csv, sha256 {'3f' * 32}", "rows/CHECKSUM.csv, sha256 CHECKSUM"),
        ("natural-wrn28, 2026-01-02", "natural-wrn28, 2026-01-02"),
        ("defaced facade", "defaced facade"),
    ],
)
def test_what_is_volatile_is_left_out(text: str, expected: str) -> None:
    assert steady(text) == expected


def test_a_changed_word_is_another_digest(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("robust")
    before = digests(tmp_path)
    (tmp_path / "index.html").write_text("fragile")
    assert digests(tmp_path) != before
