"""Pictures of runs: packed without loss, checked when they are read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from bench.core.errors import IntegrityError
from bench.core.storage.files import canonical_json, sha256_of
from bench.core.storage.showcase import INDEX, SHEET
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun, read_run
from leaderboard.build import build
from tests.support.commands import invoke
from tests.support.factories import model_entry, store_run

SIDE = 32
IMAGES = [np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for seed in range(3)]
ATTACKS = ("ifia-topk", "random-noise")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for attack in ATTACKS:
        store_run(tmp_path, model_entry(), attack, showcase=IMAGES)
    return tmp_path


def shown(run: StoredRun) -> npt.NDArray[np.uint8]:
    picture = run.showcase()
    assert picture is not None
    return picture


def test_packed_pictures_are_the_same_to_the_pixel(root: Path) -> None:
    paths = sorted(root.glob("*/*/*/*.json"))
    before = [shown(read_run(path)) for path in paths]
    (folder,) = Store(root).pack(lambda _: True)
    after = [shown(read_run(path)) for path in paths]
    assert len(before) == len(ATTACKS)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert not list(root.rglob("*.png"))
    index = json.loads((folder / INDEX).read_text())
    numbers = {number for rows in index["runs"].values() for row in rows for number in row}
    assert len(numbers) < len(ATTACKS) * len(IMAGES) * 5, "clean images are stored once for both attacks"


def test_packing_again_changes_nothing_and_takes_up_what_came_later(root: Path) -> None:
    store = Store(root)
    list(store.pack(lambda _: True))
    first = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert not list(store.pack(lambda _: True))
    assert first == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    later = store_run(root, model_entry(), "cosine", showcase=IMAGES)
    picture = shown(later)
    assert list(store.pack(lambda _: True))
    assert np.array_equal(picture, shown(read_run(later.path)))
    assert all(read_run(path).showcase() is not None for path in root.glob("*/*/*/*.json"))


def test_pictures_that_are_not_kept_are_named_as_such(root: Path) -> None:
    list(Store(root).pack(lambda record: record.spec.attack.name == ATTACKS[0]))
    kept = {read_run(path).record.spec.attack.name: read_run(path).showcase() for path in root.glob("*/*/*/*.json")}
    assert kept[ATTACKS[0]] is not None
    assert kept[ATTACKS[1]] is None
    assert {name: picture is not None for name, picture in kept.items()} == {
        run.record.spec.attack.name: run.has_pictures() for run in Store(root).runs()
    }


def test_the_pictures_of_one_model_are_dropped_by_name(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = store_run(root, model_entry("pgd-wrn28"), ATTACKS[0], showcase=IMAGES)
    protocol = other.record.spec.protocol.key
    assert invoke(capsys, "leaderboard", "pack", str(root))[0] == 0
    assert invoke(capsys, "leaderboard", "pack", str(root), "--drop", f"{protocol}/pgd-*")[0] == 0
    assert {run.record.spec.model.name: run.has_pictures() for run in Store(root).runs()} == {
        model_entry().name: True,
        "pgd-wrn28": False,
    }
    assert [path.parent.name for path in root.rglob(SHEET)] == [model_entry().name]


def test_a_site_is_built_of_runs_whose_pictures_were_not_kept(root: Path, tmp_path: Path) -> None:
    list(Store(root).pack(lambda _: False))
    build(root, tmp_path / "site")
    assert "This run kept no showcase images" in (tmp_path / "site/models/art-wrn28.html").read_text()


def test_a_changed_picture_is_not_packed(root: Path) -> None:
    picture = next(root.rglob("*.png"))
    picture.write_bytes(picture.read_bytes() + b"0")
    with pytest.raises(IntegrityError, match="to have the sha256"):
        list(Store(root).pack(lambda _: True))
    assert len(list(root.rglob("*.png"))) == len(ATTACKS), "nothing is deleted before everything is written"


def _broken(folder: Path, how: str) -> None:
    sheet, index = folder / SHEET, folder / INDEX
    content = json.loads(index.read_text())
    run = next(iter(content["runs"]))
    if how == "no sheet":
        sheet.unlink()
    elif how == "another sheet":
        sheet.write_bytes(sheet.read_bytes()[:-1])
    elif how == "no index":
        index.write_text("{")
    elif how == "a tile that is not there":
        content["runs"][run][0][0] = 10_000
    elif how == "an image too few":
        content["runs"][run] = content["runs"][run][1:]
    elif how == "another size of tile":
        content["tile"] = [0, 7]
    if how not in {"no sheet", "another sheet", "no index"}:
        index.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("no sheet", "got no file; restore it"),
        ("another sheet", "got the sha256"),
        ("no index", "expected an index of pictures"),
        ("a tile that is not there", "got others; restore it"),
        ("an image too few", "got others; restore it"),
        ("another size of tile", "expected rows of 16 tiles"),
    ],
)
def test_a_damaged_sheet_is_an_error_that_names_its_file(root: Path, how: str, said: str) -> None:
    (folder,) = Store(root).pack(lambda _: True)
    _broken(folder, how)
    runs = [read_run(path) for path in root.glob("*/*/*/*.json")]
    with pytest.raises(IntegrityError, match=said) as caught:
        _ = [run.showcase() for run in runs]
    assert str(folder) in str(caught.value)


def test_rows_of_an_older_encoding_are_written_again_with_the_same_values(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [read_run(path) for path in sorted(root.glob("*/*/*/*.json"))]
    confirmed, older = runs
    for run in runs:
        _write_as_before(run)
    confirmed.confirmation_path.write_text("a note")
    tables = [read_run(run.path).table() for run in runs]
    kept = confirmed.rows_path.read_bytes(), confirmed.path.read_bytes()
    code, out, _ = invoke(capsys, "leaderboard", "pack", str(root), "--rows", "another-protocol/*")
    assert (code, "the rows of 0 runs" in out) == (0, True)
    before = older.rows_path.stat().st_size
    code, out, _ = invoke(capsys, "leaderboard", "pack", str(root), "--rows", "*/art-*")
    assert code == 0
    assert "the rows of 1 runs" in out
    assert older.rows_path.stat().st_size < before
    assert [read_run(run.path).table().equals(table) for run, table in zip(runs, tables, strict=True)] == [True, True]
    assert read_run(older.path).record.run_id == older.record.run_id
    assert (confirmed.rows_path.read_bytes(), confirmed.path.read_bytes()) == kept
    assert not list(Store(root).shrink_rows(lambda _: True)), "expected nothing left to shrink"


def _write_as_before(run: StoredRun) -> None:
    """Encode a run's rows with statistics and dictionaries, as earlier versions did."""
    pq.write_table(run.table(), run.rows_path, compression="zstd")
    record = run.record.model_copy(update={"rows_sha256": sha256_of(run.rows_path.read_bytes())})
    run.path.write_text(canonical_json(record.model_dump(mode="json")) + "\n")
