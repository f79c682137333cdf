"""The modules of ours that one command imports and uses.

Call `python -m tests.support.crossing run --model …`. It prints JSON. It leaves out the commands, and the plug-ins,
because their number depends on the protocol.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import FrameType

from bench import registry

ROOT = Path(__file__).parent.parent.parent
COMPILER = ("torch._dynamo", "torch._inductor")
"""Packages of torch that take seconds to import."""
OWN = ("bench", "model_zoo", "attacks", "metrics", "leaderboard")


def crossed(words: Sequence[str]) -> dict[str, list[str]]:
    """Run a command and return its imported and its used modules.

    A module is used if one of its functions is called. Torch's compiler stands apart, if it was imported.
    """
    ran: set[str] = set()

    def watch(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_flags & CO_OPTIMIZED:  # a function; not a module's or a class's body
            ran.add(frame.f_code.co_filename)

    sys.setprofile(watch)
    try:
        from bench import cli

        with redirect_stdout(sys.stderr):
            cli.main(list(words))
    except SystemExit as end:
        if end.code:
            raise
    finally:
        sys.setprofile(None)
    files = {name: str(module.__file__) for name, module in sys.modules.items() if name.split(".")[0] in OWN}
    own = {name: file for name, file in files.items() if not _is_one_of_many(name) and Path(file).stat().st_size}
    used = sorted(name for name, file in own.items() if file in ran)
    return {"imported": sorted(own), "crossed": used, "compiler": [name for name in COMPILER if name in sys.modules]}


def _is_one_of_many(module: str) -> bool:
    packages = [kind.package for kind in registry.KINDS.values() if isinstance(kind, registry.Python)]
    return any(module.startswith(f"{package}.") for package in (*packages, "bench.commands"))


if __name__ == "__main__":
    print(json.dumps(crossed(sys.argv[1:])))  # noqa: T201
