"""A headless Chromium that opens a copied site from disk.

It runs a script in the page and returns what it saw.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.browser.conftest import CHROMIUM

PROBE = """
window.addEventListener("load", function () {
  function show(found) {
    if (window.parent !== window) { window.parent.postMessage(found, "*"); return; }
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

NARROWEST = 500
"""Pixels of the narrowest window that Chromium opens; a narrower page is shown in a frame."""

FRAME = """<!doctype html><iframe style="border: 0; width: %dpx; height: 900px" src="%s"></iframe><script>
window.addEventListener("message", function (event) {
  var probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(event.data);
  document.body.append(probe);
});
</script>"""


def visit(
    site: Path,
    script: str,
    page: str = "index.html",
    query: dict[str, str] | None = None,
    width: int = 1280,
    options: tuple[str, ...] = (),
) -> Any:
    """Open a page and return what the script returns.

    A message on the console or an error of the script fails the test.
    """
    probe = site / "static" / "probe.js"
    probe.write_text(PROBE % script, encoding="utf-8")
    original = (site / page).read_text(encoding="utf-8")
    root = "../" * page.count("/")
    probed = site / page.replace(".html", "-probed.html")
    probed.write_text(original.replace("</head>", f'<script src="{root}static/probe.js"></script></head>'), "utf-8")
    address = f"{probed.resolve().as_uri()}?{urlencode(query or {})}"
    if width < NARROWEST:
        frame = site / "frame.html"
        frame.write_text(FRAME % (width, escape(address)), encoding="utf-8")
        address = frame.resolve().as_uri()
    dom, messages = _open(address, [f"--window-size={max(width, NARROWEST)},900", *options])
    assert not messages, messages
    found = json.loads(unescape(re.findall(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)[0]))
    assert "error" not in found, found["error"]
    return found.get("value")


def _open(address: str, options: list[str]) -> tuple[str, list[str]]:
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-quic", "--disable-component-update", "--disable-sync"]  # fmt: skip
    with tempfile.TemporaryDirectory() as profile:
        command = [str(CHROMIUM), *quiet, f"--user-data-dir={profile}", "--enable-logging=stderr", *options]
        done = subprocess.run(
            [*command, "--virtual-time-budget=5000", "--dump-dom", address],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
