"""`python -m tests` runs format and lint, then types beside the tests.

The first failure ends it; what mypy finds is printed after the tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

ROOT = Path(__file__).parent.parent
STEPS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
)
TYPES, TESTS = ("mypy",), ("pytest", "-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
"""Reordered, files of one long test would come last, one worker idle."""
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
"""The networks of the tests are so small that threads would only wait for each other."""
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Python keeps what it compiles: each of a hundred processes would compile the same modules."""


def main() -> int:
    """Run the steps and return the first failure's exit code."""
    for step in STEPS:
        if code := start(step).wait():
            return code
    with TemporaryFile("w+", encoding="utf-8") as said:
        types = start(TYPES, stdout=said, stderr=said)  # it takes one core, and minutes without its cache
        tests = start(TESTS).wait()
        code = types.wait()
        said.seek(0)
        print(said.read(), end="", flush=True)  # noqa: T201
    return tests or code


def start(step: tuple[str, ...], **streams: Any) -> subprocess.Popen[bytes]:
    """Start a step, and say so."""
    print(f"$ python -m {' '.join(step)}", flush=True)  # noqa: T201
    return subprocess.Popen([sys.executable, "-m", *step], cwd=ROOT, env=ENVIRONMENT | os.environ | COMPILED, **streams)


if __name__ == "__main__":
    sys.exit(main())
