"""The site is a function of the records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from bench.core.errors import IntegrityError, UsageError
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from leaderboard.build import build
from tests.support.factories import model_entry, run_spec, store_run
from tests.support.pages import IMAGES, all_files


def test_same_records_same_bytes(results: Path, site: Path, tmp_path: Path) -> None:
    report = build(results, tmp_path / "again")
    assert all_files(tmp_path / "again") == all_files(site)
    assert (report.protocols, report.models, report.runs, report.files) == (2, 3, 6, len(all_files(site)))


@pytest.mark.parametrize("processes", [2, 5])
def test_any_number_of_processes_writes_the_same_bytes(
    processes: int, results: Path, site: Path, tmp_path: Path
) -> None:
    build(results, tmp_path / "again", processes=processes)
    assert all_files(tmp_path / "again") == all_files(site)


@pytest.mark.parametrize("damage", ["rows", "missing rows", "showcase", "record", "mean", "tiles"])
def test_damage_is_an_integrity_error_and_leaves_the_site_alone(tmp_path: Path, damage: str) -> None:
    results, out = tmp_path / "results", tmp_path / "site"
    run = store_run(results, showcase=IMAGES)
    build(results, out)
    before = all_files(out)
    if damage == "rows":
        run.rows_path.write_bytes(run.rows_path.read_bytes()[:-1])
    elif damage == "missing rows":
        run.rows_path.unlink()
    elif damage == "showcase":
        run.showcase_path.write_bytes(b"no png")
    elif damage == "record":
        run.path.write_text(run.path.read_text().replace('"seed":0', '"seed":1'))
    elif damage == "mean":
        mean = run.record.summaries["correct"]["kendall"].mean
        run.path.write_text(run.path.read_text().replace(f'"mean":{mean}', '"mean":0.99'))
    else:
        store_run(results, showcase=IMAGES, record_changes={"showcase": ("cifar10/test/0",) * 6})
    with pytest.raises(IntegrityError, match=r"^expected "):
        build(results, out)
    assert all_files(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_two_contents_of_one_protocol_are_never_mixed(tmp_path: Path) -> None:
    store_run(tmp_path)
    protocol = run_spec(model_entry()).protocol.model_copy(update={"sha256": "0" * 64})
    spec = run_spec(model_entry("two")).model_copy(update={"protocol": protocol})
    store_run(tmp_path, model_entry("two"), record_changes={"spec": spec, "run_id": spec.run_id})
    with pytest.raises(IntegrityError, match="two"):
        build(tmp_path, tmp_path.parent / "site")


def test_nothing_to_show_and_nowhere_to_write(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bench run"):
        build(tmp_path / "absent", tmp_path / "site")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="bench run"):
        build(tmp_path / "empty", tmp_path / "site")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        build(results, tmp_path / "other")
    assert all_files(tmp_path / "other") == {"thesis.txt": b"mine"}


def test_a_build_reads_the_rows_of_each_run_once(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, whole = Counter[Path](), StoredRun.table

    def counted(run: StoredRun, columns: list[str] | None = None) -> pa.Table:
        read[run.rows_path] += 1
        return whole(run, columns)

    monkeypatch.setattr(StoredRun, "table", counted)
    build(results, tmp_path / "site")
    assert read == {run.rows_path: 1 for run in Store(results).runs()}


def test_a_rebuild_removes_what_is_gone_and_nothing_else(tmp_path: Path) -> None:
    store_run(tmp_path / "a", model_entry("one"), showcase=IMAGES)
    store_run(tmp_path / "b", model_entry("two"))
    build(tmp_path / "a", tmp_path / "site")
    (tmp_path / "site/CNAME").write_text("mine")
    build(tmp_path / "b", tmp_path / "site")
    build(tmp_path / "b", tmp_path / "fresh")
    assert all_files(tmp_path / "site") == all_files(tmp_path / "fresh") | {"CNAME": b"mine"}
