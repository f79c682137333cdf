"""Hostile records and rows.

Changed values are detected, and every reader handles any content.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import strategies as st
from pydantic import ValidationError

from bench import registry
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import RunRecord
from bench.core.schemas.spec import RunSpec
from bench.core.storage.files import canonical_json, sha256_of, write_atomic
from bench.core.storage.store import rows_to_parquet
from bench.core.storage.stored_run import StoredRun
from bench.run.record.summary import summarise
from tests.hostile.conftest import Fuzz, Sandbox
from tests.hostile.mutations import as_json, documents, plausible, scrambled
from tests.support.factories import METRICS, model_entry, rows_of, run_spec, store_run

MODELS = ("art-wrn28", "pgd-wrn28")
COUNT = 12
READERS = (
    ("verify", "results"),
    ("leaderboard", "table", "results"),
    ("leaderboard", "build", "results", "site"),
    ("compare", *MODELS, "--json"),
    ("compare", "--attacks", "ifia-topk", "random-noise", "--protocol", "cifar10-smoke-v1"),
    ("export", "standings.csv"),
    ("export", "leaderboard.json"),
    ("verify", "results", "--against", "again"),
    ("verify", "--repository", "results"),
)
"""Every command that opens records."""


@pytest.fixture
def honest(sandbox: Sandbox) -> StoredRun:
    """Fill a results folder, and return one of its runs.

    It holds two models under two attacks; `bench verify` accepts it.
    """
    protocol: Protocol = registry.load("protocols", "cifar10-smoke-v1")
    recorded = protocol.model_dump(mode="json", include={"name", "version", "rankable", "floor", "reference"})
    for index, name in enumerate(MODELS):
        for attack in ("random-noise", "ifia-topk"):
            entry = model_entry(name)
            samples = {"sha256": protocol.samples.sha256, "count": COUNT, "of": len(protocol.samples.indices)}
            spec = {"protocol_spec": recorded | {"sha256": protocol.sha256}, "samples": samples}
            rows = rows_of(run_spec(entry, attack, **spec), 0.3 + 0.2 * index, index)
            rows["sample_id"] = protocol.samples.ids()[:COUNT]
            run = store_run(
                sandbox.folder / "results", entry, attack, spec_changes=spec,
                columns={str(name): values for name, values in rows.items()},
                record_changes={"summaries": summarise(rows, METRICS)},
            )  # fmt: skip
    shutil.copytree(sandbox.folder / "results", sandbox.folder / "again")
    assert sandbox.call("verify", "results")[0] == 0
    return run


@pytest.fixture
def restored(sandbox: Sandbox, honest: StoredRun) -> Callable[[], None]:
    """Put the honest results back."""

    def restore() -> None:
        shutil.rmtree(sandbox.folder / "results")
        shutil.rmtree(sandbox.folder / "site", ignore_errors=True)
        shutil.copytree(sandbox.folder / "again", sandbox.folder / "results")

    return restore


@pytest.fixture
def alone(sandbox: Sandbox, honest: StoredRun) -> StoredRun:
    """File the honest run alone, which is quick to verify."""
    moved = sandbox.folder / "alone" / honest.path.relative_to(sandbox.folder / "results")
    shutil.copytree(honest.path.parent, moved.parent)
    return honest._replace(path=moved)


def sealed(content: Any) -> Any:
    """Give a record the run id of its spec, like a forger."""
    try:
        spec = RunSpec.model_validate(content["spec"])
    except (ValidationError, KeyError, TypeError):
        return content
    return {**content, "run_id": spec.run_id}


def file_again(sandbox: Sandbox, run: StoredRun, content: bytes) -> None:
    """Replace a record by other content.

    The new content decides its name and folder.
    """
    path = run.path
    try:
        record = RunRecord.model_validate_json(content)
        place = Path(record.spec.protocol.key, record.spec.model.name, record.spec.attack.name, record.run_id[:12])
        if ".." not in place.parts and not place.is_absolute() and len(str(place)) < 200:
            path = sandbox.folder / "results" / f"{place}.json"
    except ValueError:
        pass
    for old in (run.path, run.rows_path):
        target = path.with_suffix(old.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        old.rename(target)
    path.write_bytes(content)


def test_records(sandbox: Sandbox, fuzz: Fuzz, honest: StoredRun, restored: Callable[[], None]) -> None:
    record = json.loads(honest.path.read_bytes())
    forged = documents(record, encode=lambda content: as_json(sealed(content)), nullable=True)
    edited = documents(record, encode=as_json, nullable=True)

    @fuzz(60, 600, st.tuples(st.one_of(forged, edited), st.sampled_from(READERS)))
    def answers(case: tuple[bytes, tuple[str, ...]]) -> None:
        content, command = case
        restored()
        file_again(sandbox, honest, content)
        sandbox.call(*command)


def test_an_edited_spec_is_found(sandbox: Sandbox, fuzz: Fuzz, alone: StoredRun) -> None:
    record = json.loads(alone.path.read_bytes())
    same = canonical_json(record["spec"])

    @fuzz(40, 800, documents(record["spec"], encode=as_json, nullable=True))
    def answers(content: bytes) -> None:
        try:
            spec = json.loads(content)
            if canonical_json(RunSpec.model_validate(spec).model_dump(mode="json")) == same:
                return
        except (ValueError, RecursionError):
            spec = content.decode("utf-8", "replace")
        alone.path.write_bytes(as_json({**record, "spec": spec}))
        code, said = sandbox.call("verify", "alone")
        assert code == 3, said


def edits(rows: pd.DataFrame) -> st.SearchStrategy[pd.DataFrame]:
    """Draw rows with one change.

    A cell is changed, or a line or column is removed, doubled, moved or turned into something else.
    """

    @st.composite
    def edited(draw: st.DrawFn) -> pd.DataFrame:
        table, column = rows.copy(), draw(st.sampled_from(list(rows.columns)))
        line = draw(st.integers(0, len(rows) - 1))
        match draw(
            st.sampled_from(("cell", "cell", "cell", "column", "drop", "cut", "double", "swap", "kind", "empty"))
        ):
            case "cell":
                old = rows[column].tolist()[line]
                table[column] = [
                    draw(plausible(old) | st.none()) if i == line else v for i, v in enumerate(rows[column])
                ]
            case "column":
                table[column] = draw(st.sampled_from((0, -1, 1e300, np.nan, np.inf, "text", None, True, b"\xff")))
            case "drop":
                table = table.drop(columns=column)
            case "cut":
                table = table.drop(index=line)
            case "double":
                table = pd.concat([table, table.iloc[[line]]], ignore_index=True)
            case "swap":
                table = table.iloc[np.roll(np.arange(len(rows)), draw(st.integers(1, len(rows) - 1)))]
            case "kind":
                table[column] = (
                    [[value] for value in table[column]] if draw(st.booleans()) else table[column].astype(str)
                )
            case _:
                table = table.iloc[:0]
        return table

    return edited()


def encoded(rows: pd.DataFrame) -> bytes | None:
    """Write rows as parquet.

    Return None where parquet cannot hold a column.
    """
    try:
        return rows_to_parquet(rows)
    except (pa.ArrowException, OverflowError):
        return None


def test_edited_rows_are_found(sandbox: Sandbox, fuzz: Fuzz, alone: StoredRun) -> None:
    """Whatever becomes of a byte of the rows, `bench verify` says so."""
    original = alone.rows_path.read_bytes()
    rewritten = edits(alone.rows()).map(encoded).filter(lambda content: content is not None)

    @fuzz(60, 1200, st.one_of(rewritten, scrambled(original)))
    def found(content: bytes) -> None:
        if content == original:
            return
        alone.rows_path.write_bytes(content)
        code, said = sandbox.call("verify", "alone")
        assert code == 3, said


def test_rows_of_a_forger(sandbox: Sandbox, fuzz: Fuzz, honest: StoredRun, restored: Callable[[], None]) -> None:
    """Check that forged rows contradict the record's means.

    Their checksum was made to fit. No reader breaks.
    """
    record, rows = honest.record, honest.rows()
    rewritten = edits(rows).map(encoded).filter(lambda content: content is not None)
    metrics = [metric.name for metric in record.spec.metrics]

    @fuzz(60, 600, st.tuples(st.one_of(rewritten, scrambled(honest.rows_path.read_bytes())), st.sampled_from(READERS)))
    def answers(case: tuple[bytes, tuple[str, ...]]) -> None:
        content, command = case
        restored()
        forged = record.model_copy(update={"rows_sha256": sha256_of(content)})
        write_atomic(honest.rows_path, content)
        write_atomic(honest.path, canonical_json(forged.model_dump(mode="json")).encode())
        code, said = sandbox.call(*command)
        if command[0] == "verify" and "--against" not in command and _means_differ(content, rows, metrics):
            assert code == 3, said


def _means_differ(content: bytes, rows: pd.DataFrame, metrics: list[str]) -> bool:
    """Whether parquet content gives other means than the honest rows, or none."""
    try:
        return bool(summarise(pd.read_parquet(pa.BufferReader(content)), metrics) != summarise(rows, metrics))
    except Exception:  # whatever pandas says of a stranger's file
        return True
