"""Folders and tables of images, and their unfit files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bench.core.errors import IntegrityError, UsageError
from bench.images.files import SHOWN, Labelled, find
from tests.support.own_images import draw, folder_of_images


def test_a_folder_gives_every_image_with_the_name_of_its_class_folder(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "photos", 2)
    draw(root / "circle" / "scan 1" / "deep.png", 7)
    (root / "circle" / "Thumbs.db").write_bytes(b"x")
    (root / "circle" / ".hidden.png").write_bytes(b"x")
    (root / ".cache").mkdir()
    found = find(root)
    assert found.files[:3] == (
        Labelled("circle/0.png", "circle"),
        Labelled("circle/1.png", "circle"),
        Labelled("circle/scan 1/deep.png", "circle"),
    )
    assert (len(found.files), found.others) == (7, 1)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_gives_the_same_with_paths_from_its_folder_on(tmp_path: Path, separator: str) -> None:
    root = folder_of_images(tmp_path / "photos", 2)
    rows = [f"{name}{separator} {file.relative_to(tmp_path)}" for name in ("circle", "square", "triangle")
            for file in sorted((root / name).iterdir())]  # fmt: skip
    table = tmp_path / "labels.csv"
    table.write_text("\n".join([f"label{separator}file", *rows]), encoding="utf-8-sig")
    found = find(table)
    assert found.root == tmp_path
    assert found.files == tuple((f"photos/{file}", label) for file, label in find(root).files)


def test_a_place_without_labelled_images_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"folder of images or a CSV table at .*none, got nothing"):
        find(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"expected images in .*empty, got none; put them in one folder per class"):
        find(tmp_path / "empty")
    draw(tmp_path / "flat" / "a.png", 1)
    with pytest.raises(UsageError, match=r"a folder named after its class, got 1 beside them, such as a\.png"):
        find(tmp_path / "flat")
    (folder_of_images(tmp_path / "photos") / "hexagon").mkdir()
    with pytest.raises(UsageError, match=r"images in every folder .* got none in hexagon"):
        find(tmp_path / "photos")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "got an empty file"),
        ("files,label\na.png,cat", r"got files, label; did you mean 'files'\? rename or add 'file'"),
        ("file,label\na.png,", "its label in line 2"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, text: str, said: str) -> None:
    table = tmp_path / "labels.csv"
    table.write_text(text)
    with pytest.raises(UsageError, match=said):
        find(table)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_bytes("file,label\nä.png,cat".encode("latin-1"))
    with pytest.raises(UsageError, match="save it as UTF-8"):
        find(table)


def test_one_error_names_all_files_that_are_unfit(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "photos")
    (root / "square" / "0.png").write_bytes(b"")
    shutil.copy(root / "circle" / "0.png", root / "circle" / "copy.png")
    shutil.copy(root / "circle" / "1.png", root / "square" / "other.png")
    with pytest.raises(IntegrityError) as caught:
        find(root)
    assert str(caught.value).split("\n")[1:] == [
        "square/0.png: an empty file; restore or remove it",
        "circle/0.png and circle/copy.png: the same bytes; keep one of them",
        "circle/1.png and square/other.png: the same bytes under different labels; decide which label is right, and "
        "keep that one",
    ]


def test_a_table_names_missing_and_doubly_labelled_files(tmp_path: Path) -> None:
    folder_of_images(tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text("file,label\ncircle/0.png,circle\ncircle/0.png,square\nlost.png,circle\n")
    with pytest.raises(IntegrityError, match="got 2 to mend") as caught:
        find(table)
    assert "circle/0.png: 2 times in the table, as circle, square; keep one line" in str(caught.value)
    assert "lost.png: no such file" in str(caught.value)


def test_a_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "photos")
    for index in range(SHOWN + 5):
        (root / "circle" / f"empty{index}.png").write_bytes(b"")
    with pytest.raises(IntegrityError, match=rf"got {SHOWN + 5} to mend:(.|\n)*and 5 more$"):
        find(root)
