"""A headless Chromium that opens a copied site from disk.

It runs a script in the page and returns what it saw.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.browser.conftest import CHROMIUM

PROBE = """
window.addEventListener("load", function () {
  function show(found) {
    if (window.parent !== window) { window.parent.postMessage([Number(window.name), found], "*"); return; }
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

FRAMES = """<!doctype html><body><script>
var found = [];
window.addEventListener("message", function (event) {
  found.push(event.data);
  if (found.length < %d) { return; }
  var probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify(found);
  document.body.append(probe);
});
</script>%s"""
FRAME = '<iframe name="%d" style="border: 0; position: absolute; width: %dpx; height: 900px" src="%s"></iframe>'


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
    if width < NARROWEST:
        return visit_all(site, script, [(page, width)], query, options)[page, width]
    dom = _open(_probed(site, script, page, query), [f"--window-size={width},900", *options])
    return _value(_found(dom), page)


def visit_all(
    site: Path,
    script: str,
    places: Sequence[tuple[str, int]],
    query: dict[str, str] | None = None,
    options: tuple[str, ...] = (),
) -> dict[tuple[str, int], Any]:
    """Open many pages at once and return what the script returns.

    A place is a page and its width. Each page stands in a frame of a single window, because Chromium starts slowly.
    """
    addresses = {page: escape(_probed(site, script, page, query)) for page, _ in places}
    frames = [FRAME % (place, width, addresses[page]) for place, (page, width) in enumerate(places)]
    window = site / "frames.html"
    window.write_text(FRAMES % (len(frames), "".join(frames)), encoding="utf-8")
    widest = max(NARROWEST, *(width for _, width in places))
    found = dict(_found(_open(window.resolve().as_uri(), [f"--window-size={widest},900", *options])))
    return {place: _value(found[number], place[0]) for number, place in enumerate(places)}


def _probed(site: Path, script: str, page: str, query: dict[str, str] | None) -> str:
    """Write a page with a probe and return its address."""
    (site / "static" / "probe.js").write_text(PROBE % script, encoding="utf-8")
    original = (site / page).read_text(encoding="utf-8")
    root = "../" * page.count("/")
    probed = site / page.replace(".html", "-probed.html")
    probed.write_text(original.replace("</head>", f'<script src="{root}static/probe.js"></script></head>'), "utf-8")
    return f"{probed.resolve().as_uri()}?{urlencode(query or {})}"


def _found(dom: str) -> Any:
    (found,) = re.findall(r'<pre id="probe">(.*?)</pre>', dom, re.DOTALL)
    return json.loads(unescape(found))


def _value(found: dict[str, Any], page: str) -> Any:
    assert "error" not in found, f"{page}: {found['error']}"
    return found.get("value")


def _open(address: str, options: list[str]) -> str:
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-quic", "--disable-component-update", "--disable-sync"]  # fmt: skip
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:  # its processes may still write
        command = [str(CHROMIUM), *quiet, f"--user-data-dir={profile}", "--enable-logging=stderr", *options]
        done = subprocess.run(
            [*command, "--virtual-time-budget=5000", "--dump-dom", address],
            capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
    messages = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    assert not messages, messages
    return done.stdout
