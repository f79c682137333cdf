"""Digests of the site that made records give, file by file.

`python -m tests.leaderboard.site_lock` writes them again after a page changed on purpose; the diff names the pages.
A digest leaves out what libraries, machines and platforms decide: checksums and sizes (of rows and pictures, whose
encoding is a library's), digits of a number beyond the sixth, the content of pictures, and the JSON Schema that
pydantic writes. Dates, machines and versions in the records are made up.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from pathlib import Path

from bench.core.storage.files import sha256_of
from leaderboard.build import build
from tests.support.small_results import write_results

FILE = Path(__file__).with_name("site.lock")
TEXTS = {".css", ".csv", ".html", ".js", ".json", ".svg", ".tex", ".bib"}
OF_A_LIBRARY = {"data/schema.json"}
CHECKSUM = re.compile(r"(?<![\w.])[0-9a-f]{12,64}(?![0-9a-z])")
SIZE = re.compile(r"\b\d+ B\b")
LONG_NUMBER = re.compile(r"(?<![\w.])\d+\.\d{6,}(?:e[+-]?\d+)?")


def locked() -> dict[str, str]:
    """Return the digest of each file, as it is committed."""
    content: dict[str, str] = json.loads(FILE.read_text(encoding="utf-8"))
    return content


def digests(site: Path) -> dict[str, str]:
    """Return the digest of each file of a site, by its name.

    Files whose names differ in their checksums alone have one digest.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for path in site.rglob("*"):
        if path.is_file():
            name = path.relative_to(site).as_posix()
            compared = path.suffix in TEXTS and name not in OF_A_LIBRARY
            found[steady(name)].append(steady(path.read_text(encoding="utf-8")) if compared else "not compared")
    return {name: sha256_of("\n".join(sorted(found[name])).encode())[:16] for name in sorted(found)}


def steady(text: str) -> str:
    """Return a text without what is volatile."""
    return LONG_NUMBER.sub(lambda found: f"{float(found[0]):.6g}", SIZE.sub("SIZE", CHECKSUM.sub("CHECKSUM", text)))


def main() -> None:
    """Build the site of the made records, and write its digests."""
    with tempfile.TemporaryDirectory() as folder:
        write_results(Path(folder) / "results")
        build(Path(folder) / "results", Path(folder) / "site")
        FILE.write_text(json.dumps(digests(Path(folder) / "site"), indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
