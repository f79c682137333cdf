"""A headless Chromium that opens a copy of a site from disk, runs a script in the page, and tells what it saw."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.browser.conftest import CHROMIUM

PROBE = """
window.addEventListener("load", function () {
  function show(found) {
    var probe = document.createElement("pre");
    probe.id = "probe";
    probe.textContent = JSON.stringify(found);
    document.body.append(probe);
  }
  new Promise(function (resolve) { resolve((function () { %s })()); }).then(
    function (value) { show({ value: value }); },
    function (error) { show({ error: String(error) }); });
});
"""


def visit(
    site: Path,
    script: str,
    page: str = "index.html",
    query: dict[str, str] | None = None,
    width: int = 1280,
    options: tuple[str, ...] = (),
) -> Any:
    """Open a page and return what the script returns; a message of the console or an error of the script fails."""
    probe = site / "static" / "probe.js"
    probe.write_text(PROBE % script, encoding="utf-8")
    original = (site / page).read_text(encoding="utf-8")
    root = "../" * page.count("/")
    probed = site / page.replace(".html", "-probed.html")
    probed.write_text(original.replace("</head>", f'<script src="{root}static/probe.js"></script></head>'), "utf-8")
    dom, messages = _open(probed, query or {}, [f"--window-size={width},900", *options])
    assert not messages, messages
    found = json.loads(unescape(re.findall(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)[0]))
    assert "error" not in found, found["error"]
    return found.get("value")


def _open(page: Path, query: dict[str, str], options: list[str]) -> tuple[str, list[str]]:
    address = f"{page.resolve().as_uri()}?{urlencode(query)}"
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-quic", "--disable-component-update", "--disable-sync"]  # fmt: skip
    with tempfile.TemporaryDirectory() as profile:
        command = [str(CHROMIUM), *quiet, f"--user-data-dir={profile}", "--enable-logging=stderr", *options]
        done = subprocess.run(
            [*command, "--virtual-time-budget=5000", "--dump-dom", address],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
