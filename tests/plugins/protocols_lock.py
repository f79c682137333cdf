"""The hashes of published protocols.

`python -m tests.plugins.protocols_lock` adds the hashes of new protocols.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench import registry

FILE = Path(__file__).with_name("protocols.lock")


def locked() -> dict[str, str]:
    """Return the SHA-256 of each published protocol's content."""
    content: dict[str, str] = json.loads(FILE.read_text())
    return content


def main() -> None:
    """Add new protocols to the file.

    A changed protocol is an error.
    """
    before, now = locked(), {key: registry.load("protocols", key).sha256 for key in registry.names("protocols")}
    if changed := [key for key, sha256 in before.items() if now.get(key) != sha256]:
        sys.exit(f"expected {changed[0]} as it was published, got another content; restore it, and add a new version")
    FILE.write_text(json.dumps(now, indent=2) + "\n")


if __name__ == "__main__":
    main()
