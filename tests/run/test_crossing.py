"""The number of modules that one run uses, without its page.

It counts from the request to the record.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.crossing import ROOT
from tests.support.tiny import residual_content, write_entry, write_protocol

MOST = {"imported": 89, "crossed": 60}
"""Lower them when a change makes them fewer; raise one only for a module that a run cannot do without."""


def test_a_run_crosses_no_more_modules_than_it_did(tmp_path: Path) -> None:
    entry, protocol = write_entry(tmp_path, residual_content(tmp_path)), write_protocol(tmp_path, "short", 4, 4)
    words = [
        "run",
        "--json",
        "--model",
        f"file:{entry}",
        "--attack",
        "ifia-topk",
        "--protocol",
        str(protocol),
        "--device",
        "cpu",
    ]
    program = [sys.executable, "-m", "tests.support.crossing", *words, "--results", str(tmp_path / "results")]
    place = {"BENCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(program, env=os.environ | place, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "bench.run.steps" in found["crossed"]
    assert not found["compiler"], "a run needs no compiler, whose import takes seconds"
    for what, most in MOST.items():
        assert len(found[what]) <= most, f"{what}: {len(found[what])}, {', '.join(found[what])}"
