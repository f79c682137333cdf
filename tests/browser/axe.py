"""Finds axe-core, the accessibility checker (MPL-2.0).

npm installs it; it does not belong to this repository.
"""

from __future__ import annotations

import os
from pathlib import Path

AXE = next(
    (
        path
        for folder in (os.environ.get("BENCH_AXE"), "node_modules/axe-core", "/usr/share/javascript/axe-core")
        if folder and (path := Path(folder) / "axe.min.js").is_file()
    ),
    None,
)
"""`npm install axe-core` in the folder of the tests' start, or BENCH_AXE naming its folder."""

SCRIPT = """
return axe.run(document, { resultTypes: ["violations"], preload: false }).then(function (found) {
  return found.violations.map(function (one) {
    return one.id + ": " + one.nodes.map(function (node) { return node.target.join(" "); }).slice(0, 3).join(" | ");
  });
});
"""
