"""Labels matched with the outputs of a network."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.errors import UsageError
from bench.images.classes import Outputs, balanced, by_label, match, outputs_of, read_names
from tests.support.factories import model_entry

BIRDS = Outputs(
    5, ("great white shark, white shark", "Crane", "crane", "black-footed ferret", "golden_retriever"),
    ("n01484850", "n02012849", "n03126707", "n02443114", "n02099601"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("label", "index"),
    [
        ("Great White Shark", 0),
        ("white shark", 0),
        ("great white shark, white shark", 0),
        ("Crane", 1),
        ("crane", 2),
        ("black_footed_ferret", 3),
        ("Golden Retriever", 4),
        ("n02443114", 3),
        ("n02443114_ferret", 3),
        ("4", 4),
        ("003", 3),
    ],
)
def test_a_label_is_a_name_a_synset_or_a_number(label: str, index: int) -> None:
    assert match({label: ["a.jpg"]}, BIRDS, "net").outputs == {label: index}


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("CRANE", "fits the classes 1 (Crane) and 2 (crane) of net; write the number instead"),
        ("golden retreiver", "no class of net has this name; did you mean 'golden_retriever'?"),
        ("zebra", "no class of net has this name; rename it, or write the number of the class"),
        ("5", "expected a number from 0 to 4, as net has outputs; correct it"),
    ],
)
def test_a_label_that_fits_none_or_several_is_named_with_its_files(label: str, said: str) -> None:
    (problem,) = match({label: ["x/1.jpg", "x/2.jpg"]}, BIRDS, "net").problems
    assert problem == f"label {label!r} of x/1.jpg and 1 more: {said}"


def test_names_of_digits_come_before_numbers() -> None:
    digits = Outputs(3, ("1", "2", "3"))
    assert match({"1": ["a"], "0": ["b"]}, digits, "net").outputs == {"1": 0, "0": 0}


def test_unnamed_outputs_take_numbers_or_the_alphabetical_order() -> None:
    unnamed = Outputs(3)
    assert match({"2": ["a"], "0": ["b"]}, unnamed, "net").outputs == {"2": 2, "0": 0}
    ordered = match({"cat": ["a"], "ant": ["b"], "bee": ["c"]}, unnamed, "net")
    assert ordered.outputs == {"ant": 0, "bee": 1, "cat": 2}
    assert "in alphabetical order they are 0 ant, 1 bee, 2 cat" in ordered.remark
    (problem,) = match({"cat": ["a"]}, unnamed, "net").problems
    assert "net has 3 outputs and does not name them; write their numbers" in problem


def test_outputs_are_those_of_the_entry_or_its_data_set() -> None:
    assert outputs_of(model_entry()).names[:2] == ("airplane", "automobile")
    assert outputs_of(model_entry(dataset="x", num_classes=2, classes=("a", "b"))).names == ("a", "b")
    assert outputs_of(model_entry(dataset="x")) == Outputs(10)
    with pytest.raises(ValueError, match="got 1 names and num_classes = 10"):
        model_entry(classes=("a",))


def test_the_names_of_records_are_distinct() -> None:
    assert Outputs(3, ("crane", "crane", "dog")).named() == ("crane (0)", "crane (1)", "dog")
    assert Outputs(2).named() == ("0", "1")


def test_classes_are_read_from_a_list_a_file_or_a_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("Own Photos")
    for name in ("dog", "ant", ".cache"):
        (folder / name).mkdir()
    (folder / "names.txt").write_text("dog\n\nant\n")
    assert read_names("dog, ant").classes == ("dog", "ant")
    assert read_names(str(folder / "names.txt")) == (("dog", "ant"), "names")
    assert read_names(str(folder)).classes == ("ant", "dog")
    assert read_names(str(folder)).dataset.startswith("own-photos")
    with pytest.raises(UsageError, match="at least two classes, got dog"):
        read_names("dog")
    with pytest.raises(UsageError, match="got 'ant' twice"):
        read_names("ant,dog,ant")


@given(st.lists(st.integers(0, 4), max_size=40))
def test_every_beginning_is_balanced(labels: list[int]) -> None:
    order = list(balanced(labels, [str(position) for position in range(len(labels))]))
    assert sorted(order) == list(range(len(labels)))
    whole = Counter(labels)
    for end in range(1, len(order) + 1):
        taken = Counter(labels[position] for position in order[:end])
        unfinished = [taken[label] for label in whole if taken[label] < whole[label]]
        assert not unfinished or max(taken.values()) - min(unfinished) <= 1


def test_files_are_grouped_by_label() -> None:
    assert by_label([("b", "x"), ("a", "y"), ("a", "x")]) == {"x": ["a", "b"], "y": ["a"]}


def test_imagenet_is_known_by_names_and_synsets() -> None:
    outputs = outputs_of(model_entry(dataset="imagenet", num_classes=1000))
    labels = {"n01440764": ["a"], "n03126707_crane": ["b"], "Great_White_Shark": ["c"], "999": ["d"]}
    assert match(labels, outputs, "net").outputs == dict(zip(labels, (0, 517, 2, 999), strict=True))
    assert len(set(outputs.synsets)) == 1000
    assert list(outputs.synsets) == sorted(outputs.synsets)
