"""Reads one record and the files beside it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import ROW_COLUMNS, Confirmation, RunRecord
from bench.core.storage.files import sha256_of
from bench.core.storage.showcase import Pixels, decode, packed, read_index

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
        return protocol_path(self.path.parents[2], self.record.spec.protocol.sha256)

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
        content = self._checked(self.rows_path, self.record.rows_sha256)
        self._parsed(content, None)  # it raises the errors
        rows = _frame_of(content).copy()
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
        return self._parsed(self._checked(self.rows_path, self.record.rows_sha256), columns)

    def _parsed(self, content: bytes, columns: list[str] | None) -> pa.Table:
        try:
            table, wrong = _table_of(content, None if columns is None else tuple(columns))
        except (pa.ArrowException, OSError) as error:
            came = str(error).strip().split("\n")[0]
            raise IntegrityError(f"expected parquet in {self.rows_path}, got: {came}; restore it") from error
        if wrong is not None:
            raise IntegrityError(f"expected {wrong} in {self.rows_path}; restore it, or run again")
        return table

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


def protocol_path(folder: Path, sha256: str) -> Path:
    """Return the path of a protocol that is not registered.

    Each protocol hash has its own file, beside the models' folders.
    """
    return folder / f"protocol-{sha256[:12]}.json"


@lru_cache(maxsize=8)
def _table_of(content: bytes, columns: tuple[str, ...] | None) -> tuple[pa.Table, str | None]:
    """Return the columns of a parquet file, and their fault or None.

    The table has no metadata.

    Cached, because checks and tables ask for the rows of one run several times.
    """
    names = None if columns is None else list(columns)
    table = pq.ParquetFile(pa.BufferReader(content)).read(names, use_threads=False).replace_schema_metadata(None)
    return table, _misfit(table)


@lru_cache(maxsize=8)
def _frame_of(content: bytes) -> pd.DataFrame:
    """Return the rows of a parquet file as a data frame."""
    frame: pd.DataFrame = _table_of(content, None)[0].to_pandas(use_threads=False)
    return frame


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


def read_run(path: Path) -> StoredRun:
    """Read one record.

    Raises:
        IntegrityError: if the file is not a record, or its name does not fit its content.
    """
    try:
        record, spec_id = _record_of(path.read_bytes())
    except (ValidationError, UnicodeDecodeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": str(error)}
        where = ".".join(map(str, first["loc"])) or "the file"
        raise IntegrityError(
            f"expected a run record in {path}, got at {where}: {first['msg']}; delete or restore it"
        ) from None
    if record.run_id != spec_id or not record.run_id.startswith(path.stem):
        raise IntegrityError(
            f"expected the record of run {path.stem} in {path}, got one whose spec hashes to {spec_id[:12]}"
        )
    return StoredRun(record, path)


@lru_cache(maxsize=4096)
def _record_of(content: bytes) -> tuple[RunRecord, str]:
    """Return a record and the id that its spec hashes to.

    Cached, because boards, tracks and checks read the same records.
    """
    record = RunRecord.model_validate_json(content)
    return record, record.spec.run_id
