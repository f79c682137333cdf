"""`python -m tests` runs format, lint, types and tests in order.

The first failure ends it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEPS = (
    ("ruff", "format", "--check", "."),
    ("ruff", "check", "."),
    ("mypy",),
    ("pytest", "-n", "auto", "--dist", "loadfile"),
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1"}
"""The networks of the tests are so small that threads would only wait for each other."""


def main() -> int:
    """Run the steps until one fails, and return its exit code."""
    for step in STEPS:
        print(f"$ python -m {' '.join(step)}", flush=True)  # noqa: T201
        command, environment = [sys.executable, "-m", *step], ENVIRONMENT | os.environ
        if code := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
