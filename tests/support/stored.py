"""Reads what two runs of one spec must share."""

from __future__ import annotations

from typing import Any

from bench.core.storage.stored_run import StoredRun


def content(run: StoredRun) -> dict[str, bytes | dict[str, Any]]:
    """All of a run but where and when it took place."""
    record = run.record.model_dump(mode="json", exclude={"environment"})
    return {"record": record, "rows": run.rows_path.read_bytes(), "showcase": run.showcase_path.read_bytes()}
