"""The folder of results, where records are written once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import ROW_COLUMNS, Confirmation, RunRecord, RunSpec
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, try_to_write, write_atomic
from bench.core.storage.lease import lease
from bench.core.storage.showcase import Pixels, decode, packed, read_index, write_sheet

if TYPE_CHECKING:
    import pandas as pd

NUMBERS = ("floating", "integer", "boolean")
"""Arrow's kinds of column that hold measurements; a missing value means undefined."""

ROW_KINDS = {
    "sample_id": ("string", "large_string"),
    "correct": ("boolean",),
    "feasible": ("boolean",),
    "seed": ("string", "large_string", "integer"),
    "winner": ("string", "large_string"),
}
"""Arrow's kinds of the columns that do not hold measurements."""

NEVER_EMPTY = ("sample_id", "correct", "feasible")


class StoredRun(NamedTuple):
    """A record and the paths of its files."""

    record: RunRecord
    path: Path

    @property
    def rows_path(self) -> Path:
        """Return the path of the rows, a parquet file."""
        return self.path.with_suffix(".parquet")

    @property
    def showcase_path(self) -> Path:
        """Return the path of the showcase PNG.

        It exists until the pictures are packed into the sheet of the model's folder.
        """
        return self.path.with_suffix(".png")

    @property
    def confirmation_path(self) -> Path:
        """Return the path of the note that a second run agrees.

        The file exists only if there is such a note.
        """
        return self.path.with_suffix(".confirmed")

    @property
    def protocol_path(self) -> Path:
        """Return the path of the protocol's copy.

        It exists if the protocol is not registered.
        """
        return _protocol_path(self.path.parents[2], self.record.spec.protocol.sha256)

    def protocol(self) -> Protocol | None:
        """Return the protocol that is stored beside the record, or None.

        Raises:
            IntegrityError: if the file does not hold a protocol.
        """
        path = self.protocol_path
        if not path.is_file():
            return None
        try:
            return Protocol.model_validate_json(path.read_bytes())
        except ValidationError as error:
            came = error.errors()[0]["msg"]
            raise IntegrityError(f"expected a protocol in {path}, got: {came}; restore it, or run again") from None

    def confirmation(self) -> Confirmation | None:
        """Return the note that a second run agrees, or None.

        Raises:
            IntegrityError: if it is not such a note, or is about other rows.
        """
        if not self.confirmation_path.exists():
            return None
        try:
            note = Confirmation.model_validate_json(self.confirmation_path.read_bytes())
        except ValidationError as error:
            came = error.errors()[0]["msg"]
            raise IntegrityError(
                f"expected a note of a second run in {self.confirmation_path}, got: {came}; delete it"
            ) from None
        if (note.run_id, note.rows_sha256) != (self.record.run_id, self.record.rows_sha256):
            raise IntegrityError(
                f"expected {self.confirmation_path} to confirm the rows of {self.path}, got others; delete it"
            )
        return note

    def rows(self) -> pd.DataFrame:
        """Return the rows as a data frame.

        There is at least one row, with all of `ROW_COLUMNS` and the primary metric.

        Raises:
            IntegrityError: if the file is missing or is not the one that the record describes.
        """
        rows: pd.DataFrame = self.table().to_pandas(use_threads=False)
        needed = (*ROW_COLUMNS, self.record.spec.primary_metric)
        if not len(rows) or (absent := [name for name in needed if name not in rows]):
            what = f"a column {absent[0]!r}" if len(rows) else "a row"
            raise IntegrityError(f"expected {what} in {self.rows_path}, got none; restore it, or run again")
        return rows

    def table(self, columns: list[str] | None = None) -> pa.Table:
        """Return the rows, or some of their columns, as a checked table.

        The checksum shows that nothing changed since the record was written, but the record itself may be forged.
        Therefore the format and the kinds of the columns are checked, too.
        """
        content = self._checked(self.rows_path, self.record.rows_sha256)
        try:
            table = pq.ParquetFile(pa.BufferReader(content)).read(columns, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            came = str(error).strip().split("\n")[0]
            raise IntegrityError(f"expected parquet in {self.rows_path}, got: {came}; restore it") from error
        if (wrong := _misfit(table)) is not None:
            raise IntegrityError(f"expected {wrong} in {self.rows_path}; restore it, or run again")
        return table.replace_schema_metadata(None)

    def has_pictures(self) -> bool:
        """Return whether the record names pictures that were kept.

        Raises:
            IntegrityError: if the index of the folder's sheet is damaged.
        """
        if self.record.showcase_sha256 is None:
            return False
        index = None if self.showcase_path.exists() else read_index(self.path.parents[1])
        return index is None or index.runs.get(self.record.run_id, ()) is not None

    def showcase(self) -> Pixels | None:
        """Return the pictures of the showcase images.

        They are read from the PNG beside the record, or from the sheet of its folder.

        Returns:
            (images * H, 5 W, 3) uint8; None if the record has no showcase, or the pictures were not kept.
        Raises:
            IntegrityError: if they are missing, damaged, or do not fit the record.
        """
        if (expected := self.record.showcase_sha256) is None:
            return None
        if not self.showcase_path.exists():
            known, pixels = packed(self.path.parents[1], self.record.run_id, len(self.record.showcase))
            if known:
                return pixels
        return decode(self._checked(self.showcase_path, expected), self.showcase_path)

    def _checked(self, path: Path, expected: str) -> bytes:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise IntegrityError(
                f"expected {path} beside its record, got no file; restore it or delete {self.path}"
            ) from None
        if (actual := sha256_of(content)) != expected:
            raise IntegrityError(
                f"expected {path} to have the sha256 {expected[:12]}…, got {actual[:12]}…; it was changed after the run"
            )
        return content


def _protocol_path(folder: Path, sha256: str) -> Path:
    """Return the path of a protocol that is not registered.

    Each protocol hash has its own file, beside the models' folders.
    """
    return folder / f"protocol-{sha256[:12]}.json"


def _misfit(table: pa.Table) -> str | None:
    """Return what is wrong with the columns of a table, or None."""
    if (wrong := _misfit_of_schema(table.schema.remove_metadata())) is not None:
        return wrong
    for name in NEVER_EMPTY:
        if name in table.column_names and (count := table[name].null_count):
            return f"a value in every row of the column {name!r}, got {count} without"
    return None


@lru_cache(maxsize=64)
def _misfit_of_schema(schema: pa.Schema) -> str | None:
    """Return what is wrong with the columns' names and types, or None.

    Cached, because most runs share a schema.
    """
    if len(set(schema.names)) < len(schema.names):
        return f"each column once, got {schema.names}"
    for column in schema:
        kinds = ROW_KINDS.get(column.name, NUMBERS)
        if not any(getattr(pa.types, f"is_{kind}")(column.type) for kind in kinds):
            return f"{' or '.join(kinds)} in the column {column.name!r}, got {column.type}"
    return None


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

    def keep_protocol(self, protocol: Protocol) -> None:
        """Store a protocol that is not registered beside its records.

        Later the records are checked against it.
        """
        path = _protocol_path(self.root / protocol.key, protocol.sha256)
        if not path.exists():
            write_atomic(path, protocol.content + b"\n")

    def runs(self) -> Iterator[StoredRun]:
        """Yield every finished run, in the order of the paths."""
        for path in sorted(self.root.glob("*/*/*/*.json")):
            yield read_run(path)


def read_run(path: Path) -> StoredRun:
    """Read one record.

    Raises:
        IntegrityError: if the file is not a record, or its name does not fit its content.
    """
    try:
        record = RunRecord.model_validate_json(path.read_bytes())
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"])) or "the file"
        raise IntegrityError(
            f"expected a run record in {path}, got at {where}: {first['msg']}; delete or restore it"
        ) from None
    if record.run_id != record.spec.run_id or not record.run_id.startswith(path.stem):
        raise IntegrityError(
            f"expected the record of run {path.stem} in {path}, got one whose spec hashes to {record.spec.run_id[:12]}"
        )
    return StoredRun(record, path)


def rows_to_parquet(rows: pd.DataFrame) -> bytes:
    """Return the rows as parquet bytes, without metadata."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None), sink, compression="zstd"
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content
