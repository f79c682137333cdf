"""The folder of results, where records are written once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import RunRecord
from bench.core.schemas.spec import RunSpec
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, try_to_write, write_atomic
from bench.core.storage.lease import lease
from bench.core.storage.showcase import read_index, write_sheet
from bench.core.storage.stored_run import StoredRun, protocol_path, read_run

if TYPE_CHECKING:
    import pandas as pd


class Store:
    """A folder of records and their files.

    A run's files are `<root>/<protocol>/<model>/<attack>/<run_id[:12]>.{json,parquet,png,confirmed}`, so that equal
    specs have one file. Pictures may be packed in `<root>/<protocol>/<model>/showcase.{webp,json}` instead.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, spec: RunSpec) -> Path:
        """Return the path of a spec's record, which need not exist yet."""
        folder = self.root / spec.protocol.key / spec.model.name / spec.attack.folder
        return folder / f"{spec.run_id[:12]}.json"

    def find(self, spec: RunSpec) -> StoredRun | None:
        """Return the finished run of a spec, if there is one."""
        path = self.path(spec)
        return read_run(path) if path.exists() else None

    def prepare(self, spec: RunSpec) -> None:
        """Make the folder of a run, and check that it is writable.

        Done before the run, so that no computing time is lost.

        Raises:
            EnvironmentFault: if it cannot be written.
        """
        try_to_write(self.path(spec).parent)

    def filing(self, spec: RunSpec, waiting: Callable[[], None]) -> AbstractContextManager[None]:
        """Return a context that holds the lease to write a run's record.

        The lease file lies beside the record, so that all processes use the same one.
        """
        return lease(self.path(spec).with_suffix(".lease"), waiting)

    def write(self, record: RunRecord, rows: bytes, showcase: bytes | None) -> StoredRun:
        """Store a finished run.

        The record is written last, so that its rows and pictures are never missing. The process must hold `filing`.
        """
        run = StoredRun(record, self.path(record.spec))
        for path in (run.rows_path, run.showcase_path, run.path):
            remove_leftovers(path)
        write_atomic(run.rows_path, rows)
        if showcase is not None:
            write_atomic(run.showcase_path, showcase)
        text = canonical_json(record.model_dump(mode="json"))
        write_atomic(run.path, text.encode() + b"\n")
        return run

    def newest_versions(self) -> dict[str, int]:
        """Return the newest versions, by protocol, that have records here."""
        newest: dict[str, int] = {}
        for run in self.runs():
            protocol = run.record.spec.protocol
            newest[protocol.name] = max(newest.get(protocol.name, 0), protocol.version)
        return newest

    def pack(self, kept: Callable[[RunRecord], bool]) -> Iterator[Path]:
        """Pack the pictures of runs into one lossless sheet per model.

        A model has one sheet under a protocol. Every PNG is checked against its record first, and deleted
        last. Pictures that are already on the sheet stay there.

        Args:
            kept: whether a run's pictures are kept; if not, they are deleted.
        Yields:
            The folders that changed.
        Raises:
            IntegrityError: if a record, a picture or a sheet is damaged.
        """
        for folder in sorted({path.parents[1] for path in self.root.glob("*/*/*/*.json")}):
            runs = [read_run(path) for path in sorted(folder.glob("*/*.json"))]
            shown = {run.record.run_id: run for run in runs if run.record.showcase_sha256 is not None}
            loose = [run.showcase_path for run in shown.values() if run.showcase_path.exists()]
            index = read_index(folder)
            places = {} if index is None else index.runs
            dropped = [key for key, run in shown.items() if places.get(key) is not None and not kept(run.record)]
            if not loose and not dropped:
                continue
            pictures = {key: run.showcase() if kept(run.record) else None for key, run in shown.items()}
            write_sheet(folder, pictures, {key: len(run.record.showcase) for key, run in shown.items()})
            for path in loose:
                path.unlink()
            yield folder

    def shrink_rows(self, wanted: Callable[[RunRecord], bool]) -> Iterator[Path]:
        """Write the rows of older records in today's smaller encoding.

        Values, columns and their types stay. Rows that a second run confirmed are left as they are, because the note
        names their checksum.

        Args:
            wanted: whether a run's rows are written again.
        Yields:
            The records that changed.
        Raises:
            IntegrityError: if a record or its rows are damaged.
        """
        for run in self.runs():
            if not wanted(run.record) or run.confirmation_path.exists():
                continue
            content = table_to_parquet(run.table())
            if len(content) < run.rows_path.stat().st_size:
                record = run.record.model_copy(update={"rows_sha256": sha256_of(content)})
                write_atomic(run.rows_path, content)
                write_atomic(run.path, canonical_json(record.model_dump(mode="json")).encode() + b"\n")
                yield run.path

    def keep_protocol(self, protocol: Protocol) -> None:
        """Store a protocol that is not registered beside its records.

        Later the records are checked against it.
        """
        path = protocol_path(self.root / protocol.key, protocol.sha256)
        if not path.exists():
            write_atomic(path, protocol.content + b"\n")

    def runs(self) -> Iterator[StoredRun]:
        """Yield every finished run, in the order of the paths."""
        for path in sorted(self.root.glob("*/*/*/*.json")):
            yield read_run(path)


def rows_to_parquet(rows: pd.DataFrame) -> bytes:
    """Return the rows as parquet bytes, without metadata."""
    return table_to_parquet(pa.Table.from_pandas(rows, preserve_index=False))


def table_to_parquet(table: pa.Table) -> bytes:
    """Return a table as parquet bytes, without metadata.

    Statistics, dictionaries and Arrow's schema would take more room than a few hundred rows.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(
        table.replace_schema_metadata(None),
        sink,
        compression="zstd",
        compression_level=12,
        use_dictionary=False,
        write_statistics=False,
        store_schema=False,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content
