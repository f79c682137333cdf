"""Changes as a JSON Feed, with dates from the records."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from urllib.parse import urljoin

from bench.core.schemas.records import RunRecord
from bench.core.storage.files import sha256_of
from bench.core.storage.stored_run import StoredRun

MOST = 200
"""Number of items in a feed at most. The feed keeps the newest."""


def feed(runs: list[StoredRun], home: str | None) -> dict[str, Any]:
    """Return a JSON Feed 1.1 of evaluations and confirmations.

    It has one item per day, protocol and model that was evaluated, and one per second run that confirms a first one.

    Args:
        runs: every run.
        home: address under which the site is published. Without it the feed has no links, as they must be absolute.
    """
    items = [*_evaluations(runs), *_confirmations(runs)]
    items.sort(key=lambda item: (item["date_published"], item["id"]), reverse=True)
    content = {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "Attribution robustness leaderboard",
        "description": "Models that were evaluated, and runs that were confirmed",
        "items": [_linked(item, home) for item in items[:MOST]],
    }
    if home is None:
        return content
    return content | {"home_page_url": home, "feed_url": urljoin(home, "data/feed.json")}


def _evaluations(runs: list[StoredRun]) -> list[dict[str, Any]]:
    days: dict[tuple[str, str, str, str], list[RunRecord]] = defaultdict(list)
    for record in (run.record for run in runs):
        spec = record.spec
        days[record.environment.started[:10], spec.protocol.key, spec.model.name, spec.model.weights_sha256].append(
            record
        )
    items = []
    for (_, protocol, model, weights), records in days.items():
        attacks = ", ".join(sorted({record.spec.attack.name for record in records}))
        identity = "".join(sorted(record.run_id for record in records))
        items.append(
            {
                "id": f"urn:sha256:{sha256_of(identity.encode())}",
                "title": f"{model} under {protocol}",
                "content_text": f"{attacks}; weights {weights[:12]}",
                "date_published": max(record.environment.started for record in records),
                "page": f"models/{model}.html#{protocol}",
            }
        )
    return items


def _confirmations(runs: list[StoredRun]) -> list[dict[str, Any]]:
    items = []
    for run in runs:
        note, spec = run.confirmation(), run.record.spec
        if note is not None:
            items.append(
                {
                    "id": f"urn:sha256:{sha256_of((note.run_id + note.again_sha256).encode())}",
                    "title": f"{spec.model.name} under {spec.protocol.key}: {spec.attack.name} confirmed",
                    "content_text": f"A second run on {note.environment.hardware} differs by "
                    f"{note.mean_difference:.4f} on average.",
                    "date_published": note.environment.started,
                    "page": f"models/{spec.model.name}.html#run-{run.record.run_id[:12]}",
                }
            )
    return items


def _linked(item: dict[str, Any], home: str | None) -> dict[str, Any]:
    page = item.pop("page")
    return item if home is None else item | {"url": urljoin(home, page)}
